from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from studio import canvas, seam
from studio.canvas import Canvas
from studio.request import Resize, ResolvedRequest
from studio.seam import Floats, Levels
from tests.resolved import resolved

RESIZES: list[Resize] = ["stretch", "crop", "fill", "keep"]
SIDES = st.integers(8, 160)
SIZES = st.tuples(SIDES, SIDES)
DRAWN = st.integers(8, 20).map(lambda eighth: eighth * 8)


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """A sky that pales to the right over a dark ground, with some grain."""
    grain = np.random.default_rng(width * 1000 + height).integers(0, 6, (height, width, 3))
    across = np.linspace(0, 60, width)[None, :, None]
    sky = np.array([90, 150, 190]) + across + grain
    sky[height * 2 // 3 :] -= 70
    return Image.fromarray(sky.astype(np.uint8))


def strokes(width: int, height: int, *spots: tuple[int, int, int, int], level: int = 255) -> Image.Image:
    mask = Image.new("L", (width, height))
    for spot in spots:
        mask.paste(level, spot)
    return mask


def laid(source: Image.Image, mask: Image.Image | None, **changes: object) -> Canvas:
    return canvas.lay_out(resolved(**changes), source, mask)  # type: ignore[arg-type]


@given(SIZES, DRAWN, DRAWN, st.sampled_from(RESIZES))
@settings(max_examples=60)
def test_every_way_to_resize_gives_the_exact_size_and_doing_it_twice_changes_nothing(
    source: tuple[int, int], width: int, height: int, how: Resize
) -> None:
    once = canvas.resized(scene(*source), (width, height), how)
    assert once.size == (source if how == "keep" else (width, height))
    assert canvas.resized(once, (width, height), how).tobytes() == once.tobytes()


def test_the_ways_to_resize_differ_as_their_names_say() -> None:
    source = Image.new("RGB", (120, 60), (0, 0, 0))
    source.paste((255, 255, 255), (30, 0, 90, 60))  # a white square in the middle
    white = {how: (np.asarray(canvas.resized(source, (64, 64), how).convert("L")) > 128) for how in RESIZES}
    assert white["crop"].mean() > 0.98, "what stands out is cut off"
    assert 0.45 < white["stretch"].mean() < 0.55, "all of it, squeezed"
    rows = white["fill"].any(axis=1)
    assert rows.all(), "the bars above and below continue the picture"
    assert np.array_equal(white["fill"][32], white["stretch"][32]), "all of it in the middle"
    assert white["keep"].shape == (60, 120)


@given(SIZES, SIZES, st.data())
@settings(max_examples=100)
def test_no_stroke_is_lost_when_a_mask_changes_size(
    size: tuple[int, int], target: tuple[int, int], data: st.DataObject
) -> None:
    left, top = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    pooled = canvas.pooled(strokes(*size, (left, top, left + 1, top + 1)), target)
    assert pooled.size == target
    box = pooled.getbbox()
    assert box is not None
    assert box[0] - 1 <= left * target[0] / size[0] <= box[2] + 1
    assert box[1] - 1 <= top * target[1] / size[1] <= box[3] + 1
    assert canvas.pooled(pooled, target) == pooled


@given(st.integers(0, 40), st.integers(1, 30), st.integers(1, 255))
@settings(max_examples=40)
def test_a_feather_keeps_what_was_painted_and_ends(blur: int, thickness: int, level: int) -> None:
    mask = strokes(300, 30, (140, 0, 140 + thickness, 30), level=level)
    faded = np.asarray(canvas.feathered(mask, blur)).astype(int)
    painted = np.asarray(mask).astype(int)
    assert (faded >= painted).all()
    assert faded.max() == level
    reach = 2 * blur
    assert not faded[:, : 140 - reach].any()
    assert not faded[:, 140 + thickness + reach :].any()
    assert (np.diff(faded[15, :140]) >= 0).all(), "it only fades"


def brute_dilation(levels: Levels, radius: int) -> Levels:
    padded = np.pad(levels, radius)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1,) * 2)
    return np.asarray(windows.max(axis=(2, 3)), np.uint8)


@given(st.integers(1, 9), st.integers(1, 20), st.integers(1, 20))
def test_growing_is_the_largest_level_around(radius: int, width: int, height: int) -> None:
    levels = np.random.default_rng(radius).integers(0, 256, (height, width)).astype(np.uint8)
    assert np.array_equal(seam.dilated(levels, radius), brute_dilation(levels, radius))


