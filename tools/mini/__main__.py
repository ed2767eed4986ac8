"""Makes the embedded model: `python -m tools.mini all`, or one stage of it. Every stage resumes where it stopped."""

import argparse
from dataclasses import replace
from pathlib import Path

from tools.mini import extras, second_family, stages
from tools.mini.grading import Size, give_grade
from tools.mini.guides import GUIDES
from tools.mini.painter import Look
from tools.mini.scene import LORA_STYLES
from tools.mini.stages import Options

ALL = (
    *("data", "vae", "text", "unet", "decoder", "export"),
    *("control", "lora", "few-steps", "embedding", "upscaler", "flow", "judge", "grade"),
)
STAGES = ("all", *ALL, "grid", "adopt", "finder", "follow")
SIZES = ("small", "large")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.mini", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--root", type=Path, default=Path(".mini"), help="where pictures and checkpoints are kept")
    parser.add_argument("--out", type=Path, default=Path("assets/mini"), help="where the model is exported to")
    parser.add_argument("--device", default="cpu", help="cpu or cuda; use one worker with cuda")
    parser.add_argument("--workers", type=int, default=2, help="processes that train and render together")
    parser.add_argument("--size", choices=SIZES, help="only this size (data, unet, export, control)")
    parser.add_argument("--guide", choices=tuple(GUIDES), help="only the ControlNet of this guide (control, follow)")
    parser.add_argument("--style", choices=LORA_STYLES, help="only the LoRA of this style (lora)")
    parser.add_argument("--pictures", type=int, nargs=2, default=(36_000, 10_000), metavar=("SMALL", "LARGE"))
    parser.add_argument("--prompts", type=int, default=500, help="held-out prompts to grade with")
    parser.add_argument("--seeds", type=int, default=2, help="pictures per prompt to grade with")
    parser.add_argument("--side", type=int, default=256, help="side of the pictures to judge; 128 is a quick look")
    parser.add_argument("--steps", type=int, default=20, help="steps of the pictures to judge")
    parser.add_argument("--plain", action="store_true", help="only scenes before one colour (follow)")
    parser.add_argument("--minutes", type=float, help="training time of the stage, over all restarts")
    parser.add_argument("--batch", type=int, help="samples per worker and step")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--detail", action="store_true", help="look at strokes and edges instead of shapes (unet)")
    parser.add_argument("--cooldown", type=float, help="share of the time, at its end, with a falling learning rate")
    parser.add_argument("--ema", type=float, help="decay of the moving average per step; shorter runs want less")
    return parser.parse_args()


def options(given: argparse.Namespace, **defaults: float) -> Options:
    """The stage's own defaults, and over them what the command line says."""
    common = Options(root=given.root, device=given.device, workers=given.workers, detail=given.detail)
    said = {name: getattr(given, name) for name in ("minutes", "batch", "learning_rate", "cooldown", "ema")}
    return replace(common, **{**defaults, **{name: value for name, value in said.items() if value is not None}})


def main() -> None:
    given = arguments()
    wanted = ALL if given.stage == "all" else (given.stage,)
    look = Look(given.side, given.steps)
    sizes = (given.size,) if given.size else SIZES
    beside = given.out.with_name(f"{given.out.name}-flow")
    if "adopt" in wanted:
        stages.adopt(options(given), given.out)
        second_family.adopt_flow(options(given), beside)
    if "data" in wanted:
        for size in sizes:
            stages.data(options(given), size, given.pictures[SIZES.index(size)])
    if "vae" in wanted:
        stages.vae(options(given, minutes=28, batch=4, learning_rate=1e-3, cooldown=0.4))
    if "text" in wanted:
        stages.text(options(given, minutes=6, batch=32, learning_rate=1e-3, cooldown=0.6))
    if "unet" in wanted:
        for size in sizes:
            minutes, batch, rate = {"small": (60, 16, 8e-4), "large": (120, 8, 4e-4)}[size]
            stages.unet(options(given, minutes=minutes, batch=batch, learning_rate=rate), size)
    if "decoder" in wanted:
        stages.decoder(options(given, minutes=20, batch=4, learning_rate=5e-4, cooldown=0.5))
    if "export" in wanted:
        stages.write(options(given), given.out, sizes)
    if "control" in wanted:
        for guide in (given.guide,) if given.guide else tuple(GUIDES):
            for size in sizes:
                minutes, batch = {"small": (20, 16), "large": (60, 8)}[size]
                extras.control(options(given, minutes=minutes, batch=batch, learning_rate=1e-3), given.out, guide, size)
    if "lora" in wanted:
        for style in (given.style,) if given.style else LORA_STYLES:
            extras.lora(options(given, minutes=4, batch=4, learning_rate=1e-3, cooldown=0.5), given.out, style)
    if "few-steps" in wanted:
        extras.few_steps(options(given, minutes=15, batch=8, learning_rate=1e-3, cooldown=0.5, ema=0.995), given.out)
    if "upscaler" in wanted:
        extras.upscaler(options(given, minutes=6, batch=8, learning_rate=2e-3, cooldown=0.5, ema=0.998), given.out)
    if "embedding" in wanted:
        extras.embedding(options(given, minutes=3, batch=4, learning_rate=5e-3, cooldown=0.5, ema=0.99), given.out)
    if "flow" in wanted:
        for size in sizes:
            minutes, batch = {"small": (30, 16), "large": (60, 8)}[size]
            second_family.flow(options(given, minutes=minutes, batch=batch, learning_rate=1e-3, cooldown=0.5), size)
        second_family.write_flow(options(given), beside, SIZES)
    if "judge" in wanted:
        judge = options(given, minutes=38, batch=64, learning_rate=2e-3, cooldown=0.6, ema=0.998)
        stages.judge(judge, given.out.with_name("judge"))
    if "grade" in wanted:
        give_grade(options(given), given.out, Size().at_most(given.prompts, given.seeds), look)
    if "finder" in wanted:
        extras.finder(options(given, minutes=6, batch=16, learning_rate=2e-3, cooldown=0.5))
    if "follow" in wanted:
        for guide in (given.guide,) if given.guide else tuple(GUIDES):
            extras.grade_control(options(given), given.out, guide, given.prompts, look, given.plain)
    if "grid" in wanted:
        stages.grid(options(given), given.out, 64, given.root / "grids" / f"{given.out.name}-{look.side}.png", look)


if __name__ == "__main__":
    main()
