"""How much memory a model will take, told from its files before one weight is read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from studio import catalog, headers
from studio.diffusion.part import ALIGNED
from studio.diffusion.residency import Storage
from studio.errors import ModelError
from studio.request import ModelSpec
from studio.specs import ControlNetSpec, VaeSpec

_STORED: Final = {"float16": 2, "float8": 1}
#: Bytes a weight of those that libraries quantise, with its share of their scales: at least `_PACKED` of them.
_QUANTISED: Final = {"torchao": 1.1, "sdnq": 0.7, "bitsandbytes": 0.6}
_PACKED: Final = 2**14
#: What is cast to the precision of the model; anything else stays as it is.
_FLOATS: Final = ("F64", "F32", "F16", "BF16")
#: Bytes for what a part makes itself, such as tables of positions.
_UNTOLD: Final = 2**14
#: Where single files keep their denoiser.
_DENOISER: Final = ("model.diffusion_model.", "unet.", "transformer.")


def files(spec: ModelSpec) -> tuple[Path, ...]:
    """All weights of a model."""
    if spec.path.is_file():
        return (spec.path,)
    return tuple(file for part in sorted(spec.path.iterdir()) for file in catalog.weights(part))


def stamp(spec: ModelSpec | ControlNetSpec) -> tuple[object, ...]:
    """Changes when the model is replaced on disk.

    Raises:
        ModelError: it is gone.
    """
    try:
        own = files(spec) if isinstance(spec, ModelSpec) else catalog.weights(spec.path) or (spec.path,)
        found = [file.stat() for file in own]
    except OSError as gone:
        reason = gone.strerror or type(gone).__name__
        raise ModelError(f"{spec.title} can no longer be read ({reason}); refresh the list of models.") from gone
    return spec.key, spec.path, *((stat.st_size, stat.st_mtime_ns) for stat in found)


def of(spec: ModelSpec, itemsize: int, storage: Storage) -> int:
    """Bytes in memory with `itemsize` bytes a weight, the denoiser's as `storage` has it; a little more than needed."""
    denoiser = {*catalog.denoiser_weights(spec.path)} if spec.path.is_dir() else set()
    stored = _STORED.get(storage, itemsize)
    total = 0
    for file in files(spec):
        total += _UNTOLD
        for name, kind, shape, size in _tensors(file):
            if kind in _FLOATS:
                count = math.prod(shape)
                packed = storage in _QUANTISED and len(shape) == 2 and count >= _PACKED
                width = _QUANTISED[storage] if packed else stored
                size = math.ceil(count * (width if file in denoiser or name.startswith(_DENOISER) else itemsize))
            total += -(-size // ALIGNED) * ALIGNED
    return total


def part(spec: VaeSpec | ControlNetSpec, itemsize: int) -> int:
    """Bytes in memory of a VAE or a ControlNet by itself."""
    found = catalog.weights(spec.path) if spec.path.is_dir() else (spec.path,)
    return _UNTOLD + sum(
        -(-(math.prod(shape) * itemsize if kind in _FLOATS else size) // ALIGNED) * ALIGNED
        for file in found
        for _, kind, shape, size in _tensors(file)
    )


def _tensors(file: Path) -> Iterable[tuple[str, str, tuple[int, ...], int]]:
    """Name, type, shape and bytes of each; the whole file as one where it says nothing of the kind."""
    try:
        found = headers.read_header(file).tensors
    except ModelError:  # whoever loads it will say what is wrong
        return [("", "", (), file.stat().st_size)]
    return [(name, told.dtype, told.shape, told.nbytes) for name, told in found.items()]
