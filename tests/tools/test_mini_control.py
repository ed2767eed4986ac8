"""What ControlNets of the embedded model are shown, and that they learn to lead it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from diffusers import ControlNetModel

from tools.mini import data, unet
from tools.mini.control import STRENGTH, ControlTask, begun_control, new_control, strengthen
from tools.mini.control_grade import follows
from tools.mini.data import SMALL, Latents, encode_shards, render_shards
from tools.mini.guides import GUIDES, by_hand, line_drawing, pose, scribble, skeleton
from tools.mini.joints import correct, find, spots
from tools.mini.parallel import Team
from tools.mini.render import drawing, render
from tools.mini.scene import Scene, Thing
from tools.mini.text import Conditioner, make_tokenizer, new_text_encoder
from tools.mini.train import Plan, train
from tools.mini.unet import new_unet
from tools.mini.vae import encode, fingerprint, new_vae

SQUARE = SMALL[0]
CHANNELS = (16, 16, 32, 32)


def person(pose: str = "arms spread") -> Scene:
    return Scene((Thing("person", "red", 1, pose),), "flat", None, None, "white")


def test_a_drawing_is_that_of_the_picture_painted_with_the_same_generator() -> None:
    whole, drawn = (draw(person(), np.random.default_rng(5), 256, 192) for draw in (render, drawing))
    np.testing.assert_array_equal(drawn.lines, whole.lines)
    np.testing.assert_array_equal(drawn.keypoints[0], whole.keypoints[0])


def test_the_lines_lie_on_the_edges_of_the_picture() -> None:
    scene = person()
    image = render(scene, np.random.default_rng(5), 256, 256).image
    lines = line_drawing(scene, np.random.default_rng(5), 256, 256)[..., 0] > 127
    far = cv2.distanceTransform((~lines).astype(np.uint8), cv2.DIST_L2, 5)
    edges = cv2.Canny(image, 80, 160) > 0
    assert np.mean(far[edges] <= 3) > 0.8


def test_a_hand_shakes_lines_but_keeps_them_in_place() -> None:
    lines = line_drawing(person(), np.random.default_rng(5), 256, 256)[..., 0]
    far = cv2.distanceTransform((lines < 128).astype(np.uint8), cv2.DIST_L2, 5)
    drawn = [by_hand(lines, np.random.default_rng(seed)) > 0 for seed in range(8)]
    assert max(far[one].max() for one in drawn) < 9
    assert len({one.sum() for one in drawn}) > 6


def test_a_skeleton_has_the_joints_colours_where_the_joints_are() -> None:
    joints = render(person(), np.random.default_rng(5), 256, 256).keypoints
    drawn = skeleton(joints, 256, 256)
    nose, left_wrist = (joints[0][joint, :2].astype(int) for joint in (0, 7))
    assert drawn[nose[1], nose[0]].tolist() == [255, 0, 0]
    assert drawn[left_wrist[1], left_wrist[0]].tolist() == [0, 255, 85]
    assert not skeleton((), 256, 256).any()


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_tells_which_cells_it_decides(guide: str) -> None:
    hand = np.random.default_rng(0)
    for index in range(4):
        picture, cells = GUIDES[guide](SQUARE, 0, index, hand)
        assert picture.shape == (128, 128, 3)
        assert cells.shape == (32, 32)
        assert 0 < cells.mean() < 0.9


def test_the_same_hand_draws_the_same() -> None:
    for guide in (scribble, pose):
        one, other = (guide(SQUARE, 0, 2, np.random.default_rng(3))[0] for _ in range(2))
        np.testing.assert_array_equal(one, other)


def test_following_lines_is_one_for_the_lines_themselves_and_falls_with_what_is_missing_or_elsewhere() -> None:
    lines = np.zeros((256, 256), np.bool_)
    lines[60, 40:200] = lines[180, 40:200] = True
    half, elsewhere = lines.copy(), np.zeros_like(lines)
    half[180] = False
    elsewhere[120, 40:200] = True
    assert follows(lines, lines, 4) == 1
    assert follows(np.roll(lines, 3, 0), lines, 4) == 1
    assert follows(half, lines, 4) == pytest.approx(2 / 3, abs=0.02)
    assert follows(elsewhere, lines, 4) == 0


def test_joints_count_when_they_are_near_and_unseen_ones_not_at_all() -> None:
    asked = render(person(), np.random.default_rng(5), 256, 256).keypoints[0].copy()
    found = asked[:, :2].copy()
    assert correct(found, asked) == 1
    found[:9] += 60
    assert correct(found, asked) == pytest.approx(0.5)
    asked[:9, 2] = 0
    assert correct(found, asked) == 1


def test_a_joint_is_found_where_its_spot_is() -> None:
    joints = render(person(), np.random.default_rng(5), 128, 128).keypoints[0]
    maps = torch.from_numpy(spots(joints))[None]
    found = find(lambda _: maps, np.zeros((256, 256, 3), np.uint8))  # type: ignore[arg-type]
    assert np.abs(found / 2 - joints[:, :2]).max() <= 2.01


def test_an_untaught_control_changes_nothing_and_a_taught_one_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(data, "SHARD", 8)
    monkeypatch.setattr("tools.mini.control.SHARD", 8)
    monkeypatch.setattr(unet, "SQUARE_STEPS", 1.0)
    render_shards(tmp_path, SQUARE, 8, workers=1)
    torch.manual_seed(0)
    vae = new_vae((16, 16, 16)).eval()
    name = fingerprint(vae)
    encode_shards(tmp_path, SQUARE, name, lambda batch: encode(vae, batch))
    tokenizer = make_tokenizer(tmp_path / "tokenizer")
    condition = Conditioner(tokenizer, new_text_encoder(tokenizer).eval())
    denoiser = new_unet(CHANNELS)
    control = new_control(denoiser)
    task = ControlTask(control, denoiser, GUIDES["scribble"], [Latents(tmp_path, SQUARE, name)], condition, batch=4)
    batch = task.prepare(0, 9)
    noisy, words = torch.randn_like(batch.clean), condition(batch.ids)
    with torch.no_grad():
        alone = denoiser(noisy, batch.times, words).sample
        assert torch.equal(task.predict(noisy, batch.times, words, batch.guides), alone)
        before = float(task.loss(batch)[0])
    frozen = {name: value.clone() for name, value in denoiser.state_dict().items()}
    train(task, Plan(3e-3, steps=32, warmup=4), Team(), tmp_path / "control.pt", report=lambda _: None)
    with torch.no_grad():
        assert float(task.loss(batch)[0]) < 0.95 * before
    assert all(torch.equal(value, frozen[name]) for name, value in denoiser.state_dict().items())
    with torch.no_grad():
        led = control(noisy, batch.times, words, batch.guides).mid_block_res_sample
        strengthen(control)
        torch.testing.assert_close(
            control(noisy, batch.times, words, batch.guides).mid_block_res_sample, STRENGTH * led
        )
    control.save_pretrained(tmp_path / "controlnet" / "scribble")
    assert isinstance(ControlNetModel.from_pretrained(tmp_path / "controlnet" / "scribble"), ControlNetModel)
    with torch.no_grad():
        begun = begun_control(denoiser, tmp_path, "pose")
        torch.testing.assert_close(begun(noisy, batch.times, words, batch.guides).mid_block_res_sample, led)
        fresh = begun_control(denoiser, tmp_path / "nowhere", "pose")
        assert not fresh(noisy, batch.times, words, batch.guides).mid_block_res_sample.any()
