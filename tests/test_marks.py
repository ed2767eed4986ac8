"""How saved pictures are marked: what survives, what stays bit for bit, what others are told."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from studio import canvas, image, marks_pattern, receipt
from studio.catalog import Catalog
from studio.credentials import Claim, Credentials
from studio.gallery import Gallery
from studio.gallery_origin import Kind
from studio.marks import Marks
from studio.request import GenerationResult, Picture
from studio.rules import Rules
from studio.settings import EMBEDDED
from tests.resolved import resolved

SIZE = 256


def scene(seed: int = 3) -> Image.Image:
    """Soft shapes, an edge and some grain: neither flat nor noise."""
    dice = np.random.default_rng(seed)
    soft = Image.fromarray(dice.integers(0, 256, (16, 16, 3), np.uint8)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    soft = soft.filter(ImageFilter.GaussianBlur(3))
    levels = np.asarray(soft, np.float32) + dice.normal(0, 3, (SIZE, SIZE, 1))
    levels[:, SIZE // 2 :] *= 0.6
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return Image.open(io.BytesIO(out.getvalue())).convert("RGB")


def result(picture: Image.Image, **parts: Any) -> GenerationResult:
    request = resolved(width=picture.width, height=picture.height, **parts)
    return GenerationResult(request, *picture.size, picture.tobytes(), 1.0, "0123456789", "cpu")


@pytest.fixture(scope="module")
def marked() -> Image.Image:
    return marks_pattern.marked(scene())


def test_nobody_sees_the_watermark(marked: Image.Image) -> None:
    error = np.square(np.asarray(marked, np.float64) - np.asarray(scene(), np.float64)).mean()
    assert 10 * np.log10(255**2 / error) > 40


@pytest.mark.parametrize("picture", [scene(), Image.new("RGB", (SIZE, SIZE), "teal")], ids=["scene", "flat"])
def test_a_picture_without_it_has_none(picture: Image.Image) -> None:
    assert marks_pattern.look(picture) is None


@pytest.mark.parametrize("quality", [90, 75, 50])
def test_it_survives_jpeg(marked: Image.Image, quality: int) -> None:
    assert marks_pattern.look(jpeg(marked, quality)) is not None


def test_it_survives_being_cut_out_anywhere(marked: Image.Image) -> None:
    assert marks_pattern.look(jpeg(marked.crop((37, 21, 231, 243)), 75)) is not None


@pytest.mark.parametrize("scale", [0.6, 1.5])
def test_it_survives_another_size_and_tells_it(marked: Image.Image, scale: float) -> None:
    side = round(SIZE * scale)
    sighting = marks_pattern.look(jpeg(marked.resize((side, side), Image.Resampling.LANCZOS), 85))
    assert sighting is not None
    assert sighting.scale == pytest.approx(scale, rel=0.04)


def test_it_survives_brightness_and_grey(marked: Image.Image) -> None:
    assert marks_pattern.look(marked.point(lambda level: int(level * 0.8 + 20)).convert("L").convert("RGB")) is not None


def test_the_same_pixels_get_the_same_mark(marked: Image.Image) -> None:
    assert marks_pattern.marked(scene()).tobytes() == marked.tobytes()


# ── in the gallery ──


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(Credentials(tmp_path / "credentials"), lambda: Rules())


@pytest.fixture
def catalog() -> Catalog:
    return Catalog(EMBEDDED)


def saved(folder: Path, marks: Marks, what: GenerationResult, index: int = 0) -> bytes:
    gallery = Gallery(folder, "{number:05d}", marks.finish)
    try:
        record = gallery.add(
            what, job="job", index=index, owner="ann", title="Mini", licence="openrail, no commercial use"
        )
        return gallery.path(record.id).read_bytes()
    finally:
        gallery.close()


def test_a_saved_picture_is_signed_watermarked_and_names_the_licence(
    tmp_path: Path, marks: Marks, catalog: Catalog
) -> None:
    verdict = marks.verify(saved(tmp_path, marks, result(scene())), catalog, 10**6)
    assert verdict.credentials is not None
    assert (verdict.credentials.state, verdict.credentials.licence) == ("ours", "openrail, no commercial use")
    assert verdict.watermark is not None
    assert verdict.reading is not None
    assert verdict.reading.settings["prompt"] == resolved().prompt


def test_what_was_not_drawn_stays_bit_for_bit(tmp_path: Path, marks: Marks) -> None:
    hole = Image.new("L", (SIZE, SIZE))
    hole.paste(255, (64, 64, 192, 160))
    source, mask = scene(5), io.BytesIO()
    hole.save(mask, "PNG")
    what = result(
        scene(5),
        init=Picture.from_bytes(image.png(source)),
        mask=Picture.from_bytes(mask.getvalue()),
        resize="keep",
    )
    laid = canvas.read(what.request, 10**6)
    assert laid is not None
    assert laid.opacity is not None
    untouched = np.asarray(laid.opacity) == 0
    assert 0.3 < untouched.mean() < 0.9
    data = saved(tmp_path, marks, what)
    kept, before = np.asarray(image.decode(data, 10**6)), np.asarray(source)
    assert (kept[untouched] == before[untouched]).all()
    assert (kept[~untouched] != before[~untouched]).any(), "what was drawn is marked"
    found = Credentials(tmp_path / "credentials").read(data)
    assert found is not None
    assert found.source == "compositeWithTrainedAlgorithmicMedia"


def test_a_picture_made_again_is_identical_and_without_the_mark_says_why_not(tmp_path: Path, marks: Marks) -> None:
    first, second = (saved(tmp_path / name, marks, result(scene())) for name in ("a", "b"))
    assert receipt.compare(first, second).verdict == "identical"
    plain = Marks(Credentials(tmp_path / "credentials"), lambda: Rules(watermark=False))
    outcome = receipt.compare(first, saved(tmp_path / "c", plain, result(scene())))
    assert outcome.verdict == "close"
    assert outcome.changed["Watermark"] == (marks_pattern.NAME, "")


def test_each_can_be_turned_off(tmp_path: Path, catalog: Catalog) -> None:
    off = Marks(Credentials(tmp_path / "credentials"), lambda: Rules(watermark=False, credentials=False))
    data = saved(tmp_path, off, result(scene()))
    assert image.decode(data, 10**6).tobytes() == scene().tobytes()
    verdict = off.verify(data, catalog, 10**6)
    assert (verdict.credentials, verdict.watermark) == (None, None)


def test_a_picture_is_never_lost_for_want_of_a_key(tmp_path: Path) -> None:
    broken = tmp_path / "credentials"
    broken.write_text("a file where a folder should be")
    marks = Marks(Credentials(broken), lambda: Rules())
    data = saved(tmp_path, marks, result(scene()))
    assert image.png_texts(data)[0] == (SIZE, SIZE)
    assert Credentials(tmp_path / "others").read(data) is None


KINDS: tuple[Kind, ...] = ("png", "jpeg", "webp")


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_for_others_tells_no_prompt_and_is_still_signed(
    tmp_path: Path, marks: Marks, catalog: Catalog, kind: Kind
) -> None:
    original = saved(tmp_path, marks, result(scene(), prompt="a secret heron"))
    assert b"secret" in original
    copy = marks.copied(original, kind)
    assert not any("secret".encode(code) in copy for code in ("utf-8", "utf-16-be", "utf-16-le"))
    assert image.texts(copy) == {}
    if kind == "png":
        assert image.decode(copy, 10**6).tobytes() == image.decode(original, 10**6).tobytes()
    verdict = marks.verify(copy, catalog, 10**6)
    assert verdict.reading is None
    assert verdict.watermark is not None
    found = verdict.credentials
    assert found is not None
    assert (found.state, found.model, found.licence, found.source, found.watermarked, found.problems) == (
        "ours",
        "Mini",
        "openrail, no commercial use",
        "trainedAlgorithmicMedia",
        True,
        (),
    )


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_copy_in_another_format_keeps_settings_and_credentials(
    tmp_path: Path, marks: Marks, catalog: Catalog, kind: Kind
) -> None:
    original = saved(tmp_path, marks, result(scene(), prompt="a heron"))
    assert marks.copied(original, "png", quiet=False) == original
    copy = marks.copied(original, kind, quiet=False)
    verdict = marks.verify(copy, catalog, 10**6)
    assert verdict.watermark is not None
    assert verdict.reading is not None
    assert (verdict.reading.program, verdict.reading.settings["prompt"]) == ("Pochade", "a heron")
    found = verdict.credentials
    assert found is not None
    assert (found.state, found.model, found.source, found.earlier) == ("ours", "Mini", "trainedAlgorithmicMedia", 1)
    half = len(copy) // 2
    changed = copy[:half] + bytes([copy[half] ^ 1]) + copy[half + 1 :]
    told = Credentials(tmp_path / "credentials").read(changed)
    assert told is None or told.state == "invalid"


def test_what_earlier_pictures_say_of_themselves_is_not_for_others(tmp_path: Path, marks: Marks) -> None:
    photograph = Credentials(tmp_path / "camera").sign(image.png(scene(5)), Claim("the street where Ann lives"))
    original = saved(tmp_path, marks, result(scene(), init=Picture.from_bytes(photograph), resize="keep"))
    assert b"the street where Ann lives" in original
    for kind in KINDS:
        copy = marks.copied(original, kind)
        assert b"the street where Ann lives" not in copy
        found = Credentials(tmp_path / "credentials").read(copy)
        assert found is not None
        assert (found.state, found.composite, found.earlier) == ("ours", True, 0)


def test_a_film_to_take_away_is_signed_like_its_picture(tmp_path: Path, marks: Marks) -> None:
    frame = image.jpeg(scene())
    found = Credentials(tmp_path / "credentials").read(
        marks.film(saved(tmp_path, marks, result(scene())), image.film_strip([frame] * 8))
    )
    assert found is not None
    assert (found.state, found.drawn, found.model) == ("ours", True, "Mini")


def test_copies_of_what_no_model_drew_say_nothing_of_a_model(tmp_path: Path, marks: Marks) -> None:
    for kind in KINDS:
        assert Credentials(tmp_path / "credentials").read(marks.copied(image.png(scene()), kind)) is None
        changed = saved(tmp_path / kind, marks, result(scene())) + b"and more"
        assert Credentials(tmp_path / "credentials").read(marks.copied(changed, kind)) is None
