"""A denoiser of small pictures grows an outer level, and becomes one of pictures twice as wide and high.

The shapes a denoiser has learnt at 128² are tied to its levels: at 256² each level would have to draw things twice as
large, in cells. So the trained levels stay at the sizes they know, one new level around them takes the fine cells, and
what lies between is fitted so that the inner levels see what they have always seen.
"""

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from tools.mini.unet import SCHEDULE, new_unet

OUTER = ("conv_in.", "down_blocks.0.", "up_blocks.4.", "up_blocks.3.upsamplers.", "conv_norm_out.", "conv_out.")
"""Where the parameters of the new level are, in a grown denoiser of five levels."""
SCALE = 1.75
"""Halving a noisy picture halves its noise but not its content; about this factor makes it a noisy picture again."""


def is_outer(name: str) -> bool:
    return name.startswith(OUTER)


def clearer_steps() -> Tensor:
    """For every step t (1000), the step whose noise is as strong as that of step t after halving the picture."""
    alphas = DDPMScheduler(**SCHEDULE).alphas_cumprod.double()
    halved = 4 * alphas / (1 + 3 * alphas)  # the signal-to-noise ratio is four times as high
    steps = np.interp(-halved.numpy(), -alphas.numpy(), np.arange(len(alphas), dtype=np.float64))
    return torch.from_numpy(steps).float()


def grow(small: UNet2DConditionModel, latents: Tensor) -> UNet2DConditionModel:
    """A denoiser with one more level than `small`, which acts on large pictures as `small` does on the same halved.

    `latents` (N, 4, H, W) of large pictures are what the connection is fitted on.
    """
    channels = small.config["block_out_channels"]
    grown = new_unet((channels[0], *channels))
    inner = {
        name.replace(f"down_blocks.{level}.", f"down_blocks.{level + 1}.") if "down_blocks" in name else name: value
        for name, value in small.state_dict().items()
        for level in ([int(name.split(".")[1])] if "down_blocks" in name else [0])
    }
    grown.load_state_dict({**grown.state_dict(), **inner})
    for block, index in ((grown.down_blocks[0], 0), (grown.up_blocks[-1], 0), (grown.up_blocks[-1], 1)):
        _pass_through(block.resnets[index])
    _fit_steps(grown.time_embedding, small)
    _fit_entry(grown.down_blocks[0].downsamplers[0], small, latents)
    _smooth(grown.up_blocks[-2].upsamplers[0])
    return grown


@torch.no_grad()
def _pass_through(resnet: nn.Module) -> None:
    """Make a residual block return its first channels as they came in."""
    assert isinstance(resnet, ResnetBlock2D)
    nn.init.zeros_(resnet.conv2.weight)
    nn.init.zeros_(resnet.conv2.bias)
    if resnet.conv_shortcut is not None:
        nn.init.zeros_(resnet.conv_shortcut.weight)
        nn.init.zeros_(resnet.conv_shortcut.bias)
        outputs = resnet.conv_shortcut.weight.shape[0]
        resnet.conv_shortcut.weight[:, :outputs, 0, 0] = torch.eye(outputs)


@torch.no_grad()
def _smooth(upsampler: nn.Module) -> None:
    """After repeating every cell 2×2: each channel for itself, without the steps between cells."""
    assert isinstance(upsampler, Upsample2D)
    nn.init.zeros_(upsampler.conv.weight)
    nn.init.zeros_(upsampler.conv.bias)
    blur = torch.tensor([0.25, 0.5, 0.25])
    for channel in range(upsampler.conv.weight.shape[0]):
        upsampler.conv.weight[channel, channel] = blur[:, None] * blur


def _fit_steps(embedding: TimestepEmbedding, small: UNet2DConditionModel, rounds: int = 600) -> None:
    """Train `embedding` to say of step t what the small denoiser says of the step as clear as t is when halved."""
    with torch.no_grad():
        times = small.time_proj(torch.arange(1000))
        wanted = small.time_embedding(small.time_proj(clearer_steps()))
    optimizer = torch.optim.Adam(embedding.parameters(), 3e-3)
    for left in range(rounds, 0, -1):
        optimizer.param_groups[0]["lr"] = 3e-3 * left / rounds
        optimizer.zero_grad()
        F.mse_loss(embedding(times), wanted).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@torch.no_grad()
def _fit_entry(entry: nn.Module, small: UNet2DConditionModel, latents: Tensor) -> None:
    """Least squares: from the outer level's features to what the small denoiser's first layer makes of the half."""
    assert isinstance(entry, Downsample2D)
    convolution = entry.conv
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.bias is not None
    alphas = DDPMScheduler(**SCHEDULE).alphas_cumprod
    generator = torch.Generator().manual_seed(0)
    steps = torch.linspace(300, 950, len(latents)).long()
    alpha = alphas[steps].view(-1, 1, 1, 1)
    noise = torch.randn(latents.shape, generator=generator)
    noisy = alpha.sqrt() * latents.float() + (1 - alpha).sqrt() * noise
    features = F.unfold(small.conv_in(noisy), 3, padding=1, stride=2).transpose(1, 2)
    wanted = small.conv_in(SCALE * F.avg_pool2d(noisy, 2)).flatten(2).transpose(1, 2)
    rows = torch.cat([features, torch.ones_like(features[..., :1])], 2).flatten(0, 1).double()
    gram = rows.T @ rows
    gram += 1e-4 * gram.diagonal().mean() * torch.eye(len(gram))
    solution = torch.linalg.solve(gram, rows.T @ wanted.flatten(0, 1).double()).float()
    convolution.weight.copy_(solution[:-1].T.reshape(convolution.weight.shape))
    convolution.bias.copy_(solution[-1])
