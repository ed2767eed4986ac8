"""The places of the world, by name, and the stage of a scene: its sky, its place and its weather."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tools.mini.backgrounds import LIGHT, SKIES, Stage, fall_weather, hang_sky
from tools.mini.places_built import cave, city, garden, room, space, village
from tools.mini.places_nature import beach, desert, forest, hills, island, lake, meadow, mountains, pier, sea
from tools.mini.scene import FLYING, INDOORS, SWIMMING, Scene
from tools.mini.shapes import Rgb, mix

_WHITE: Rgb = (255, 255, 255)

# fmt: off
_PLACES: dict[str, Callable[[Stage], None]] = {
    "sea": sea, "beach": beach, "lake": lake, "island": island, "hills": hills, "mountains": mountains,
    "desert": desert, "meadow": meadow, "forest": forest, "garden": garden, "village": village, "city": city,
    "cave": cave, "room": room, "space": space,
}
# fmt: on


def build_stage(scene: Scene, rng: np.random.Generator, width: float, height: float) -> Stage:
    """The scenery of a scene with a place, on a canvas of design units (short side 256)."""
    assert scene.place is not None
    assert scene.time is not None
    jitter = rng.normal() * 4 + rng.normal(size=3) * 1.5
    top, bottom = (tuple(float(v) for v in np.clip(np.array(c) + jitter, 0, 255)) for c in SKIES[scene.time])
    sky: tuple[Rgb, Rgb] = ((top[0], top[1], top[2]), (bottom[0], bottom[1], bottom[2]))
    sky = ((10, 8, 30), (34, 22, 70)) if scene.place == "space" else sky
    stage = Stage(rng, width, height, height * rng.uniform(0.58, 0.67), scene.time, sky)
    if scene.place != "space":
        hang_sky(stage, with_moon=all(thing.name != "moon" for thing in scene.things))
        if scene.place in INDOORS:  # weather stays outside
            fall_weather(stage)
            stage.back += stage.front
            stage.front.clear()
    _PLACES[scene.place](stage)
    if scene.place == "sea" and any(thing.name not in SWIMMING | FLYING for thing in scene.things):
        pier(stage)
    if scene.place != "space" and scene.place not in INDOORS:
        fall_weather(stage)
    return stage


def plain_stage(color: Rgb, rng: np.random.Generator, width: float, height: float) -> Stage:
    """A background of one colour, a little lighter below."""
    base = mix(color, _WHITE, 0.12)
    return Stage(rng, width, height, height * 0.74, "day", (base, mix(base, _WHITE, 0.14)))


def light_on_subjects(time: str | None) -> tuple[Rgb, float]:
    if time is None:
        return _WHITE, 0.0
    tint, _, share = LIGHT[time]
    return tint, share
