"""Stages for what is trained on the finished model: each leads or changes it and is exported beside it."""

from dataclasses import asdict
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from tools.mini import few_steps as few_steps_lora
from tools.mini.control import ControlTask, begun_control, new_control, strengthen
from tools.mini.control_grade import Following, draw_guided, grade_guide
from tools.mini.data import LARGE, PEOPLE, SIMPLE, SMALL, Pictures, held_out_pictures, render_shards
from tools.mini.embedding import WordTask, extend, mood_scenes, save_word
from tools.mini.export import export_control, load_pipeline
from tools.mini.few_steps import FewStepsTask
from tools.mini.guides import GUIDES
from tools.mini.joints import Finder, JointTask
from tools.mini.painter import Look, save, sheet
from tools.mini.parallel import Team, run_team
from tools.mini.scene import LORA_STYLES
from tools.mini.stages import EVEN, Options, conditioner, finish, note, quick, say, sources
from tools.mini.style_lora import save_lora, style_scenes, with_lora
from tools.mini.text import load_text_encoder, load_tokenizer
from tools.mini.train import load_average, train
from tools.mini.unet import UnetTask
from tools.mini.upscaler import (
    DOUBLE,
    Compact,
    Pairs,
    UpscalerTask,
    enlarging_report,
    load_upscaler,
    save_upscaler,
    write_card,
)
from tools.mini.vae import encode, load_vae

LORA_SCENES = 250
EMBEDDING_SCENES = 120
DOUBLE_SCENES, MEASURED = 500, 32


def _finder(team: Team, options: Options) -> None:
    torch.manual_seed(0)
    task = JointTask(
        Finder(),
        [Pictures(options.root, bucket) for bucket in (SMALL[0], SIMPLE["small"], PEOPLE["small"])],
        options.batch,
    )
    train(task, options.plan(), team, options.run("finder"), report=say)


def finder(options: Options) -> None:
    """Train the network that finds joints, to grade pictures drawn after skeletons."""
    run_team(options.workers, _finder, options)


def grade_control(options: Options, folder: Path, kind: str, count: int, look: Look, plain: bool = False) -> Following:
    """Measure how pictures follow their guides, and put them side by side into a sheet of PNG."""
    eye = None
    if kind == "pose":
        eye, known = Finder(), options.run("finder")
        if not known.exists():
            raise FileNotFoundError(f"{known} is missing: `python -m tools.mini finder` makes what finds joints.")
        load_average(known, eye)
        eye.eval()
    result, rows = grade_guide(folder, kind, count, look, say, eye, plain)
    save(options.root / "grids" / f"{folder.name}-{kind}-{look.side}.png", sheet(rows, 4))
    note(options.root, f"follows-{kind}", {"pictures": count, **asdict(result)})
    return result


def load_denoiser(folder: Path) -> UNet2DConditionModel:
    denoiser = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.float32)
    assert isinstance(denoiser, UNet2DConditionModel)
    return denoiser.eval().requires_grad_(False)


