"""ControlNets and T2I-Adapters from their files: folders of diffusers, and single files of any naming."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import diffusers
import torch
from accelerate import init_empty_weights
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from torch import nn

from studio import catalog
from studio.diffusion import weights
from studio.diffusion.load import Model
from studio.errors import ModelError
from studio.specs import ControlNetSpec

log = logging.getLogger(__name__)

#: The classes that a folder may be of; each steers one kind of denoiser.
_CLASSES: Final[Mapping[str, str]] = {
    "ControlNetModel": "UNet2DConditionModel",
    "ControlNetUnionModel": "UNet2DConditionModel",
    "T2IAdapter": "UNet2DConditionModel",
    "SD3ControlNetModel": "SD3Transformer2DModel",
    "FluxControlNetModel": "FluxTransformer2DModel",
    "QwenImageControlNetModel": "QwenImageTransformer2DModel",
    "ZImageControlNetModel": "ZImageTransformer2DModel",
    "SanaControlNetModel": "SanaTransformer2DModel",
}


def read(spec: ControlNetSpec, model: Model) -> nn.Module:
    """In main memory. `model` is the one it shall steer: a single file says nothing of its own settings.

    Raises:
        ModelError: it is damaged, or does not fit the model.
    """
    denoiser = getattr(model.pipe, "unet", None) or getattr(model.pipe, "transformer", None)
    dtype: torch.dtype = model.pipe.vae.dtype  # in which everything computes, however the denoiser is stored
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # diffusers warns itself of what its own classes import
            net = _folder(spec, denoiser, dtype) if spec.path.is_dir() else _file(spec, denoiser)
        _check(spec, net, denoiser, model)
        steering: nn.Module = net.to(dtype).eval()
        if hasattr(model.pipe, "unet"):
            steering.to(memory_format=torch.channels_last)
        return steering
    except (torch.OutOfMemoryError, MemoryError, ModelError):
        raise
    # Every library below has its own error for a damaged file; none of them is a sentence for an artist.
    except Exception as broken:
        log.exception("The ControlNet %s cannot be used", spec.path)
        raise ModelError(
            f"The ControlNet “{spec.title}” is damaged, or not made for {model.spec.title}; choose another one."
        ) from broken


def _folder(spec: ControlNetSpec, denoiser: Any, dtype: torch.dtype) -> Any:
    config = json.loads((spec.path / "config.json").read_text("utf-8"))
    name = str(config.get("_class_name"))
    if name == "ControlNetModel" and spec.content == "union":  # as the best known of them calls itself
        name = "ControlNetUnionModel"
    if name not in _CLASSES:
        raise ModelError(f"“{spec.title}” is a {name}, which this studio cannot use.")
    if _CLASSES[name] != type(denoiser).__name__:
        raise ModelError(f"The ControlNet “{spec.title}” steers another kind of model; choose another one.")
    files = catalog.weights(spec.path)
    variant = "fp16" if files and all(".fp16" in file.name for file in files) else None
    return getattr(diffusers, name).from_pretrained(
        spec.path, dtype=dtype, variant=variant, use_safetensors=True, local_files_only=True
    )


def _file(spec: ControlNetSpec, denoiser: Any) -> Any:
    tensors = weights.read(spec.path)
    build = _BUILT.get(type(denoiser).__name__)
    if build is None:
        raise ModelError(f"{spec.title} steers no model of this kind; choose another one.")
    with init_empty_weights(include_buffers=False):
        net, tensors = build(tensors, denoiser)
    net.load_state_dict(tensors, assign=True)
    return net


def _of_unet(tensors: weights.Tensors, unet: Any) -> tuple[Any, weights.Tensors]:
    if any("body.0.resnets.0.block1.weight" in name for name in tensors):
        return _adapter(tensors)
    kind = diffusers.ControlNetUnionModel if "task_embedding" in tensors else diffusers.ControlNetModel
    tensors = weights.below(tensors, "control_model.", "")
    original = "input_hint_block.0.weight" in tensors
    if original:  # the last of them fits the hint to the width of the U-Net
        widths = [
            len(tensors[f"input_hint_block.{number}.weight"])
            for number in range(0, 16, 2)
            if f"input_hint_block.{number}.weight" in tensors
        ][:-1:2]
    else:
        last = max(int(name.split(".")[2]) for name in tensors if name.startswith("controlnet_cond_embedding.blocks."))
        widths = [len(tensors["controlnet_cond_embedding.conv_in.weight"])]
        widths += [
            len(tensors[f"controlnet_cond_embedding.blocks.{number}.weight"]) for number in range(1, last + 1, 2)
        ]
    net = kind.from_unet(unet, conditioning_embedding_out_channels=tuple(widths), load_weights_from_unet=False)
    if original:
        config = {name: net.config[name] for name in ("layers_per_block", "block_out_channels")}
        tensors = convert_controlnet_checkpoint(tensors, config)
    return net, tensors


def _adapter(tensors: weights.Tensors) -> tuple[Any, weights.Tensors]:
    prefix = "adapter." if "adapter.conv_in.weight" in tensors else ""
    first = tensors[f"{prefix}conv_in.weight"]
    xl = first.shape[1] in (256, 768)
    bodies = sorted({int(name.removeprefix(prefix).split(".")[1]) for name in tensors if f"{prefix}body." in name})
    channels = [len(tensors[f"{prefix}body.{number}.resnets.0.block1.weight"]) for number in bodies]
    net = diffusers.T2IAdapter(
        in_channels=first.shape[1] // (256 if xl else 64),
        channels=channels,
        downscale_factor=16 if xl else 8,
        adapter_type="full_adapter_xl" if xl else "full_adapter",
    )
    return net, {f"adapter.{name.removeprefix(prefix)}": tensor for name, tensor in tensors.items()}


def _count(tensors: weights.Tensors, stem: str) -> int:
    return len({name.split(".")[stem.count(".")] for name in tensors if name.startswith(stem)})


def _settings(transformer: Any) -> dict[str, Any]:
    """Without diffusers' own notes, by which it would put defaults in the place of what differs."""
    return {name: value for name, value in transformer.config.items() if not name.startswith("_")}


