"""Poses: people as OpenPose's joints, read from and written as its JSON, and drawn as ControlNets know them."""

from __future__ import annotations

import colorsys
import json
import math
from collections.abc import Sequence
from typing import Annotated, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from studio.errors import BadRequest, TooLarge

MAX_PEOPLE: Final = 20
MAX_SIDE: Final = 8192
#: Bytes of an OpenPose file.
LARGEST: Final = 4_000_000

#: The body's joints in OpenPose's order of 18; right and left are the person's own.
BODY: Final = (
    "nose",
    "neck",
    "right shoulder",
    "right elbow",
    "right wrist",
    "left shoulder",
    "left elbow",
    "left wrist",
    "right hip",
    "right knee",
    "right ankle",
    "left hip",
    "left knee",
    "left ankle",
    "right eye",
    "left eye",
    "right ear",
    "left ear",
)
HAND: Final = 21
FACE: Final = 70
#: Limbs by the numbers of their joints, in the order in which they are drawn over each other.
LIMBS: Final = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
#: Of each joint, and in the same order of each limb: the colours ControlNets were trained on.
COLOURS: Final = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0)),
    *((0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255)),
    *((170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
_FINGERS: Final = tuple(
    (0 if joint == 0 else 4 * finger + joint, 4 * finger + joint + 1) for finger in range(5) for joint in range(4)
)
#: Where the 18 joints are among the 25 of newer OpenPose models.
_OF_25: Final = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)

Coordinate = Annotated[float, Field(ge=0, le=MAX_SIDE, allow_inf_nan=False)]
#: x and y in pixels of the pose's page; None: not to be seen.
Joint = tuple[Coordinate, Coordinate] | None
_Canvas = NDArray[np.uint8]


class Person(BaseModel):
    """Joints in OpenPose's order; hands and face are whole or left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    body: tuple[Joint, ...] = Field(min_length=len(BODY), max_length=len(BODY), description="18 joints, or null each.")
    left_hand: tuple[Joint, ...] = Field((), max_length=HAND, description="21 joints, or none.")
    right_hand: tuple[Joint, ...] = Field((), max_length=HAND, description="21 joints, or none.")
    face: tuple[Joint, ...] = Field((), max_length=FACE, description="70 points, or none.")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for name, length in (("left_hand", HAND), ("right_hand", HAND), ("face", FACE)):
            if len(getattr(self, name)) not in (0, length):
                raise ValueError(f"{name} has {length} points or none")
        return self

    @property
    def joints(self) -> tuple[Joint, ...]:
        return (*self.body, *self.left_hand, *self.right_hand, *self.face)


class Pose(BaseModel):
    """People on a page of `width` × `height` pixels. Every joint lies on it: none is ever detected beside a picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    people: tuple[Person, ...] = Field(max_length=MAX_PEOPLE)
    width: int = Field(ge=64, le=MAX_SIDE)
    height: int = Field(ge=64, le=MAX_SIDE)

    @model_validator(mode="after")
    def _lies_on_its_page(self) -> Self:
        for person in self.people:
            if any(joint and (joint[0] > self.width or joint[1] > self.height) for joint in person.joints):
                raise ValueError("a joint lies beside the page")
        return self

    def to_openpose(self) -> dict[str, object]:
        """As OpenPose writes it, with the size of the page as other editors add it."""
        people = [
            {
                "pose_keypoints_2d": _flat(person.body),
                "hand_left_keypoints_2d": _flat(person.left_hand),
                "hand_right_keypoints_2d": _flat(person.right_hand),
                "face_keypoints_2d": _flat(person.face),
            }
            for person in self.people
        ]
        return {"version": 1.3, "people": people, "canvas_width": self.width, "canvas_height": self.height}


def draw(pose: Pose, width: int, height: int) -> Image.Image:
    """The skeletons on black, pixel by pixel as controlnet_aux draws what it has detected."""
    canvas: _Canvas = np.zeros((height, width, 3), np.uint8)
    scale = _Scale(pose, width, height)
    for person in pose.people:
        _draw_body(canvas, scale.places(person.body))
        for hand in (person.left_hand, person.right_hand):
            _draw_hand(canvas, scale.places(hand))
        for x, y in (place for place in scale.places(person.face) if place and min(place) >= 1):
            cv2.circle(canvas, (int(x), int(y)), 3, (255, 255, 255), thickness=-1)
    return Image.fromarray(canvas)


class _Scale:
    """From the pose's page to the drawing, by way of shares of the page: their rounding is part of the picture."""

    def __init__(self, pose: Pose, width: int, height: int) -> None:
        self._page, self._size = (pose.width, pose.height), (float(width), float(height))

    def places(self, joints: Sequence[Joint]) -> list[tuple[float, float] | None]:
        (across, down), (width, height) = self._page, self._size
        return [joint and (joint[0] / across * width, joint[1] / down * height) for joint in joints]


def _draw_body(canvas: _Canvas, places: Sequence[tuple[float, float] | None]) -> None:
    for (start, end), colour in zip(LIMBS, COLOURS, strict=False):
        if (one := places[start]) is None or (other := places[end]) is None:
            continue
        length = math.dist(one, other)
        angle = math.degrees(math.atan2(one[1] - other[1], one[0] - other[0]))
        middle = int((one[0] + other[0]) / 2), int((one[1] + other[1]) / 2)
        limb = cv2.ellipse2Poly(middle, (int(length / 2), 4), int(angle), 0, 360, 1)
        cv2.fillConvexPoly(canvas, limb, [int(part * 0.6) for part in colour])
    for place, colour in zip(places, COLOURS, strict=True):
        if place is not None:
            cv2.circle(canvas, (int(place[0]), int(place[1])), 4, colour, thickness=-1)


def _draw_hand(canvas: _Canvas, places: Sequence[tuple[float, float] | None]) -> None:
    """Points in the first row or column count as not seen, for hands and faces alike."""
    seen = [(int(place[0]), int(place[1])) if place and min(place) >= 1 else None for place in places]
    if not seen:
        return
    for number, (start, end) in enumerate(_FINGERS):
        if (one := seen[start]) is not None and (other := seen[end]) is not None:
            colour = [255 * part for part in colorsys.hsv_to_rgb(number / len(_FINGERS), 1, 1)]
            cv2.line(canvas, one, other, colour, thickness=2)
    for place in seen:
        if place is not None:
            cv2.circle(canvas, place, 4, (0, 0, 255), thickness=-1)


def read_openpose(text: str | bytes, width: int = 512, height: int = 512) -> Pose:
    """A pose from OpenPose's JSON, also with 25 joints a body, with shares of the page instead of pixels, and as the
    list of one that some editors write. `width` and `height` are its page unless the file says one.

    Raises:
        BadRequest: not such a file, or numbers no pose can have.
        TooLarge: a file of more than 4 MB, or too many people.
    """
    if len(text) > LARGEST:
        raise TooLarge(
            f"This pose file has {len(text) / 1e6:.0f} MB; one of at most {LARGEST / 1e6:.0f} MB can be read."
        )
    try:
        read = json.loads(text)
    except (ValueError, RecursionError) as broken:
        raise BadRequest("This is not a JSON file; choose a pose exported as OpenPose JSON.") from broken
    if isinstance(read, list) and len(read) == 1:
        read = read[0]
    people = read.get("people") if isinstance(read, dict) else None
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise BadRequest("This JSON file holds no people; choose a pose exported as OpenPose JSON.")
    if len(people) > MAX_PEOPLE:
        raise TooLarge(f"This pose has {len(people)} people; a picture can have at most {MAX_PEOPLE}.")
    page = _page(read, width, height)
    groups = [_groups(person, number) for number, person in enumerate(people, 1)]
    seen = [joint for person in groups for joints in person.values() for joint in joints if joint]
    if seen and all(max(joint) <= 1 for joint in seen):
        groups = [{name: _times(joints, page) for name, joints in person.items()} for person in groups]
    elif seen and any(joint[0] > page[0] or joint[1] > page[1] for joint in seen):
        if "canvas_width" in read:
            raise BadRequest(f"A joint of this pose lies beside its page of {page[0]}×{page[1]} pixels.")
        page = _around(seen)
    return Pose(people=tuple(Person(**person) for person in groups), width=page[0], height=page[1])


def _page(read: dict[str, object], width: int, height: int) -> tuple[int, int]:
    sides = [read.get("canvas_width", width), read.get("canvas_height", height)]
    across, down = (int(side) if isinstance(side, int | float) and 64 <= side <= MAX_SIDE else 0 for side in sides)
    if not across or not down:
        raise BadRequest(f"The page of this pose is no size; its sides must have 64 to {MAX_SIDE} pixels.")
    return across, down


def _around(seen: Sequence[tuple[float, float]]) -> tuple[int, int]:
    """A page of whole eights that holds them all, with a little room."""
    across, down = (max(64, math.ceil(max(joint[axis] for joint in seen) * 1.05 / 8) * 8) for axis in (0, 1))
    if max(across, down) > MAX_SIDE:
        raise BadRequest(f"This pose is {across}×{down} pixels large; at most {MAX_SIDE} a side can be drawn.")
    return across, down


def _groups(person: dict[str, object], number: int) -> dict[str, tuple[tuple[float, float] | None, ...]]:
    body = _joints(person.get("pose_keypoints_2d"), f"Person {number}", (0, 18, 25))
    if len(body) == 25:
        body = tuple(body[joint] for joint in _OF_25)
    found = {"body": body or (None,) * len(BODY)}
    for field, name, length in (
        ("left_hand", "hand_left_keypoints_2d", HAND),
        ("right_hand", "hand_right_keypoints_2d", HAND),
        ("face", "face_keypoints_2d", FACE),
    ):
        joints = _joints(person.get(name), f"The {field.replace('_', ' ')} of person {number}", (0, length))
        found[field] = joints if any(joints) else ()
    return found


def _joints(values: object, whose: str, lengths: tuple[int, ...]) -> tuple[tuple[float, float] | None, ...]:
    """x, y and certainty of each joint, one after the other; a joint of no certainty was not seen."""
    values = [] if values is None else values
    if not isinstance(values, list) or len(values) % 3 or len(values) // 3 not in lengths:
        expected = " or ".join(str(3 * length) for length in lengths if length)
        raise BadRequest(f"{whose} is not a list of {expected} numbers; choose a pose exported as OpenPose JSON.")
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        raise BadRequest(f"{whose} has a joint that is not made of numbers.")
    if not all(abs(value) < math.inf for value in values):
        raise BadRequest(f"{whose} has a joint at no place at all (NaN or infinity).")
    joints = [
        (float(x), float(y)) if certain > 0 and (x or y) else None
        for x, y, certain in zip(values[0::3], values[1::3], values[2::3], strict=True)
    ]
    if any(joint and min(joint) < 0 for joint in joints):
        raise BadRequest(f"{whose} has a joint at a negative place; joints outside the picture must have certainty 0.")
    return tuple(joints)


def _times(
    joints: Sequence[tuple[float, float] | None], page: tuple[int, int]
) -> tuple[tuple[float, float] | None, ...]:
    return tuple(joint and (joint[0] * page[0], joint[1] * page[1]) for joint in joints)


def _flat(joints: Sequence[Joint]) -> list[float]:
    return [value for joint in joints for value in ((joint[0], joint[1], 1.0) if joint else (0.0, 0.0, 0.0))]
