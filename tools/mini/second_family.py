"""Stages of the second base model: training at both sizes, and its folder for stock diffusers."""

import json
from pathlib import Path

import torch
from diffusers import SD3Transformer2DModel

from tools.mini.export import write_preview
from tools.mini.flow import FlowTask, assemble_flow, new_transformer
from tools.mini.parallel import Team, run_team
from tools.mini.stages import Options, conditioner, finish, note, say, sources, take_over
from tools.mini.text import load_text_encoder, load_tokenizer
from tools.mini.train import train
from tools.mini.vae import load_vae

#: What the studio starts with; Defaults of studio/request.py.
RECOMMENDED = {
    "title": "Mini Flow",
    "sampler": "Euler",
    "scheduler": "Automatic",
    "steps": 20,
    "guidance": 4.0,
    "width": 256,
    "height": 256,
}
CARD = """---
license: cc0-1.0
library_name: diffusers
pipeline_tag: text-to-image
---

# mini flow

A very small text-to-image model of another family than `mini`, its sister: a flow-matching transformer in the
architecture of Stable Diffusion 3 ({million:.1f} M parameters, six layers of 192, tokens of 16 × 16 pixels), made for
Pochade so that switching between families can be tried, and tested, on a machine without any other model.

| | |
|---|---|
{table}
It shares the autoencoder, the words and the little world of `mini`, whose card lists them. Stock
`StableDiffusion3Pipeline` and its siblings load it with `text_encoder_3=None, tokenizer_3=None`: there is no T5, and
the second CLIP is a table of random codes. Native sizes are 256 × 256, 320 × 192 and 192 × 320, sides multiples of
16; guidance 3 to 5, 20 steps of Euler.

## Limits

Those of its sister, and more: it was trained for a fraction of the time. Colours, backgrounds, times and several
styles follow the words; subjects are patches of their colour in their place. No LoRA, ControlNet or embedding fits
it.

## Where it comes from

All training pictures are drawn by the program in `tools/mini` of the Pochade repository; no other pictures, texts or
weights went in. Remake it with `python -m tools.mini flow`. Weights and card are in the public domain (CC0-1.0).
"""


def _flow(team: Team, options: Options, size: str) -> None:
    torch.manual_seed(0)
    latents = sources(team, options, size)
    task = FlowTask(new_transformer(), latents, conditioner(options), options.batch)
    start = options.run("flow-small") if size == "large" else None
    train(task, options.plan(muon=True), team, options.run(f"flow-{size}"), start=start, report=say)


def flow(options: Options, size: str) -> None:
    """Train the transformer on the small pictures, or go on with the large ones."""
    run_team(options.workers, _flow, options, size)


def adopt_flow(options: Options, folder: Path) -> None:
    """Take the exported second model over, so that a fresh clone trains it on; `stages.adopt` comes first."""
    transformer = SD3Transformer2DModel.from_pretrained(folder / "transformer", torch_dtype=torch.float32)
    done = json.loads((folder / "training.json").read_text())
    for name, figures in done.items():
        note(options.root, name, figures)
    take_over(options, "flow-large", transformer, done["flow-large"])


def write_flow(options: Options, folder: Path, sizes: tuple[str, ...]) -> None:
    """Export the averaged weights of the last of `sizes` that has been trained, as a diffusers folder in fp16."""
    transformer = new_transformer()
    for size in sizes:
        if options.run(f"flow-{size}").exists():
            finish(options, f"flow-{size}", transformer)
    words, eye = load_text_encoder(options.root / "text_encoder"), load_vae(options.root / "vae")
    tokenizer = load_tokenizer(options.root / "tokenizer")
    pipeline = assemble_flow(eye, words, tokenizer, transformer.eval())
    million = sum(parameter.numel() for parameter in transformer.parameters()) / 1e6
    folder.mkdir(parents=True, exist_ok=True)
    write_preview(folder, eye)
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    kept = json.loads((options.root / "figures.json").read_text())
    figures = {name: kept[name] for name in ("flow-small", "flow-large") if name in kept}
    (folder / "pochade.json").write_text(json.dumps(RECOMMENDED, indent=1) + "\n")
    (folder / "training.json").write_text(json.dumps(figures, indent=1) + "\n")
    sides = {"flow-small": "128²", "flow-large": "256²"}
    rows = [
        f"| At {sides[name]} | {done['samples']:,} samples in {done['minutes']} minutes |\n"
        for name, done in figures.items()
    ]
    (folder / "README.md").write_text(CARD.format(million=million, table="".join(rows)))
