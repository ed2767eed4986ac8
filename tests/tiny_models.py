"""Stable Diffusion folders with random weights, a few hundred kilobytes each: real architecture, no picture in them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from studio.diffusion import load


def tokenizer() -> CLIPTokenizer:
    """One token per byte-level character, which is enough to tell prompts from each other."""
    characters = [chr(code) for code in range(33, 127)]
    words = [*characters, *(c + "</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def stable_diffusion(
    folder: Path,
    *,
    seed: int = 0,
    prediction: str = "epsilon",
    native: int = 64,
    dtype: torch.dtype = torch.float16,
    channels: int = 4,
    width: int = 32,
    **save: bool,
) -> Path:
    """Write a factor-4 Stable Diffusion 1.x pipeline folder with `native`² pixels and random weights.

    `width` is that of the words: 768 makes the textual inversions of Stable Diffusion 1.x fit.
    Nine `channels` make it an inpainting checkpoint, saved as the pipeline such checkpoints come as.
    """
    load.quiet()
    torch.manual_seed(seed)
    words = tokenizer()
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=width,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            projection_dim=width,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=native // 4,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=native,
        layers_per_block=1,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )
    scheduler = DPMSolverMultistepScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, prediction_type=prediction
    )
    kind = StableDiffusionInpaintPipeline if channels == 9 else StableDiffusionPipeline
    pipe = kind(
        vae=vae,
        text_encoder=text,
        tokenizer=words,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(dtype=dtype)
    pipe.save_pretrained(folder, **save)
    return folder


def card(folder: Path, **facts: object) -> None:
    """State in `pochade.json` how the model of `folder` is best used."""
    (folder / "pochade.json").write_text(json.dumps(facts))
