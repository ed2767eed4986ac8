"""Stages for what is trained on the finished model: each leads or changes it and is exported beside it."""

from dataclasses import asdict
from pathlib import Path

import cv2
import torch
from diffusers import UNet2DConditionModel

from tools.mini.control import ControlTask, new_control, strengthen
from tools.mini.control_grade import Following, draw_guided, grade_guide
from tools.mini.data import LARGE, SIMPLE, SMALL, Pictures
from tools.mini.export import export_control, load_pipeline
from tools.mini.grade import Look, sheet
from tools.mini.guides import GUIDES
from tools.mini.joints import Finder, JointTask
from tools.mini.parallel import Team, run_team
from tools.mini.scene import LORA_STYLES
from tools.mini.stages import EVEN, Options, note, quick, say, sources
from tools.mini.style_lora import Scenes, save_lora, with_lora
from tools.mini.text import Conditioner, load_text_encoder, load_tokenizer
from tools.mini.train import load_average, train
from tools.mini.unet import UnetTask
from tools.mini.vae import encode, load_vae

LORA_SCENES = 250


def _finder(team: Team, options: Options) -> None:
    torch.manual_seed(0)
    task = JointTask(
        Finder(), [Pictures(options.root, bucket) for bucket in (SMALL[0], SIMPLE["small"])], options.batch
    )
    train(task, options.plan(), team, options.run("finder"), report=say)


def finder(options: Options) -> None:
    """Train the network that finds joints, to grade pictures drawn after skeletons."""
    run_team(options.workers, _finder, options)


def grade_control(options: Options, folder: Path, kind: str, count: int, look: Look, plain: bool = False) -> Following:
    """Measure how pictures follow their guides, and put them side by side into a sheet of PNG."""
    eye = None
    if kind == "pose":
        eye = Finder()
        load_average(options.run("finder"), eye)
        eye.eval()
    result, rows = grade_guide(folder, kind, count, look, say, eye, plain)
    path = options.root / "grids" / f"{folder.name}-{kind}-{look.side}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(sheet(rows, 4), cv2.COLOR_RGB2BGR))
    note(options.root, f"follows-{kind}", {"pictures": count, **asdict(result)})
    return result


def load_denoiser(folder: Path) -> UNet2DConditionModel:
    denoiser = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.float32)
    assert isinstance(denoiser, UNet2DConditionModel)
    return denoiser.eval().requires_grad_(False)


def _control(team: Team, options: Options, folder: Path, kind: str, size: str) -> None:
    torch.manual_seed(0)
    words = load_text_encoder(options.root / "text_encoder").to(options.device)
    condition = Conditioner(load_tokenizer(options.root / "tokenizer"), words)
    denoiser = load_denoiser(folder).to(options.device)
    task = ControlTask(
        new_control(denoiser),
        quick(denoiser, options),
        GUIDES[kind],
        sources(team, options, size, people=kind == "pose"),
        condition,
        options.batch,
    )
    train(task, options.plan(muon=True), team, options.run(f"control-{kind}"), report=say)


def control(options: Options, folder: Path, kind: str, size: str) -> None:
    """Train the ControlNet of `kind` on the model in `folder`, with pictures of `size`, and put it there.

    What it learns of the finest cells holds for both sizes, and small pictures cost a quarter: they come first.
    """
    run_team(options.workers, _control, options, folder, kind, size)
    trained = new_control(load_denoiser(folder))
    step, samples, seconds = load_average(options.run(f"control-{kind}"), trained)
    figures: dict[str, object] = {"steps": step, "samples": samples, "minutes": round(seconds / 60, 1)}
    note(options.root, f"control-{kind}", figures)
    strengthen(trained)
    export_control(trained, folder, kind, figures)


def _lora(team: Team, options: Options, folder: Path, style: str) -> None:
    torch.manual_seed(0)
    words = load_text_encoder(options.root / "text_encoder").to(options.device)
    condition = Conditioner(load_tokenizer(options.root / "tokenizer"), words)
    eye = load_vae(options.root / "vae").to(options.device)
    scenes = Scenes(style, LARGE[0], LORA_SCENES, lambda pictures: encode(eye, pictures, 2))
    learning = with_lora(quick(load_denoiser(folder).to(options.device), options))
    task = UnetTask(learning, [scenes], condition, options.batch, focus=EVEN)
    train(task, options.plan(), team, options.run(_run_of(style)), report=say)


def _run_of(style: str) -> str:
    return f"lora-{style.replace(' ', '-')}"


def lora(options: Options, folder: Path, style: str) -> None:
    """Train a LoRA of `style` on the model in `folder` and put it there; the first of all in kohya's format too."""
    run_team(options.workers, _lora, options, folder, style)
    learnt = with_lora(load_denoiser(folder))
    step, samples, seconds = load_average(options.run(_run_of(style)), learnt)
    note(options.root, _run_of(style), {"steps": step, "samples": samples, "minutes": round(seconds / 60, 1)})
    preview(folder, save_lora(learnt, folder / "lora", style))
    if style == LORA_STYLES[0]:
        save_lora(learnt, folder / "lora" / "kohya", style, kohya=True)


def preview(folder: Path, file: Path) -> None:
    """Draw the picture that stands for a LoRA of the model in `folder` on the page, beside its `file`."""
    pipeline = load_pipeline(folder)
    pipeline.load_lora_weights(file.parent, weight_name=file.name)
    picture = draw_guided(pipeline, "a red sailboat on the sea", None, 0, Look(256, 20))
    cv2.imwrite(str(file.with_suffix(".png")), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