@given(SIZES, st.integers(0, 3))
@settings(max_examples=40)
def test_spreading_keeps_what_is_known_and_stays_between_it(size: tuple[int, int], seed: int) -> None:
    source = np.random.default_rng(seed)
    values: Floats = source.random((size[1], size[0], 3), np.float32)
    weight: Floats = (source.random((size[1], size[0])) < 0.1).astype(np.float32)
    weight[0, 0] = 1
    filled = seam.spread(values, weight)
    known = weight == 1
    assert np.array_equal(filled[known], values[known])
    assert filled.min() >= values[known].min() - 1e-3
    assert filled.max() <= values[known].max() + 1e-3


OPTIONS = st.fixed_dictionaries(
    {
        "mask_blur": st.sampled_from([0, 1, 4, 17]),
        "invert": st.booleans(),
        "area": st.sampled_from(["whole", "masked"]),
        "padding": st.sampled_from([0, 8, 64]),
        "soft": st.booleans(),
        "match_colour": st.booleans(),
    }
)


@given(SIZES, DRAWN, DRAWN, st.sampled_from(RESIZES), OPTIONS, st.integers(0, 255), st.data())
@settings(max_examples=150)
def test_whatever_is_drawn_nothing_changes_outside_the_feather(
    size: tuple[int, int],
    width: int,
    height: int,
    how: Resize,
    options: dict[str, object],
    level: int,
    data: st.DataObject,
) -> None:
    left, top = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    mask = strokes(*size, (left, top, left + 9, top + 5), level=level)
    request = resolved(width=width, height=height, resize=how, inpaint=options)
    laid = canvas.lay_out(request, scene(*size), mask)
    assert laid.opacity is not None
    assert laid.picture.size == laid.opacity.size == (size if how == "keep" else (width, height))
    assert laid.part().size == laid.mask().size == laid.size
    assert all(side % 8 == 0 and side >= 64 for side in laid.size)
    drawn = Image.new("RGB", laid.size, (255, 0, 255))
    whole = laid.composed(drawn, match_colour=bool(options["match_colour"]))
    outside = np.asarray(laid.opacity) == 0
    assert np.array_equal(np.asarray(whole)[outside], np.asarray(laid.picture)[outside])
    if how == "keep":
        assert laid.picture.tobytes() == scene(*size).tobytes()
    if not laid.untouched:
        assert laid.mask().getbbox() is not None, "what is to change reaches the model"


@given(SIZES, st.tuples(*[st.integers(0, 70)] * 4).filter(any), OPTIONS)
@settings(max_examples=60)
def test_outpainting_never_touches_the_pixels_that_were_there(
    size: tuple[int, int], margins: tuple[int, ...], options: dict[str, object]
) -> None:
    outpaint = dict(zip(("left", "top", "right", "bottom"), margins, strict=True))
    source = scene(*size)
    laid = canvas.lay_out(resolved(resize="keep", outpaint=outpaint, inpaint=options), source, None)
    whole = laid.composed(Image.new("RGB", laid.size, (255, 0, 255)), match_colour=bool(options["match_colour"]))
    left, top, right, bottom = margins
    assert whole.size == (left + size[0] + right, top + size[1] + bottom)
    assert whole.crop((left, top, left + size[0], top + size[1])).tobytes() == source.tobytes()


def test_painting_and_outpainting_at_once_touch_the_strokes_and_the_margins_alone() -> None:
    source = scene()
    given = laid(source, strokes(96, 64, (40, 20, 50, 30)), resize="keep", outpaint={"right": 32}, inpaint=SHARP)
    changed = np.asarray(given.composed(Image.new("RGB", given.size))) != np.asarray(given.picture)
    expected = np.zeros((64, 128), bool)
    expected[20:30, 40:50] = True
    expected[:, 96:] = True
    assert np.array_equal(changed.any(axis=2), expected)


SHARP = {"mask_blur": 0, "match_colour": False}


