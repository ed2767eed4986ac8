"""What a picture of the embedded model's world may hold: a scene is data, drawn by `render` and told by `captions`."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

SUBJECTS: tuple[str, ...] = (
    "sailboat", "house", "tree", "hot air balloon", "fish", "bird", "flower", "mushroom", "robot", "castle", "car",
    "cat", "person", "star", "rocket", "lighthouse", "butterfly", "dog", "horse", "owl", "whale", "train", "windmill",
    "moon", "teapot", "turtle", "snail", "apple", "umbrella", "lantern", "airplane", "cactus", "dragon", "rabbit",
    "elephant", "heart",
)  # fmt: skip
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 44),
    "orange": (246, 132, 28),
    "yellow": (250, 210, 46),
    "green": (52, 166, 74),
    "teal": (20, 166, 166),
    "blue": (40, 92, 216),
    "purple": (132, 58, 186),
    "pink": (246, 128, 178),
    "brown": (134, 82, 44),
    "black": (38, 38, 44),
    "gray": (138, 140, 148),
    "white": (246, 246, 244),
}
PLACES: tuple[str, ...] = (
    "sea", "beach", "lake", "island", "hills", "mountains", "desert", "meadow", "forest", "garden", "village", "city",
    "cave", "room", "space",
)  # fmt: skip
TIMES: tuple[str, ...] = ("day", "sunset", "night", "storm", "snow", "fog", "aurora")
STYLES: tuple[str, ...] = ("flat", "watercolor", "pixel", "ink", "neon", "paper", "oil", "chalk")
LORA_STYLES: tuple[str, ...] = ("blueprint", "stained glass", "woodcut")
POSES: tuple[str, ...] = (
    "standing", "waving", "arms raised", "arms spread", "hands on hips", "walking", "running", "jumping", "sitting",
    "dancing",
)  # fmt: skip
FREE_POSE = "free"
"""A person with random joint angles, which no caption names."""
LOOKS: tuple[str, ...] = ("woman", "man")

FLYING = frozenset(
    {"hot air balloon", "bird", "star", "rocket", "butterfly", "moon", "airplane", "heart"}
)  # these float in the sky
SWIMMING = frozenset({"sailboat", "fish", "whale"})
WATERS = frozenset({"sea", "lake", "island", "beach"})
INDOORS = frozenset({"cave", "room"})
POSITIONS: tuple[str, ...] = ("left", "right")
SIZES: tuple[str, ...] = ("small", "large")


@dataclass(frozen=True, slots=True)
class Thing:
    """`count` (1–3) alike subjects of one colour. `pose` and `look` are for people; no `look` is neutral."""

    name: str
    color: str
    count: int = 1
    pose: str | None = None
    look: str | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """One or two `things`, the first to the left of the second, in a place and time or before a `plain` colour.

    `place` and `time` are both None exactly when `plain` is set; in space it is always night.
    """

    things: tuple[Thing, ...]
    style: str
    place: str | None
    time: str | None
    plain: str | None = None
    position: str | None = None
    size: str | None = None


NAMES: dict[str, tuple[str, ...]] = {
    "subject": SUBJECTS,
    "color": tuple(COLORS),
    "count": ("one", "two", "three"),
    "subject2": SUBJECTS,
    "color2": tuple(COLORS),
    "pose": POSES,
    "look": LOOKS,
    "style": STYLES + LORA_STYLES,
    "place": PLACES,
    "time": TIMES,
    "plain": tuple(COLORS),
    "position": POSITIONS,
    "size": SIZES,
}
"""Attribute → the names of its classes: class 0 means absent, class i the i-th name."""
LABELS: dict[str, int] = {attribute: len(names) + 1 for attribute, names in NAMES.items()}
"""Attribute → number of classes."""


def labels(scene: Scene) -> dict[str, int]:
    first = scene.things[0]
    second = scene.things[1] if len(scene.things) > 1 else None
    named = {
        "subject": first.name,
        "color": first.color,
        "count": NAMES["count"][first.count - 1],
        "subject2": second.name if second else None,
        "color2": second.color if second else None,
        "pose": None if first.pose == FREE_POSE else first.pose,
        "look": first.look,
        "style": scene.style,
        "place": scene.place,
        "time": scene.time,
        "plain": scene.plain,
        "position": scene.position,
        "size": scene.size,
    }
    return {attribute: 0 if name is None else NAMES[attribute].index(name) + 1 for attribute, name in named.items()}


def held_out(scene: Scene) -> bool:
    """Whether a thing of `scene` meets a (subject, colour, place, style) that training never sees: 1 in 20 of them."""
    place = scene.place or f"plain {scene.plain}"
    return any(zlib.crc32(f"{t.name}|{t.color}|{place}|{scene.style}".encode()) % 20 == 0 for t in scene.things)


def _choose(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[int(rng.integers(len(names)))]


def _sample_thing(rng: np.random.Generator, count: int = 1) -> Thing:
    # People come three times as often as any other subject: their poses have to be learnt too.
    pick = int(rng.integers(len(SUBJECTS) + 2))
    name = SUBJECTS[pick] if pick < len(SUBJECTS) else "person"
    color = _choose(rng, tuple(COLORS))
    return _person(rng, color, count) if name == "person" else Thing(name, color, count)


def _person(rng: np.random.Generator, color: str, count: int = 1, free: float = 0.2) -> Thing:
    """`free`: how often the joints are at random angles."""
    pose = FREE_POSE if rng.random() < free else _choose(rng, POSES)
    look = None if rng.random() < 0.4 else _choose(rng, LOOKS)
    return Thing("person", color, count, pose, look)


def _time(rng: np.random.Generator, place: str) -> str:
    return "night" if place == "space" else _choose(rng, TIMES)


def _sample_any(rng: np.random.Generator, styles: tuple[str, ...]) -> Scene:
    mix = float(rng.random())
    position: str | None = None
    size: str | None = None
    if mix < 0.18:
        things: tuple[Thing, ...] = (_sample_thing(rng, 2 if mix < 0.10 else 3),)
    elif mix < 0.38:
        first, second = _sample_thing(rng), _sample_thing(rng)
        while second.name == first.name:
            second = _sample_thing(rng)
        things = (first, second)
    else:
        things = (_sample_thing(rng),)
        where, extent = float(rng.random()), float(rng.random())
        position = POSITIONS[int(where * 8)] if where < 0.25 else None
        size = SIZES[int(extent * 8)] if extent < 0.25 else None
    style = _choose(rng, styles)
    if rng.random() < 0.12:
        plain = _choose(rng, tuple(COLORS))
        while any(thing.color == plain for thing in things):
            plain = _choose(rng, tuple(COLORS))
        return Scene(things, style, None, None, plain, position, size)
    place = _choose(rng, PLACES)
    if any(thing.name in SWIMMING for thing in things) and rng.random() < 0.6:
        place = "sea" if rng.random() < 0.7 else "lake"
    return Scene(things, style, place, _time(rng, place), None, position, size)


def sample_scene(rng: np.random.Generator, styles: tuple[str, ...] = STYLES) -> Scene:
    """Draw a scene to train on in one of `styles`; never a held-out one."""
    while True:
        scene = _sample_any(rng, styles)
        if not held_out(scene):
            return scene


def sample_simple(rng: np.random.Generator, styles: tuple[str, ...] = STYLES) -> Scene:
    """Draw a scene to learn shapes from: mostly one subject, half of them large, two in three before one colour."""
    while True:
        one = rng.random() < 0.85
        things = tuple(_sample_thing(rng) for _ in range(1 if one else 2))
        position = _choose(rng, POSITIONS) if one and rng.random() < 0.15 else None
        size = "large" if one and rng.random() < 0.5 else None
        place = time = plain = None
        if rng.random() < 0.67:
            plain = _choose(rng, tuple(COLORS))
        else:
            place = _choose(rng, PLACES)
            time = _time(rng, place)
        scene = Scene(things, _choose(rng, styles), place, time, plain, position, size)
        clear = len({thing.name for thing in things}) == len(things) and plain not in {thing.color for thing in things}
        if clear and not held_out(scene):
            return scene


def sample_close(rng: np.random.Generator, styles: tuple[str, ...] = STYLES) -> Scene:
    """Draw a simple scene whose one subject stands in the middle at its usual size, so that a window around it hides
    nothing that the words say."""
    while True:
        scene = sample_simple(rng, styles)
        if len(scene.things) == 1 and scene.position is None and scene.size is None:
            return scene


def sample_pair(rng: np.random.Generator, styles: tuple[str, ...] = STYLES) -> Scene:
    """Draw a scene of two subjects side by side at one height, so that a window around them is low."""
    while True:
        scene = (sample_simple if rng.random() < 0.6 else sample_scene)(rng, styles)
        afoot = all(thing.name not in FLYING | SWIMMING for thing in scene.things)
        if sum(thing.count for thing in scene.things) == 2 and (scene.plain is not None or afoot):
            return scene


def sample_held_out(rng: np.random.Generator, styles: tuple[str, ...] = STYLES) -> Scene:
    """Draw a scene to grade on: it holds a combination that `sample_scene` never yields."""
    while True:
        scene = _sample_any(rng, styles)
        if held_out(scene):
            return scene


def sample_people(rng: np.random.Generator, styles: tuple[str, ...] = STYLES) -> Scene:
    """Draw a scene to learn poses from: mostly one person, half of them in a pose that has no name."""
    while True:
        person = _person(rng, _choose(rng, tuple(COLORS)), 1 if rng.random() < 0.8 else 2, free=0.5)
        plain = _choose(rng, tuple(COLORS)) if rng.random() < 0.4 else None
        place = _choose(rng, PLACES) if plain is None else None
        time = None if place is None else _time(rng, place)
        size = "large" if person.count == 1 and rng.random() < 0.4 else None
        scene = Scene((person,), _choose(rng, styles), place, time, plain, None, size)
        if plain != person.color and not held_out(scene):
            return scene
