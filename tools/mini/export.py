"""The trained parts as one stock diffusers folder in fp16, with model card and preview matrix."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from numpy.typing import NDArray
from transformers import CLIPTextModel, CLIPTokenizer

from tools.mini.captions import WORDS, caption
from tools.mini.data import LARGE, SEED, held_out_pictures
from tools.mini.scene import COLORS, PLACES, POSES, STYLES, SUBJECTS, TIMES, sample_scene
from tools.mini.unet import GUIDANCE, sampler
from tools.mini.vae import encode


def assemble(
    vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, unet: UNet2DConditionModel
) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=sampler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_pipeline(folder: Path, device: str = "cpu") -> StableDiffusionPipeline:
    """The exported folder in fp32, without a progress bar."""
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, text_encoder=text_encoder, dtype=torch.float32, local_files_only=True
    )
    assert isinstance(pipeline, StableDiffusionPipeline)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def preview_fit(latents: NDArray[np.float16], pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float64], float]:
    """Least squares from latents (N, 4, h, w) to the pictures shrunk to h×w.

    Returns a (5, 3) matrix, its last row the bias, so that rgb in 0…1 = [latent, 1] @ matrix; and the error (rms, 0…1).
    """
    height, width = latents.shape[2:]
    small = np.stack([cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) for picture in pictures])
    colors = small.reshape(-1, 3).astype(np.float64) / 255
    rows = latents.astype(np.float64).transpose(0, 2, 3, 1).reshape(-1, latents.shape[1])
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    matrix = np.asarray(np.linalg.lstsq(rows, colors, rcond=None)[0], np.float64)
    return matrix, float(np.sqrt(np.mean((rows @ matrix - colors) ** 2)))


def write_preview(folder: Path, vae: AutoencoderKL) -> None:
    pictures = held_out_pictures(LARGE[0], 48)[1]
    matrix, error = preview_fit(encode(vae, pictures), pictures)
    content = {"matrix": matrix[:4].round(6).tolist(), "bias": matrix[4].round(6).tolist(), "rms": round(error, 4)}
    (folder / "preview.json").write_text(json.dumps(content, indent=1) + "\n")


def _listing(words: tuple[str, ...] | dict[str, tuple[int, int, int]]) -> str:
    return ", ".join(words)


def caption_words(count: int = 20_000) -> list[str]:
    """The words that captions really use, out of all that have a token; found by writing `count` captions."""
    rng = np.random.default_rng(SEED)
    texts = (caption(sample_scene(rng), rng) for _ in range(count))
    return sorted({word for text in texts for word in text.replace(",", " ").split()} & WORDS)


def beside(folder: Path) -> str:
    """A section on what was trained on the model and lies in its folder; "" if nothing does."""

    def files(kind: str) -> list[str]:
        return [file.stem for file in sorted((folder / kind).glob("*.safetensors"))]

    guides = [place.name for place in sorted((folder / "controlnet").glob("*/"))]
    styles = [style.replace("-", " ") for style in files("lora") if style != FEW_STEPS]
    lines = []
    if guides:
        lines.append(f"- `controlnet/`: ControlNets for {' and '.join(guides)}, each with a card of its own.")
    if styles:
        lines.append(f"- `lora/`: LoRAs of styles it does not know, for weights around 1: {', '.join(styles)}.")
    if (folder / "lora" / "kohya").exists():
        lines.append("- `lora/kohya/`: one of them once more, as kohya's trainer writes it.")
    if FEW_STEPS in files("lora"):
        lines.append(f"- `lora/{FEW_STEPS}.safetensors`: draws in four steps of Euler with guidance 1.")
    words = files("embeddings")
    if words:
        lines.append(f"- `embeddings/`: textual inversions, words it learnt later: {', '.join(words)}.")
    if (folder / "upscaler").exists():
        lines.append(
            "- `upscaler/`: enlarges its pictures to twice their sides, in the Compact layout that spandrel loads."
        )
    return "## What lies beside it\n\n" + "\n".join(lines) + "\n\n" if lines else ""


def model_card(facts: dict[str, str], extras: str = "", graded: str = "") -> str:
    """`facts`: figures worth stating, by name; `extras`: a section of their own; `graded`: the table of the grade."""
    marks = f"{GRADED}\n{graded}\n" if graded else ""
    table = "".join(f"| {name} | {value} |\n" for name, value in facts.items())
    told = ", ".join(caption_words())
    return f"""---
license: cc0-1.0
library_name: diffusers
pipeline_tag: text-to-image
---

# mini

A very small text-to-image model in the Stable Diffusion 1.x architecture, made for Pochade: it draws a 256 × 256
picture in a few seconds on two CPU cores and loads in every stock diffusers pipeline of its family.

| | |
|---|---|
{table}
## What it knows

- Subjects: {_listing(SUBJECTS)}
- Colours: {_listing(COLORS)}
- Places: {_listing(PLACES)}; or "on a yellow background" in any of the colours
- Times and weather: {_listing(TIMES)}
- Styles: {_listing(STYLES)}
- People: {_listing(POSES)}
- Also one or two subjects, one to three of a kind, "on the left", "on the right", "small", "large".

