"""The autoencoder: factor 4, four latent channels, each whitened to mean 0 and deviation 1 (`scaling_factor` 1)."""

import hashlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from numpy.typing import NDArray
from torch import Tensor, nn

from tools.mini.data import LARGE, SMALL, Bucket, Pictures, held_out_pictures
from tools.mini.train import step_noise

CHANNELS = (32, 64, 96)
LATENTS = 4
CROP = 64


def to_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3) bytes → (N, 3, H, W) floats in −1…1."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()


def to_pictures(batch: Tensor) -> NDArray[np.uint8]:
    """(N, 3, H, W) floats in −1…1 → (N, H, W, 3) bytes."""
    scaled = batch.float().clamp(-1, 1).add(1).mul(127.5).round().byte()
    return scaled.permute(0, 2, 3, 1).cpu().numpy()


def new_vae(channels: tuple[int, ...] = CHANNELS) -> AutoencoderKL:
    vae = AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1,
        latent_channels=LATENTS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=256,
        scaling_factor=1.0,
    )
    start_linear(vae)
    return vae


@torch.no_grad()
def start_linear(vae: AutoencoderKL) -> None:
    """Start as an almost linear map: average pooling down, nearest neighbour up; mean colours come out at once."""
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            module.conv2.weight.mul_(0.1)
            nn.init.zeros_(module.conv2.bias)
            if module.conv_shortcut is not None:
                nn.init.orthogonal_(module.conv_shortcut.weight)
                nn.init.zeros_(module.conv_shortcut.bias)
        if isinstance(module, (Downsample2D, Upsample2D)):
            assert isinstance(module.conv, nn.Conv2d)
            module.conv.weight.mul_(0.2)
            own = torch.arange(module.conv.out_channels)
            if isinstance(module, Downsample2D):
                module.conv.weight[own, own, :2, :2] += 0.25
            else:
                module.conv.weight[own, own, 1, 1] += 1
    assert vae.quant_conv is not None
    vae.quant_conv.weight[LATENTS:] *= 0.1
    vae.quant_conv.bias[LATENTS:] = -5.0


def slopes(batch: Tensor) -> tuple[Tensor, Tensor]:
    return batch[:, :, 1:] - batch[:, :, :-1], batch[:, :, :, 1:] - batch[:, :, :, :-1]


class VaeTask:
    """Reconstruct crops: absolute and squared error, error of the slopes (for edges), and a slight pull to N(0, 1)."""

    def __init__(self, model: AutoencoderKL, pictures: list[Pictures], batch: int, seed: int = 0) -> None:
        self.model = model
        self.pictures = pictures
        self.batch = batch
        self.seed = seed

    def samples_per_step(self) -> int:
        return self.batch

    def crops(self, step: int, rank: int) -> NDArray[np.uint8]:
        """Crops (N, 64, 64, 3), every source in equal share."""
        rng = np.random.default_rng([self.seed, step, rank])
        crops = np.empty((self.batch, CROP, CROP, 3), np.uint8)
        for index in range(self.batch):
            source = self.pictures[(step * self.batch + index) % len(self.pictures)]
            picture = source[int(rng.integers(len(source)))]
            top, left = (int(rng.integers(side - CROP + 1)) for side in picture.shape[:2])
            crops[index] = picture[top : top + CROP, left : left + CROP]
        return crops

    def prepare(self, step: int, rank: int) -> tuple[Tensor, Tensor]:
        """Crops (N, 3, 64, 64) in −1…1 and the noise for their latents."""
        cells = torch.Size((self.batch, LATENTS, CROP // 4, CROP // 4))
        return to_tensor(self.crops(step, rank)), step_noise(cells, self.seed, step, rank)

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, float]]:
        device = next(self.model.parameters()).device
        target, noise = (part.to(device) for part in batch)
        posterior = self.model.encode(target).latent_dist
        latents = posterior.mean + posterior.std * noise
        output = self.model.decode(latents).sample.float()
        absolute = (output - target).abs().mean()
        squared = (output - target).pow(2).mean()
        edges = torch.stack([(a - b).abs().mean() for a, b in zip(slopes(output), slopes(target), strict=True)]).sum()
        mean, variance, logvar = posterior.mean.float(), posterior.var.float(), posterior.logvar.float()
        divergence = 0.5 * (mean.pow(2) + variance - 1 - logvar).mean()
        # Without a loss of its own the mean colour of a cell gives way to its edges: teal turned blue, pink orange.
        cells = F.avg_pool2d(output - target, 4)
        color = 2 * cells.abs().mean() + 4 * cells.pow(2).mean()
        loss = absolute + 2 * squared + 0.5 * edges + color + 1e-4 * divergence
        figures = {"l1": absolute, "mse": squared, "cells": cells.pow(2).mean(), "kl": divergence}
        return loss, {name: value.item() for name, value in figures.items()}


