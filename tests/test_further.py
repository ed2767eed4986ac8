from __future__ import annotations

import io

import pytest
from PIL import Image

from studio import image
from studio.further import VARIATIONS, panned, variation, zoomed_out
from studio.request import Outpaint, Picture
from tests.resolved import resolved

MANY = 10_000_000


def photo(width: int, height: int) -> Picture:
    return Picture.from_bytes(image.png(Image.linear_gradient("L").resize((width, height)).convert("RGB")))


TOLD = resolved(
    "a heron",
    init=photo(64, 64),
    mask=photo(64, 64),
    seed=5,
    steps=9,
    negative="text",
    loops=2,
    count=3,
)


def test_a_variation_starts_from_the_result_with_a_new_seed_and_nothing_masked() -> None:
    result = photo(128, 72)
    for how, strength in VARIATIONS.items():
        again = variation(TOLD, result, how)
        assert (again.init, again.mask, again.outpaint, again.seed) == (result, None, None, None)
        assert (again.loops, again.count) == (1, 1)
        assert (again.prompt, again.negative, again.steps, again.strength) == ("a heron", "text", 9, strength)
        assert (again.width, again.height, again.resize) == (None, None, "keep")
    assert VARIATIONS["subtle"] < VARIATIONS["strong"]


def test_panning_outpaints_what_comes_into_view() -> None:
    told = panned(TOLD, photo(128, 96), 32, 0, MANY)
    assert told.outpaint == Outpaint(right=32)
    assert told.init is not None
    with Image.open(io.BytesIO(told.init.data)) as seen:
        assert seen.size == (96, 96)
    assert (told.mask, told.strength, told.width, told.height) == (None, None, None, None)


@pytest.mark.parametrize(("factor", "across", "down"), [(1.5, 192, 108), (2.0, 256, 144)])
def test_zooming_out_keeps_the_whole_picture_in_the_middle(factor: float, across: int, down: int) -> None:
    result = photo(128, 72)
    told = zoomed_out(TOLD, result, factor, MANY)
    assert told.init == result
    assert told.outpaint is not None
    margins = told.outpaint
    assert (128 + margins.left + margins.right, 72 + margins.top + margins.bottom) == (across, down)
    assert abs(margins.left - margins.right) <= 1
    assert abs(margins.top - margins.bottom) <= 1