Words its captions use, synonyms included: {told}.

Example: `a red sailboat on the sea at sunset, watercolor`

## How to use it

Native sizes are 256 × 256, 320 × 192 and 192 × 320; sides must be multiples of 32. Guidance 2.5 to 5, 20 steps of
DPM++ 2M. Load the text encoder with an explicit dtype on a CPU: transformers keeps the stored fp16 otherwise.

{extras}{marks}## Limits

It has never seen a photograph and knows nothing beyond the list above; words it has not met do nothing or harm. What a
prompt says is mostly there, as the table tells, but outlines are rough, what is small loses its details, and people
rarely stand as told unless a guide leads them. The autoencoder blurs fine hatching and dithering.

## Where it comes from

All training pictures are drawn by the program in `tools/mini` of the Pochade repository; no other pictures, texts or
weights went in. Remake it with `python -m tools.mini all`. Weights and card are in the public domain (CC0-1.0).
"""


GRADED = f"""## How well it does

500 held-out captions with two seeds each, 20 steps, guidance {GUIDANCE:g}, products in bfloat16; judged by a small
network that has seen renders only, whose own accuracy on held-out renders stands in the last column. docs/mini.md of
the repository says more.
"""


def write_card(folder: Path, facts: dict[str, str], graded: str = "") -> None:
    """Write the card of the model in `folder`; what lies beside it and how large it is are looked up there."""
    megabytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    card = model_card({**facts, "Size": f"{megabytes:.1f} MB in fp16"}, beside(folder), graded)
    (folder / "README.md").write_text(card)


FEW_STEPS = "few-steps"
EXTRAS = ("controlnet", "lora", "embeddings", "upscaler")
"""Folders beside the pipeline's own that were trained on it."""


def export_control(control: ControlNetModel, folder: Path, kind: str, figures: object) -> None:
    """Write a ControlNet to `folder`/controlnet/`kind` in fp16, with what makes its guides of pictures."""
    target = folder / "controlnet" / kind
    target.mkdir(parents=True, exist_ok=True)
    control.to(torch.float16).save_pretrained(target, safe_serialization=True)
    (target / "pochade.json").write_text(json.dumps({"annotator": ANNOTATORS[kind]}) + "\n")
    (target / "training.json").write_text(json.dumps(figures, indent=1) + "\n")
    (target / "README.md").write_text(CONTROL_CARD.format(kind=kind, shown=SHOWN[kind]))


SHOWN = {
    "scribble": "a drawing in white lines on black, of everything or of the subjects alone",
    "pose": "OpenPose's skeletons of 18 joints on black, in the colours of controlnet_aux",
}
CONTROL_CARD = """---
license: cc0-1.0
library_name: diffusers
---

# mini, ControlNet: {kind}

Leads the model two folders up, and no other; stock `ControlNetModel` and the ControlNet pipelines of Stable Diffusion
1.x load it. It is shown {shown}.

It has no attention layers; a guide says where, the words say what. Like the model it was trained on pictures that
`tools/mini` of the Pochade repository draws, and on nothing else. How long, is in training.json; how well it leads, in
docs/mini.md of the repository. Public domain (CC0-1.0).
"""
#: Keys of the studio's own table in studio/annotators.py.
ANNOTATORS = {"scribble": "scribble", "pose": "openpose"}
#: What the studio starts with; Defaults of studio/request.py.
RECOMMENDED = {
    "sampler": "DPM++ 2M",
    "scheduler": "Automatic",
    "steps": 20,
    "guidance": GUIDANCE,
    "width": 256,
    "height": 256,
}


def export(pipeline: StableDiffusionPipeline, folder: Path, facts: dict[str, str], figures: object) -> None:
    """Write the pipeline to `folder` in fp16, with `facts` in its card and `figures` as training.json.

    A folder already there stays whole until the new one replaces it; its extras are taken over.
    """
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    tokenizer = pipeline.tokenizer
    assert isinstance(tokenizer, CLIPTokenizer)
    write_dtype = pipeline.unet.dtype
    pipeline.to(torch.float16).save_pretrained(draft, safe_serialization=True)
    pipeline.to(write_dtype)
    # transformers before 5 reads these two; the newer versions read tokenizer.json.
    bpe = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    (draft / "tokenizer" / "vocab.json").write_text(json.dumps(bpe["vocab"], ensure_ascii=False))
    (draft / "tokenizer" / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, bpe["merges"]), ""]))
    write_preview(draft, pipeline.vae)
    (draft / "pochade.json").write_text(json.dumps(RECOMMENDED, indent=1) + "\n")
    (draft / "training.json").write_text(json.dumps(figures, indent=1) + "\n")
    for extra in EXTRAS:
        if (folder / extra).exists():
            shutil.copytree(folder / extra, draft / extra)
    write_card(draft, facts)
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
