"""Colour across a seam: what is known spreads, what was drawn is brought in line with it. Arrays of floats."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Levels = NDArray[np.uint8]
#: Height × width × channels, in levels of 0…255, or height × width, in 0…1.
Floats = NDArray[np.float32]

#: Passes at each level of `spread`: enough that the step at the rim is below one level of 255.
_RELAXATIONS: Final = 8


def in_tune(new: Floats, before: Floats, change: Levels, reach: int) -> Floats:
    """`new` without the shift of colour that encoding and drawing brought along.

    What was not to change tells how far it drifted. That is carried over to what did change: a wide drift everywhere,
    and what remains of the step at the very seam over `2 · reach` pixels.
    """
    kept = (change == 0).astype(np.float32)
    if not kept.any():
        return new
    sure = (dilated(change, reach) == 0).astype(np.float32)
    drift = before - new
    wide = spread(drift, sure if sure.any() else kept)
    tuned: Floats = new + wide + spread(drift - wide, kept) * _fading(kept, reach)
    return tuned


def joined(new: Floats, before: Floats, known: Floats, reach: int) -> Floats:
    """Margins whose colours start at the edge of the picture they extend and become their own further out.

    `known` is 1 where the picture lies. A mask fades out over the seam; a margin cannot, for not one pixel of the
    picture may change. Over `reach` pixels the drawing fades in from a continuation of the edge, and what then remains
    between the two is made up for over `8 · reach`.
    """
    far = (dilated((known * 255).astype(np.uint8), reach) == 0).astype(np.float32)
    if not known.any() or not far.any():
        return new
    inward, outward = spread(before, known), spread(new, far)
    rim = ((dilated((known * 255).astype(np.uint8), 1) > 0) & (known == 0)).astype(np.float32)
    shifted = new + spread(inward - outward, rim) * _fading(known, 4 * reach)
    edge = _fading(known, max(reach // 2, 1))
    return (inward * edge + shifted * (1 - edge)).astype(np.float32)


def _fading(known: Floats, radius: int) -> Floats:
    """1 where it is known, falling to 0 within twice `radius` pixels. Height × width × 1."""
    wide = Image.fromarray((known * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    fading: Floats = np.minimum(np.asarray(wide, np.float32) / 127.5, 1)[..., None]
    return fading


def dilated(levels: Levels, radius: int) -> Levels:
    """The largest level in the square of 2 · `radius` + 1 pixels around each one."""
    for axis in (0, 1):
        length = levels.shape[axis]
        levels = np.pad(levels, [(radius, radius) if side == axis else (0, 0) for side in (0, 1)])
        covered = 1
        while covered < 2 * radius + 1:  # windows grow twofold, so this takes log(radius) passes
            step = min(covered, 2 * radius + 1 - covered)
            here, there = (np.take(levels, range(at, levels.shape[axis] - step + at), axis) for at in (0, step))
            levels = np.maximum(here, there)
            covered += step
        levels = np.take(levels, range(length), axis)
    return levels


def spread(values: Floats, weight: Floats) -> Floats:
    """Fill what weighs nothing smoothly from what does, like a soap film held by its rim.

    Pull-push (§4.3 of Gortler et al., The Lumigraph, 1996), relaxed at each level towards Laplace's equation, without
    which the rim would show. `values`: height × width × channels, `weight`: height × width in 0…1.
    """
    height, width = weight.shape
    if height * width == 1 or float(weight.min()) >= 1:
        return values
    light = Image.fromarray(weight).reduce(2)
    heavy = np.asarray(light)
    pulled = [np.asarray(Image.fromarray(channel * weight).reduce(2)) for channel in np.moveaxis(values, -1, 0)]
    means = np.stack(pulled, axis=-1) / np.maximum(heavy, 1e-9)[..., None]
    coarse = spread(means, np.minimum(heavy * 4, 1))
    pushed = [
        np.asarray(Image.fromarray(np.ascontiguousarray(channel)).resize((width, height), Image.Resampling.BILINEAR))
        for channel in np.moveaxis(coarse, -1, 0)
    ]
    held, loose = values * weight[..., None], (1 - weight)[..., None] / 4
    filled: Floats = np.stack(pushed, axis=-1)
    for _ in range(_RELAXATIONS):
        rim = np.pad(filled, ((1, 1), (1, 1), (0, 0)), "edge")
        around = rim[:-2, 1:-1] + rim[2:, 1:-1] + rim[1:-1, :-2] + rim[1:-1, 2:]
        filled = held + loose * around
    return filled
