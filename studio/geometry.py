"""Where pixels go: crop windows, margins, the surroundings of a mask. Integers in, integers out, no pictures."""

from __future__ import annotations

import math
from typing import Final

from studio.request import MAX_MARGIN, Outpaint

Size = tuple[int, int]
#: Left, top, right, bottom in pixels; right and bottom lie just outside.
Box = tuple[int, int, int, int]

SMALLEST_SIDE: Final = 64
LARGEST_SIDE: Final = 4096
#: A model that sees less than this around a mask cannot tell what it is part of.
_LEAST_CONTEXT: Final = 64
#: Proportions that differ by less are taken for the same.
_SAME_SHAPE: Final = 0.02


def side(pixels: float) -> int:
    """The nearest side a model can draw: a multiple of 8 in 64…4096."""
    return min(max(round(pixels / 8) * 8, SMALLEST_SIDE), LARGEST_SIDE)


def window(source: Size, shape: Size) -> Box:
    """The largest part of `source`, in its middle, with the proportions of `shape`."""
    width, height = source
    scale = min(width / shape[0], height / shape[1])
    kept_width = min(max(round(shape[0] * scale), 1), width)
    kept_height = min(max(round(shape[1] * scale), 1), height)
    left, top = (width - kept_width) // 2, (height - kept_height) // 2
    return left, top, left + kept_width, top + kept_height


def inset(source: Size, target: Size) -> Box:
    """Where all of `source` lies in the middle of `target`, as large as it fits."""
    width, height = target
    scale = min(width / source[0], height / source[1])
    inner_width = min(max(round(source[0] * scale), 1), width)
    inner_height = min(max(round(source[1] * scale), 1), height)
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    return left, top, left + inner_width, top + inner_height


def surroundings(touched: Box, canvas: Size, padding: int, shape: Size) -> Box:
    """`touched` with `padding` pixels around it, grown towards the proportions of `shape` as far as `canvas` allows."""
    left, right = _stretched(touched[0] - padding, touched[2] + padding, canvas[0], _LEAST_CONTEXT)
    top, bottom = _stretched(touched[1] - padding, touched[3] + padding, canvas[1], _LEAST_CONTEXT)
    width, height = right - left, bottom - top
    left, right = _stretched(left, right, canvas[0], math.ceil(height * shape[0] / shape[1]))
    top, bottom = _stretched(top, bottom, canvas[1], math.ceil(width * shape[1] / shape[0]))
    return left, top, right, bottom


def _stretched(start: int, end: int, limit: int, least: int) -> tuple[int, int]:
    """`start`…`end` cut to 0…`limit` and then grown evenly to `least`, shifted where it meets an end."""
    start, end = max(start, 0), min(end, limit)
    missing = min(least, limit) - (end - start)
    if missing <= 0:
        return start, end
    start = min(max(start - missing // 2, 0), limit - min(least, limit))
    return start, start + min(least, limit)


def drawing(box: Size, budget: Size) -> Size:
    """The size at which a box is drawn: `budget`, or as many pixels in the box's own proportions."""
    if abs(box[0] * budget[1] / (box[1] * budget[0]) - 1) < _SAME_SHAPE:
        return budget
    scale = math.sqrt(budget[0] * budget[1] / (box[0] * box[1]))
    return side(box[0] * scale), side(box[1] * scale)


def extended(source: Size, margins: Outpaint) -> tuple[Size, Box]:
    """The size of the canvas with `margins`, and where the source lies in it."""
    width, height = source
    canvas = margins.left + width + margins.right, margins.top + height + margins.bottom
    return canvas, (margins.left, margins.top, margins.left + width, margins.top + height)


def framed(source: Size, left: int, top: int, right: int, bottom: int) -> tuple[Box, Outpaint]:
    """A frame whose sides lie so many pixels outside of `source`, or inside where that is negative.

    Returns the part of the source inside the frame, empty if the frame misses it, and the margins around that part.
    """
    width, height = source
    kept = max(-left, 0), max(-top, 0), width + min(right, 0), height + min(bottom, 0)
    return kept, _margins(left=max(left, 0), top=max(top, 0), right=max(right, 0), bottom=max(bottom, 0))


def to_aspect(source: Size, width: float, height: float) -> Outpaint:
    """Margins, the same on both sides, that give `source` the proportions `width` : `height`."""
    if source[0] * height < source[1] * width:
        extra = round(source[1] * width / height) - source[0]
        return _margins(left=extra // 2, right=extra - extra // 2)
    extra = round(source[0] * height / width) - source[1]
    return _margins(top=extra // 2, bottom=extra - extra // 2)


def zoom_out(source: Size, factor: float) -> Outpaint:
    """Margins all around that make the canvas `factor` times as wide and as high."""
    across, down = (max(round(length * (factor - 1)), 0) for length in source)
    return _margins(left=across // 2, right=across - across // 2, top=down // 2, bottom=down - down // 2)


def pan(source: Size, across: int, down: int) -> tuple[Box, Outpaint]:
    """Move the view by `across` pixels to the right and `down` pixels downwards (negative: left, up).

    Returns the part of the source that stays in view, at least 64 pixels of it, and the margins that bring it back to
    the size of the source.
    """
    width, height = source
    across = _within(across, width)
    down = _within(down, height)
    return framed(source, -across, -down, across, down)


def _within(shift: int, length: int) -> int:
    most = max(min(length - SMALLEST_SIDE, MAX_MARGIN), 0)
    return min(max(shift, -most), most)


def _margins(left: int = 0, top: int = 0, right: int = 0, bottom: int = 0) -> Outpaint:
    left, top, right, bottom = (min(margin, MAX_MARGIN) for margin in (left, top, right, bottom))
    return Outpaint(left=left, top=top, right=right, bottom=bottom)
