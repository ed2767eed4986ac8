"""Paper, brush and glass: fields that styles lay over a picture. Made once per size, the same in every process."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]


def _noise(rng: np.random.Generator, width: int, height: int, cell: float) -> Floats:
    """Smooth noise of unit deviation at its knots, `cell` pixels apart."""
    knots = rng.normal(size=(int(height / cell) + 3, int(width / cell) + 3)).astype(np.float32)
    out: Floats = np.asarray(cv2.resize(knots, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    return out


def _grid(width: int, height: int) -> tuple[Floats, Floats]:
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return xs, ys


@lru_cache(maxsize=1)
def soft_spot() -> Floats:
    """64 × 64: one in the middle, falling smoothly to zero at the inscribed circle."""
    line = np.linspace(-1, 1, 64, dtype=np.float32)
    r2 = line[:, None] ** 2 + line[None, :] ** 2
    spot: Floats = (np.clip(1 - r2, 0, 1) ** 2).astype(np.float32)
    return spot


@lru_cache(maxsize=64)
def wobble(width: int, height: int, scale: float, swing: float, variant: int) -> tuple[Floats, Floats]:
    """Maps for cv2.remap that shake a picture by about `swing` design units."""
    rng = np.random.default_rng((1, variant))
    xs, ys = _grid(width, height)
    amount, cell = swing * scale, 16 * scale
    return (
        (xs + amount * _noise(rng, width, height, cell)).astype(np.float32),
        (ys + amount * _noise(rng, width, height, cell)).astype(np.float32),
    )


@lru_cache(maxsize=64)
def grain(kind: str, width: int, height: int, scale: float, variant: int) -> Floats:
    """H × W × 1 factors: "wash" and "fibre" lie around 1; "chalk" is how much of the board is covered, 0–1."""
    rng = np.random.default_rng((2, variant))
    if kind == "wash":
        field = 1 + 0.06 * _noise(rng, width, height, 40 * scale) + 0.035 * _noise(rng, width, height, 10 * scale)
        field = np.clip(field, 0.8, 1.12)
    elif kind == "fibre":
        field = 1 + 0.02 * _noise(rng, width, height, 2.2 * scale)
    else:
        knots = rng.normal(size=(height, width)).astype(np.float32)
        size = max(3, round(11 * scale))
        slanted = np.eye(size, dtype=np.float32)[::-1] / np.float32(np.sqrt(size))
        field = np.clip(0.84 + 0.20 * cv2.filter2D(knots, -1, slanted), 0.3, 1.0)
    out: Floats = np.asarray(field, np.float32)[..., None]
    return out


@lru_cache(maxsize=64)
def ragged_border(width: int, height: int, scale: float, variant: int) -> Floats:
    """H × W × 1: 0 on the bare paper around a wash, 1 inside."""
    rng = np.random.default_rng((3, variant))
    xs, ys = _grid(width, height)
    edge = np.minimum(np.minimum(xs, width - 1 - xs), np.minimum(ys, height - 1 - ys))
    edge = edge / np.float32(scale) + 3.5 * _noise(rng, width, height, 14 * scale)
    out: Floats = np.clip((edge - 8) / 4, 0, 1).astype(np.float32)[..., None]
    return out


@lru_cache(maxsize=8)
def hatching(width: int, height: int, scale: float, fine: bool = True) -> Floats:
    """H × W: fine diagonal pen lines (0 or 1), or a carver's wavy grooves (0–1, a ramp across each groove)."""
    xs, ys = _grid(width, height)
    if fine:
        every = max(3.0, 6 * scale)
        return (((xs + ys) % every) < every / 3).astype(np.float32)
    every = 7 * scale
    wave = ys + 3 * scale * np.sin(xs / (26 * scale)) + 0.16 * xs
    ramp: Floats = np.abs((wave / every) % 1 - 0.5).astype(np.float32) * 2
    return ramp


@lru_cache(maxsize=32)
def dabs(width: int, height: int, scale: float, variant: int) -> tuple[Floats, Floats, Floats]:
    """Brush strokes: maps that take each pixel's colour from the middle of its stroke; their relief (H × W × 1)."""
    rng = np.random.default_rng((4, variant))
    source = np.dstack([*_grid(width, height), np.ones((height, width), np.float32)])
    turn = _noise(rng, width, height, 60 * scale)
    half_long, half_wide = 5.5 * scale, 2.0 * scale
    count = int(5 * width * height / (4 * half_long * half_wide))
    where = rng.uniform([0, 0], [width, height], (count, 2))
    lift = 1 + rng.normal(size=count) * 0.045
    angle = turn[where[:, 1].astype(int), where[:, 0].astype(int)] * 0.9 + 0.5
    along = np.stack([np.cos(angle), np.sin(angle)], 1)[:, None] * half_long
    across = np.stack([-np.sin(angle), np.cos(angle)], 1)[:, None] * half_wide
    outline = np.array([(-1, -0.5), (-0.7, -1), (0.7, -1), (1, -0.5), (1, 0.5), (0.7, 1), (-0.7, 1), (-1, 0.5)])[
        :, :, None
    ]
    corners = np.rint(where[:, None] + outline[:, 0] * along + outline[:, 1] * across).astype(np.int32)
    for polygon, (x, y), tone in zip(corners, where.tolist(), lift.tolist(), strict=True):
        cv2.fillConvexPoly(source, polygon, (x, y, tone))
    bump = cv2.Sobel(cv2.GaussianBlur(source[..., 2], (0, 0), 0.8 * scale), cv2.CV_32F, 0, 1, ksize=3)
    relief = np.clip(source[..., 2] + 0.5 * bump, 0.8, 1.2).astype(np.float32)[..., None]
    return np.ascontiguousarray(source[..., 0]), np.ascontiguousarray(source[..., 1]), relief


@lru_cache(maxsize=16)
def panes(width: int, height: int, scale: float, variant: int) -> tuple[Floats, Floats, Floats, NDArray[np.uint8]]:
    """Pieces of glass: maps to each piece's middle, its brightness (H × W × 1), and the lead between pieces (255)."""
    rng = np.random.default_rng((5, variant))
    cell = 26 * scale
    gx, gy = np.meshgrid(np.arange(-1, width / cell + 1), np.arange(-1, height / cell + 1))
    seeds = (np.stack([gx, gy], -1).reshape(-1, 2) + rng.uniform(0.1, 0.9, (gx.size, 2))) * cell
    xs, ys = _grid(width, height)
    nearest = np.full((height, width), np.inf, np.float32)
    second = nearest.copy()
    owner = np.zeros((height, width), np.int32)
    for index, (sx, sy) in enumerate(seeds):
        distance = np.hypot(xs - np.float32(sx), ys - np.float32(sy))
        closer = distance < nearest
        second = np.where(closer, nearest, np.minimum(second, distance))
        owner[closer] = index
        nearest = np.minimum(nearest, distance)
    light = np.clip(1.06 + rng.normal(size=len(seeds)) * 0.12, 0.8, 1.35)
    lead = np.where(second - nearest < 2.4 * scale, np.uint8(255), np.uint8(0))
    centre = np.clip(seeds, 0, [width - 1, height - 1]).astype(np.float32)
    return centre[owner, 0], centre[owner, 1], light[owner].astype(np.float32)[..., None], lead
