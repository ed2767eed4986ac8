"""The weights of one part of a model in one piece of memory, so that they move, and are given back, as one."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import mmap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from diffusers.quantizers.gguf.utils import GGUFParameter
from torch import Tensor, nn

#: Bytes; every tensor starts at a multiple, as PyTorch's own allocators have it or better.
ALIGNED: Final = 256
#: Bytes at the start, the middle and the end of every tensor that go into a sketch.
_SAMPLE: Final = 64

Copy = Callable[[Tensor], Tensor]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where a tensor lies in the piece, and how it is laid out there."""

    name: str
    offset: int
    bytes: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def of(self, piece: Tensor) -> Tensor:
        return piece[self.offset : self.offset + self.bytes].view(self.dtype).as_strided(self.shape, self.stride)


class _Woven:
    """A weight made of several tensors (torchao's), which has to be put together anew when those have moved."""

    def __init__(self, module: nn.Module, name: str) -> None:
        self._module = module
        self._name = name
        whole = module._parameters[name]
        self._inner, self._rest = whole.__tensor_flatten__()  # type: ignore[union-attr]
        self._build, self._layout = type(whole).__tensor_unflatten__, (whole.size(), whole.stride())  # type: ignore
        self.tensors = {inner: getattr(whole, inner) for inner in self._inner}

    def assemble(self) -> None:
        whole = self._build(self.tensors, self._rest, *self._layout)
        self._module._parameters[self._name] = nn.Parameter(whole, requires_grad=False)


