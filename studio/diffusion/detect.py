"""People in a photograph as joints for the pose editor: what OpenPose's networks have seen, on a page of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from studio.errors import BadRequest
from studio.pose import FACE, MAX_PEOPLE, Joint, Person, Pose

#: Pixels of the shorter and of the longer side that the networks look at, at most; and of any side, at least.
_SHORT, _LONG, _LEAST = 1024, 4096, 64
#: Below this a network has not seen a point of a face.
_CERTAIN: Final = 0.05
Page = tuple[int, int]


def people(detector: Any, picture: Image.Image) -> Pose:
    """Bodies, hands and faces; of more than a pose can hold, those seen most clearly.

    `detector`: controlnet_aux's OpenPose. The page has the shape of the picture, and its size if that is not too large.

    Raises:
        BadRequest: nobody is in it, or it is too small.
    """
    scale = min(1.0, _SHORT / min(picture.size), _LONG / max(picture.size))
    page = round(picture.width * scale), round(picture.height * scale)
    if min(page) < _LEAST:
        raise BadRequest(f"This picture is too small to find people in; each side needs {_LEAST} pixels.")
    blue_first = np.asarray(picture.convert("RGB").resize(page))[:, :, ::-1].copy()
    body = detector.body_estimation
    found = sorted(body.format_body_result(*body(blue_first)), key=lambda one: one.total_score, reverse=True)
    persons = [_person(detector, one, blue_first, page) for one in found[:MAX_PEOPLE]]
    if not persons:
        raise BadRequest("Nobody was found in this picture; choose one that shows people larger and from head to foot.")
    return Pose(people=tuple(persons), width=page[0], height=page[1])


def _person(detector: Any, body: Any, seen: NDArray[np.uint8], page: Page) -> Person:
    # Hands come as shares of the page, negative where a point was not seen.
    hands = [
        _joints([(point.x * page[0], point.y * page[1]) for point in hand or ()], page)
        for hand in detector.detect_hands(body, seen)
    ]
    return Person(
        body=_joints([point and (point.x, point.y) for point in body.keypoints], page),
        left_hand=hands[0] if any(hands[0]) else (),
        right_hand=hands[1] if any(hands[1]) else (),
        face=_face(detector, body, seen, page),
    )


def _face(detector: Any, body: Any, seen: NDArray[np.uint8], page: Page) -> tuple[Joint, ...]:
    """Each point in its place: controlnet_aux leaves out those not seen, and takes the ground for one more."""
    from controlnet_aux.open_pose.util import faceDetect

    box = faceDetect(body, seen)
    if box is None:
        return ()
    x, y, side = box
    heat = detector.face_estimation(seen[y : y + side, x : x + side])[:FACE]
    peaks = heat.reshape(FACE, -1).argmax(axis=1)
    certain = heat.reshape(FACE, -1).max(axis=1) > _CERTAIN
    downs, acrosses = np.divmod(peaks, heat.shape[2])
    points = [
        (float(x + across), float(y + down)) if sure else None
        for across, down, sure in zip(acrosses, downs, certain, strict=True)
    ]
    return _joints(points, page) if any(points) else ()


def _joints(points: Sequence[tuple[float, float] | None], page: Page) -> tuple[Joint, ...]:
    return tuple(
        (min(float(point[0]), page[0]), min(float(point[1]), page[1])) if point and min(point) >= 0 else None
        for point in points
    )
