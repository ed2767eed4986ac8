"""Latents → a small picture without the VAE: colour is nearly a linear function of the latent channels."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    Ideogram4Transformer2DModel,
)
from PIL import Image
from torch.nn import functional

from studio.diffusion import latents as latents_of

LONGEST: Final = 512
FRAME: Final = 128
_SMALL: Final = 24
_KNOWN: Final = (AutoencoderKL, AutoencoderKLFlux2, AutoencoderKLQwenImage, AutoencoderDC)


@dataclass(frozen=True, slots=True)
class Preview:
    """`latents · matrix + bias` is RGB in 0…1; latents as the denoiser sees them. `matrix`: channels × 3, `bias`: 3."""

    matrix: torch.Tensor
    bias: torch.Tensor

    def picture(self, latents: torch.Tensor) -> Image.Image:
        """`latents`: 1 × channels × height × width, on any device, in any precision."""
        flat = latents[0].detach().to("cpu", torch.float32).permute(1, 2, 0)
        rgb = torch.addmm(self.bias, flat.reshape(-1, flat.shape[-1]), self.matrix)
        levels = rgb.nan_to_num_().clamp_(0, 1).mul_(255).round_().to(torch.uint8)
        return Image.frombytes("RGB", (flat.shape[1], flat.shape[0]), levels.numpy().tobytes())


def jpeg(picture: Image.Image, width: int, height: int, longest: int) -> bytes:
    """`picture`, small or large, at the size of a `width` × `height` picture shrunk to `longest` pixels."""
    scale = min(1.0, longest / max(width, height))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    out = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(out, "JPEG", quality=85)
    return out.getvalue()


def of(pipe: Any, folder: Path) -> Preview | None:
    """The preview stated in the folder's `preview.json`, or one fitted to its VAE; None where neither makes sense."""
    vae = getattr(pipe, "vae", None)
    channels = getattr(getattr(vae, "config", None), "latent_channels", 0)
    stated = _stated(folder / "preview.json", channels)
    if stated is not None:
        return stated
    unet = getattr(pipe, "unet", None)
    if unet is not None and unet.config.in_channels not in (channels, 2 * channels + 1):
        return None  # foreign latents
    own = isinstance(
        getattr(pipe, "transformer", None), Ideogram4Transformer2DModel
    )  # in an order and scale of its own
    return None if own or not isinstance(vae, _KNOWN) else fit(vae)


def _stated(file: Path, channels: int) -> Preview | None:
    try:
        facts = json.loads(file.read_text("utf-8"))
        matrix = torch.tensor(facts["matrix"], dtype=torch.float32)
        bias = torch.tensor(facts["bias"], dtype=torch.float32)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    fits = matrix.shape == (channels, 3) and bias.shape == (3,)
    return Preview(matrix, bias) if fits and bool(torch.isfinite(matrix).all() and torch.isfinite(bias).all()) else None


@torch.no_grad()
def fit(vae: Any) -> Preview:
    """Least squares between the colours of a chart and the latents the VAE makes of it: one small encoding."""
    source = torch.Generator("cpu").manual_seed(0)
    factor = latents_of.factor(vae)
    cells = _SMALL if factor <= 8 else _SMALL // 2  # along the side of the chart
    patches = torch.rand((1, 3, cells // 3, cells // 3), generator=source) * 2 - 1
    washes = torch.rand((1, 3, cells // 6, cells // 6), generator=source) * 2 - 1
    whole = (cells * factor, cells * factor)
    chart = functional.interpolate(patches, whole, mode="nearest")
    chart = torch.cat([chart, functional.interpolate(washes, whole, mode="bilinear")]).clamp(-1, 1)
    kept = vae.dtype
    in_full = kept == torch.float16 and bool(getattr(vae.config, "force_upcast", False))
    try:
        if in_full:
            vae.to(torch.float32)
        latents = latents_of.encoded(vae, chart)
    finally:
        if in_full:
            vae.to(kept)
    colours = functional.interpolate(chart, latents.shape[-2:], mode="area") / 2 + 0.5
    known = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    known = torch.cat([known, torch.ones(len(known), 1)], dim=1)
    solved = torch.linalg.lstsq(known, colours.permute(0, 2, 3, 1).reshape(-1, 3)).solution.nan_to_num()
    return Preview(solved[:-1].contiguous(), solved[-1].contiguous())
