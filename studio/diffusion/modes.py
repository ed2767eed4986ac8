"""How a model is run in the room there is: entered for one picture, undone after it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import torch
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
from diffusers.hooks import HookRegistry, apply_group_offloading
from diffusers.hooks.layerwise_casting import DEFAULT_SKIP_MODULES_PATTERN, LayerwiseCastingHook
from torch import Tensor, nn

from studio.diffusion import optional
from studio.diffusion.card import Card
from studio.diffusion.load import Model
from studio.diffusion.part import Part
from studio.diffusion.residency import Mode, Storage

STORED: Final = {"float16": torch.float16, "float8": torch.float8_e4m3fn}
#: The layers whose weights make up almost all of a denoiser.
_LAYERS: Final = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
_GROUPED: Final = ("group_offloading", "layer_execution_tracker", "lazy_prefetch_group_offloading")
#: The name under which diffusers looks for the precision a module computes in.
_CASTING: Final = "layerwise_casting"


def place(mode: Mode, parts: Sequence[Part], card: Card, reserve: int) -> None:
    """Bring the weights to where they are when nothing is being computed: all on the card, or none.

    Raises:
        OutOfMemory: they do not fit.
    """
    if mode.span == "model":
        card.bring(parts, reserve=reserve)
    else:
        card.evict(parts)


@contextmanager
def running(mode: Mode, model: Model, parts: Sequence[Part], card: Card, reserve: int) -> Iterator[None]:
    """Compute in this mode for the `with` block; afterwards the weights are where `place` left them."""
    with ExitStack() as undo:
        if mode.tiled:
            undo.enter_context(_tiled(getattr(model.pipe, "vae", None)))
        if mode.compiled:
            undo.enter_context(optional.compiled(denoiser_of(model), model.spec.title))
        if card.is_separate and mode.span != "model":
            large = [part for part in parts if mode.span == "block" and part.module is denoiser_of(model)]
            undo.enter_context(_visiting([part for part in parts if part not in large], card, reserve))
            undo.enter_context(_in_blocks(large, card))
        yield


def denoiser_of(model: Model) -> nn.Module | None:
    found = getattr(model.pipe, "unet", None) or getattr(model.pipe, "transformer", None)
    return found if isinstance(found, nn.Module) else None


def blocks(denoiser: nn.Module) -> list[int]:
    """Bytes of each of the layers that are brought one by one in the mode `block`."""
    lists = [module for module in denoiser.modules() if isinstance(module, nn.ModuleList)]
    return [sum(tensor.nbytes for tensor in block.parameters()) for found in lists for block in found]


def shrink(model: Model, storage: Storage, computing: torch.dtype) -> None:
    """Keep the weights of the denoiser's large layers in fewer bytes; everything else, and computing, in full.

    Raises:
        ModelError: the denoiser is quantised already.
    """
    denoiser = denoiser_of(model)
    if storage not in STORED:
        if denoiser is not None:
            optional.quantise(denoiser, storage, computing, model.spec.title)
        return
    for module in model.pipe.components.values():
        if module is denoiser and denoiser is not None:
            _shrink(denoiser, STORED[storage], computing)
        elif isinstance(module, nn.Module):
            module.to(computing)


def _shrink(module: nn.Module, stored: torch.dtype, computing: torch.dtype) -> None:
    skipped = (*DEFAULT_SKIP_MODULES_PATTERN, *(getattr(module, "_skip_layerwise_casting_patterns", None) or ()))
    cast: set[int] = set()
    for name, layer in module.named_modules():
        plain = all(tensor.is_floating_point() for tensor in layer.parameters(recurse=False))  # not of a GGUF file
        if plain and isinstance(layer, _LAYERS) and not any(re.search(pattern, name) for pattern in skipped):
            registry = HookRegistry.check_if_exists_or_initialize(layer)
            registry.register_hook(_Widened(stored, computing), _CASTING)
            cast |= {id(tensor) for tensor in layer.parameters()}
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point() and id(tensor) not in cast:
            tensor.data = tensor.data.to(computing)


class _Widened(LayerwiseCastingHook):  # type: ignore[misc]
    """diffusers' own casts the weights back after each use; this one puts the stored ones back, which is exact."""

    def __init__(self, stored: torch.dtype, computing: torch.dtype) -> None:
        super().__init__(stored, computing, non_blocking=False)
        self._kept: list[tuple[Tensor, Tensor]] = []

    def pre_forward(self, module: nn.Module, *args: Any, **more: Any) -> tuple[Any, Any]:
        self._kept = [(tensor, tensor.data) for tensor in module.parameters()]
        for tensor, stored in self._kept:
            tensor.data = stored.to(self.compute_dtype)
        return args, more

    def post_forward(self, module: nn.Module, output: Any) -> Any:
        for tensor, stored in self._kept:
            tensor.data = stored
        self._kept = []
        return output


class _Visit(ModelHook):  # type: ignore[misc]
    """Brings a part to the card when it is called, as accelerate's offloading does, but by our one copy."""

    def __init__(self, part: Part, card: Card, reserve: int) -> None:
        self.execution_device = card.place
        self._part = part
        self._card = card
        self._reserve = reserve

    def pre_forward(self, _module: nn.Module, *args: Any, **more: Any) -> tuple[Any, Any]:
        self._card.bring((self._part,), reserve=self._reserve)
        return args, more


@contextmanager
def _visiting(parts: Sequence[Part], card: Card, reserve: int) -> Iterator[None]:
    with ExitStack() as undo:
        for part in parts:
            undo.callback(card.evict, (part,))
            add_hook_to_module(part.module, _Visit(part, card, reserve))
            undo.callback(remove_hook_from_module, part.module)
        yield


@contextmanager
def _in_blocks(denoisers: Sequence[Part], card: Card) -> Iterator[None]:
    """Blocks of the denoiser come and go by themselves, each fetched while the one before it works."""
    with ExitStack() as undo:
        for part in denoisers:
            streams = card.place.type == "cuda"
            undo.callback(_whole, part)
            apply_group_offloading(
                part.module,
                onload_device=card.place,
                offload_device=torch.device("cpu"),
                offload_type="block_level",
                num_blocks_per_group=1,
                use_stream=streams,
                non_blocking=streams,
                record_stream=streams,
                # Ours is pinned already; what could not be, must not be copied a second time.
                low_cpu_mem_usage=True,
            )
        yield


def _whole(part: Part) -> None:
    registry = HookRegistry.check_if_exists_or_initialize(part.module)
    for name in _GROUPED:
        registry.remove_hook(name, recurse=True)
    part.settle()


@contextmanager
def _tiled(vae: Any) -> Iterator[None]:
    if vae is None or not hasattr(vae, "enable_tiling") or getattr(vae, "use_tiling", False):
        yield
        return
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()
