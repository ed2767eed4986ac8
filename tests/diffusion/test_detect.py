"""People found in pictures: OpenPose's networks are replaced by ones that see known people; all behind them is real."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from studio import image, pose
from studio.diffusion import annotate
from studio.diffusion.annotate import Annotators
from studio.errors import BadRequest, Cancelled, ModelError
from studio.pose import FACE, HAND, MAX_PEOPLE, Pose
from studio.pose_shelf import Shelf
from studio.settings import PRESETS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from controlnet_aux import OpenposeDetector
    from controlnet_aux.open_pose.body import Body
    from controlnet_aux.open_pose.face import Face
    from controlnet_aux.open_pose.hand import Hand

PAGE = (600, 400)
#: Limbs as the network knows them: two joints, and the first of the two channels that hold its direction.
LIMBS = (
    *((1, 2, 12), (1, 5, 20), (2, 3, 14), (3, 4, 16), (5, 6, 22), (6, 7, 24), (1, 8, 0), (8, 9, 2), (9, 10, 4)),
    *((1, 11, 6), (11, 12, 8), (12, 13, 10), (1, 0, 28), (0, 14, 30), (14, 16, 34), (0, 15, 32), (15, 17, 36)),
)
Body18 = list[tuple[float, float] | None]


class Spots(nn.Module):
    """A network whose maps have a spot at each point, given as shares of what it is shown."""

    def __init__(self, points: list[tuple[float, float] | None], size: float, stride: int) -> None:
        super().__init__()
        self.here = nn.Parameter(torch.zeros(1))
        self.points, self.size, self.stride = points, size, stride

    def heat(self, shown: torch.Tensor) -> torch.Tensor:
        height, width = shown.shape[2] // self.stride, shown.shape[3] // self.stride
        down, across = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        spots = [
            torch.zeros(height, width)
            if point is None
            else torch.exp(-((across - point[0] * width) ** 2 + (down - point[1] * height) ** 2) / (2 * self.size**2))
            for point in self.points
        ]
        return torch.stack([*spots, 1 - torch.stack(spots).amax(0)])[None]

    def forward(self, shown: torch.Tensor) -> Any:
        heat = self.heat(shown)
        return [heat] if len(self.points) == FACE else heat


class Bodies(nn.Module):
    """The body network: where joints are, and which way each limb leads."""

    def __init__(self, people: list[Body18]) -> None:
        super().__init__()
        self.here = nn.Parameter(torch.zeros(1))
        self.people = people

    def forward(self, shown: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        height, width = shown.shape[2] // 8, shown.shape[3] // 8
        heats = [Spots(list(person), 0.7, 8).heat(shown) for person in self.people]
        heat = torch.stack(heats).amax(0) if heats else torch.zeros(1, 19, height, width)
        ways = torch.zeros(1, 38, height, width)
        for person in self.people:
            for start, end, channel in LIMBS:
                one, other = person[start], person[end]
                if one is None or other is None:
                    continue
                x, y = (other[0] - one[0]) * width, (other[1] - one[1]) * height
                for share in np.linspace(0, 1, 200):
                    column, row = int((one[0] * width) + share * x), int((one[1] * height) + share * y)
                    ways[0, channel : channel + 2, row, column] = torch.tensor([x, y]) / math.hypot(x, y)
        return ways, heat


def detector(people: list[Body18], hand: list[Any] | None = None, face: list[Any] | None = None) -> OpenposeDetector:
    made = {}
    for kind, network in (
        (Body, Bodies(people)),
        (Hand, Spots(hand or [None] * HAND, 1.5, 8)),
        (Face, Spots(face or [None] * FACE, 3, 4)),
    ):
        made[kind] = kind.__new__(kind)
        made[kind].model = network
    return OpenposeDetector(made[Body], made[Hand], made[Face])


def shares(key: str) -> list[Body18]:
    """The bodies of a pose on the shelf, as shares of a page of 600 × 400 that it stands in the middle of."""
    taken = Shelf(PRESETS).find(key).pose
    scale = PAGE[1] / taken.height
    left = (PAGE[0] - taken.width * scale) / 2
    return [
        [joint and ((left + joint[0] * scale) / PAGE[0], joint[1] * scale / PAGE[1]) for joint in person.body]
        for person in taken.people
    ]


Finder = Callable[[OpenposeDetector], Pose]


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finder:
    """The people that the studio finds with a detector whose files are all there."""
    folder = tmp_path / "annotators"
    folder.mkdir()
    for name in ("body_pose_model.pth", "hand_pose_model.pth", "facenet.pth"):
        (folder / name).touch()

    def finding(detector: OpenposeDetector) -> Pose:
        monkeypatch.setattr(annotate, "_load", lambda annotator, files: detector)
        studio = Annotators((tmp_path,), torch.device("cpu"), 2**24)
        return studio.people(image.png(Image.new("RGB", PAGE, "grey")), lambda *_: True, lambda work: work())

    return finding


def distances(person: pose.Person, known: Body18) -> list[float]:
    return [
        math.dist(joint, (place[0] * PAGE[0], place[1] * PAGE[1]))
        for joint, place in zip(person.body, known, strict=True)
        if joint is not None and place is not None
    ]


@pytest.mark.parametrize("key", ["standing", "waving", "two-talking"])
def test_everybody_is_found_where_they_are(found: Finder, key: str) -> None:
    known = shares(key)
    pose = found(detector(known))
    assert (pose.width, pose.height) == PAGE
    assert len(pose.people) == len(known)
    for place in known:
        nearest = min(pose.people, key=lambda person: sum(distances(person, place)))
        assert [joint is None for joint in nearest.body] == [joint is None for joint in place]
        assert max(distances(nearest, place)) < 12, "pixels; one of the network's own is 17"


def test_a_joint_nobody_sees_is_left_out(found: Finder) -> None:
    (known,) = shares("standing")
    without = [None if number in (4, 17) else joint for number, joint in enumerate(known)]
    (person,) = found(detector([without])).people
    assert [number for number, joint in enumerate(person.body) if joint is None] == [4, 17]
    assert (person.left_hand, person.right_hand, person.face) == ((), (), ())


def test_hands_and_faces_are_found_and_survive_openpose_json(found: Finder) -> None:
    hand = [(0.2 + 0.6 * number / HAND, 0.3 + 0.02 * number) for number in range(HAND)]
    face: list[Any] = [(0.5 + 0.3 * math.cos(number / 11), 0.5 + 0.3 * math.sin(number / 11)) for number in range(FACE)]
    face[7] = None
    pose_found = found(detector(shares("arms-spread"), hand, face))
    (person,) = pose_found.people
    assert (len(person.left_hand), len(person.right_hand), len(person.face)) == (HAND, HAND, FACE)
    for name, wrist in (("left_hand", 7), ("right_hand", 4)):
        points, at = [joint for joint in getattr(person, name) if joint], person.body[wrist]
        assert at is not None
        assert len(points) == HAND
        assert max(math.dist(joint, at) for joint in points) < 90, "a hand is at the end of its arm"
        line = np.diff(np.array(points), axis=0)
        assert (line[:, 0] >= 0).all(), "its points lie in their order"
    assert [number for number, joint in enumerate(person.face) if joint is None] == [7]
    nose = person.body[0]
    assert nose is not None
    middle = np.mean([joint for joint in person.face if joint], axis=0)
    assert math.dist(middle, nose) < 25
    assert pose.read_openpose(json.dumps(pose_found.to_openpose()).encode()) == pose_found


def test_of_a_crowd_those_seen_best_are_taken(found: Finder) -> None:
    """27 people side by side, the last of them seen best, each known by where their nose is."""
    crowd = detector([])
    noses = [20.0 * number for number in range(27)]
    candidates = np.array([[x, 50.0 + joint, 1, 18 * n + joint] for n, x in enumerate(noses) for joint in range(18)])
    subset = np.array([[*range(18 * n, 18 * n + 18), n + 1.0, 18] for n in range(27)])

    class Crowd(Body):  # type: ignore[misc]
        def __init__(self) -> None: ...

        def __call__(self, picture: Any) -> tuple[Any, Any]:
            return candidates, subset

    crowd.body_estimation = Crowd()
    crowd.detect_hands = lambda body, picture: (None, None)
    assert sorted(person.body[0][0] for person in found(crowd).people if person.body[0]) == noses[27 - MAX_PEOPLE :]


def test_nobody_is_told_in_a_sentence(found: Finder) -> None:
    with pytest.raises(BadRequest, match="Nobody was found in this picture; choose one"):
        found(detector([]))


def test_small_pictures_and_fetches_given_up_are_told(
    found: Finder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(detector(shares("standing")))
    studio = Annotators((tmp_path,), torch.device("cpu"), 2**24)
    small = image.png(Image.new("RGB", (60, 400)))
    with pytest.raises(BadRequest, match="too small to find people in; each side needs 64 pixels"):
        studio.people(small, lambda *_: True, lambda work: work())
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "annotators" / "facenet.pth").unlink()
    with pytest.raises(Cancelled):
        studio.people(small, lambda *_: False, lambda work: work())
    with pytest.raises(ModelError, match=r"OpenPose needs facenet\.pth \(153\.7 MB\) of lllyasviel/Annotators"):
        studio.people(small, lambda *_: True, lambda work: work())
    (tmp_path / "annotators" / "body_pose_model.pth").unlink()
    with pytest.raises(ModelError, match=r"needs body_pose_model\.pth, facenet\.pth \(363\.0 MB\) .* put these files"):
        studio.people(small, lambda *_: True, lambda work: work())


def test_a_detector_that_breaks_is_a_sentence(found: Finder) -> None:
    broken = detector([])
    broken.body_estimation = None
    with pytest.raises(ModelError, match="OpenPose could make nothing of this picture"):
        found(broken)
