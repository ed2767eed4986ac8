"""The tensors of a single file as they are needed: without the prefixes and the scales of other programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from accelerate import init_empty_weights
from safetensors.torch import load_file

from studio.errors import ModelError

Tensors = dict[str, torch.Tensor]
_PREFIXES: Final = ("model.diffusion_model.", "diffusion_model.", "net.")
#: What a checkpoint calls its VAE and its text encoders.
_OTHERS: Final = ("first_stage_model.", "vae.", "cond_stage_model.", "conditioner.", "text_encoders.", "model_ema.")
#: Names of modules around a text encoder, of which one library has more than another.
_WRAPPERS: Final = frozenset({"model", "transformer", "text_model", "language_model", "text_encoder"})


def read(file: Path) -> Tensors:
    """Raises:
    ModelError: weights in a packed format that only one other program reads.
    """
    tensors: Tensors = load_file(file)
    if any(".quant_state." in name or name.endswith((".absmax", ".qweight")) for name in tensors):
        raise ModelError(
            f"“{file.name}” is packed in a 4-bit format that this studio cannot read; get it as fp8, GGUF or in full."
        )
    return scaled(tensors)


def scaled(tensors: Tensors) -> Tensors:
    """8-bit weights as they were meant: multiplied by the scale that stands beside them."""
    plain = {name: tensor for name, tensor in tensors.items() if not name.endswith(_SCALES) and name != "scaled_fp8"}
    for name in [name for name in tensors if name.endswith((".scale_weight", ".weight_scale"))]:
        weight = f"{name.rpartition('.')[0]}.weight"
        if weight in plain:
            plain[weight] = plain[weight].to(torch.bfloat16) * tensors[name].to(torch.bfloat16)
    return plain


_SCALES: Final = (".scale_weight", ".weight_scale", ".scale_input", ".input_scale", "scaled_fp8", ".comfy_quant")


def denoiser(tensors: Tensors, *, unet: bool) -> Tensors:
    """Those of the denoiser alone, as diffusers' converters want them named: a U-Net's with, all others without
    the prefix of checkpoints."""
    prefix = next((stem for stem in _PREFIXES if any(name.startswith(stem) for name in tensors)), "")
    own = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix) and not name.startswith(_OTHERS)
    }
    if unet and any(name.startswith("input_blocks.") for name in own):
        return {f"{_PREFIXES[0]}{name}": tensor for name, tensor in own.items()}
    return own


def below(tensors: Tensors, *stems: str) -> Tensors:
    """Those under the first of `stems` that is there, without it."""
    stem = next((stem for stem in stems if any(name.startswith(stem) for name in tensors)), None)
    if stem is None:
        return {}
    return {name.removeprefix(stem): tensor for name, tensor in tensors.items() if name.startswith(stem)}


def filled(kind: type[Any], config: Any, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype) -> Any:
    """A transformers model of class `kind` with these weights, whoever named them.

    A CLIP published without its projection is one whose projection changes nothing.

    Raises:
        ValueError: a weight is lacking or has another shape.
    """
    with init_empty_weights():
        model = kind(config)
    by_core = {_core(name): tensor for name, tensor in tensors.items()}
    own = {name: by_core[_core(name)].to(dtype) for name in model.state_dict() if _core(name) in by_core}
    if "text_projection.weight" in model.state_dict() and "text_projection.weight" not in own:
        own["text_projection.weight"] = torch.eye(config.projection_dim, config.hidden_size, dtype=dtype)
    try:
        model.load_state_dict(own, strict=False, assign=True)
    except RuntimeError as mismatch:
        raise ValueError(str(mismatch)) from mismatch
    model.tie_weights()
    check(model)
    return model.eval()


def check(model: Any) -> None:
    """Raises:
    ValueError: some weight was given no value.
    """
    empty = next((name for name, weight in model.named_parameters() if weight.is_meta), None)
    if empty is not None:
        raise ValueError(f"the weight {empty} is lacking")


def _core(name: str) -> str:
    """The name from the first module on that is more than a wrapper."""
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in _WRAPPERS:
        parts = parts[1:]
    return ".".join(parts)