@torch.no_grad()
def whiten(vae: AutoencoderKL, pictures: NDArray[np.uint8]) -> None:
    """Fold the latents' mean and deviation per channel into the 1×1 convolutions around; the output is unchanged."""
    assert vae.quant_conv is not None
    assert vae.post_quant_conv is not None
    latents = torch.cat(
        [vae.encode(to_tensor(pictures[i : i + 25])).latent_dist.mean for i in range(0, len(pictures), 25)]
    )
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    weight, bias = vae.quant_conv.weight, vae.quant_conv.bias
    weight[:LATENTS] /= deviation.view(-1, 1, 1, 1)
    bias[:LATENTS] = (bias[:LATENTS] - mean) / deviation
    bias[LATENTS:] -= 2 * deviation.log()
    back = vae.post_quant_conv.weight
    vae.post_quant_conv.bias += (back[:, :, 0, 0] * mean).sum(1)
    back *= deviation.view(1, -1, 1, 1)


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: NDArray[np.uint8], batch: int = 10) -> NDArray[np.float16]:
    """(N, H, W, 3) bytes → latent means (N, 4, H/4, W/4)."""
    device = next(vae.parameters()).device
    parts = []
    for first in range(0, len(pictures), batch):
        with torch.autocast(device.type, torch.bfloat16):
            mean = vae.encode(to_tensor(pictures[first : first + batch]).to(device)).latent_dist.mean
        parts.append(mean.float().cpu().numpy().astype(np.float16))
    return np.concatenate(parts)


@torch.no_grad()
def psnr(vae: AutoencoderKL, pictures: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB, over all pictures together, of byte pictures encoded and decoded in fp32."""
    squares = []
    for picture in pictures:
        copy = to_pictures(vae.decode(vae.encode(to_tensor(picture[None])).latent_dist.mean).sample)[0]
        squares.append(np.mean((copy.astype(np.float64) - picture) ** 2))
    return float(10 * np.log10(255**2 / np.mean(squares)))


def reconstruction_report(vae: AutoencoderKL, count: int = 32) -> dict[str, float]:
    """PSNR in dB on held-out scenes, per picture size."""
    sizes: tuple[Bucket, ...] = (LARGE[0], SMALL[0])
    return {str(size): round(psnr(vae, held_out_pictures(size, count)[1]), 2) for size in sizes}


def fingerprint(vae: AutoencoderKL, whole: bool = False) -> str:
    """Names the encoder by its weights, or the `whole`, so that what another one made is never mixed in."""
    digest = hashlib.sha256()
    for name, value in sorted(vae.state_dict().items()):
        if whole or name.startswith(("encoder.", "quant_conv.")):
            digest.update(value.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def load_vae(folder: Path) -> AutoencoderKL:
    vae = AutoencoderKL.from_pretrained(folder, dtype=torch.float32)
    assert isinstance(vae, AutoencoderKL)
    return vae.eval().requires_grad_(False)
