"""The whole grade of the exported model: every figure beside its bar, as a table and as JSON.

Pictures and finished parts are kept under the fingerprint of the weights they are of, so that a stop costs little and
other weights start anew.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tools.mini.copies import closest_pairs, nearest
from tools.mini.data import LARGE, SIMPLE, Bucket, Pictures, held_out_pictures
from tools.mini.export import write_card
from tools.mini.extras import grade_control
from tools.mini.grade import (
    BOTH,
    grade_lora,
    grade_negatives,
    grade_prompts,
    held_out_wishes,
    trust,
    unstyled,
)
from tools.mini.guides import GUIDES
from tools.mini.judge import load_judge
from tools.mini.painter import Easel, Look, Wish, draw_all, save, sheet
from tools.mini.scene import LORA_STYLES
from tools.mini.stages import Options, facts, say
from tools.mini.vae import load_vae, reconstruction_report

Figures = dict[str, float]
RENDERS = 1000
"""Held-out renders that the judge itself is graded on."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many pictures make the grade; the defaults are those of a full one."""

    prompts: int = 500
    seeds: int = 2
    negatives: int = 100
    guides: int = 64
    loras: int = 64

    def at_most(self, prompts: int, seeds: int) -> "Size":
        """A quicker look with fewer of everything."""
        parts = {name: min(count, prompts) for name, count in asdict(self).items() if name != "seeds"}
        return replace(self, **parts, seeds=seeds)


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that the model answers for: where it stands in the grade, and what it has to reach."""

    title: str
    part: str
    figure: str
    least: float | None = None
    most: float | None = None
    judged: str | None = None
    unit: str = "%"

    def holds(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def show(self, value: float) -> str:
        return f"{100 * value:.1f} %" if self.unit == "%" else f"{value:.2f} {self.unit}".strip()


BARS = (
    Bar("Autoencoder, PSNR on held-out scenes", "autoencoder", "256x256", least=30, unit="dB"),
    Bar("subject right", "prompts", "subject", least=0.9, judged="subject"),
    Bar("subject's colour right", "prompts", "color", least=0.92, judged="color"),
    Bar("place right", "prompts", "place", least=0.92, judged="place"),
    Bar("time or weather right", "prompts", "time", least=0.95, judged="time"),
    Bar("style right", "prompts", "style", least=0.95, judged="style"),
    Bar("both subjects with both colours right", "prompts", BOTH, least=0.65, judged=BOTH),
    Bar("count right", "prompts", "count", least=0.8, judged="count"),
    Bar("background of one colour right", "prompts", "plain", judged="plain"),
    Bar("left or right as told", "prompts", "position", judged="position"),
    Bar("small or large as told", "prompts", "size", judged="size"),
    Bar("negative prompt removes what it names", "negatives", "removed", least=0.85),
    Bar("Fréchet distance to renders, renders to renders = 1", "prompts", "distance", most=2, unit=""),
    Bar("drawing: F1 of edges within 4 px", "scribble", "guided", least=0.6),
    Bar("… as a multiple of that without the drawing", "scribble", "gain", least=2.5, unit=""),
    Bar("pose: PCK@0.1", "pose", "guided", least=0.8),
    *(Bar(f"LoRA, {style}: style right", "loras", style, least=0.9, judged="styles of LoRAs") for style in LORA_STYLES),
    Bar("LoRAs at weight 0: bit-identical to none", "loras", "nothing at 0", least=1),
    Bar("nearest training picture, median, held-out renders = 1", "copies", "median", unit=""),
    Bar("nearest training picture, nearest of all, held-out renders = 1", "copies", "least", unit=""),
)


def table(parts: dict[str, Figures]) -> str:
    """Markdown; a bar that has not been measured is left out."""
    rows = ["| | reached | bar | judge itself |", "|---|---|---|---|"]
    for bar in BARS:
        value = parts.get(bar.part, {}).get(bar.figure)
        if value is None:
            continue
        limit = bar.least if bar.most is None else bar.most
        asked = "" if limit is None else f"{'≥' if bar.most is None else '≤'} {bar.show(limit)}"
        mark = "" if limit is None else "" if bar.holds(value) else " (missed)"
        own = parts.get("judge", {}).get(bar.judged or "")
        rows.append(
            f"| {bar.title} | {bar.show(value)}{mark} | {asked} | {'' if own is None else f'{100 * own:.1f} %'} |"
        )
    return "\n".join(rows) + "\n"


def fingerprint(folder: Path) -> str:
    """Names all weights in `folder`."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


