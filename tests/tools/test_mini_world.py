"""The embedded model's world: what its scenes hold, how they are drawn and how they are told."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.mini.captions import WORDS, caption, split_words
from tools.mini.data import Bucket
from tools.mini.render import render
from tools.mini.scene import (
    COLORS,
    FREE_POSE,
    LABELS,
    LORA_STYLES,
    PLACES,
    POSES,
    STYLES,
    SUBJECTS,
    TIMES,
    Scene,
    Thing,
    held_out,
    labels,
    sample_held_out,
    sample_people,
    sample_scene,
    sample_simple,
)


def _scene(
    name: str = "house", color: str = "red", *, style: str = "flat", place: str = "hills", time: str = "day"
) -> Scene:
    return Scene((Thing(name, color, pose="waving" if name == "person" else None),), style, place, time)


def _draw(scene: Scene, seed: int = 3, width: int = 128, height: int = 128) -> NDArray[np.uint8]:
    return render(scene, np.random.default_rng(seed), width, height).image


def test_the_world_is_as_large_as_it_has_to_be() -> None:
    assert len(SUBJECTS) >= 26
    assert len(COLORS) >= 12
    assert len(PLACES) >= 10
    assert len(TIMES) >= 6
    assert len(STYLES) >= 8
    assert len(LORA_STYLES) >= 3
    assert len(POSES) >= 8
    assert len(WORDS) >= 300


def test_simple_scenes_are_mostly_one_subject_and_never_a_held_out_one() -> None:
    rng = np.random.default_rng(0)
    scenes = [sample_simple(rng) for _ in range(400)]
    assert not any(held_out(scene) for scene in scenes)
    assert 0.78 < np.mean([len(scene.things) == 1 for scene in scenes]) < 0.92
    assert 0.58 < np.mean([scene.plain is not None for scene in scenes]) < 0.76
    assert all(thing.color != scene.plain and thing.count == 1 for scene in scenes for thing in scene.things)
    assert {thing.name for scene in scenes for thing in scene.things} == set(SUBJECTS)


def test_scenes_of_people_show_one_or_two_in_poses_with_names_and_without() -> None:
    rng = np.random.default_rng(0)
    scenes = [sample_people(rng) for _ in range(400)]
    assert not any(held_out(scene) for scene in scenes)
    people = [scene.things[0] for scene in scenes]
    assert all(thing.name == "person" for scene in scenes for thing in scene.things)
    assert 0.1 < np.mean([thing.count == 2 for thing in people]) < 0.3
    assert 0.4 < np.mean([thing.pose == FREE_POSE for thing in people]) < 0.6
    assert {thing.pose for thing in people} == {*POSES, FREE_POSE}
    assert all(thing.color != scene.plain for thing, scene in zip(people, scenes, strict=True))
    assert str(Bucket(256, 256, "people")) == "256x256-people"


def test_a_seed_gives_the_same_scene_picture_and_caption_in_another_process() -> None:
    code = (
        "import numpy as np, hashlib\n"
        "from tools.mini.scene import sample_scene\n"
        "from tools.mini.render import render\n"
        "from tools.mini.captions import caption\n"
        "h = hashlib.sha256()\n"
        "for seed in range(12):\n"
        "    rng = np.random.default_rng(seed)\n"
        "    s = sample_scene(rng); r = render(s, rng, 128, 96)\n"
        "    h.update(repr(s).encode() + r.image.tobytes() + r.lines.tobytes() + caption(s, rng).encode())\n"
        "    h.update(b''.join(k.tobytes() for k in r.keypoints))\n"
        "print(h.hexdigest())"
    )
    digests = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in "ab"
    }
    assert len(digests) == 1


def test_training_never_sees_a_held_out_scene_and_grading_sees_nothing_else() -> None:
    rng = np.random.default_rng(0)
    assert not any(held_out(sample_scene(rng)) for _ in range(2000))
    assert all(held_out(sample_held_out(rng)) for _ in range(200))


def test_about_one_combination_in_twenty_is_held_out() -> None:
    combinations = [
        held_out(_scene(name, color, style=style, place=place))
        for name in SUBJECTS
        for color in COLORS
        for place in PLACES[::4]
        for style in STYLES
    ]
    assert 0.04 < np.mean(combinations) < 0.06


def test_labels_stay_in_range_and_every_class_occurs() -> None:
    rng = np.random.default_rng(1)
    seen: dict[str, set[int]] = {name: set() for name in LABELS}
    for _ in range(4000):
        truth = labels(sample_scene(rng, STYLES + LORA_STYLES))
        assert truth.keys() == LABELS.keys()
        for name, value in truth.items():
            assert 0 <= value < LABELS[name]
            seen[name].add(value)
    never_absent = {"subject", "color", "count", "style"}
    for name, values in seen.items():
        assert values >= set(range(1 if name in never_absent else 0, LABELS[name])), name


def test_a_plain_scene_has_no_place_and_space_is_always_dark() -> None:
    rng = np.random.default_rng(2)
    for _ in range(1000):
        scene = sample_scene(rng)
        assert (scene.plain is None) == (scene.place is not None) == (scene.time is not None)
        assert scene.place != "space" or scene.time == "night"
        assert 1 <= sum(thing.count for thing in scene.things) <= 3


@pytest.mark.parametrize("color", ["red", "teal", "blue", "purple", "yellow", "black", "white"])
def test_the_named_colour_leads_in_a_flat_picture_of_each_subject(color: str) -> None:
    for name in SUBJECTS:
        other = "white" if color != "white" else "blue"
        scene = Scene((Thing(name, color, pose="standing" if name == "person" else None),), "flat", None, None, other)
        image = _draw(scene, width=128, height=128).astype(np.float32)
        near = np.abs(image - COLORS[color]).max(axis=2) < 60
        assert near.mean() > 0.025, f"{color} {name}: {near.mean():.3f}"


@pytest.mark.parametrize("style", STYLES)
def test_nights_are_much_darker_than_days_in_every_place_and_style(style: str) -> None:
    for place in PLACES:
        if place == "space":
            continue
        day = _draw(_scene(style=style, place=place))[16:56].mean()
        for time, share in (("night", 0.78), ("aurora", 0.88)):
            night = _draw(_scene(style=style, place=place, time=time))[16:56].mean()
            assert night < share * day, f"{time} in {place}: {night:.0f} against {day:.0f}"


@pytest.mark.parametrize("style", STYLES + LORA_STYLES)
def test_styles_show_the_subjects_colour(style: str) -> None:
    """A red heart makes the middle of the picture redder than a blue one does."""
    middle = np.s_[52:76, 52:76]
    red, blue = (
        _draw(Scene((Thing("heart", c),), style, None, None, "white"))[middle].astype(float) for c in ("red", "blue")
    )
    assert (red[..., 0] - red[..., 2]).mean() - (blue[..., 0] - blue[..., 2]).mean() > 60


def test_styles_differ_from_each_other() -> None:
    pictures = [_draw(_scene("castle", "purple", style=style)).astype(float) for style in STYLES + LORA_STYLES]
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(one - other).mean() > 5


@pytest.mark.parametrize(("width", "height"), [(128, 128), (160, 96), (96, 160), (256, 256), (320, 192)])
def test_every_subject_place_and_time_draws_at_every_shape(width: int, height: int) -> None:
    rng = np.random.default_rng(4)
    for i in range(max(len(SUBJECTS), len(PLACES) * 2)):
        scene = _scene(SUBJECTS[i % len(SUBJECTS)], place=PLACES[i % len(PLACES)], time=TIMES[i % len(TIMES)])
        drawn = render(scene, rng, width, height)
        assert drawn.image.shape == (height, width, 3)
        assert drawn.image.dtype == np.uint8
        assert drawn.lines.shape == (height, width)
        assert drawn.image.std() > 12
        assert 0.005 < (drawn.lines > 127).mean() < 0.35


def test_a_small_picture_is_the_large_one_reduced() -> None:
    for style in STYLES:
        large = _draw(_scene("sailboat", "yellow", style=style, place="sea"), width=256, height=256).astype(float)
        small = _draw(_scene("sailboat", "yellow", style=style, place="sea")).astype(float)
        reduced = large.reshape(128, 2, 128, 2, 3).mean((1, 3))
        assert np.abs(small - reduced).mean() < 2


def test_subjects_stand_where_the_scene_says() -> None:
    for position, side in (("left", np.s_[:, :64]), ("right", np.s_[:, 64:])):
        scene = Scene((Thing("apple", "red"),), "flat", None, None, "white", position)
        red = (np.abs(_draw(scene).astype(float) - COLORS["red"]).max(axis=2) < 40).astype(float)
        assert red[side].sum() > 0.95 * red.sum()


def test_sizes_and_counts_show() -> None:
    def share(scene: Scene) -> float:
        return float((np.abs(_draw(scene).astype(float) - COLORS["red"]).max(axis=2) < 40).mean())

    shares = [
        share(Scene((Thing("apple", "red"),), "flat", None, None, "white", None, size))
        for size in ("small", None, "large")
    ]
    assert shares[0] * 1.8 < shares[1]
    assert shares[1] * 1.4 < shares[2]


@pytest.mark.parametrize("pose", [*POSES, FREE_POSE])
def test_people_have_eighteen_joints_on_their_bodies(pose: str) -> None:
    for look in (None, "woman", "man"):
        scene = Scene((Thing("person", "red", 2, pose, look),), "flat", None, None, "blue")
        drawn = render(scene, np.random.default_rng(6), 256, 256)
        assert len(drawn.keypoints) == 2
        for joints in drawn.keypoints:
            assert joints.shape == (18, 3)
            assert joints.dtype == np.float32
            assert (joints[:, 2] == 1).all()
            for x, y, _ in joints:
                r, _, b = drawn.image[int(y), int(x)].astype(int)
                assert b < r + 40, "a joint lies on the bare background"
            # a person's right is to the left of the picture, and the neck below the nose
            assert joints[2, 0] < joints[5, 0]
            assert joints[0, 1] < joints[1, 1]


def test_poses_are_told_apart_by_their_joints() -> None:
    def shape(pose: str, seed: int) -> NDArray[np.float32]:
        scene = Scene((Thing("person", "red", 1, pose),), "flat", None, None, "white")
        joints = render(scene, np.random.default_rng(seed), 256, 256).keypoints[0][:, :2]
        relative: NDArray[np.float32] = (joints - joints[1]) / np.linalg.norm(joints[8] - joints[1])
        return relative

    means = {pose: np.mean([shape(pose, seed) for seed in range(4)], axis=0) for pose in POSES}
    for pose in POSES:
        nearest = min(POSES, key=lambda other: float(np.abs(shape(pose, 9) - means[other]).sum()))
        assert nearest == pose


def test_captions_hold_known_words_and_are_many() -> None:
    rng = np.random.default_rng(7)
    texts = []
    for _ in range(3000):
        text = caption(sample_scene(rng, STYLES + LORA_STYLES), rng)
        assert set(split_words(text)) <= WORDS, text
        assert text == text.lower().strip()
        assert "  " not in text
        texts.append(text)
    assert len(set(texts)) > 2950
    lengths = Counter(len(split_words(text)) for text in texts)
    assert min(lengths) <= 5
    assert max(lengths) >= 20


def test_captions_of_one_scene_name_its_subject_mostly_its_colour_and_never_another_one() -> None:
    rng = np.random.default_rng(8)
    scene = Scene((Thing("cat", "purple"),), "oil", "forest", "snow")
    texts = [" ".join(split_words(caption(scene, rng))) for _ in range(300)]
    assert all(any(word in text for word in ("cat", "kitten", "kitty")) for text in texts)
    assert np.mean([("purple" in text) or ("violet" in text) for text in texts]) > 0.85
    for wrong in ("red", "blue", "desert", "night", "sunset", "watercolor", "neon", "two", "left"):
        assert not any(wrong in text.split() for text in texts), wrong
