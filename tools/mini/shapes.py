"""Vector shapes: closed polygons with a colour, in design units (the short side of a picture is 256 units)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float32]
Rgb: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Shape:
    """`role` says what styles may do with it:

    "back": scenery with an outline; "detail": scenery without one; "light": sun, moon or lightning; "spark": a star, a
    snowflake or a lit window; "subject": part of a subject; "soft": a blurred ellipse whose two points are its centre
    and its radii; "rim": drawn as a thick outline behind a subject.
    """

    points: Points
    color: Rgb
    role: str
    alpha: float = 1.0


def mix(a: Rgb, b: Rgb, share: float) -> Rgb:
    """`a` with `share` (0–1) of `b`."""
    keep = 1.0 - share
    return (a[0] * keep + b[0] * share, a[1] * keep + b[1] * share, a[2] * keep + b[2] * share)


def luminance(color: Rgb) -> float:
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def poly(*xy: float) -> Points:
    return np.array(xy, np.float32).reshape(-1, 2)


def box(x0: float, y0: float, x1: float, y1: float) -> Points:
    return poly(x0, y0, x1, y0, x1, y1, x0, y1)


_ANGLES = np.linspace(0, 2 * np.pi, 32, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)


def oval(x: float, y: float, rx: float, ry: float | None = None, angle: float = 0.0) -> Points:
    points = _CIRCLE * [rx, rx if ry is None else ry]
    if angle:
        c, s = np.cos(angle), np.sin(angle)
        points = points @ np.array([[c, s], [-s, c]])
    out: Points = (points + np.array([x, y])).astype(np.float32)
    return out


def sector(x: float, y: float, rx: float, ry: float, start: float, end: float) -> Points:
    """The part of an ellipse between two angles (radians, clockwise from the right), closed by its chord."""
    angles = np.linspace(start, end, 24)
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], 1).astype(np.float32)


def limb(x0: float, y0: float, x1: float, y1: float, w0: float, w1: float | None = None) -> Points:
    """A rounded bar from one point to another, `w0` and `w1` its half widths."""
    end_width = w0 if w1 is None else w1
    turn = float(np.arctan2(y1 - y0, x1 - x0))
    half = np.linspace(-np.pi / 2, np.pi / 2, 9)
    start, end = turn + np.pi + half, turn + half
    near = np.stack([x0 + w0 * np.cos(start), y0 + w0 * np.sin(start)], 1)
    far = np.stack([x1 + end_width * np.cos(end), y1 + end_width * np.sin(end)], 1)
    return np.concatenate([near, far]).astype(np.float32)


_STEPS = np.linspace(0, 1, 6, endpoint=False)[:, None]
_CATMULL = 0.5 * np.concatenate(
    [
        -_STEPS + 2 * _STEPS**2 - _STEPS**3,
        2 - 5 * _STEPS**2 + 3 * _STEPS**3,
        _STEPS + 4 * _STEPS**2 - 3 * _STEPS**3,
        -(_STEPS**2) + _STEPS**3,
    ],
    axis=1,
)


def blob(*xy: float) -> Points:
    """A closed smooth (Catmull-Rom) curve through the given points."""
    knots = np.array(xy, np.float64).reshape(-1, 2)
    windows = np.stack([np.roll(knots, 1, 0), knots, np.roll(knots, -1, 0), np.roll(knots, -2, 0)], 1)
    curve: Points = np.einsum("sk,nkd->nsd", _CATMULL, windows).reshape(-1, 2).astype(np.float32)
    return curve


def stroke(width: float, *xy: float) -> Points:
    """A smooth tapering stroke through the given points: `width` is its half width at the start, a third at the end."""
    knots = np.array(xy, np.float64).reshape(-1, 2)
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    windows = np.stack([padded[:-3], padded[1:-2], padded[2:-1], padded[3:]], 1)
    line = np.concatenate([np.einsum("sk,nkd->nsd", _CATMULL, windows).reshape(-1, 2), knots[-1:]])
    tangent = np.gradient(line, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-6
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1) * np.linspace(width, width / 3, len(line))[:, None]
    return np.concatenate([line + normal, (line - normal)[::-1]]).astype(np.float32)