def _control(team: Team, options: Options, folder: Path, kind: str, size: str) -> None:
    torch.manual_seed(0)
    condition = conditioner(options)
    denoiser = load_denoiser(folder).to(options.device)
    task = ControlTask(
        quick(begun_control(denoiser, folder, kind), options),
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
    figures = finish(options, f"control-{kind}", trained)
    strengthen(trained)
    export_control(trained, folder, kind, figures)


def _lora(team: Team, options: Options, folder: Path, style: str) -> None:
    torch.manual_seed(0)
    condition = conditioner(options)
    eye = load_vae(options.root / "vae").to(options.device)
    scenes = style_scenes(style, LARGE[0], LORA_SCENES, lambda pictures: encode(eye, pictures, 2))
    learning = with_lora(quick(load_denoiser(folder).to(options.device), options))
    task = UnetTask(learning, [scenes], condition, options.batch, focus=EVEN)
    train(task, options.plan(), team, options.run(_run_of(style)), report=say)


def _run_of(style: str) -> str:
    return f"lora-{style.replace(' ', '-')}"


def lora(options: Options, folder: Path, style: str) -> None:
    """Train a LoRA of `style` on the model in `folder` and put it there; the first of all in kohya's format too."""
    run_team(options.workers, _lora, options, folder, style)
    learnt = with_lora(load_denoiser(folder))
    finish(options, _run_of(style), learnt)
    preview(folder, save_lora(learnt, folder / "lora", style))
    if style == LORA_STYLES[0]:
        save_lora(learnt, folder / "lora" / "kohya", style, kohya=True)


def _few_steps(team: Team, options: Options, folder: Path) -> None:
    torch.manual_seed(0)
    condition = conditioner(options)
    learning, teacher = (quick(load_denoiser(folder).to(options.device), options) for _ in range(2))
    latents = sources(team, options, "large")
    task = FewStepsTask(with_lora(learning, few_steps_lora.RANK), teacher, latents, condition, options.batch)
    train(task, options.plan(), team, options.run("few-steps"), report=say)


def few_steps(options: Options, folder: Path) -> None:
    """Distil the model in `folder` into a LoRA that draws in four steps without guidance, and put it there."""
    run_team(options.workers, _few_steps, options, folder)
    learnt = with_lora(load_denoiser(folder), few_steps_lora.RANK)
    finish(options, "few-steps", learnt)
    file = save_lora(learnt, folder / "lora", "few steps", told=few_steps_lora.TOLD)
    preview(folder, file, few_steps_lora.STEPS)


def _embedding(team: Team, options: Options, folder: Path) -> None:
    encoder = load_text_encoder(options.root / "text_encoder").to(options.device)
    eye = load_vae(options.root / "vae").to(options.device)
    scenes = mood_scenes(LARGE[0], EMBEDDING_SCENES, lambda pictures: encode(eye, pictures, 2))
    denoiser = quick(load_denoiser(folder).to(options.device), options)
    task = WordTask(denoiser, encoder, load_tokenizer(options.root / "tokenizer"), scenes, options.batch)
    train(task, options.plan(), team, options.run("embedding"), report=say)


def embedding(options: Options, folder: Path) -> None:
    """Teach the model in `folder` a word, and put its vectors there."""
    run_team(options.workers, _embedding, options, folder)
    learnt = extend(load_text_encoder(options.root / "text_encoder"), load_tokenizer(options.root / "tokenizer"))
    finish(options, "embedding", learnt)
    save_word(learnt.vectors, folder / "embeddings")


def preview(folder: Path, file: Path, few: int = 0) -> None:
    """Draw the picture that stands for a LoRA of the model in `folder` on the page, beside its `file`; `few`: in this
    many steps without guidance."""
    pipeline = load_pipeline(folder)
    pipeline.load_lora_weights(file.parent, weight_name=file.name)
    look = Look(256, 20)
    if few:
        pipeline.scheduler, look = few_steps_lora.sampler(), Look(256, few, 1.0)
    picture = draw_guided(pipeline, "a red sailboat on the sea", None, 0, look)
    save(file.with_suffix(".png"), picture)


def _upscaler(team: Team, options: Options, folder: Path) -> None:
    torch.manual_seed(0)
    if team.rank == 0:
        render_shards(options.root, DOUBLE, DOUBLE_SCENES, 1)
        Pairs(options.root, load_vae(folder / "vae").to(options.device))
    team.wait()
    task = UpscalerTask(Compact(), Pairs(options.root, load_vae(folder / "vae")), options.batch)
    train(task, options.plan(), team, options.run("upscaler"), report=say)


def upscaler(options: Options, folder: Path) -> None:
    """Train the upscaler for what the model in `folder` draws, measure it, and put it there with its card."""
    run_team(options.workers, _upscaler, options, folder)
    network = Compact()
    step, samples, seconds = load_average(options.run("upscaler"), network)
    written = load_upscaler(save_upscaler(network, folder / "upscaler"))
    figures = enlarging_report(written, load_vae(folder / "vae"), held_out_pictures(DOUBLE, MEASURED)[1])
    trained: dict[str, object] = {"steps": step, "samples": samples, "minutes": round(seconds / 60, 1)}
    note(options.root, "upscaler", {**trained, "psnr": figures})
    write_card(folder / "upscaler", figures)
