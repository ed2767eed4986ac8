"""Scenes into pictures: scenery and subjects are composed as vector shapes, then painted in the scene's style."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.mini.backgrounds import Stage
from tools.mini.places import build_stage, light_on_subjects, plain_stage
from tools.mini.poses import Keypoints
from tools.mini.scene import COLORS, FLYING, SWIMMING, Scene, Thing
from tools.mini.shapes import Points, Shape, luminance, mix, oval, poly
from tools.mini.styles import Picture, paint, subject_mask
from tools.mini.subjects import draw_subject, palette

_SIDE = 256.0
_SMALL_AREA = 192 * 192
_PLAIN_SHADE = (30.0, 26.0, 44.0)


@dataclass(frozen=True, slots=True)
class Drawing:
    """`lines` is H×W, white lines on black; `keypoints` holds one (18, 3) array per person, in OpenPose order: x and y
    in pixels, and 1 where the joint lies inside the picture."""

    lines: NDArray[np.uint8]
    keypoints: tuple[Keypoints, ...]


@dataclass(frozen=True, slots=True)
class Rendering:
    """`image` is H×W×3 RGB; the rest as in a `Drawing`."""

    image: NDArray[np.uint8]
    lines: NDArray[np.uint8]
    keypoints: tuple[Keypoints, ...]


def _radius(scene: Scene, rng: np.random.Generator, total: int) -> float:
    """Half a subject's size in design units: about half of the short side for one, less for more."""
    if total == 1 and scene.size is not None:
        return float(rng.uniform(32, 40) if scene.size == "small" else rng.uniform(84, 96))
    low, high = {1: (56, 70), 2: (44, 52), 3: (31, 37)}[total]
    return float(rng.uniform(low, high))


def _columns(scene: Scene, total: int) -> list[float]:
    """Where subjects stand, as shares of the width."""
    if total == 1:
        return [{"left": 0.27, "right": 0.73}.get(scene.position or "", 0.5)]
    return [0.28, 0.72] if total == 2 else [0.19, 0.5, 0.81]


def _middle(thing: Thing, scene: Scene, stage: Stage, r: float) -> float:
    """The height of a subject's centre."""
    rng, h, horizon = stage.rng, stage.height, stage.horizon
    if scene.plain is not None or (scene.place == "space" and thing.name in FLYING):
        return float(h * 0.5 + rng.uniform(-8, 8))
    if thing.name in FLYING:
        return float(max(rng.uniform(0.36, 0.44) * h, r + 6))
    if thing.name in SWIMMING and scene.place in ("sea", "lake"):
        dip = {"fish": 0.42, "whale": 0.72, "sailboat": 0.86}[thing.name]
        return float(horizon + (h - horizon) * rng.uniform(0.22, 0.4) - dip * r + r * 0.1)
    if thing.name == "fish":
        return float(h * rng.uniform(0.46, 0.54))
    return float(rng.uniform(0.90, 0.95) * h - r)


def _place_things(scene: Scene, stage: Stage) -> tuple[list[Shape], list[Keypoints]]:
    rng = stage.rng
    total = sum(thing.count for thing in scene.things)
    columns, radius = _columns(scene, total), _radius(scene, rng, total)
    tint, share = light_on_subjects(scene.time)
    shapes: list[Shape] = []
    people: list[Keypoints] = []
    for slot, thing in enumerate([one for one in scene.things for _ in range(one.count)]):
        r = radius * float(rng.uniform(0.95, 1.05)) * (1.1 if thing.name == "person" and total < 3 else 1.0)
        sway = 0.05 * stage.width if total == 1 and scene.position is None else 0.02 * stage.width
        x = float(np.clip(columns[slot] * stage.width + rng.uniform(-sway, sway), r + 3, stage.width - r - 3))
        y = float(np.clip(_middle(thing, scene, stage, r), r + 3, stage.height - r - 3))
        colors = palette(thing.color, rng, tint, share)
        parts, joints = draw_subject(thing, rng)
        flip = -1.0 if joints is None and rng.random() < 0.5 else 1.0
        scale = np.array([flip * r, r], np.float32)
        origin = np.array([x, y], np.float32)
        afloat = thing.name in SWIMMING and scene.place in ("sea", "lake")
        grounded = thing.name not in FLYING and thing.name != "fish" and not afloat
        if grounded:
            shade = mix(COLORS[scene.plain], _PLAIN_SHADE, 0.6) if scene.plain else (16.0, 14.0, 36.0)
            foot = (0.96 if joints is not None else 0.98) * r
            shapes.append(Shape(poly(x, y + foot, r * 1.15, r * 0.22), shade, "soft", 0.55))
        main = colors["main"]
        outline = mix(main, (22, 16, 40), 0.62) if luminance(main) > 60 else mix(main, (214, 214, 226), 0.5)
        placed: list[tuple[Points, str | tuple[float, float, float]]] = [(p * scale + origin, c) for p, c in parts]
        shapes += [Shape(points, outline, "rim") for points, _ in placed]
        shapes += [
            Shape(points, colors[c] if isinstance(c, str) else mix(c, tint, share), "subject") for points, c in placed
        ]
        if afloat:
            wave = mix(
                stage.lit((30, 108, 190) if scene.place == "sea" else (78, 156, 200), 0.75), (226, 240, 250), 0.25
            )
            line = y + {"fish": 0.5, "whale": 0.74, "sailboat": 0.86}[thing.name] * r
            shapes.append(Shape(oval(x, line + r * 0.16, r * 1.12, r * 0.17), wave, "detail"))
            shapes.append(Shape(oval(x, line + r * 0.2, r * 0.9, r * 0.04), mix(wave, (255, 255, 255), 0.4), "detail"))
        if joints is not None:
            people.append(joints * scale + origin)
    return shapes, people


