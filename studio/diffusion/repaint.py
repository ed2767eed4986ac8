"""Repainting part of a picture: what the stock inpainting pipelines are given, and what happens after each step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from studio.canvas import Canvas, pooled
from studio.diffusion.load import Model
from studio.errors import BadRequest
from studio.request import Start

#: How much of a pixel must be free to change for it to start from noise: what is only touched keeps its own start.
_NEARLY_ALL = 0.9


class Repaint:
    """One call of an inpainting pipeline.

    A mask is cut to whole latents, each of which is free as soon as one of its pixels is. With `soft` the grey of the
    mask is a time rather than an opacity (differential diffusion): see `free`.

    Raises:
        BadRequest: this model cannot start or fade so.
    """

    def __init__(
        self,
        model: Model,
        pipe: Any,
        canvas: Canvas,
        start: Start,
        soft: bool,
        steps: int,
        generator: torch.Generator,
    ) -> None:
        title = model.spec.title
        if start in ("noise", "nothing") and not hasattr(pipe, "unet"):
            raise BadRequest(f"{title} cannot start from latent {start}; start from the original or a blur.")
        if soft and "mask" not in pipe._callback_tensor_inputs:
            raise BadRequest(f"{title} cannot follow a soft mask; turn soft masks off.")
        self._pipe = pipe
        factor = int(pipe.vae_scale_factor)
        width, height = canvas.size
        grey = np.asarray(pooled(canvas.mask(), (width // factor, height // factor)), np.float32) / 255
        self._change = torch.from_numpy(grey)
        self._soft = soft
        self._blend: tuple[torch.Tensor, torch.Tensor] | None = None
        now = free(self._change, 0, steps) if soft and not model.repaints else self._change > 0
        image: object = canvas.part(smeared=start == "blur")
        self.arguments: dict[str, object] = {"image": image, "mask_image": _in_blocks(now, canvas.size)}
        if start in ("noise", "nothing"):
            self._start_anew(model, canvas, start, generator)
        if soft and model.repaints:
            # A nine-channel pipeline hands the known part to the denoiser and blends nothing itself.
            original = self._encoded(canvas.part(), generator)
            self._blend = original, _noise(original, generator)
        if soft:
            self.arguments["callback_on_step_end_tensor_inputs"] = ["latents", "mask"]

    def on_step_end(self, evaluation: int, tensors: dict[str, Any]) -> dict[str, Any]:
        """What changes after an evaluation of the denoiser: the mask of the next one, or the latents it will see."""
        if not self._soft:
            return {}
        total = int(self._pipe.num_timesteps)
        if self._blend is None:
            mask: torch.Tensor = tensors["mask"]
            following = free(self._change, min(evaluation + 1, total - 1), total)
            return {"mask": following.to(mask.device, mask.dtype).expand_as(mask).contiguous()}
        latents: torch.Tensor = tensors["latents"]
        original, noise = (part.to(latents.device, latents.dtype) for part in self._blend)
        if evaluation + 1 < total:
            scheduler = self._pipe.scheduler
            level = scheduler.timesteps[len(scheduler.timesteps) - total + evaluation + 1]
            original = scheduler.add_noise(original, noise, level.reshape(1))
        return {"latents": torch.where(free(self._change, evaluation, total).to(latents.device), latents, original)}

    def _start_anew(self, model: Model, canvas: Canvas, start: Start, generator: torch.Generator) -> None:
        part = canvas.part()
        latents = self._encoded(part, generator)
        anew = (self._change >= _NEARLY_ALL if self._soft else self._change > 0).to(latents.device)
        filling = _noise(latents, generator) if start == "noise" else torch.zeros_like(latents)
        self.arguments["image"] = torch.where(anew, filling, latents)
        if model.repaints:
            known = Image.composite(Image.new("RGB", part.size, _GREY), part, _in_blocks(self._change > 0, part.size))
            latents = self._encoded(known, generator)
        self.arguments["masked_image_latents"] = latents

    @torch.no_grad()
    def _encoded(self, picture: Image.Image, generator: torch.Generator) -> torch.Tensor:
        pixels = self._pipe.image_processor.preprocess(picture)
        pixels = pixels.to(self._pipe._execution_device, self._pipe.vae.dtype)
        latents: torch.Tensor = self._pipe._encode_vae_image(image=pixels, generator=generator)
        return latents


#: Nothing at all to a VAE, which sees levels in -1…1.
_GREY = (128, 128, 128)


def blank(width: int, height: int) -> Canvas:
    """For a model that only repaints: a picture all of which is masked."""
    size = width, height
    return Canvas(Image.new("RGB", size, _GREY), None, None, (0, 0, *size), size)


def free(change: torch.Tensor, evaluation: int, total: int) -> torch.Tensor:
    """Where the denoiser may draw at one of `total` evaluations; elsewhere the noised source is put back.

    Differential diffusion, algorithm 1 of Levin and Fried (https://arxiv.org/abs/2306.00950): a pixel that may change
    by `change` in 0…1 is released for that share of the steps, the last ones. All that is above 0 is free in the end.
    """
    return change > 1 - (evaluation + 1) / total


def _noise(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(like.shape, generator=generator, dtype=torch.float32).to(like.device, like.dtype)


def _in_blocks(mask: torch.Tensor, size: tuple[int, int]) -> Image.Image:
    """A mask of latents as a picture: the pipelines read one pixel for each."""
    return Image.fromarray(mask.numpy().astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