class Part:
    """A module of a model. Its master copy is one piece of host memory, of which all its tensors are views.

    Packing copies, one tensor at a time, and so also parts weights from the file they may have been mapped from: they
    are in memory for good, and stay what they are when the file is replaced.
    Weights whose tensors nobody can tell (those of bitsandbytes) cannot be packed; they move the usual way.
    """

    _numbers: Final = itertools.count(1)

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name = name
        self.module = module
        #: Unlike `id`, never given to another part later.
        self.key = f"{name}-{next(self._numbers)}"
        self._tensors: list[tuple[Tensor, _Slot]] = []
        self._woven = [
            _Woven(owner, name)
            for owner in module.modules()
            for name, tensor in owner.named_parameters(recurse=False)
            if hasattr(tensor, "__tensor_flatten__")
        ]
        self._host: Tensor | None = None
        self._card: Tensor | None = None
        self._moved = False
        self._pinned = False
        tensors = [(name, tensor) for name, tensor in _tensors(module) if tensor.numel()]
        tensors += [found for woven in self._woven for found in woven.tensors.items()]
        if tensors and all(_is_plain(tensor) for _, tensor in tensors):
            self._pack(tensors)
            self.bytes = 0 if self._host is None else self._host.numel()
        else:
            self.bytes = sum(_size(tensor) for _, tensor in tensors)
        self.sketch = self._sketched()

    @property
    def on_card(self) -> bool:
        return self._card is not None or self._moved

    @property
    def pinned(self) -> bool:
        """Its master copy lies in memory that a card can read by itself."""
        return self._pinned

    def bring(self, place: torch.device, copy: Copy) -> None:
        """To the card: one copy."""
        if self.on_card:
            return
        if self._host is None:
            self.module.to(place)
            self._moved = True
            return
        self._card = copy(self._host)
        self._bind(self._card)

    def evict(self) -> None:
        """From the card, which moves no bytes: the master copy never left."""
        if self._moved:
            self.module.to("cpu")
            self._moved = False
        if self._card is not None and self._host is not None:
            self._bind(self._host)
            self._card = None

    def settle(self) -> None:
        """Put back what a job replaced and left behind, such as a VAE in another precision."""
        piece = self._host if self._card is None else self._card
        if piece is None:
            return
        start = piece.data_ptr()
        for tensor, slot in self._tensors:
            if tensor.data_ptr() != start + slot.offset or tensor.dtype != slot.dtype:
                tensor.data = slot.of(piece)

    def pin(self) -> None:
        """Let the card read the master copy by itself, so that copies run beside everything else."""
        if self._pinned or self._host is None:
            return
        failed = torch.cuda.cudart().cudaHostRegister(self._host.data_ptr(), self._host.numel(), 0)  # type: ignore[no-untyped-call]
        if int(failed):
            log.warning("The system lets no more memory be pinned; %s moves more slowly.", self.name)
        self._pinned = not int(failed)

    def close(self) -> None:
        """Nobody uses it any more; it leaves the card, and may be collected."""
        self.evict()
        if self._pinned and self._host is not None:
            torch.cuda.synchronize()
            torch.cuda.cudart().cudaHostUnregister(self._host.data_ptr())  # type: ignore[no-untyped-call]
            self._pinned = False

    def same(self, other: Part) -> bool:
        """Whether both hold the same weights, every byte compared."""
        if self.sketch != other.sketch or self._host is None or other._host is None:
            return False
        return torch.equal(self._host, other._host)

    def _pack(self, tensors: list[tuple[str, Tensor]]) -> None:
        slots: list[_Slot] = []
        end = 0
        shared: dict[tuple[object, ...], int] = {}
        for name, tensor in tensors:
            # Tied weights may be several tensors over the same memory: they stay one.
            spot = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
            offset = shared.setdefault(spot, end)
            stride = tensor.stride() if _is_dense(tensor) else torch.empty(tensor.shape, device="meta").stride()
            slot = _Slot(name, offset, tensor.nbytes, tuple(tensor.shape), tuple(stride), tensor.dtype)
            slots.append(slot)
            if offset == end:
                end += -(-slot.bytes // ALIGNED) * ALIGNED
        self._host = _piece(end)
        for (_, tensor), slot in zip(tensors, slots, strict=True):
            packed = slot.of(self._host)
            if tensor.data_ptr() != packed.data_ptr():
                packed.copy_(tensor.data)
            tensor.data = packed
            self._tensors.append((tensor, slot))

    def _bind(self, piece: Tensor) -> None:
        for tensor, slot in self._tensors:
            tensor.data = slot.of(piece)
        for woven in self._woven:
            woven.assemble()

    def _sketched(self) -> str:
        """Differs where class, configuration, layout or a sample of the weights do. "" where it cannot be told."""
        if self._host is None:
            return ""
        config = getattr(self.module, "config", {})
        facts = config.to_dict() if hasattr(config, "to_dict") else dict(config)
        kept = {name: value for name, value in facts.items() if not name.startswith(("_", "transformers_version"))}
        total = hashlib.sha256(type(self.module).__qualname__.encode())
        total.update(json.dumps(kept, sort_keys=True, default=str).encode())
        view = memoryview(self._host.numpy().data)
        for _, slot in self._tensors:
            total.update(repr(slot).encode())
            for start in (0, max(slot.bytes // 2 - _SAMPLE, 0), max(slot.bytes - _SAMPLE, 0)):
                total.update(view[slot.offset + start : slot.offset + min(start + _SAMPLE, slot.bytes)])
        return total.hexdigest()


def parts_of(components: dict[str, object], there: Iterable[Part] = ()) -> tuple[Part, ...]:
    """Each module of a pipeline once, packed; those of `there` as they are."""
    known = {id(part.module): part for part in there}
    seen: set[int] = set()
    parts: list[Part] = []
    for name, module in components.items():
        if isinstance(module, nn.Module) and id(module) not in seen:
            seen.add(id(module))
            parts.append(known.get(id(module)) or Part(name, module))
    return tuple(parts)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Without those that are made of others."""
    named = itertools.chain(module.named_parameters(), module.named_buffers())
    yield from (found for found in named if not hasattr(found[1], "__tensor_flatten__"))


def _is_plain(tensor: Tensor) -> bool:
    if isinstance(tensor, GGUFParameter):  # plain bytes, and a note of what they mean
        return True
    return type(tensor) in (nn.Parameter, Tensor) and type(tensor.data) is Tensor and tensor.layout == torch.strided


def _size(tensor: Tensor) -> int:
    """Bytes, with the scales that a weight of bitsandbytes keeps to itself."""
    state = getattr(tensor, "quant_state", None)
    return tensor.nbytes + (0 if state is None else int(state.absmax.nbytes))


def _is_dense(tensor: Tensor) -> bool:
    """Without gaps and overlaps, in whatever order its axes lie."""
    axes = sorted((stride, size) for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1)
    expected = 1
    for stride, size in axes:
        if stride != expected:
            return False
        expected *= size
    return True


def _piece(size: int) -> Tensor:
    """Zeroed memory straight from the system, to which it returns at once and whole, however the heap looks by then."""
    if size == 0:
        return torch.empty(0, dtype=torch.uint8)
    memory = mmap.mmap(-1, size)
    with contextlib.suppress(AttributeError, OSError):  # fewer, larger pages, where there are such
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)
