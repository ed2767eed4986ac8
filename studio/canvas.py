"""The picture that is worked on: how the source comes to it, what of it may change, how what was drawn goes back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from studio import geometry, image
from studio.geometry import Box, Size
from studio.request import Resize, ResolvedRequest
from studio.seam import Floats, dilated, in_tune, joined, spread

#: Pixels of a drawing over which a VAE carries a change: beyond them what was not masked comes out as it went in.
_REACH: Final = 8
#: Pixels around a seam from which a shift of colour is learnt.
_RIM: Final = 64
#: Levels of grain, and pixels over which it sets in, in new margins: a model shown nothing but a smear draws a smear.
_GRAIN: Final = 40.0
_GRAIN_WITHIN: Final = 64
#: With a soft mask the drawing itself fades; only where next to nothing may change it is faded out in pixels too.
_STEEPNESS: Final = 8


@dataclass(frozen=True, slots=True)
class Canvas:
    """What is there before drawing.

    Attributes:
        picture: RGB, of the size of the result.
        change: Grey: how much of each pixel is drawn anew. None: all of everything.
        opacity: Grey: how much of the drawing shows; where it is 0 the picture stays bit for bit. None: everywhere.
        box: The part that is drawn.
        size: The size it is drawn at.
        inner: Where the source lies, if it was given margins.
    """

    picture: Image.Image
    change: Image.Image | None
    opacity: Image.Image | None
    box: Box
    size: Size
    inner: Box | None = None

    @property
    def untouched(self) -> bool:
        """There is a mask, and nothing in it."""
        return self.opacity is not None and self.opacity.getbbox() is None

    def part(self, *, smeared: bool = False) -> Image.Image:
        """What lies in the box, at the size of the drawing; `smeared`: what will change, from its surroundings."""
        part = self.picture.crop(self.box)
        if smeared and self.change is not None:
            kept = (255 - _floats(self.change.crop(self.box))) / np.float32(255)
            part = _picture(spread(_floats(part), kept))
        return _sized(part, self.size)

    def mask(self) -> Image.Image:
        """`change` in the box, at the size of the drawing; no stroke is too thin to survive."""
        if self.change is None:
            return Image.new("L", self.size, 255)
        return pooled(self.change.crop(self.box), self.size)

    def composed(self, drawn: Image.Image, *, match_colour: bool = False) -> Image.Image:
        """The whole picture with `drawn`, of any size, in its box."""
        box_size = self.box[2] - self.box[0], self.box[3] - self.box[1]
        part = _sized(drawn, box_size)
        if self.opacity is None:
            return part
        if match_colour and self.change is not None:
            part = self._in_tune(part)
        whole = self.picture.copy()
        whole.paste(part, self.box, self.opacity.crop(self.box))
        return whole

    def _in_tune(self, part: Image.Image) -> Image.Image:
        assert self.opacity is not None
        assert self.change is not None
        shows = self.opacity.crop(self.box).getbbox()
        if shows is None:
            return part
        near = geometry.surroundings(shows, part.size, _RIM, part.size)
        before, change = (whole.crop(self.box).crop(near) for whole in (self.picture, self.change))
        reach = max(round(_REACH * part.width / self.size[0]), 1)
        levels = in_tune(_floats(part.crop(near)), _floats(before), np.asarray(change), reach)
        if self.inner is not None:
            known = Image.new("L", self.picture.size)
            known.paste(1, self.inner)
            levels = joined(levels, _floats(before), _floats(known.crop(self.box).crop(near)), reach)
        part.paste(_picture(levels), near)
        return part

    def small(self, longest: int) -> Canvas:
        """The same at no more than `longest` pixels a side, for previews."""
        width, height = self.picture.size
        scale = min(1.0, longest / max(width, height))
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        across, down = size[0] / width, size[1] / height
        left, top = int(self.box[0] * across), int(self.box[1] * down)
        right, bottom = max(round(self.box[2] * across), left + 1), max(round(self.box[3] * down), top + 1)
        return Canvas(
            picture=self.picture.resize(size, Image.Resampling.BOX),
            change=None,
            opacity=self.opacity and self.opacity.resize(size, Image.Resampling.BOX),
            box=(left, top, right, bottom),
            size=(right - left, bottom - top),
        )

    def after(self, picture: Image.Image) -> Canvas:
        """The canvas of the next round, which starts from `picture`."""
        return replace(self, picture=picture)


def read(request: ResolvedRequest, max_pixels: int) -> Canvas | None:
    """The canvas of a request, or None without an input picture.

    Raises:
        TooLarge, UnreadablePicture: an input picture.
    """
    if request.init is None:
        return None
    source = image.decode(request.init.data, max_pixels)
    mask = None if request.mask is None else image.decode_mask(request.mask.data, max_pixels)
    return lay_out(request, source, mask)


def lay_out(request: ResolvedRequest, source: Image.Image, mask: Image.Image | None) -> Canvas:
    """`mask` is grey and covers the whole source, whatever its size."""
    target = request.width, request.height
    picture = resized(source, target, request.resize)
    margins = request.outpaint
    inner: Box | None = None
    if mask is None and not margins:
        return Canvas(picture, None, None, (0, 0, *picture.size), target)
    change = opacity = Image.new("L", picture.size)
    if mask is not None:
        change, opacity = _faded(painted(request, source.size, mask), request.inpaint.mask_blur, request.inpaint.soft)
    if margins:
        size, inner = geometry.extended(picture.size, margins)
        picture = grown(picture, size, inner, grain=request.seed)
        change, opacity = (_framed(grey, size, inner) for grey in (change, opacity))
    whole = 0, 0, *picture.size
    touched = opacity.getbbox()
    if request.inpaint.area == "whole" or touched is None:
        return Canvas(picture, change, opacity, whole, target, inner)
    box = geometry.surroundings(touched, picture.size, request.inpaint.padding, target)
    size = geometry.drawing((box[2] - box[0], box[3] - box[1]), target)
    return Canvas(picture, change, opacity, box, size, inner)


def painted(request: ResolvedRequest, source: Size, mask: Image.Image) -> Image.Image:
    """The mask as it lies on the source once that has come to size: white is what will be drawn."""
    mask = pooled(mask, source)
    if request.inpaint.invert:
        mask = ImageOps.invert(mask)
    target = request.width, request.height
    match request.resize:
        case "keep":
            return mask
        case "stretch":
            return pooled(mask, target)
        case "crop":
            return pooled(mask.crop(geometry.window(source, target)), target)
        case "fill":
            left, top, right, bottom = geometry.inset(source, target)
            laid = Image.new("L", target)
            laid.paste(pooled(mask, (right - left, bottom - top)), (left, top))
            return laid


def resized(picture: Image.Image, target: Size, how: Resize) -> Image.Image:
    """`picture` brought to `target` (`keep`: as it is). Doing it twice changes nothing."""
    match how:
        case "keep":
            return picture.copy()
        case "stretch":
            return _sized(picture, target)
        case "crop":
            return _sized(picture.crop(geometry.window(picture.size, target)), target)
        case "fill":
            inner = geometry.inset(picture.size, target)
            return grown(_sized(picture, (inner[2] - inner[0], inner[3] - inner[1])), target, inner)


def grown(picture: Image.Image, size: Size, inner: Box, grain: int | None = None) -> Image.Image:
    """`picture` at `inner` of a canvas of `size`, the rest spread from its edges; `grain`: a seed of noise over it."""
    canvas = Image.new("RGB", size)
    canvas.paste(picture, inner)
    if canvas.size == picture.size:
        return canvas
    known = np.zeros(size[::-1], np.float32)
    known[inner[1] : inner[3], inner[0] : inner[2]] = 1
    around = spread(_floats(canvas), known)
    if grain is not None:
        across, down = (
            np.maximum(np.maximum(start - places, places - end + 1), 0)
            for start, end, places in (
                (inner[0], inner[2], np.arange(size[0])),
                (inner[1], inner[3], np.arange(size[1])),
            )
        )
        distance = np.maximum(across[None, :], down[:, None])
        amount = (_GRAIN * np.minimum(distance / _GRAIN_WITHIN, 1)).astype(np.float32)
        around += amount[..., None] * np.random.default_rng(grain).standard_normal(around.shape, np.float32)
    margins = _picture(around)
    margins.paste(picture, inner)
    return margins


def _framed(grey: Image.Image, size: Size, inner: Box) -> Image.Image:
    canvas = Image.new("L", size, 255)
    canvas.paste(grey, inner)
    return canvas


def _faded(mask: Image.Image, blur: int, soft: bool) -> tuple[Image.Image, Image.Image]:
    """What changes and what shows of it; see `Canvas`."""
    faded = feathered(mask, blur)
    if soft:
        return faded, faded.point([min(level * _STEEPNESS, 255) for level in range(256)])
    # What shows, however faintly, is drawn anew: a denoiser draws an edge where its mask ends, to be seen by nobody.
    anew = np.asarray(faded) > 0
    return Image.fromarray(np.where(anew, np.uint8(255), np.uint8(0))), faded


def feathered(mask: Image.Image, blur: int) -> Image.Image:
    """`mask`, and an even ramp from its edge down to nothing 2 · `blur` pixels away; nothing painted gets lighter.

    Where two pictures pass into each other they add to every slope, the less the longer the ramp: an even one is, for
    its length, the least steep.
    """
    if not blur:
        return mask
    wide = Image.fromarray(dilated(np.asarray(mask), blur)).filter(ImageFilter.BoxBlur(blur))
    return Image.fromarray(np.maximum(np.asarray(mask), np.asarray(wide)))


def pooled(mask: Image.Image, size: Size) -> Image.Image:
    """A grey picture at `size`: enlarged smoothly; shrunk by the largest level in each cell, so nothing is lost."""
    for axis in (0, 1):
        length = size[axis]
        if length > mask.size[axis]:
            wider = (length, mask.height) if axis == 0 else (mask.width, length)
            mask = mask.resize(wider, Image.Resampling.BILINEAR)
        elif length < mask.size[axis]:
            starts = np.arange(length) * mask.size[axis] // length
            mask = Image.fromarray(np.maximum.reduceat(np.asarray(mask), starts, axis=1 - axis))
    return mask


def _sized(picture: Image.Image, size: Size) -> Image.Image:
    return picture.copy() if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _floats(picture: Image.Image) -> Floats:
    return np.asarray(picture, np.float32)


def _picture(levels: Floats) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
