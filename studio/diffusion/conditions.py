"""Maps as ControlNets read them: pixels for those of U-Nets, latents for those of transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import (
    FluxControlNetModel,
    QwenImageControlNetModel,
    SanaControlNetModel,
    SD3ControlNetModel,
    T2IAdapter,
    ZImageControlNetModel,
)
from PIL import Image
from torch import Tensor

from studio import control, control_maps
from studio.annotators import Kind
from studio.canvas import Canvas
from studio.diffusion.load import Model
from studio.diffusion.steering import Guide, Guided
from studio.errors import BadRequest
from studio.geometry import Size
from studio.request import ControlUnit, ResolvedRequest

#: Makes the map of a unit for a drawing of that size.
Trace = Callable[[ControlUnit, Size], Image.Image]


@dataclass(frozen=True, slots=True)
class Map:
    """`made` has the size of what is drawn; `kind` says what is seen on it."""

    unit: ControlUnit
    net: Any
    made: Image.Image
    kind: Kind


def maps(model: Model, request: ResolvedRequest, canvas: Canvas | None, trace: Trace) -> tuple[Map, ...]:
    """A guide covers the whole result; of what is drawn alone, its part.

    Raises:
        StudioError: one cannot be made.
    """
    found = []
    for unit in request.controls:
        if unit.idle:
            continue
        assert unit.model is not None, "plan.resolve names one"
        size = (request.width, request.height) if canvas is None else canvas.picture.size
        made = trace(unit, size)
        if canvas is not None and (canvas.box, canvas.size) != ((0, 0, *size), size):
            made = made.crop(canvas.box).resize(canvas.size, Image.Resampling.BILINEAR)
        found.append(Map(unit, model.controls[unit.model], made, control.kind_of(unit) or control_maps.looks(made)))
    return tuple(found)


def steer(pipe: Any, followed: Sequence[Map], canvas: Canvas | None) -> Guided:
    """Let the maps guide the denoiser of `pipe`, a view of one round's own.

    Raises:
        BadRequest, ModelError: it cannot follow them.
    """
    guides = [Guide(one.unit, one.net, of(pipe, one.net, one.made, canvas), one.kind) for one in followed]
    name = "unet" if hasattr(pipe, "unet") else "transformer"
    guided = Guided(getattr(pipe, name), pipe, guides)
    setattr(pipe, name, guided)
    return guided


@torch.no_grad()
def of(pipe: Any, net: Any, made: Image.Image, canvas: Canvas | None) -> Tensor:
    """What `net` is given of the map `made`, which has the size of the drawing. `canvas`: what is being repainted.

    Raises:
        BadRequest: it cannot be followed at this size, or without a mask.
    """
    place = pipe._execution_device
    if isinstance(net, T2IAdapter):
        return _for_adapter(net, made).to(place, net.dtype)
    if isinstance(net, SD3ControlNetModel):
        return _for_sd3(pipe, net, made, canvas).to(place, net.dtype)
    if isinstance(net, FluxControlNetModel):
        if net.input_hint_block is not None:
            pixels: Tensor = pipe.image_processor.preprocess(_hinted(made, 3, pipe))
            return pixels.to(place, net.dtype)
        return _packed(pipe, _scaled(pipe, _encoded(pipe, made))).to(place, net.dtype)
    if isinstance(net, QwenImageControlNetModel):
        return _for_qwen(pipe, net, made, canvas).to(place, net.dtype)
    if isinstance(net, ZImageControlNetModel):
        return _for_z_image(pipe, net, made, canvas).to(place, net.dtype)
    if isinstance(net, SanaControlNetModel):
        return _scaled(pipe, _encoded(pipe, made), shifted=False).to(place, net.dtype)
    widths = net.config.conditioning_embedding_out_channels
    return _pixels(_hinted(made, len(widths) - 1, pipe)).to(place, net.dtype)


def _hinted(made: Image.Image, halved: int, pipe: Any) -> Image.Image:
    """At the size that comes to that of the latents when `net` has halved it so often; usually its own."""
    times: float = 2**halved / pipe.vae_scale_factor
    if times == 1:
        return made
    return made.resize((round(made.width * times), round(made.height * times)), Image.Resampling.BILINEAR)


def _pixels(made: Image.Image) -> Tensor:
    """1 × channels × height × width, 0…1."""
    levels = np.asarray(made, np.float32) / 255
    return torch.from_numpy(levels if levels.ndim == 3 else levels[..., None]).permute(2, 0, 1)[None]


def _for_adapter(net: T2IAdapter, made: Image.Image) -> Tensor:
    step = net.total_downscale_factor
    if made.width % step or made.height % step:
        raise BadRequest(
            f"A T2I-Adapter needs sides that are multiples of {step}; choose such a size, or a ControlNet."
        )
    return _pixels(made.convert("L" if net.config.in_channels == 1 else "RGB"))


def _encoded(pipe: Any, picture: Image.Image) -> Tensor:
    """Its latents, without chance in them: a guide changes nothing but what it guides."""
    pixels = pipe.image_processor.preprocess(picture)
    pixels = pixels.to(pipe._execution_device, pipe.vae.dtype)
    if hasattr(pipe.vae, "temperal_downsample"):  # made for films: one frame
        pixels = pixels.unsqueeze(2)
    encoded = pipe.vae.encode(pixels)
    latents: Tensor = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latent
    return latents


def _scaled(pipe: Any, latents: Tensor, *, shifted: bool = True) -> Tensor:
    shift = (pipe.vae.config.shift_factor or 0.0) if shifted else 0.0
    scaled: Tensor = (latents - shift) * pipe.vae.config.scaling_factor
    return scaled


def _packed(pipe: Any, latents: Tensor) -> Tensor:
    channels, height, width = latents.shape[-3:]
    packed: Tensor = pipe._pack_latents(latents, len(latents), channels, height, width)
    return packed


def _for_sd3(pipe: Any, net: Any, made: Image.Image, canvas: Canvas | None) -> Tensor:
    shifted = not net.config.force_zeros_for_pooled_projection  # InstantX trained theirs without the shift
    if not net.config.extra_conditioning_channels:
        return _scaled(pipe, _encoded(pipe, made), shifted=shifted)
    kept, known = _repainted(net, canvas)
    latents = _scaled(pipe, _encoded(pipe, kept))
    return torch.cat([latents, _shrunk(known, latents)], dim=1)


def _for_qwen(pipe: Any, net: Any, made: Image.Image, canvas: Canvas | None) -> Tensor:
    config = pipe.vae.config
    extra = bool(net.config.extra_condition_channels)
    kept, known = _repainted(net, canvas) if extra else (made, None)
    latents = _encoded(pipe, kept)
    mean, deviation = (
        torch.tensor(values).view(1, config.z_dim, 1, 1, 1).to(latents)
        for values in (config.latents_mean, config.latents_std)
    )
    latents = (latents - mean) / deviation
    if known is not None:
        latents = torch.cat([latents, _shrunk(known, latents[:, :, 0])[:, :, None]], dim=1)
    return _packed(pipe, latents.permute(0, 2, 1, 3, 4))


def _for_z_image(pipe: Any, net: Any, made: Image.Image, canvas: Canvas | None) -> Tensor:
    latents = _scaled(pipe, _encoded(pipe, made))
    room = net.config.control_in_dim - latents.shape[1]
    if room and canvas is not None and canvas.change is not None:
        kept, known = _repainted(net, canvas, ground=128)
        original = _scaled(pipe, _encoded(pipe, kept))
        latents = torch.cat([latents, _shrunk(known, latents), original], dim=1)
    elif room:
        latents = torch.cat([latents, latents.new_zeros(len(latents), room, *latents.shape[2:])], dim=1)
    return latents.unsqueeze(2)


def _repainted(net: Any, canvas: Canvas | None, ground: int = 0) -> tuple[Image.Image, Image.Image]:
    """The picture without what is masked, and where it is known.

    Raises:
        BadRequest: there is no mask.
    """
    if canvas is None or canvas.change is None:
        raise BadRequest("This ControlNet was made to repaint; add a picture and a mask, or choose another one.")
    masked = canvas.mask().point([255 if level > 127 else 0 for level in range(256)])
    kept = canvas.part()
    kept.paste((ground, ground, ground), mask=masked)
    return kept, masked.point([255 - level for level in range(256)])


def _shrunk(known: Image.Image, latents: Tensor) -> Tensor:
    """1 where the picture is known, a number for each latent."""
    pixels = _pixels(known).to(latents)
    return torch.nn.functional.interpolate(pixels, size=latents.shape[-2:])
