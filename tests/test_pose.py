"""OpenPose's JSON in and out, refused with a sentence where it is none; the poses on the shelf."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from studio import pose
from studio.errors import BadRequest, NotFound, StudioError, TooLarge
from studio.pose import BODY, FACE, HAND, Person, Pose
from studio.pose_shelf import Shelf
from studio.settings import PRESETS


def someone(**changes: object) -> dict[str, object]:
    flat = [value for joint in range(len(BODY)) for value in (10.0 + joint, 200.0 - joint, 0.9)]
    return {"pose_keypoints_2d": flat, **changes}


def written(*people: object, **more: object) -> str:
    return json.dumps({"version": 1.3, "people": list(people), **more})


def test_a_pose_survives_the_way_through_openpose_json() -> None:
    hand = tuple((float(joint), 5.0) if joint else None for joint in range(HAND))
    face = tuple((100.0, float(joint)) for joint in range(1, FACE + 1))
    body = tuple((20.0 + joint, 30.0) if joint != 4 else None for joint in range(len(BODY)))
    whole = Pose(people=(Person(body=body, left_hand=hand, face=face), Person(body=body)), width=640, height=384)
    assert pose.read_openpose(json.dumps(whole.to_openpose())) == whole


def test_joints_of_no_certainty_were_not_seen() -> None:
    values = [0.0, 0.0, 0.0] * len(BODY)
    values[:3] = [50.0, 60.0, 0.4]
    values[3:6] = [70.0, 80.0, 0.0]
    read = pose.read_openpose(written({"pose_keypoints_2d": values}))
    assert read.people[0].body == ((50.0, 60.0), *(None,) * 17)


def test_bodies_of_25_joints_lose_the_middle_of_the_hip_and_the_feet() -> None:
    flat = [value for joint in range(25) for value in (joint + 1.0, 2.0, 1.0)]
    read = pose.read_openpose(written({"pose_keypoints_2d": flat}))
    places = [joint[0] - 1 for joint in read.people[0].body if joint]
    assert places == [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]


def test_shares_of_the_page_become_pixels() -> None:
    flat = [0.5, 0.25, 1.0] * len(BODY)
    read = pose.read_openpose(written({"pose_keypoints_2d": flat}, canvas_width=800, canvas_height=400))
    assert read.people[0].body[0] == (400.0, 100.0)
    assert pose.read_openpose(f"[{json.dumps(read.to_openpose())}]") == read


def test_a_file_without_a_page_gets_one_that_holds_it() -> None:
    flat = [1500.0, 900.0, 1.0] * len(BODY)
    read = pose.read_openpose(written({"pose_keypoints_2d": flat}), 512, 512)
    assert (read.width, read.height) == (1576, 952)
    assert pose.read_openpose(written(someone()), 512, 768).height == 768


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not a JSON file"),
        ("{", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
        ("[1, 2]", "holds no people"),
        ('{"people": 3}', "holds no people"),
        ('{"people": [7]}', "holds no people"),
        (written({"pose_keypoints_2d": [1, 2]}), "Person 1 is not a list of 54 or 75 numbers"),
        (written({"pose_keypoints_2d": "nose"}), "Person 1 is not a list"),
        (written(someone(), someone(face_keypoints_2d=[1, 2, 3])), "The face of person 2 is not a list of 210"),
        (written(someone(hand_left_keypoints_2d=[True] * 63)), "The left hand of person 1 has a joint that is not"),
        (written({"pose_keypoints_2d": [None] * 54}), "not made of numbers"),
        (written({"pose_keypoints_2d": [-4.0, 2.0, 1.0] * 18}), "negative place"),
        (written({"pose_keypoints_2d": [1e999, 2.0, 1.0] * 18}), "no place at all"),
        (written({"pose_keypoints_2d": [float("nan"), 2.0, 1.0] * 18}), "no place at all"),
        (written(someone(), canvas_width=-512, canvas_height=512), "is no size"),
        (written(someone(), canvas_width="wide"), "is no size"),
        (written(someone(), canvas_width=float("nan")), "is no size"),
        (written(someone(), canvas_width=64, canvas_height=64), "lies beside its page of 64×64"),
        (written({"pose_keypoints_2d": [90_000.0, 2.0, 1.0] * 18}), "at most 8192 a side"),
        (written(*[someone()] * 10_000), "10000 people; a picture can have at most 20"),
    ],
)
def test_what_is_no_pose_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(StudioError, match=sentence) as refused:
        pose.read_openpose(text)
    assert isinstance(refused.value, BadRequest | TooLarge)
    assert str(refused.value).endswith(".")


def test_a_giant_file_is_not_read() -> None:
    with pytest.raises(TooLarge, match="5 MB"):
        pose.read_openpose(b" " * 5_000_000)


@pytest.mark.parametrize("at", [(-1.0, 5.0), (float("nan"), 5.0), (float("inf"), 5.0), (300.0, 5.0)])
def test_every_joint_lies_on_the_page(at: tuple[float, float]) -> None:
    with pytest.raises(ValidationError):
        Pose(people=(Person(body=(at,) * len(BODY)),), width=256, height=256)


def test_hands_are_whole_or_not_there() -> None:
    with pytest.raises(ValidationError, match="21 points or none"):
        Person(body=(None,) * len(BODY), left_hand=((1.0, 1.0),) * 3)


def test_the_shelf_has_poses_of_many_kinds_each_with_a_picture_of_its_own() -> None:
    shelf = Shelf(PRESETS)
    assert shelf.faults == ()
    presets = shelf.presets()
    assert len(presets) >= 24
    assert len({preset.title for preset in presets}) == len({preset.picture for preset in presets}) == len(presets)
    wanted = {"standing", "walking", "running", "sitting", "waving", "arms-up", "kneeling", "jumping", "dancing"}
    assert wanted | {"fighting", "from-behind", "half-figure"} <= {preset.key for preset in presets}
    assert max(len(preset.pose.people) for preset in presets) > 1
    back = shelf.find("from-behind").pose.people[0].body
    front = shelf.find("standing").pose.people[0].body
    assert (front[0] is None, back[0] is None) == (False, True)
    for body, right_is_right in ((front, False), (back, True)):
        shoulders = [joint[0] for joint in (body[2], body[5]) if joint]
        assert (shoulders[0] > shoulders[1]) is right_is_right


def test_an_artists_own_poses_join_the_shelf_and_broken_ones_are_told(tmp_path: Path) -> None:
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses" / "my-pose.json").write_text(written(someone()), "utf-8")
    (tmp_path / "poses" / "broken.json").write_text("{", "utf-8")
    shelf = Shelf(PRESETS, tmp_path)
    assert shelf.find("my-pose").title == "My pose"
    (fault,) = shelf.faults
    assert "broken.json" in fault
    with pytest.raises(NotFound):
        shelf.find("broken")
