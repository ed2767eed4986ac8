"""The tensors of one file, asked for by name and shape. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Protocol


class Shaped(Protocol):
    """What is needed of a tensor: its shape, outermost dimension first."""

    @property
    def shape(self) -> tuple[int, ...]: ...


class TensorNames:
    """A name counts with any of the prefixes denoisers are stored under."""

    _PREFIXES: Final = ("", "model.diffusion_model.", "diffusion_model.", "model.", "net.")

    def __init__(self, tensors: Mapping[str, Shaped]) -> None:
        self._tensors = tensors
        self.names: Final[frozenset[str]] = frozenset(tensors)

    def __len__(self) -> int:
        return len(self.names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of the tensor of that name with any prefix; () when there is none."""
        full = next((prefix + name for prefix in self._PREFIXES if prefix + name in self.names), None)
        return () if full is None else tuple(self._tensors[full].shape)

    def has(self, *names: str) -> bool:
        return all(any(prefix + name in self.names for prefix in self._PREFIXES) for name in names)

    def starts(self, *beginnings: str) -> bool:
        return any(name.startswith(beginnings) for name in self.names)

    def holds(self, *parts: str) -> bool:
        """Some name contains one of these."""
        return any(part in name for name in self.names for part in parts)

    def first(self, pattern: str) -> tuple[str, tuple[int, ...]] | None:
        """The first tensor, by name, whose name matches entirely."""
        regex = re.compile(pattern)
        match = next((name for name in sorted(self.names) if regex.fullmatch(name)), None)
        return None if match is None else (match, tuple(self._tensors[match].shape))

    def layers(self, stem: str) -> int:
        """How many numbered layers there are below `stem`, as `blocks.` or kohya’s `blocks_`."""
        regex = re.compile(re.escape(stem) + r"(\d+)[._]")
        found = [int(match.group(1)) for name in self.names if (match := regex.search(name))]
        return max(found, default=-1) + 1
