"""Subjects as lists of coloured parts, in their own square from −1 to 1 (y down, feet at 1, facing right)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.mini.poses import Keypoints, draw_person
from tools.mini.scene import COLORS, SUBJECTS, Thing
from tools.mini.shapes import Points, Rgb, mix
from tools.mini.subjects_living import LIVING
from tools.mini.subjects_made import MADE
from tools.mini.subjects_parts import Part

DRAWERS = {**LIVING, **MADE}
assert set(DRAWERS) | {"person"} == set(SUBJECTS)


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one subject, all led by its named one."""

    colors: dict[str, Rgb]

    def __getitem__(self, role: str) -> Rgb:
        return self.colors[role]


def palette(color: str, rng: np.random.Generator, tint: Rgb, share: float) -> Palette:
    """Shades of the named colour, slightly varied, mixed with `share` of the light's `tint`."""
    r, g, b = (float(v) for v in np.clip(np.array(COLORS[color]) + rng.normal() * 5 + rng.normal(size=3) * 1.5, 0, 255))
    main: Rgb = (r, g, b)
    pale = color in ("white", "yellow", "gray")
    shades: dict[str, Rgb] = {
        "main": main,
        "dark": mix(main, (24, 16, 60), 0.16 if color == "white" else 0.28),
        "light": mix(main, (255, 255, 250), 0.16 if color == "black" else 0.40),
        "accent": (214, 60, 60) if color == "white" else (252, 248, 236),
        "heart": (150, 92, 40) if pale and color != "gray" else (252, 206, 60),
        "key": (40, 34, 44) if color != "black" else (12, 10, 16),
        "white": (252, 252, 250),
        "glass": (176, 222, 246),
        "lamp": (255, 232, 140),
        "wood": (146, 96, 58),
        "leaf": (70, 150, 72),
        "iron": (92, 94, 108),
        "blush": (244, 138, 150),
    }
    keep = {"lamp"}
    return Palette({role: shade if role in keep else mix(shade, tint, share) for role, shade in shades.items()})


def draw_subject(thing: Thing, rng: np.random.Generator) -> tuple[list[tuple[Points, str | Rgb]], Keypoints | None]:
    """Parts of one `thing` from back to front, coloured by palette role or outright; and a person's 18 keypoints."""
    if thing.name == "person":
        return draw_person(thing.pose or "standing", thing.look, rng)
    parts: list[Part] = DRAWERS[thing.name](rng)
    return parts, None
