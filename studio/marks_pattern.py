"""The invisible watermark: a pattern of 64 × 64 pixels, repeated all over a picture too faintly to be seen.

It is spread-spectrum watermarking (Cox et al., 1997) with a tile in place of a sequence: whatever is left of a picture,
its tiles are laid over one another, where the picture averages out and the pattern adds up; a correlation over all
shifts finds it wherever the cut was made. It carries no message but itself, and survives what people do to pictures,
not somebody who sets out to remove it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from PIL import Image

from studio.seam import Floats

#: Changes with whatever changes the pattern.
NAME: Final = "Pochade 1"

_TILE: Final = 64
#: Cycles per pixel: lower is picture, higher does not survive JPEG.
_BAND: Final = 0.06, 0.22
_SEED: Final = 20261121
#: Levels of brightness in a flat area; in rough ones up to `_MOST` times that.
_STRENGTH: Final = 1.2
_MOST: Final = 2.2
#: Standard deviations by which the right shift stands out; `python -m tools.watermark` tries pictures with and without.
FOUND: Final = 6.5
#: Scaled pictures are looked at through a window of so many pixels, at every scale; then more of them, near the best.
_WINDOW: Final = 256
_MORE: Final = 768
_WHOLE: Final = 1024
_SCALES: Final = np.exp(sorted(np.arange(np.log(0.4), np.log(2.6), 0.012), key=abs))
_PROMISING: Final = 3
_AROUND: Final = np.linspace(0.994, 1.006, 9)


@dataclass(frozen=True, slots=True)
class Sighting:
    """`certainty`: how far the mark stands out, in standard deviations. `scale`: the picture's size in that it was
    marked in."""

    certainty: float
    scale: float


def marked(picture: Image.Image, where: Image.Image | None = None) -> Image.Image:
    """An RGB picture with the mark; where `where` (grey) is 0 it stays bit for bit. The same in, the same out."""
    levels = np.asarray(picture, np.float32)
    height, width = levels.shape[:2]
    pattern = np.tile(_pattern(), (height // _TILE + 1, width // _TILE + 1))[:height, :width]
    faint = np.clip(_STRENGTH * (0.6 + _roughness(_brightness(picture)) / 12), 0, _STRENGTH * _MOST)
    change = pattern * faint
    if where is not None:
        change *= np.asarray(where, np.float32) / 255
    return Image.fromarray(np.clip(np.rint(levels + change[..., None]), 0, 255).astype(np.uint8))


def look(picture: Image.Image) -> Sighting | None:
    """The mark, if it is in this RGB picture, whole or cut, at any scale from 0.4 to 2.6. Takes up to a few seconds."""

    def certainty(scale: float, window: int) -> float:
        return _certainty(_middle(picture, scale, window))

    seen = [(certainty(1.0, _WHOLE), 1.0)]
    for scale in _SCALES:
        if seen[-1][0] >= FOUND:
            break
        seen.append((certainty(scale, _WINDOW), scale))
    else:
        near = [scale for _, scale in sorted(seen)[-_PROMISING:]]
        seen.append(max((certainty(scale, _MORE), scale) for scale in np.outer(near, _AROUND).flat))
    found, scale = seen[-1]
    return Sighting(found, float(scale)) if found >= FOUND else None


def _middle(picture: Image.Image, scale: float, window: int) -> Floats:
    """The brightness of the picture's middle as it was before it was scaled, at most `window` pixels a side."""
    width, height = (min(side, int(window * scale)) for side in picture.size)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    size = max(round(width / scale), 1), max(round(height / scale), 1)
    middle = picture.crop((left, top, left + width, top + height))
    return _brightness(middle if scale == 1 else middle.resize(size, Image.Resampling.BICUBIC))


def _certainty(brightness: Floats) -> float:
    """How far the best of all shifts stands out from the others: weighted by what the picture holds, and by no more
    than its phases, of which a regular texture deceives but one."""
    spectrum, pattern = np.fft.fft2(_folded(brightness)), np.fft.fft2(_pattern())
    inside = np.abs(pattern) > 1e-3
    phases = np.where(inside, spectrum / np.maximum(np.abs(spectrum), 1e-6), 0)
    return min(_stands_out(np.where(inside, spectrum, 0) * pattern.conj()), _stands_out(phases * pattern.conj()))


def _stands_out(product: np.ndarray[Any, np.dtype[np.complexfloating[Any, Any]]]) -> float:
    correlation = np.fft.ifft2(product).real
    spread = float(correlation.std())
    return float(correlation.max() - correlation.mean()) / spread if spread else 0.0


def _folded(brightness: Floats) -> Floats:
    """All tiles on top of one another, with the slow and the strong of the picture taken out first."""
    fine = brightness - _blurred(brightness, 4)
    fine /= np.sqrt(_blurred(fine * fine, 6)) + 1.5
    height, width = (-(-side // _TILE) * _TILE for side in brightness.shape)
    laid = np.zeros((height, width), np.float32)
    laid[: brightness.shape[0], : brightness.shape[1]] = np.clip(fine, -2.5, 2.5)
    folded: Floats = laid.reshape(height // _TILE, _TILE, width // _TILE, _TILE).sum((0, 2))
    return folded


@cache
def _pattern() -> Floats:
    """Mean 0, deviation 1; the same in every studio, so that each finds the others' pictures."""
    frequencies = np.fft.fftfreq(_TILE)
    distance = np.hypot(frequencies[:, None], frequencies[None, :])
    spectrum = np.fft.fft2(np.random.default_rng(_SEED).standard_normal((_TILE, _TILE)))
    kept = np.where((distance >= _BAND[0]) & (distance <= _BAND[1]), spectrum / np.abs(spectrum), 0)
    pattern = np.fft.ifft2(kept).real
    scaled: Floats = (pattern / pattern.std()).astype(np.float32)
    return scaled


def _roughness(brightness: Floats) -> Floats:
    mean = _blurred(brightness, 3)
    rough: Floats = np.sqrt(np.maximum(_blurred(brightness * brightness, 3) - mean * mean, 0))
    return rough


def _brightness(picture: Image.Image) -> Floats:
    brightness: Floats = np.asarray(picture, np.float32) @ np.array((0.299, 0.587, 0.114), np.float32)
    return brightness


def _blurred(levels: Floats, radius: int) -> Floats:
    """The mean of each pixel's surroundings, a square of 2 × radius + 1."""
    for axis in (0, 1):
        around = [(radius + 1, radius) if each == axis else (0, 0) for each in (0, 1)]
        sums = np.moveaxis(np.pad(levels.astype(np.float64), around, mode="edge").cumsum(axis), axis, 0)
        reach = 2 * radius + 1
        levels = np.moveaxis((sums[reach:] - sums[:-reach]) / reach, 0, axis).astype(np.float32)
    return levels