def test_margins_continue_the_edges_before_anything_is_drawn() -> None:
    source = scene()
    given = laid(source, None, resize="keep", outpaint={"right": 40})
    near = np.asarray(given.picture).astype(float)[:, 96:100].mean(axis=1)
    edge = np.asarray(source).astype(float)[:, 92:96].mean(axis=1)
    assert np.abs(near - edge).mean() < 12
    again = laid(source, None, resize="keep", outpaint={"right": 40})
    assert given.picture.tobytes() == again.picture.tobytes(), "its grain comes from the seed"


def test_a_smear_hides_what_was_there() -> None:
    source = scene()
    source.paste((255, 0, 0), (40, 20, 56, 36))
    given = laid(source, strokes(96, 64, (36, 16, 60, 40)), resize="keep", width=96, height=64, inpaint=SHARP)
    assert int(np.asarray(given.part()).astype(int)[28, 48, 0]) == 255
    red, green, _ = (int(level) for level in np.asarray(given.part(smeared=True))[28, 48])
    assert green > red, "sky"
    assert np.array_equal(np.asarray(given.part(smeared=True))[:14], np.asarray(source)[:14])


def test_a_shift_of_colour_is_taken_back_along_the_seam() -> None:
    source = scene(128, 128)
    given = laid(source, strokes(128, 128, (40, 40, 90, 90)), resize="keep", width=128, height=128)
    shifted = Image.fromarray(np.clip(np.add(np.asarray(source), np.array([30, -25, 12])), 0, 255).astype(np.uint8))
    truth = np.asarray(source).astype(float)
    plain = np.abs(np.asarray(given.composed(shifted)) - truth).mean(axis=2)[40:90, 40:90].mean()
    tuned = np.abs(np.asarray(given.composed(shifted, match_colour=True)) - truth).mean(axis=2)[40:90, 40:90].mean()
    assert plain > 15
    assert tuned < 2


def test_a_soft_mask_changes_as_much_as_it_is_grey_and_shows_all_of_that() -> None:
    mask = strokes(96, 64, (20, 20, 40, 40), level=128)
    soft = laid(scene(), mask, resize="keep", width=96, height=64, inpaint={"soft": True, "mask_blur": 0})
    assert soft.change is not None
    assert soft.opacity is not None
    assert (soft.change.getpixel((30, 30)), soft.opacity.getpixel((30, 30))) == (128, 255)
    hard = laid(scene(), mask, resize="keep", width=96, height=64, inpaint={"soft": False, "mask_blur": 0})
    assert hard.change is not None
    assert hard.opacity is not None
    assert (hard.change.getpixel((30, 30)), hard.opacity.getpixel((30, 30))) == (255, 128)


def test_a_small_canvas_shows_the_whole_picture_with_the_drawing_in_its_place() -> None:
    given = laid(scene(800, 400), strokes(800, 400, (600, 100, 700, 200)), resize="keep", inpaint={"area": "masked"})
    preview = given.small(200).composed(Image.new("RGB", (16, 16), (255, 0, 255)))
    assert preview.size == (200, 100)
    assert preview.getpixel((162, 37)) == (255, 0, 255)
    sky = preview.getpixel((20, 20))
    assert isinstance(sky, tuple)
    assert sky[0] < 120


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "1"])
def test_a_mask_may_come_in_any_mode_and_what_is_transparent_is_not_masked(mode: str) -> None:
    from studio import image

    white = strokes(32, 32, (8, 8, 16, 16))
    picture = white.convert(mode) if mode in ("L", "RGB", "1") else Image.new("L", (32, 32), 255).convert(mode)
    if mode in ("RGBA", "LA"):
        picture.putalpha(white)
    out = io.BytesIO()
    picture.save(out, "PNG")
    read = image.decode_mask(out.getvalue(), 10_000)
    assert read.mode == "L"
    assert read.tobytes() == white.tobytes()


def test_nothing_masked_is_nothing_touched() -> None:
    given = laid(scene(), Image.new("L", (96, 64)), resize="keep")
    assert given.untouched
    assert not laid(scene(), None).untouched


def test_the_request_is_read_with_its_pictures() -> None:
    from studio import image
    from studio.request import Picture

    init, mask = (Picture.from_bytes(image.png(part)) for part in (scene(), strokes(96, 64, (0, 0, 9, 9))))
    read = canvas.read(resolved(init=init, mask=mask, resize="keep"), 100_000)
    assert read is not None
    assert read.picture.tobytes() == scene().tobytes()
    assert canvas.read(ResolvedRequest.model_validate(resolved()), 100_000) is None
