"""A stand-in for torchao: the same names, the same kind of weight, and real arithmetic in 8 bits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only


class Rounded(Tensor):
    """A matrix kept as integers and a scale for each row."""

    @staticmethod
    def __new__(cls, whole: Tensor, scale: Tensor) -> Rounded:
        made: Rounded = Tensor._make_wrapper_subclass(cls, whole.shape, dtype=scale.dtype, device=whole.device)
        return made

    def __init__(self, whole: Tensor, scale: Tensor) -> None:
        self.whole, self.scale = whole, scale

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["whole", "scale"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], _: None, size: Any, stride: Any) -> Rounded:
        return Rounded(inner["whole"], inner["scale"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        if func in (torch.ops.aten.detach.default, torch.ops.aten.alias.default):
            return Rounded(args[0].whole, args[0].scale)
        given = tree_map_only(Rounded, lambda one: one.whole * one.scale, (args, kwargs or {}))
        return func(*given[0], **given[1])


class Int8WeightOnlyConfig:
    pass


def quantize_(module: nn.Module, _: Int8WeightOnlyConfig) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            weight = layer.weight.detach()
            scale = weight.abs().amax(1, keepdim=True).clamp(min=1e-9) / 127
            packed = Rounded((weight / scale).round().to(torch.int8), scale)
            layer.weight = nn.Parameter(packed, requires_grad=False)
