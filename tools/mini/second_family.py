"""Stages of the second base model: training at both sizes, and its folder for stock diffusers."""

import json
from pathlib import Path

import torch
from diffusers import SD3Transformer2DModel

from tools.mini.flow import FlowTask, assemble_flow, new_transformer
from tools.mini.parallel import Team, run_team
from tools.mini.stages import Options, note, say, sources
from tools.mini.text import Conditioner, load_text_encoder, load_tokenizer
from tools.mini.train import load_average, train
from tools.mini.vae import load_vae


def _flow(team: Team, options: Options, size: str) -> None:
    torch.manual_seed(0)
    latents = sources(team, options, size)
    words = load_text_encoder(options.root / "text_encoder").to(options.device)
    condition = Conditioner(load_tokenizer(options.root / "tokenizer"), words)
    task = FlowTask(new_transformer(), latents, condition, options.batch)
    start = options.run("flow-small") if size == "large" else None
    train(task, options.plan(muon=True), team, options.run(f"flow-{size}"), start=start, report=say)


def flow(options: Options, size: str) -> None:
    """Train the transformer on the small pictures, or go on with the large ones."""
    run_team(options.workers, _flow, options, size)


def write_flow(options: Options, folder: Path, sizes: tuple[str, ...]) -> None:
    """Export the averaged weights of the last of `sizes` that has been trained, as a diffusers folder in fp16."""
    transformer: SD3Transformer2DModel = new_transformer()
    for size in sizes:
        checkpoint = options.run(f"flow-{size}")
        if checkpoint.exists():
            step, samples, seconds = load_average(checkpoint, transformer)
            note(options.root, checkpoint.stem, {"steps": step, "samples": samples, "minutes": round(seconds / 60, 1)})
    tokenizer = load_tokenizer(options.root / "tokenizer")
    encoder = load_text_encoder(options.root / "text_encoder")
    pipeline = assemble_flow(load_vae(options.root / "vae"), encoder, tokenizer, transformer.eval())
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    kept = json.loads((options.root / "figures.json").read_text())
    figures = {name: kept[name] for name in ("flow-small", "flow-large") if name in kept}
    (folder / "training.json").write_text(json.dumps(figures, indent=1) + "\n")