class Grading:
    """The parts of the grade of the model in `folder`."""

    def __init__(self, options: Options, folder: Path, size: Size, look: Look) -> None:
        self.options = options
        self.folder = folder
        self.size = size
        self.look = look
        name = f"{fingerprint(folder)}-{look.side}-{look.steps}-{size.prompts}x{size.seeds}"
        self.kept = options.root / "graded" / name
        self.judge = load_judge(folder.with_name("judge")).to(options.device)

    def easel(self, name: str) -> Easel:
        return Easel(self.folder, self.kept / name, self.look, self.options.device, self.options.workers)

    def paint(self, name: str, wishes: list[Wish]) -> NDArray[np.uint8]:
        return draw_all(self.easel(name), wishes)

    def autoencoder(self) -> Figures:
        return dict(reconstruction_report(load_vae(self.folder / "vae")))

    def own(self) -> Figures:
        return trust(self.judge, self.look.side, RENDERS)

    def prompts(self) -> Figures:
        return grade_prompts(self.paint, self.judge, self.look.side, self.size.prompts, self.size.seeds)

    def negatives(self) -> Figures:
        return grade_negatives(self.paint, self.judge, self.size.negatives)

    def guide(self, kind: str) -> Figures:
        result = grade_control(self.options, self.folder, kind, self.size.guides, self.look)
        return {**asdict(result), "gain": round(result.guided / max(1e-6, result.free), 2)}

    def loras(self) -> Figures:
        found: Figures = {}
        same = []
        wishes = unstyled(2)
        plain = self.paint("no-lora", wishes)
        for style in LORA_STYLES:
            file = self.folder / "lora" / f"{style.replace(' ', '-')}.safetensors"

            def worn(name: str, wanted: list[Wish], file: Path = file, weight: float = 1.0) -> NDArray[np.uint8]:
                return draw_all(replace(self.easel(name), lora=file, weight=weight), wanted)

            found[style] = grade_lora(worn, self.judge, style, self.size.loras)
            same.append(np.array_equal(worn(f"lora-{style}-0", wishes, weight=0.0), plain))
        return {**found, "nothing at 0": float(np.mean(same))}

    def copies(self) -> Figures:
        """How far the nearest training picture is, as a share of how far it is from held-out renders."""
        sources = [Pictures(self.options.root, bucket) for bucket in (LARGE[0], SIMPLE["large"])]
        pictures = self.paint("prompts", held_out_wishes(self.size.prompts, self.size.seeds)[1])
        found = nearest(list(pictures), sources)
        side = Bucket(self.look.side, self.look.side)
        others = nearest(list(held_out_pictures(side, min(len(pictures), RENDERS), seed=2)[1]), sources)
        drawn, rendered = (np.array([one.distance for one in each]) for each in (found, others))
        save(self.kept / "closest.png", sheet(closest_pairs(list(pictures), found, sources, 16), 8))
        return {
            "median": round(float(np.median(drawn) / np.median(rendered)), 3),
            "least": round(float(drawn.min() / rendered.min()), 3),
            "levels": round(float(drawn.min()), 1),
        }

    def parts(self) -> dict[str, Callable[[], Figures]]:
        return {
            "judge": self.own,
            "autoencoder": self.autoencoder,
            "prompts": self.prompts,
            "copies": self.copies,
            "negatives": self.negatives,
            "loras": self.loras,
            **{kind: partial(self.guide, kind) for kind in GUIDES},
        }

    def grade(self) -> dict[str, Figures]:
        """Every part, those that are known already from before; kept after each."""
        path = self.kept / "grade.json"
        known: dict[str, Figures] = json.loads(path.read_text()) if path.exists() else {}
        for name, work in self.parts().items():
            if name not in known:
                with torch.no_grad():
                    known[name] = work()
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(known, indent=1) + "\n")
                say(f"{name}: {known[name]}")
        return known


def give_grade(options: Options, folder: Path, size: Size, look: Look) -> dict[str, Figures]:
    """Grade the exported model and print the table; if nothing was cut short, it goes into its card, too."""
    result = Grading(options, folder, size, look).grade()
    say(table(result))
    if (size, look) == (Size(), Look()):
        (folder / "grade.json").write_text(json.dumps(result, indent=1) + "\n")
        write_card(folder, facts(json.loads((folder / "training.json").read_text())), table(result))
    return result
