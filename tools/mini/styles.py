"""Styles: ways of painting the same vector shapes. Each takes a `Picture` and returns H×W×3 RGB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.mini.shapes import Rgb, Shape, luminance, mix, poly
from tools.mini.textures import dabs, grain, hatching, panes, ragged_border, soft_spot, wobble

Image: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Recolor: TypeAlias = Callable[[Shape], Rgb]

_PAPER: Rgb = (250, 246, 236)


@dataclass(frozen=True, slots=True)
class Picture:
    """Shapes to paint on `width` × `height` pixels, `scale` pixels to the design unit; `sky` is its upper and lower
    colour, the lower one reached at `horizon` (pixels)."""

    width: int
    height: int
    scale: float
    sky: tuple[Rgb, Rgb]
    horizon: float
    shapes: list[Shape]


def _sky(picture: Picture, recolor: Callable[[Rgb], Rgb]) -> Image:
    share = np.clip(np.arange(picture.height, dtype=np.float32) / picture.horizon, 0, 1)[:, None]
    top, bottom = (np.array(recolor(color), np.float32) for color in picture.sky)
    column = np.clip(top * (1 - share) + bottom * share, 0, 255).astype(np.uint8)
    return np.repeat(column[:, None], picture.width, axis=1)


def _soft(image: Image, shape: Shape, color: Rgb, scale: float) -> None:
    (x, y), (rx, ry) = shape.points * scale
    x0, x1, y0, y1 = int(x - rx), int(x + rx) + 1, int(y - ry), int(y + ry) + 1
    u0, u1, v0, v1 = max(x0, 0), min(x1, image.shape[1]), max(y0, 0), min(y1, image.shape[0])
    if u0 >= u1 or v0 >= v1:
        return
    spot = cv2.resize(soft_spot(), (x1 - x0, y1 - y0))[v0 - y0 : v1 - y0, u0 - x0 : u1 - x0, None] * shape.alpha
    region = image[v0:v1, u0:u1]
    region[...] = region + (np.array(color, np.float32) - region) * spot


def _blend(image: Image, points: NDArray[np.int32], color: Rgb, alpha: float) -> None:
    low, high = points.min(0) // 16, points.max(0) // 16 + 2
    x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
    x1, y1 = min(int(high[0]), image.shape[1]), min(int(high[1]), image.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    region = image[y0:y1, x0:x1]
    over = region.copy()
    cv2.fillPoly(over, [points - np.array([x0 * 16, y0 * 16], np.int32)], color, cv2.LINE_AA, 4)
    cv2.addWeighted(over, alpha, region, 1 - alpha, 0, region)


def _fill(picture: Picture, recolor: Recolor, sky: Callable[[Rgb], Rgb], outline: Recolor | None = None,
          thickness: float = 2.0, rim: float = 3.0) -> Image:  # fmt: skip
    """Fill all shapes, back to front; with `outline`, edges of scenery and subjects are drawn in its colours.

    `thickness` of those lines and of the `rim` around subjects are in design units; a rim of 0 is left out.
    """
    image = _sky(picture, sky)
    thick = max(1, round(thickness * picture.scale))
    border = max(1, round(rim * picture.scale))
    for shape in picture.shapes:
        if shape.role == "soft":
            _soft(image, shape, recolor(shape), picture.scale)
            continue
        points = np.rint(shape.points * (16 * picture.scale)).astype(np.int32)
        if shape.role == "rim":
            if rim:
                cv2.polylines(image, [points], True, recolor(shape), border, cv2.LINE_AA, 4)
        elif shape.alpha < 1:
            _blend(image, points, recolor(shape), shape.alpha)
        else:
            cv2.fillPoly(image, [points], recolor(shape), cv2.LINE_AA, 4)
            if outline is not None and shape.role not in ("detail", "spark"):
                cv2.polylines(image, [points], True, outline(shape), thick, cv2.LINE_AA, 4)
    return image


def subject_mask(picture: Picture, margin: float = 0.0) -> Image:
    """255 on the subjects and `margin` design units around them."""
    mask = np.zeros((picture.height, picture.width), np.uint8)
    thick = max(1, round(2 * margin * picture.scale))
    for shape in picture.shapes:
        if shape.role == "subject":
            points = np.rint(shape.points * (16 * picture.scale)).astype(np.int32)
            cv2.fillPoly(mask, [points], (255,), cv2.LINE_8, 4)
            if margin:
                cv2.polylines(mask, [points], True, (255,), thick, cv2.LINE_8, 4)
    return mask


def _own(shape: Shape) -> Rgb:
    return shape.color


def _same(color: Rgb) -> Rgb:
    return color


def _clip(values: NDArray[np.floating]) -> Image:
    return _bytes(np.clip(values, 0, 255))


def _bytes(image: object) -> Image:
    """What OpenCV returns for 8-bit pictures, under its proper type."""
    out: Image = np.asarray(image, np.uint8)
    return out


def _variant(rng: np.random.Generator) -> int:
    return int(rng.integers(6))


def flat(picture: Picture, rng: np.random.Generator) -> Image:
    return _fill(picture, _own, _same)


def watercolor(picture: Picture, rng: np.random.Generator) -> Image:
    image = _fill(
        picture,
        lambda s: mix(s.color, _PAPER, 0.12 if s.role == "subject" else 0.22),
        lambda c: mix(c, _PAPER, 0.16),
        rim=0,
    )
    warp = wobble(picture.width, picture.height, picture.scale, 1.9, _variant(rng))
    wet = cv2.remap(image, warp[0], warp[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    half = cv2.resize(wet, (picture.width // 2, picture.height // 2), interpolation=cv2.INTER_AREA)
    around = cv2.resize(cv2.GaussianBlur(half, (0, 0), 2.2 * picture.scale), (picture.width, picture.height)).astype(
        np.float32
    )
    body = cv2.blur(wet, (3, 3)).astype(np.float32)
    # pigment gathers where a wash ends
    body -= 0.4 * np.abs(body - around)
    body *= grain("wash", picture.width, picture.height, picture.scale, _variant(rng))
    border = ragged_border(picture.width, picture.height, picture.scale, _variant(rng))
    return _clip(body * border + np.array(_PAPER, np.float32) * (1 - border))


_BAYER = (np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) + 0.5) / 16 - 0.5


def pixel(picture: Picture, rng: np.random.Generator) -> Image:
    block = max(1, round(6 * picture.scale))
    columns, rows = -(-picture.width // block), -(-picture.height // block)
    image = _fill(picture, _own, _same)
    small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float32)
    step = 255 / 7
    dither = np.tile(_BAYER, (rows // 4 + 1, columns // 4 + 1))[:rows, :columns, None] * 0.22
    small = _clip(np.round(small / step + dither) * step).astype(np.float32)
    big = np.repeat(np.repeat(small.astype(np.uint8), block, 0), block, 1)
    return np.ascontiguousarray(big[: picture.height, : picture.width])


def ink(picture: Picture, rng: np.random.Generator) -> Image:
    nib: Rgb = (26, 24, 30)

    def wash(shape: Shape) -> Rgb:
        if shape.role == "rim":
            return nib
        return mix(shape.color, _PAPER, 0.10) if shape.role == "subject" else mix(shape.color, _PAPER, 0.64)

    image = _fill(picture, wash, lambda c: mix(c, _PAPER, 0.45), lambda s: nib, 1.3, rim=3.4)
    warp = wobble(picture.width, picture.height, picture.scale, 1.0, _variant(rng))
    image = _bytes(cv2.remap(image, warp[0], warp[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    dark = ((gray < 150) & (hatching(picture.width, picture.height, picture.scale) > 0)).astype(np.uint8)
    return _bytes(cv2.subtract(image, cv2.cvtColor(dark * 34, cv2.COLOR_GRAY2RGB)))


def _glowing(color: Rgb) -> Rgb:
    low, high = min(color), max(color)
    if high - low < 28:  # grays glow as tubes of white light, as bright as they are
        level = 70 + 0.72 * high
        return (level * 0.96, level * 0.97, level)
    lifted = [c - 0.7 * low for c in color]
    gain = min(255 / max(*lifted, 1.0), 1.55)  # no further, or brown would glow orange
    return (lifted[0] * gain, lifted[1] * gain, lifted[2] * gain)


def neon(picture: Picture, rng: np.random.Generator) -> Image:
    black: Rgb = (0, 0, 0)

    def dim(shape: Shape) -> Rgb:
        if shape.role == "subject":
            return mix(shape.color, black, 0.42)
        if shape.role == "soft":  # halos of lights keep their colour, veils of fog are dimmed
            return shape.color if max(shape.color) - min(shape.color) > 20 else mix(shape.color, black, 0.6)
        return mix(shape.color, black, {"light": 0.0, "spark": 0.45}.get(shape.role, 0.74))

    def tube(shape: Shape) -> Rgb:
        glow = _glowing(shape.color)
        return glow if shape.role == "subject" else mix(glow, black, 0.32)

    image = _fill(picture, dim, lambda c: mix(c, black, 0.70), tube, 2.2, rim=0)
    size = (max(1, picture.width // 4), max(1, picture.height // 4))
    light = cv2.subtract(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (60, 60, 60, 0))
    halo = cv2.resize(cv2.GaussianBlur(light, (0, 0), 2.6 * picture.scale), (picture.width, picture.height))
    return _bytes(cv2.addWeighted(image, 1.0, halo, 0.9, 0))


def paper(picture: Picture, rng: np.random.Generator) -> Image:
    def sheet(shape: Shape) -> Rgb:
        if shape.role == "rim":
            return (250, 246, 238)
        return mix(shape.color, (255, 250, 240), 0.05 if shape.role == "subject" else 0.16)

    flat_colors = [s for s in picture.shapes if s.role != "soft"]
    wide = picture.width / picture.scale
    strips = [
        Shape(
            poly(-9, y, wide * bend, y - 7, wide + 9, y + 4, wide + 9, 999, -9, 999), mix(*picture.sky, share), "back"
        )
        for y, share, bend in ((38, 0.33, 0.6), (82, 0.66, 0.4), (124, 1.0, 0.7))
    ]
    if sum(abs(a - b) for a, b in zip(*picture.sky, strict=True)) > 60:  # a plain background stays one sheet
        flat_colors = [*strips, *flat_colors]
    bare = Picture(picture.width, picture.height, picture.scale, (picture.sky[0],) * 2, picture.horizon, flat_colors)
    image = _fill(bare, sheet, lambda c: mix(c, (255, 250, 240), 0.14), rim=7)
    level = np.zeros((picture.height, picture.width), np.uint8)
    depth = 0
    for shape in flat_colors:
        if shape.alpha < 1 or shape.role in ("detail", "spark"):
            continue
        depth = min(depth + 1, 254)
        points = np.rint(shape.points * (16 * picture.scale)).astype(np.int32)
        cv2.fillPoly(level, [points], (depth,), cv2.LINE_8, 4)
        if shape.role == "rim":
            cv2.polylines(level, [points], True, (depth,), max(1, round(7 * picture.scale)), cv2.LINE_8, 4)
    shift = max(1, round(5 * picture.scale))
    cast = np.zeros_like(level)
    cast[shift:, shift:] = level[:-shift, :-shift]
    shadow = np.where(cast > level, np.uint8(255), np.uint8(0))
    shadow = np.where(cast > level, cv2.blur(shadow, (shift, shift)), 0).astype(np.float32)
    lift = max(1, round(picture.scale))
    rim = np.zeros_like(level)
    rim[lift:, lift:] = (level[lift:, lift:] > level[:-lift, :-lift]) * np.uint8(30)
    shade = (1 - shadow * (0.5 / 255)) * grain("fibre", picture.width, picture.height, picture.scale, _variant(rng))[
        ..., 0
    ]
    return _clip(image * shade[..., None] + rim[..., None])


def oil(picture: Picture, rng: np.random.Generator) -> Image:
    image = _fill(picture, lambda s: mix(s.color, (96, 60, 30), 0.0 if s.role == "subject" else 0.06), _same)
    variant = _variant(rng)
    xs, ys, relief = dabs(picture.width, picture.height, picture.scale, variant)
    painted = cv2.remap(image, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) * relief
    # a finer brush for the subjects, so that they keep their shape
    xs, ys, relief = dabs(picture.width, picture.height, 0.45 * picture.scale, variant)
    fine = cv2.remap(image, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) * relief
    mask = subject_mask(picture, 7)
    return _clip(np.where(mask[..., None] > 0, fine, painted))


def chalk(picture: Picture, rng: np.random.Generator) -> Image:
    board: Rgb = (32, 42, 41)

    def pale(color: Rgb) -> Rgb:
        return mix(color, (255, 255, 250), 0.14)

    def dust(shape: Shape) -> Rgb:
        return pale(shape.color) if shape.role == "subject" else mix(shape.color, board, 0.42)

    def edge(shape: Shape) -> Rgb:
        light = mix(shape.color, (255, 255, 250), 0.45)
        return light if shape.role == "subject" else mix(light, board, 0.35)

    image = _fill(picture, dust, lambda c: mix(c, board, 0.5), edge, 1.8, rim=0)
    warp = wobble(picture.width, picture.height, picture.scale, 1.0, _variant(rng))
    drawn = cv2.remap(image, warp[0], warp[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    cover = grain("chalk", picture.width, picture.height, picture.scale, _variant(rng))
    slate = np.array(board, np.float32)
    return _clip(slate + (drawn - slate) * cover)


def blueprint(picture: Picture, rng: np.random.Generator) -> Image:
    sheet: Rgb = (24, 66, 146)

    def tinted(shape: Shape) -> Rgb:
        return mix(shape.color, sheet, 0.45) if shape.role == "subject" else mix(shape.color, sheet, 0.86)

    def line(shape: Shape) -> Rgb:
        return (232, 240, 255) if shape.role == "subject" else (150, 182, 228)

    image = _fill(picture, tinted, lambda c: mix(c, sheet, 0.8), line, 1.8, rim=0)
    every = max(4, round(16 * picture.scale))
    grid = np.zeros((picture.height, picture.width), np.uint8)
    grid[::every] = 26
    grid[:, ::every] = 26
    return _bytes(cv2.add(image, cv2.cvtColor(grid, cv2.COLOR_GRAY2RGB)))


def stained_glass(picture: Picture, rng: np.random.Generator) -> Image:
    def vivid(shape: Shape) -> Rgb:
        high = max(shape.color)
        return shape.color if shape.role == "subject" else mix(shape.color, (high, high * 0.9, high), 0.1)

    image = _fill(picture, vivid, _same, rim=0)
    xs, ys, light, lead = panes(picture.width, picture.height, picture.scale, _variant(rng))
    glass = cv2.remap(image, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    plain = (0.45 * image.astype(np.float32) + 0.55 * glass.astype(np.float32)) * light
    out = _clip(plain)
    out[(lead > 0) & (subject_mask(picture) == 0)] = (18, 16, 20)
    thick = max(2, round(4.2 * picture.scale))
    mask = np.zeros((picture.height, picture.width), np.uint8)
    for shape in picture.shapes:
        points = np.rint(shape.points * (16 * picture.scale)).astype(np.int32)
        if shape.role == "rim":
            cv2.polylines(mask, [points], True, (255,), thick, cv2.LINE_AA, 4)
        elif shape.role in ("back", "light") and shape.alpha == 1:
            cv2.fillPoly(mask, [points], (0,), cv2.LINE_8, 4)
            cv2.polylines(mask, [points], True, (255,), max(1, thick // 2), cv2.LINE_AA, 4)
        elif shape.role == "subject":
            cv2.fillPoly(mask, [points], (0,), cv2.LINE_8, 4)
    return _clip(out * (1 - mask[..., None] / np.float32(255)) + np.float32(18) * (mask[..., None] / np.float32(255)))


def woodcut(picture: Picture, rng: np.random.Generator) -> Image:
    cream: Rgb = (240, 228, 202)

    def tone(shape: Shape) -> Rgb:
        return mix(shape.color, cream, 0.08) if shape.role == "subject" else (luminance(shape.color),) * 3

    image = _fill(picture, tone, lambda c: (luminance(c),) * 3, lambda s: (24, 20, 20), 2.4, rim=0)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    cut = hatching(picture.width, picture.height, picture.scale, fine=False)
    black = gray < 30 + cut * 180
    scenery = np.where(black[..., None], np.array([24, 20, 20], np.uint8), np.array(cream, np.uint8))
    mask = subject_mask(picture)
    inked = np.where((gray < 26 + cut * 70)[..., None], (image * 0.55).astype(np.uint8), image)
    return _bytes(np.where(mask[..., None] > 0, inked, scenery))


_STYLES: dict[str, Callable[[Picture, np.random.Generator], Image]] = {
    "flat": flat, "watercolor": watercolor, "pixel": pixel, "ink": ink, "neon": neon, "paper": paper, "oil": oil,
    "chalk": chalk, "blueprint": blueprint, "stained glass": stained_glass, "woodcut": woodcut,
}  # fmt: skip


def paint(style: str, picture: Picture, rng: np.random.Generator) -> Image:
    return _STYLES[style](picture, rng)