def _of_sd3(tensors: weights.Tensors, transformer: Any) -> tuple[Any, weights.Tensors]:
    extra = tensors["pos_embed_input.proj.weight"].shape[1] - transformer.config.in_channels
    settings = _settings(transformer) | {
        "num_layers": _count(tensors, "transformer_blocks."),
        "extra_conditioning_channels": extra,
    }
    return diffusers.SD3ControlNetModel.from_config(settings), tensors


def _of_flux(tensors: weights.Tensors, transformer: Any) -> tuple[Any, weights.Tensors]:
    modes = tensors.get("controlnet_mode_embedder.weight")
    settings = _settings(transformer) | {
        "num_layers": _count(tensors, "transformer_blocks."),
        "num_single_layers": _count(tensors, "single_transformer_blocks."),
        "num_mode": None if modes is None else len(modes),
        "guidance_embeds": any(name.startswith("time_text_embed.guidance_embedder.") for name in tensors),
    }
    return diffusers.FluxControlNetModel.from_config(settings), tensors


def _of_qwen(tensors: weights.Tensors, transformer: Any) -> tuple[Any, weights.Tensors]:
    read = tensors["controlnet_x_embedder.weight"].shape[1] - transformer.config.in_channels
    settings = _settings(transformer) | {
        "num_layers": _count(tensors, "transformer_blocks."),
        "extra_condition_channels": read // transformer.config.patch_size**2,
    }
    return diffusers.QwenImageControlNetModel.from_config(settings), tensors


def _of_z_image(tensors: weights.Tensors, transformer: Any) -> tuple[Any, weights.Tensors]:
    """Versions 1 and 2 differ in how many layers speak, and in what refines the map first."""
    config = transformer.config
    spoken = _count(tensors, "control_layers.")
    refined = "control_noise_refiner.0.after_proj.weight" in tensors
    shared = not _count(tensors, "control_noise_refiner.")
    net = diffusers.ZImageControlNetModel(
        control_layers_places=list(range(0, config.n_layers, config.n_layers // spoken))[:spoken],
        control_refiner_layers_places=list(range(config.n_refiner_layers)) if refined or shared else None,
        control_in_dim=tensors["control_all_x_embedder.2-1.weight"].shape[1] // 4,
        add_control_noise_refiner="control_noise_refiner" if refined else "control_layers" if shared else None,
        **{name: config[name] for name in ("dim", "n_refiner_layers", "n_heads", "n_kv_heads", "norm_eps", "qk_norm")},
    )
    return net, tensors


_BUILT: Final[Mapping[str, Any]] = {
    "UNet2DConditionModel": _of_unet,
    "SD3Transformer2DModel": _of_sd3,
    "FluxTransformer2DModel": _of_flux,
    "QwenImageTransformer2DModel": _of_qwen,
    "ZImageTransformer2DModel": _of_z_image,
}
#: Settings in which a ControlNet must be as the denoiser is, to hear the same text and answer in the same shapes.
_SHARED: Final = ("cross_attention_dim", "block_out_channels", "joint_attention_dim", "caption_channels", "dim")


def _check(spec: ControlNetSpec, net: Any, denoiser: Any, model: Model) -> None:
    for name in _SHARED:
        own, theirs = net.config.get(name), denoiser.config.get(name)
        if own is not None and theirs is not None and _listed(own) != _listed(theirs):
            raise ModelError(
                f"The ControlNet “{spec.title}” is built for another size of model than {model.spec.title}; "
                "choose one that was made for it."
            )


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value


@contextmanager
def attached(model: Model) -> Iterator[None]:
    """Those of Z-Image read with the denoiser's own embedders, which are lent for the `with` block."""
    borrowers = [net for net in model.controls.values() if isinstance(net, diffusers.ZImageControlNetModel)]
    try:
        for net in borrowers:
            diffusers.ZImageControlNetModel.from_transformer(net, model.pipe.transformer)
        yield
    finally:
        for net in borrowers:
            for name in _LENT:
                setattr(net, name, None)


_LENT: Final = (
    *("t_scale", "t_embedder", "all_x_embedder", "cap_embedder", "rope_embedder", "noise_refiner", "context_refiner"),
    *("x_pad_token", "cap_pad_token"),
)
