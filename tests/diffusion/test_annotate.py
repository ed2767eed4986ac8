"""Maps of pictures: what needs no weights against controlnet_aux itself, the rest with small random weights."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from studio import annotators, image
from studio.annotators import ANNOTATORS
from studio.diffusion.annotate import Annotators
from studio.errors import BadRequest, Cancelled, ModelError, StudioError
from studio.pose import Person, Pose, draw
from studio.request import ControlUnit, Picture

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import controlnet_aux

SIZE = (192, 128)


def photograph() -> Image.Image:
    """Something with edges, gradients and grain."""
    rng = np.random.default_rng(3)
    down, across = np.mgrid[0:128, 0:192]
    levels = np.stack([across, down * 1.5, 255 - across], axis=2) + rng.normal(0, 6, (128, 192, 3))
    picture = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((40, 24, 120, 104), fill="orange", outline="black", width=3)
    pen.line((10, 120, 180, 90), fill="black", width=4)
    return picture


def unit(annotator: str, picture: Image.Image | None = None, **changes: object) -> ControlUnit:
    given = Picture.from_bytes(image.png(picture or photograph()))
    return ControlUnit.model_validate({"image": given, "annotator": annotator, **changes})


def at_once(work: Callable[[], object]) -> object:
    return work()


@pytest.fixture(scope="module")
def studio() -> Annotators:
    return Annotators((), torch.device("cpu"), 2**24)


def made(studio: Annotators, asked: ControlUnit, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.asarray(studio.map(asked, size, lambda *_: True, at_once))


@pytest.mark.parametrize(
    ("key", "detector", "told"),
    [
        ("canny", controlnet_aux.CannyDetector, {"low_threshold": 60, "high_threshold": 150}),
        ("lineart_standard", controlnet_aux.LineartStandardDetector, {"guassian_sigma": 4.0, "intensity_threshold": 6}),
    ],
)
def test_what_needs_no_weights_is_what_controlnet_aux_makes(
    studio: Annotators, key: str, detector: Any, told: dict[str, float]
) -> None:
    sides = {"detect_resolution": 128} | ({"image_resolution": 128} if key == "canny" else {})
    golden = np.asarray(detector()(photograph(), output_type="pil", **sides, **told).convert("RGB"))
    assert np.array_equal(made(studio, unit(key, parameters=told)), golden)
    assert len(np.unique(golden)) > 1


def test_shuffled_alike_for_a_seed_and_nobody_elses_dice_are_touched(studio: Annotators) -> None:
    np.random.seed(5)
    detector = controlnet_aux.ContentShuffleDetector()
    golden = np.asarray(detector(photograph(), f=64, detect_resolution=128, image_resolution=128))
    np.random.seed(77)
    before = np.random.get_state(legacy=False)["state"]["key"].copy()
    shuffled = made(studio, unit("shuffle", parameters={"f": 64, "seed": 5, "resolution": 128}))
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], before)
    assert np.array_equal(shuffled, golden)
    assert not np.array_equal(shuffled, made(studio, unit("shuffle", parameters={"f": 64, "seed": 6})))


def test_the_studios_own_maps(studio: Annotators) -> None:
    levels = np.asarray(photograph())
    assert np.array_equal(made(studio, unit("none")), levels)
    assert np.array_equal(made(studio, unit("invert")), 255 - levels)
    grey = np.asarray(photograph().convert("L"))
    white = made(studio, unit("threshold", parameters={"threshold": 100}))
    assert np.array_equal(white[..., 0] == 255, grey > 100)
    blurred = made(studio, unit("blur", parameters={"sigma": 8}))
    assert np.abs(np.diff(blurred.astype(int), axis=1)).mean() < np.abs(np.diff(levels.astype(int), axis=1)).mean() / 2
    tiled = made(studio, unit("tile", parameters={"shrink": 8}))
    assert np.abs(tiled.astype(int) - levels).mean() < 20
    assert not np.array_equal(tiled, levels)


@pytest.mark.parametrize(("ground", "stroke"), [("white", "black"), ("black", "white"), ("#ffe8c0", "#3050ff")])
def test_a_drawing_on_any_ground_becomes_white_on_black(studio: Annotators, ground: str, stroke: str) -> None:
    drawing = Image.new("RGB", SIZE, ground)
    ImageDraw.Draw(drawing).line((20, 20, 170, 100), fill=stroke, width=5)
    white = made(studio, unit("scribble", drawing))[..., 0] == 255
    drawn = np.asarray(drawing) != np.asarray(Image.new("RGB", (1, 1), ground))
    assert np.array_equal(white, drawn.any(axis=2))


def test_a_guide_of_another_shape_is_brought_to_size(studio: Annotators) -> None:
    square = Image.new("RGB", (100, 100), "red")
    ImageDraw.Draw(square).rectangle((10, 10, 89, 89), fill="lime")
    cropped, stretched, kept = (made(studio, unit("none", square, resize=how)) for how in ("crop", "stretch", "keep"))
    assert cropped.shape == stretched.shape == kept.shape == (128, 192, 3)
    assert (cropped[0, 96] == (0, 255, 0)).all()  # its red edge above is cut off
    assert (stretched[2, 96] == (255, 0, 0)).all()
    assert (kept[64, 0] == 0).all()
    assert (kept[64, 96] == (0, 255, 0)).all()


def test_a_pose_is_drawn_at_the_scale_of_the_picture(studio: Annotators) -> None:
    body = [(80.0, 20.0), (80.0, 40.0), (60.0, 42.0), *([None] * 15)]
    pose = Pose(people=(Person.model_validate({"body": body}),), width=160, height=128)
    asked = ControlUnit(pose=pose, resize="stretch")
    assert np.array_equal(made(studio, asked), np.asarray(draw(pose, *SIZE)))
    cropped = made(studio, ControlUnit(pose=pose))
    assert np.array_equal(cropped, np.asarray(draw(pose, 192, 154))[13:141])


def test_maps_are_kept_by_content(studio: Annotators, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(studio, unit("canny", weight=0.5))
    monkeypatch.setattr(studio, "_detected", None)
    assert np.array_equal(first, made(studio, unit("canny", weight=1.5, start=0.5)))
    with pytest.raises(TypeError):
        made(studio, unit("canny", parameters={"low_threshold": 33}))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (lambda: unit("sketchy"), "no annotator “sketchy”"),
        (lambda: unit("canny", parameters={"low_threshold": 300}), "Weakest edge of Canny edges must be between 1 and"),
        (lambda: unit("canny", parameters={"depth": 1}), "has no parameter “depth”"),
        (lambda: unit("none", Image.new("RGB", SIZE, "white")), "The drawing of a guide is empty"),
        (lambda: ControlUnit(), "neither an image nor a pose"),
        (lambda: ControlUnit(image=Picture.from_bytes(b"\x89PNG\r\n\x1a\nnothing")), "cannot be read as a picture"),
    ],
)
def test_bad_guides_are_refused_in_a_sentence(
    studio: Annotators, asked: Callable[[], ControlUnit], sentence: str
) -> None:
    with pytest.raises(StudioError, match=sentence):
        made(studio, asked())


def test_a_giant_picture_is_refused_before_it_is_decoded() -> None:
    small = Annotators((), torch.device("cpu"), 10_000)
    with pytest.raises(StudioError, match="scale it down"):
        made(small, unit("canny"))


# ── With weights ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub with nothing in its cache that cannot be reached."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def test_without_weights_it_says_which_and_where_they_belong(offline: Path) -> None:
    studio = Annotators((offline / "models",), torch.device("cpu"), 2**24)
    with pytest.raises(ModelError) as refused:
        made(studio, unit("softedge_hed"))
    said = str(refused.value)
    assert "ControlNetHED.pth (29.4 MB) of lllyasviel/Annotators" in said
    assert str(offline / "models" / "annotators") in said


def test_a_fetch_can_be_cancelled(offline: Path) -> None:
    studio = Annotators((), torch.device("cpu"), 2**24)
    with pytest.raises(Cancelled):
        studio.map(unit("depth_zoe"), SIZE, lambda *_: False, at_once)


def test_one_that_needs_other_packages_says_so() -> None:
    with pytest.raises(ModelError, match="DWPose needs the Python packages mmpose, mmdet, mmcv"):
        made(Annotators((), torch.device("cpu"), 2**24), unit("dwpose"))


def test_damaged_weights_are_told_and_the_next_map_is_made(offline: Path) -> None:
    folder = offline / "models" / "annotators"
    folder.mkdir(parents=True)
    (folder / "ControlNetHED.pth").write_bytes(b"no weights")
    studio = Annotators((offline / "models",), torch.device("cpu"), 2**24)
    with pytest.raises(ModelError, match=r"could not be loaded .*; delete .*ControlNetHED.pth to get it anew"):
        made(studio, unit("softedge_hed"))
    assert made(studio, unit("canny")).any()


def test_every_annotator_says_what_it_is() -> None:
    for row in ANNOTATORS.values():
        assert row.title
        assert row.kind or row.key == "none"
        assert bool(row.repo) == bool(row.files)
        if row.detector not in ("", "transformers"):
            assert hasattr(controlnet_aux, row.detector)
        for parameter in row.parameters:
            assert parameter.minimum <= parameter.default <= parameter.maximum


def test_unknown_parameters_name_the_annotator() -> None:
    with pytest.raises(BadRequest, match="Depth, ZoE has no parameter"):
        annotators.find("depth_zoe").settled({"x": 1.0})


def test_loading_waits_for_its_turn_and_making_does_not(studio: Annotators) -> None:
    """What loads is handed to whoever knows when nobody draws; the map itself is made on the asking thread."""
    fresh = Annotators((), torch.device("cpu"), 2**24)
    handed: list[str] = []

    def between(work: Callable[[], object]) -> object:
        result: list[object] = []
        thread = threading.Thread(target=lambda: result.append(work()), name="studio")
        thread.start()
        thread.join()
        handed.append(thread.name)
        return result[0]

    fresh.map(unit("canny"), SIZE, lambda *_: True, between)
    fresh.map(unit("none"), SIZE, lambda *_: True, between)
    assert handed == ["studio"]
