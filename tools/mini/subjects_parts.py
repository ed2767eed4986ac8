"""What the drawers of subjects have in common: a part is a polygon and its colour."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from tools.mini.shapes import Points, Rgb, oval

Part: TypeAlias = tuple[Points, str | Rgb]
"""A polygon and its palette role ("main", "dark", "light", "accent", …) or a colour of its own."""
Drawer: TypeAlias = Callable[[np.random.Generator], list[Part]]


def eye(x: float, y: float, r: float) -> list[Part]:
    """A round friendly eye with a glint."""
    return [
        (oval(x, y, r), "white"),
        (oval(x + r * 0.2, y, r * 0.68), "key"),
        (oval(x + r * 0.4, y - r * 0.3, r * 0.24), "white"),
    ]


def bead(x: float, y: float, r: float) -> list[Part]:
    """A small dark eye with a glint."""
    return [(oval(x, y, r, r * 1.2), "key"), (oval(x + r * 0.3, y - r * 0.4, r * 0.35), "white")]
