"""The stages of the making, each resumable: pictures, autoencoder, words, denoiser at two sizes, export."""

import json
import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from tools.mini.captions import caption
from tools.mini.data import (
    CLOSE,
    JUDGED,
    LARGE,
    PEOPLE,
    SEED,
    SIMPLE,
    SMALL,
    Latents,
    Pictures,
    encode_shards,
    map_shards,
    render_all,
    render_shards,
)
from tools.mini.export import assemble, export, load_pipeline
from tools.mini.grow import grow, is_outer
from tools.mini.judge import Judge, JudgeTask, save_judge
from tools.mini.painter import Look, Wish, draw, save, sheet
from tools.mini.parallel import Team, run_team
from tools.mini.quick import hasten_pipeline, quicken
from tools.mini.scene import sample_held_out
from tools.mini.text import (
    Conditioner,
    Reader,
    TextTask,
    load_text_encoder,
    load_tokenizer,
    make_tokenizer,
    new_text_encoder,
    reading_report,
)
from tools.mini.train import MovingAverage, Plan, State, load_average, new_optimizer, train
from tools.mini.unet import CHANNELS as SMALL_CHANNELS
from tools.mini.unet import Focus, UnetTask, new_unet
from tools.mini.vae import VaeTask, encode, fingerprint, load_vae, new_vae, reconstruction_report, whiten

Network = TypeVar("Network", bound=nn.Module)
BUCKETS = {"small": SMALL, "large": LARGE}
CHANNELS = {"small": SMALL_CHANNELS, "large": (SMALL_CHANNELS[0], *SMALL_CHANNELS)}
# Shapes have windows; what whole pictures lack is detail, and that is decided at all steps.
FOCUS = {"small": Focus(), "large": Focus(subject=2.0, steps=(0.1, 1.5), simple=0.3, close=0.35, clear=20.0)}
EVEN = Focus(subject=0.0, steps=None)
# An outer level that saw mostly noise draws grain: strokes and edges are decided at the clearer half of the steps.
DETAIL = Focus(subject=1.0, steps=(-0.2, 1.1), simple=0.25, close=0.15, clear=20.0)
OUTER_STEPS = 200
JUDGED_SCENES = 30_000
# What is trained on the finished model brings its own figures.
OF_THE_MODEL = ("text", "reading", "vae", "psnr", "decoder", "unet-small", "unet-large")


@dataclass(frozen=True, slots=True)
class Options:
    """`batch` is per worker; `minutes` counts from the stage's first step over all its restarts; `detail`: the denoiser
    looks at strokes and edges instead of shapes."""

    root: Path = Path(".mini")
    device: str = "cpu"
    workers: int = 2
    minutes: float = 30.0
    batch: int = 16
    learning_rate: float = 1e-3
    cooldown: float = 0.0
    ema: float = 0.999
    detail: bool = False

    def plan(self, muon: bool = False) -> Plan:
        return Plan(
            self.learning_rate,
            self.minutes,
            cooldown=self.cooldown,
            ema=self.ema,
            save_minutes=2.5,
            device=self.device,
            muon=muon,
        )

    def run(self, name: str) -> Path:
        return self.root / "runs" / f"{name}.pt"


def say(text: str) -> None:
    print(text, flush=True)


def note(root: Path, stage: str, figures: dict[str, object]) -> None:
    """Keep a stage's figures for the model card and the log."""
    path = root / "figures.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    root.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**kept, stage: figures}, indent=1))
    say(f"{stage}: {figures}")


def conditioner(options: Options) -> Conditioner:
    """The words, frozen, for training."""
    words = load_text_encoder(options.root / "text_encoder").to(options.device)
    return Conditioner(load_tokenizer(options.root / "tokenizer"), words)


def finish(options: Options, name: str, model: nn.Module, seen: str = "samples") -> dict[str, object]:
    """Put the averaged parameters of the run `name` into `model`; notes and returns how long it was trained."""
    step, samples, seconds = load_average(options.run(name), model)
    figures: dict[str, object] = {"steps": step, seen: samples, "minutes": round(seconds / 60, 1)}
    note(options.root, name, figures)
    return figures


