"""Latents as the denoiser of a pipeline sees them: how a picture becomes such, and how they lie in the plane."""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers import AutoencoderDC, AutoencoderKLFlux2, AutoencoderKLQwenImage
from torch.nn import functional


def factor(vae: Any) -> int:
    """Pixels along the side of one latent, before any packing."""
    ratio = getattr(vae, "spatial_compression_ratio", None)
    return int(ratio) if ratio else 2 ** (len(vae.config.block_out_channels) - 1)


@torch.no_grad()
def encoded(vae: Any, pixels: torch.Tensor) -> torch.Tensor:
    """`pixels` (n × 3 × height × width, levels -1…1) as n × channels × rows × columns in float32 on the CPU."""
    pixels = pixels.to(vae.device, vae.dtype)
    config = vae.config
    latents: torch.Tensor
    if isinstance(vae, AutoencoderDC):
        latents = vae.encode(pixels).latent.float().cpu() * config.scaling_factor
        return latents
    if isinstance(vae, AutoencoderKLQwenImage):
        latents = vae.encode(pixels[:, :, None]).latent_dist.mode()[:, :, 0].float().cpu()
        return (latents - _column(config.latents_mean)) / _column(config.latents_std)
    latents = vae.encode(pixels).latent_dist.mode().float().cpu()
    if isinstance(vae, AutoencoderKLFlux2):
        deviation = (_column(vae.bn.running_var) + float(config.batch_norm_eps)).sqrt()
        packed: torch.Tensor = functional.pixel_unshuffle(latents, 2)
        return (packed - _column(vae.bn.running_mean)) / deviation
    shift: float = getattr(config, "shift_factor", None) or 0.0
    scale: float = config.scaling_factor
    return (latents - shift) * scale


def _column(numbers: Any) -> torch.Tensor:
    """One number for each channel."""
    return torch.as_tensor(numbers, dtype=torch.float32, device="cpu").reshape(1, -1, 1, 1)


def plane(latents: torch.Tensor, channels: int, size: tuple[int, int]) -> torch.Tensor | None:
    """1 × `channels` × rows × columns of latents that may be a sequence of tokens, each of one latent or of four.

    `size`: width and height of the drawing in pixels, whose shape the rows and columns have. None: they are foreign.
    """
    if latents.ndim == 4:
        return latents if latents.shape[1] == channels else None
    if latents.ndim != 3 or latents.shape[-1] not in (channels, 4 * channels):
        return None
    tokens = latents.shape[1]
    columns = round(size[0] * math.sqrt(tokens / (size[0] * size[1])))
    if columns == 0 or tokens % columns:
        return None
    grid = latents[:1].transpose(1, 2).reshape(1, -1, tokens // columns, columns)
    return grid if grid.shape[1] == channels else functional.pixel_shuffle(grid, 2)
