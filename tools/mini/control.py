"""ControlNets of the embedded model: a plain convolutional copy of the denoiser's encoder that is shown a guide."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from tools.mini.data import SHARD
from tools.mini.guides import Guide
from tools.mini.text import WIDTH, Conditioner
from tools.mini.unet import Focus, Source, UnetTask

SILENT = 0.3
"""Captions left out: what the guide shows must be drawn whatever the words say."""
STRENGTH = 2.2
"""What a finished ControlNet's outputs are multiplied by: it learns the mean of what a guide may mean, and with that
pictures follow half-heartedly (docs/mini.md)."""
FOCUS = Focus(subject=2.0, steps=(0.8, 1.0), simple=0.5)


def new_control(denoiser: UNet2DConditionModel) -> ControlNetModel:
    """Its residuals fit `denoiser`. It has no attention: a guide says where, the words say what, and half the weights
    are enough for that. Three convolution widths bring the guide to a quarter of its sides, as the latents are."""
    channels = denoiser.config["block_out_channels"]
    control = ControlNetModel(
        in_channels=denoiser.config["in_channels"],
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * len(channels),
        mid_block_type="UNetMidBlock2D",
        norm_num_groups=denoiser.config["norm_num_groups"],
        cross_attention_dim=WIDTH,
        attention_head_dim=denoiser.config["attention_head_dim"],
        conditioning_embedding_out_channels=(16, 32, 64),
    )
    own = control.state_dict()
    theirs = {name: value for name, value in denoiser.state_dict().items() if name in own}
    control.load_state_dict({**own, **theirs})
    # The outputs are zero at first, so the denoiser is undisturbed whatever the guide; with a zero here too, nothing
    # behind it would learn before the outputs have.
    entry = control.controlnet_cond_embedding.conv_out
    nn.init.kaiming_normal_(entry.weight)
    return control


def begun_control(denoiser: UNet2DConditionModel, folder: Path, kind: str) -> ControlNetModel:
    """Goes on from the ControlNet of `kind` in `folder`, or else from the one for drawings, which already knows how to
    lead: a pose takes a quarter of an hour from there, and more than half of one from nothing."""
    control = new_control(denoiser)
    for known in (kind, "scribble"):
        weights = folder / "controlnet" / known / "diffusion_pytorch_model.safetensors"
        if weights.exists():
            control.load_state_dict(load_file(weights))
            strengthen(control, 1 / STRENGTH)
            break
    return control


@torch.no_grad()
def strengthen(control: ControlNetModel, times: float = STRENGTH) -> None:
    for output in (*control.controlnet_down_blocks, control.controlnet_mid_block):
        for parameter in output.parameters():
            parameter.mul_(times)


class ControlTask(UnetTask):
    """Teach `control` to lead a frozen denoiser; loss and steps are those of the denoiser's own training."""

    silent = SILENT

    def __init__(
        self,
        control: ControlNetModel,
        denoiser: UNet2DConditionModel,
        guide: Guide,
        latents: Sequence[Source],
        condition: Conditioner,
        batch: int,
    ) -> None:
        super().__init__(control, latents, condition, batch, focus=FOCUS)
        self.denoiser = denoiser.requires_grad_(False)
        self.guide = guide

    def weighed(
        self, source: Source, picked: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor | None]:
        guides, cells = zip(
            *(self.guide(source.bucket, int(i) // SHARD, int(i) % SHARD, rng) for i in picked), strict=True
        )
        pictures = torch.from_numpy(np.stack(guides)).permute(0, 3, 1, 2).float() / 255
        return torch.from_numpy(np.stack(cells)), pictures.contiguous()

    def predict(self, noisy: Tensor, times: Tensor, words: Tensor, guides: Tensor | None) -> Tensor:
        assert guides is not None
        down, middle = self.model(noisy, times, words, guides.to(noisy.device), return_dict=False)
        velocity = self.denoiser(
            noisy,
            times,
            words,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        assert isinstance(velocity, Tensor)
        return velocity