def data(options: Options, size: str, count: int) -> None:
    """Render `count` pictures of all kinds of scenes, half as many of simple ones and a quarter of people; of the large
    size as many windows around subjects, too."""
    render_all(options.root, BUCKETS[size], count, options.workers)
    render_shards(options.root, SIMPLE[size], count // 2, options.workers)
    render_shards(options.root, PEOPLE[size], count // 4, options.workers)
    if size == "large":
        for bucket in CLOSE:
            render_shards(options.root, bucket, count // 2, options.workers)


def _vae(team: Team, options: Options) -> None:
    torch.manual_seed(0)
    pictures = [Pictures(options.root, LARGE[0]), Pictures(options.root, SMALL[0])]
    task = VaeTask(new_vae(), pictures, options.batch)
    train(task, options.plan(), team, options.run("vae"), report=say)


def vae(options: Options) -> None:
    """Train the autoencoder, then whiten and freeze it as `vae/`; the latents of all later stages are its own."""
    frozen = options.root / "vae"
    if frozen.exists():
        return
    run_team(options.workers, _vae, options)
    model = new_vae()
    step, samples, seconds = load_average(options.run("vae"), model)
    model.eval()
    pictures = Pictures(options.root, LARGE[0])
    whiten(model, pictures.sample(200))
    note(options.root, "vae", {"steps": step, "crops": samples, "minutes": round(seconds / 60, 1)})
    note(options.root, "psnr", dict(reconstruction_report(model)))
    model.save_pretrained(frozen)


def _decoder(team: Team, options: Options) -> None:
    model = load_vae(options.root / "vae")
    model.decoder.requires_grad_(True)
    pictures = [Pictures(options.root, LARGE[0]), Pictures(options.root, SMALL[0])]
    train(VaeTask(model, pictures, options.batch), options.plan(), team, options.run("decoder"), report=say)


def decoder(options: Options) -> None:
    """Train the decoder on while the encoder stays as it is, so that all latents and denoisers remain valid."""
    run_team(options.workers, _decoder, options)
    model = load_vae(options.root / "vae")
    before = fingerprint(model)
    finish(options, "decoder", model, "crops")
    assert fingerprint(model) == before
    note(options.root, "psnr", dict(reconstruction_report(model)))
    model.save_pretrained(options.root / "vae")


def _text(team: Team, options: Options) -> None:
    torch.manual_seed(0)
    tokenizer = load_tokenizer(options.root / "tokenizer")
    task = TextTask(Reader(new_text_encoder(tokenizer)), tokenizer, options.batch)
    train(task, options.plan(), team, options.run("text"), report=say)


def text(options: Options) -> None:
    """Make the tokenizer, train the text encoder, and freeze it as `text_encoder/`."""
    frozen = options.root / "text_encoder"
    if frozen.exists():
        return
    tokenizer = make_tokenizer(options.root / "tokenizer")
    run_team(options.workers, _text, options)
    reader = Reader(new_text_encoder(tokenizer))
    finish(options, "text", reader, "captions")
    note(options.root, "reading", dict(reading_report(reader.eval(), tokenizer)))
    reader.encoder.save_pretrained(frozen)


def sources(team: Team, options: Options, size: str, people: bool = False) -> list[Latents]:
    """The latents of all buckets of `size`, or of `people` alone, made on the way where they are missing."""
    model = load_vae(options.root / "vae").to(options.device)
    encoder = fingerprint(model)
    quick(model.encoder, options)
    # A denoiser that no longer sees small pictures forgets them: they stay in, and cost little.
    every = (*BUCKETS[size], SIMPLE[size], *([SMALL[0], *CLOSE] if size == "large" else []))
    buckets = (PEOPLE[size],) if people else every
    for bucket in buckets:
        encode_shards(options.root, bucket, encoder, lambda batch: encode(model, batch), (team.rank, team.size))
    team.wait()
    return [Latents(options.root, bucket, encoder) for bucket in buckets]


def _unet(team: Team, options: Options, size: str) -> None:
    torch.manual_seed(0)
    latents = sources(team, options, size)
    condition = conditioner(options)
    grown, checkpoint = options.run("unet-grown"), options.run(f"unet-{size}")
    plan = options.plan(muon=True)
    denoiser = new_unet(CHANNELS[size])
    if size == "large" and not checkpoint.exists():
        small = new_unet(CHANNELS["small"])
        load_average(options.run("unet-small"), small)
        fresh = grow(small, torch.from_numpy(latents[0].batch(np.arange(24))))
        for name, parameter in fresh.named_parameters():
            parameter.requires_grad_(is_outer(name))
        task = UnetTask(quick(fresh, options), latents, condition, options.batch, focus=EVEN)
        train(task, replace(plan, steps=OUTER_STEPS, minutes=math.inf), team, grown, report=say)
    task = UnetTask(
        quick(denoiser, options), latents, condition, options.batch, focus=DETAIL if options.detail else FOCUS[size]
    )
    train(task, plan, team, checkpoint, start=grown if size == "large" else None, report=say)


def quick(network: Network, options: Options) -> Network:
    if options.device == "cpu":
        quicken(network)
    return network


def unet(options: Options, size: str) -> None:
    """Train the denoiser on the small pictures; or grow an outer level around it, train that, then all of it on the
    large ones."""
    run_team(options.workers, _unet, options, size)


def _judge(team: Team, options: Options) -> None:
    torch.manual_seed(0)
    map_shards(options.root, JUDGED, (team.rank, team.size))
    team.wait()
    task = JudgeTask(Judge(), Pictures(options.root, JUDGED), options.batch)
    train(task, options.plan(muon=True), team, options.run("judge"), report=say)


def judge(options: Options, folder: Path) -> None:
    """Train the network that grades the pictures, on scenes of its own, and put it into `folder`."""
    render_shards(options.root, JUDGED, JUDGED_SCENES, options.workers)
    run_team(options.workers, _judge, options)
    referee = Judge()
    _, seen, _ = load_average(options.run("judge"), referee)
    save_judge(referee, folder, seen)


def grid(options: Options, folder: Path, count: int, path: Path, look: Look) -> list[str]:
    """Draw held-out prompts 0 … `count` − 1 with the seeds of the same numbers, none left out, as one PNG at `path`."""
    rng = np.random.default_rng([SEED, 0x621D])
    scenes = [sample_held_out(rng) for _ in range(count)]
    prompts = [caption(scene, rng) for scene in scenes]
    wishes = [Wish(prompt, number) for number, prompt in enumerate(prompts)]
    pipeline = load_pipeline(folder, options.device)
    hasten_pipeline(pipeline)
    save(path, sheet(list(draw(pipeline, wishes, look)), 8))
    for number, prompt in enumerate(prompts):
        say(f"{number:2} {prompt}")
    return prompts


def write(options: Options, folder: Path, sizes: tuple[str, ...]) -> None:
    """Export the averaged weights of the last of `sizes` that has been trained, as a diffusers folder."""
    for size in sizes:
        checkpoint = options.run(f"unet-{size}")
        if checkpoint.exists():
            denoiser = new_unet(CHANNELS[size])
            finish(options, checkpoint.stem, denoiser)
    pipeline = assemble(
        load_vae(options.root / "vae"),
        load_text_encoder(options.root / "text_encoder"),
        load_tokenizer(options.root / "tokenizer"),
        denoiser.eval(),
    )
    kept = json.loads((options.root / "figures.json").read_text())
    figures = {stage: kept[stage] for stage in OF_THE_MODEL if stage in kept}
    export(pipeline, folder, facts(figures), figures)


def adopt(options: Options, folder: Path) -> None:
    """Take the exported model over as the state of all stages, so that a fresh clone trains on instead of anew.

    Raises:
        FileExistsError: there is a state already, which would be lost.
    """
    if (options.root / "vae").exists():
        raise FileExistsError(f"{options.root / 'vae'} is there already: training goes on from it.")
    figures = json.loads((folder / "training.json").read_text())
    options.root.mkdir(parents=True, exist_ok=True)
    (options.root / "figures.json").write_text(json.dumps(figures))
    shutil.copytree(folder / "tokenizer", options.root / "tokenizer")
    load_text_encoder(folder / "text_encoder").save_pretrained(options.root / "text_encoder")
    load_vae(folder / "vae").save_pretrained(options.root / "vae")
    denoiser = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.float32)
    size = next(size for size, channels in CHANNELS.items() if channels == tuple(denoiser.config["block_out_channels"]))
    done = figures[f"unet-{size}"]
    take_over(options, f"unet-{size}", denoiser, done)


def take_over(options: Options, name: str, model: nn.Module, done: dict[str, float]) -> None:
    """Make `model` the checkpoint of the run `name`, `done` being what `finish` noted of its training."""
    state = State(model, new_optimizer(model, options.plan(muon=True)), MovingAverage(model, options.ema))
    state.step, state.samples, state.seconds = int(done["steps"]), int(done["samples"]), done["minutes"] * 60
    state.save(options.run(name))


def facts(figures: dict[str, dict[str, object]]) -> dict[str, str]:
    """The lines of the model card that come from the training run."""
    decibels = figures.get("psnr", {})
    lines = {"Autoencoder, held-out scenes": ", ".join(f"{value} dB at {size}" for size, value in decibels.items())}
    for stage, name in (("unet-small", "Denoiser at 128²"), ("unet-large", "Denoiser at 256²")):
        if stage in figures:
            lines[name] = f"{figures[stage]['samples']:,} samples in {figures[stage]['minutes']} minutes"
    return lines
