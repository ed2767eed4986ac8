"""Which module of a model a layer of a LoRA means: the names of diffusers, of the first Stable Diffusion, of kohya."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import torch
from torch import nn

from studio.errors import BadRequest

#: The parts of a residual block: diffusers → the first Stable Diffusion.
_RESNET: Final[Mapping[str, str]] = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_ENDS: Final[Mapping[str, str]] = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_MOST: Final = 4
_UP_DOWN = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")
_BLOCK = re.compile(r"(input_blocks\.\d+|middle_block|output_blocks\.\d+)\.")


def index(module: nn.Module) -> dict[str, str]:
    """Every name a file may call a module by, underscores for dots → its path."""
    names: dict[str, str] = {}
    first = first_names(module)
    for path, part in module.named_modules():
        if isinstance(getattr(part, "weight", None), torch.Tensor):
            for name in (path, path.removeprefix("text_model."), first.get(path, path)):
                names.setdefault(name.replace(".", "_"), path)
    return names


def first_names(module: nn.Module) -> dict[str, str]:
    """Path in a U-Net of diffusers → path in the U-Net of the first Stable Diffusion; empty for anything else."""
    layers = getattr(getattr(module, "config", None), "layers_per_block", None)
    if not hasattr(module, "down_blocks") or not isinstance(layers, int):
        return {}
    found = ((path, _first(path, layers, module)) for path, _ in module.named_modules())
    return {path: name for path, name in found if name is not None}


def _first(path: str, layers: int, unet: nn.Module) -> str | None:
    if path in _ENDS:
        return _ENDS[path]
    if middle := _MIDDLE.fullmatch(path):
        kind, number, rest = middle[1], int(middle[2]), middle[3]
        return f"middle_block.{2 * number + (kind == 'attentions')}.{_RESNET.get(rest, rest)}"
    if not (block := _UP_DOWN.fullmatch(path)):
        return None
    side, level, kind, number, rest = block[1], int(block[2]), block[3], int(block[4]), block[5]
    rest = _RESNET.get(rest, rest)
    if side == "down":
        if kind == "downsamplers":
            return f"input_blocks.{(level + 1) * (layers + 1)}.0.{rest.replace('conv', 'op')}"
        return f"input_blocks.{1 + level * (layers + 1) + number}.{int(kind == 'attentions')}.{rest}"
    if kind == "upsamplers":
        attentive = hasattr(unet.get_submodule(f"up_blocks.{level}"), "attentions")
        return f"output_blocks.{level * (layers + 1) + layers}.{1 + attentive}.{rest}"
    return f"output_blocks.{level * (layers + 1) + number}.{int(kind == 'attentions')}.{rest}"


def blocks(module: nn.Module, weights: str) -> tuple[float, dict[str, float]]:
    """`weights`, numbers with commas between → a factor for the text encoders, and one for each path of a U-Net.

    The numbers stand for BASE (the text encoders), IN00…, M00, OUT00…; or for BASE and those with attention alone.
    Paths and blocks that are not named have a factor of 1, and an empty text names none.

    Raises:
        BadRequest: the model is no U-Net, or has another number of blocks.
    """
    if not weights.strip():
        return 1.0, {}
    first = first_names(module)
    names = {path: found[1] for path, name in first.items() if (found := _BLOCK.match(name))}
    every = sorted(set(names.values()), key=_place)
    attentive = {names[path] for path in names if ".attentions." in path}
    some = [name for name in every if name in attentive]
    try:
        numbers = [float(number) for number in weights.split(",")]
    except ValueError as nonsense:
        raise BadRequest(f"“{weights[:40]}” are no weights of blocks; write numbers with commas between.") from nonsense
    if any(abs(number) > _MOST for number in numbers):
        raise BadRequest(f"Weights of blocks go from -{_MOST} to {_MOST}; choose others than “{weights[:40]}”.")
    if not every:
        raise BadRequest("Weights of blocks are for models with a U-Net; leave them out for this one.")
    if len(numbers) not in (len(every) + 1, len(some) + 1):
        raise BadRequest(
            f"This model takes {len(every) + 1} or {len(some) + 1} weights of blocks, not {len(numbers)}: "
            "BASE, IN00…, M00, OUT00…, or BASE and the blocks with attention."
        )
    chosen = dict(zip(every if len(numbers) == len(every) + 1 else some, numbers[1:], strict=True))
    return numbers[0], {path: chosen.get(name, 1.0) for path, name in names.items()}


def _place(block: str) -> tuple[int, int]:
    kind, _, number = block.partition(".")
    return ("input_blocks", "middle_block", "output_blocks").index(kind), int(number or 0)
