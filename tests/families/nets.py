"""ControlNets and T2I-Adapters for the tiny pipelines of `builders`, in the real formats, with random weights."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from safetensors.torch import save_file

from tests.families import parts


def _own(module: Any) -> dict[str, Any]:
    """Its settings without diffusers' own notes about them."""
    return {name: value for name, value in module.config.items() if not name.startswith("_")}


def _unet(pipe: Any) -> Any:
    """The VAEs of the builders halve once, so that one halving of the hint suffices too."""
    widths = tuple(16 * 2**number for number in range(len(pipe.vae.config.block_out_channels)))
    return diffusers.ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=widths)


def union_xl(pipe: Any) -> Any:
    widths = tuple(16 * 2**number for number in range(len(pipe.vae.config.block_out_channels)))
    net = diffusers.ControlNetUnionModel.from_unet(pipe.unet, conditioning_embedding_out_channels=widths)
    first = pipe.unet.config.block_out_channels[0]
    return diffusers.ControlNetUnionModel(
        **_own(net) | {"num_trans_channel": first, "num_trans_head": 2, "num_proj_channel": first}
    )


def adapter(pipe: Any) -> Any:
    """Of the kind for SDXL, for a U-Net that halves its latents at once and never again."""
    channels = list(pipe.unet.config.block_out_channels)
    halved = 2 ** len(pipe.vae.config.block_out_channels)
    return diffusers.T2IAdapter(
        in_channels=3, channels=channels, num_res_blocks=1, downscale_factor=halved, adapter_type="full_adapter_xl"
    )


def _sd3(pipe: Any) -> Any:
    settings = _own(pipe.transformer) | {"num_layers": 2, "extra_conditioning_channels": 0}
    return diffusers.SD3ControlNetModel.from_config(settings)


def sd3_repainting(pipe: Any) -> Any:
    settings = _own(pipe.transformer) | {"num_layers": 2, "extra_conditioning_channels": 1}
    return diffusers.SD3ControlNetModel.from_config(settings)


def _flux(pipe: Any, **more: Any) -> Any:
    settings = _own(pipe.transformer) | {"num_layers": 2, "num_single_layers": 1, "guidance_embeds": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # diffusers warns itself of what it imports
        return diffusers.FluxControlNetModel.from_config(settings | more)


def union_flux(pipe: Any) -> Any:
    return _flux(pipe, num_mode=7)


def hint_flux(pipe: Any) -> Any:
    """As XLabs made theirs: it reads pixels, and its answers are used over and over."""
    return _flux(pipe, conditioning_embedding_channels=16, patch_size=2, num_single_layers=0)


def _qwen(pipe: Any) -> Any:
    settings = _own(pipe.transformer) | {"num_layers": 2, "extra_condition_channels": 0}
    return diffusers.QwenImageControlNetModel.from_config(settings)


def _z_image(pipe: Any, channels: int = 16) -> Any:
    config = pipe.transformer.config
    return diffusers.ZImageControlNetModel(
        control_layers_places=[0, 1],
        control_in_dim=channels,
        **{name: config[name] for name in ("dim", "n_refiner_layers", "n_heads", "n_kv_heads")},
    )


def repainting_z_image(pipe: Any) -> Any:
    return _z_image(pipe, channels=33)


def _sana(pipe: Any) -> Any:
    settings = _own(pipe.transformer) | {"num_layers": 2}
    return diffusers.SanaControlNetModel.from_config(settings)


NETS: Final[dict[str, Callable[[Any], Any]]] = {
    "sd15": _unet,
    "sd2": _unet,
    "sdxl": _unet,
    "sd3": _sd3,
    "flux": _flux,
    "qwen-image": _qwen,
    "z-image": _z_image,
    "sana": _sana,
}


def folder(net: Any, place: Path, seed: int = 0) -> Path:
    """Its weights drawn anew where training would start at nothing."""
    torch.manual_seed(seed)
    parts.wake(net)
    net.save_pretrained(place)
    return place


def single_file(net: Any, place: Path) -> Path:
    """The same weights in one file under diffusers' names, without a word about settings."""
    place.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, place)
    return place


def says(place: Path, annotator: str) -> None:
    (place / "pochade.json").write_text(json.dumps({"annotator": annotator}))
