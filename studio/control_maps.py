"""Guides brought to the size of a drawing, and the maps that need no detector. Pixels in, pixels out; no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from studio import canvas, image, pose
from studio.annotators import Kind
from studio.errors import BadRequest
from studio.geometry import Size
from studio.pose import Pose
from studio.request import ControlUnit, Resize

Settled = Mapping[str, float | int]
#: Levels of 255 by which a drawing must differ from its ground anywhere to be one.
_VISIBLE: Final = 8


def source(unit: ControlUnit, size: Size, max_pixels: int) -> Image.Image:
    """The unit's image, or its pose as ControlNets know poses, at `size`.

    Raises:
        BadRequest: there is none, or nothing on it.
        TooLarge, UnreadablePicture: the image.
    """
    if unit.pose is not None:
        return _posed(unit.pose, size, unit.resize)
    if unit.image is None:
        raise BadRequest("A guide has neither an image nor a pose; draw or add one, or switch it off.")
    picture = image.decode(unit.image.data, max_pixels)
    if max(high - low for low, high in _extremes(picture)) < _VISIBLE:
        raise BadRequest("The drawing of a guide is empty; draw something, or switch it off.")
    return laid(picture, size, unit.resize)


def laid(picture: Image.Image, size: Size, how: Resize) -> Image.Image:
    """At `size`; what is to keep its own lies in the middle, cut off or with black around it."""
    if how != "keep":
        return canvas.resized(picture, size, how)
    page = Image.new("RGB", size)
    page.paste(picture, ((size[0] - picture.width) // 2, (size[1] - picture.height) // 2))
    return page


def _posed(people: Pose, size: Size, how: Resize) -> Image.Image:
    """Drawn at the scale at which it is needed: limbs are as thick on any page."""
    if how == "stretch":
        return pose.draw(people, *size)
    across, down = size[0] / people.width, size[1] / people.height
    scale = {"crop": max(across, down), "fill": min(across, down), "keep": 1.0}[how]
    whole = max(round(people.width * scale), 1), max(round(people.height * scale), 1)
    return laid(pose.draw(people, *whole), size, "keep")


def drawing(picture: Image.Image, settled: Settled) -> Image.Image:
    """White strokes on black of strokes in any colour on any ground, which is what most of the rim shows."""
    levels = np.asarray(picture, np.int16)
    rim = np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])
    distance = np.abs(levels - np.median(rim, axis=0).astype(np.int16)).max(axis=2)
    return _two_levels(distance > settled["threshold"])


def tile(picture: Image.Image, settled: Settled) -> Image.Image:
    times = int(settled["shrink"])
    small = picture.resize((max(picture.width // times, 1), max(picture.height // times, 1)), Image.Resampling.BOX)
    return small.resize(picture.size, Image.Resampling.BICUBIC)


def blurred(picture: Image.Image, settled: Settled) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(settled["sigma"]))


def grey(picture: Image.Image, settled: Settled) -> Image.Image:
    return picture.convert("L").convert("RGB")


def inverted(picture: Image.Image, settled: Settled) -> Image.Image:
    return ImageOps.invert(picture)


def thresholded(picture: Image.Image, settled: Settled) -> Image.Image:
    return _two_levels(np.asarray(picture.convert("L")) > settled["threshold"])


#: What the annotators without a detector do.
OWN: Final[Mapping[str, Callable[[Image.Image, Settled], Image.Image]]] = {
    "none": lambda picture, settled: picture,
    "scribble": drawing,
    "tile": tile,
    "blur": blurred,
    "grey": grey,
    "invert": inverted,
    "threshold": thresholded,
}


def looks(made: Image.Image) -> Kind:
    """What a ready map most likely shows, for ControlNets that are told: lines, limbs, depths, or a picture."""
    levels = np.asarray(made, np.int16)
    dark = float((levels.max(axis=2) < 16).mean())
    if (levels.max(axis=2) - levels.min(axis=2)).mean() > 2:
        return "pose" if dark > 0.6 else "tile"
    between = float(((levels[..., 0] > 32) & (levels[..., 0] < 224)).mean())
    return "depth" if between > 0.3 else "canny"


def _two_levels(white: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Image.Image:
    return Image.fromarray(np.where(white, np.uint8(255), np.uint8(0))).convert("RGB")


def _extremes(picture: Image.Image) -> list[tuple[int, int]]:
    return [channel.getextrema() for channel in picture.split()]  # type: ignore[misc]