def _compose(
    scene: Scene, rng: np.random.Generator, width: int, height: int
) -> tuple[Stage, list[Shape], list[Keypoints]]:
    """The scenery, the subjects' shapes and the people's joints, in design units."""
    short = min(width, height)
    wide, tall = _SIDE * width / short, _SIDE * height / short
    if scene.plain is not None:
        stage = plain_stage(COLORS[scene.plain], rng, wide, tall)
    else:
        stage = build_stage(scene, rng, wide, tall)
    subjects, people = _place_things(scene, stage)
    return stage, subjects, people


def coverage(scene: Scene, rng: np.random.Generator, width: int, height: int, cell: int) -> NDArray[np.uint8]:
    """How much of each `cell`×`cell` pixels the subjects take: 0…255, (height / cell, width / cell).

    `rng` is what `render` would get; the picture itself is not painted, which is most of the work.
    """
    stage, subjects, _ = _compose(scene, rng, width, height)
    picture = Picture(width, height, min(width, height) / _SIDE, stage.sky, stage.horizon, subjects)
    cells = subject_mask(picture).reshape(height // cell, cell, width // cell, cell).mean((1, 3))
    share: NDArray[np.uint8] = np.rint(cells).astype(np.uint8)
    return share


def render(scene: Scene, rng: np.random.Generator, width: int = 256, height: int = 256) -> Rendering:
    """Draw `scene` at `width` × `height` pixels. One seed gives one picture, whatever its size; wide and tall canvases
    are composed anew rather than stretched."""
    short = min(width, height)
    stage, subjects, people = _compose(scene, rng, width, height)
    shapes = [*stage.back, *subjects, *stage.front]
    # small pictures are painted at twice their size and reduced, so that they look like the large ones
    factor = 2 if width * height < _SMALL_AREA else 1
    scale = short * factor / _SIDE
    picture = Picture(width * factor, height * factor, scale, stage.sky, stage.horizon * scale, shapes)
    image = paint(scene.style, picture, rng)
    if factor == 2:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return Rendering(image, _lines(shapes, width, height, short / _SIDE), _seen(people, width, height))


def drawing(scene: Scene, rng: np.random.Generator, width: int, height: int, subjects_only: bool = False) -> Drawing:
    """The drawing of the picture that `render` would paint with the same `rng`; painting is most of its work."""
    stage, subjects, people = _compose(scene, rng, width, height)
    shapes = subjects if subjects_only else [*stage.back, *subjects, *stage.front]
    return Drawing(_lines(shapes, width, height, min(width, height) / _SIDE), _seen(people, width, height))


def _seen(people: list[Keypoints], width: int, height: int) -> tuple[Keypoints, ...]:
    """Joints in pixels, each with 1 where it lies inside the picture."""
    pixels = [joints * (min(width, height) / _SIDE) for joints in people]
    inside = [((joints >= 0) & (joints < (width, height))).all(1, keepdims=True) for joints in pixels]
    return tuple(np.concatenate(pair, 1).astype(np.float32) for pair in zip(pixels, inside, strict=True))


def _lines(shapes: list[Shape], width: int, height: int, scale: float) -> NDArray[np.uint8]:
    """White outlines of what is seen, on black, one or two pixels wide."""
    lines = np.zeros((height, width), np.uint8)
    thick = max(1, round(2 * scale))
    for shape in shapes:
        if shape.role in ("back", "light", "subject") and shape.alpha == 1.0:
            points = np.rint(shape.points * (16 * scale)).astype(np.int32)
            cv2.fillPoly(lines, [points], (0,), cv2.LINE_8, 4)
            cv2.polylines(lines, [points], True, (255,), thick, cv2.LINE_AA, 4)
    return lines
