"""Skeletons are drawn as controlnet_aux draws them, to the last pixel: that is what ControlNets were trained on."""

from __future__ import annotations

import colorsys
import random
import sys
import warnings
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from studio.pose import BODY, FACE, HAND, Joint, Person, Pose, draw

with warnings.catch_warnings():  # of libraries that are not there, and of old names
    warnings.simplefilter("ignore")
    from controlnet_aux.open_pose import PoseResult, draw_poses
    from controlnet_aux.open_pose.body import BodyResult, Keypoint


SIZES = ((64, 64), (256, 256), (512, 768), (500, 333), (1024, 576))


@pytest.fixture(autouse=True)
def rainbow(monkeypatch: pytest.MonkeyPatch) -> None:
    """controlnet_aux takes the fingers' colours, and nothing else, from matplotlib, which the studio does without."""

    def hsv_to_rgb(hsv: list[float]) -> np.ndarray:
        return np.array(colorsys.hsv_to_rgb(*hsv))

    monkeypatch.setitem(sys.modules, "matplotlib", SimpleNamespace(colors=SimpleNamespace(hsv_to_rgb=hsv_to_rgb)))


def someone(rng: random.Random, width: int, height: int, *, hidden: float = 0.15) -> Person:
    def joints(count: int) -> tuple[Joint, ...]:
        return tuple(
            None if rng.random() < hidden else (rng.uniform(0, width), rng.uniform(0, height)) for _ in range(count)
        )

    return Person(
        body=joints(len(BODY)),
        left_hand=joints(HAND) if rng.random() < 0.5 else (),
        right_hand=joints(HAND) if rng.random() < 0.5 else (),
        face=joints(FACE) if rng.random() < 0.5 else (),
    )


def theirs(pose: Pose, width: int, height: int) -> np.ndarray:
    def body(joints: Sequence[Joint]) -> list[Keypoint | None]:
        return [joint and Keypoint(joint[0] / pose.width, joint[1] / pose.height) for joint in joints]

    def part(joints: Sequence[Joint]) -> list[Keypoint] | None:
        """Its detectors say -1 for what they have not found."""
        return [found or Keypoint(-1, -1) for found in body(joints)] or None

    results = [
        PoseResult(BodyResult(body(who.body), 18.0, 18), part(who.left_hand), part(who.right_hand), part(who.face))
        for who in pose.people
    ]
    drawn: np.ndarray = draw_poses(results, height, width)
    return drawn


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("people", [1, 3])
def test_every_pixel_is_where_controlnet_aux_puts_it(size: tuple[int, int], people: int) -> None:
    rng = random.Random(people)
    for width, height in (size, (512, 512)):
        for _ in range(8):
            page = Pose(people=tuple(someone(rng, *size) for _ in range(people)), width=size[0], height=size[1])
            drawn = np.asarray(draw(page, width, height))
            assert np.array_equal(drawn, theirs(page, width, height))
            assert drawn.any()


def test_joints_on_the_very_edge_are_drawn_alike() -> None:
    for at in ((0.0, 0.0), (0.0, 100.0), (256.0, 256.0), (0.5, 200.0)):
        who = Person(body=(at,) * len(BODY), left_hand=(at,) * HAND, face=(at,) * FACE)
        page = Pose(people=(who,), width=256, height=256)
        assert np.array_equal(np.asarray(draw(page, 256, 256)), theirs(page, 256, 256))
