from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio import geometry
from studio.geometry import Box, Size
from studio.request import Outpaint

SIDES = st.integers(1, 5000)
SIZES = st.tuples(SIDES, SIDES)
DRAWN = st.integers(8, 512).map(lambda eighth: eighth * 8)
SHAPES = st.tuples(DRAWN, DRAWN)


@st.composite
def touched(draw: st.DrawFn) -> tuple[Box, Size]:
    """A box of at least one pixel in a canvas."""
    width, height = draw(SIZES)
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
    return (left, top, right, bottom), (width, height)


def inside(box: Box, size: Size) -> bool:
    return 0 <= box[0] < box[2] <= size[0] and 0 <= box[1] < box[3] <= size[1]


def contains(outer: Box, inner: Box) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]


@given(SIZES, SHAPES)
def test_a_window_lies_inside_touches_two_sides_and_has_the_shape(source: Size, shape: Size) -> None:
    box = geometry.window(source, shape)
    assert inside(box, source)
    width, height = box[2] - box[0], box[3] - box[1]
    assert width == source[0] or height == source[1]
    assert abs(width - height * shape[0] / shape[1]) <= 1 + shape[0] / shape[1] or min(width, height) == 1


@given(SIZES, SHAPES)
def test_an_inset_lies_inside_and_touches_two_sides(source: Size, target: Size) -> None:
    box = geometry.inset(source, target)
    assert inside(box, target)
    assert box[2] - box[0] == target[0] or box[3] - box[1] == target[1]


@given(SHAPES)
def test_what_already_has_the_size_is_neither_cut_nor_set_in(size: Size) -> None:
    assert geometry.window(size, size) == geometry.inset(size, size) == (0, 0, *size)
    assert geometry.drawing(size, size) == size


@given(touched(), st.integers(0, 1024), SHAPES)
def test_the_surroundings_of_a_mask_hold_it_with_its_padding_and_stay_on_the_canvas(
    place: tuple[Box, Size], padding: int, shape: Size
) -> None:
    mask, canvas = place
    box = geometry.surroundings(mask, canvas, padding, shape)
    assert inside(box, canvas)
    padded = (
        max(mask[0] - padding, 0),
        max(mask[1] - padding, 0),
        min(mask[2] + padding, canvas[0]),
        min(mask[3] + padding, canvas[1]),
    )
    assert contains(box, padded)
    width, height = box[2] - box[0], box[3] - box[1]
    assert width >= min(64, canvas[0])
    assert height >= min(64, canvas[1])
    # The shape is reached unless the canvas ends.
    wanted = height * shape[0] / shape[1]
    assert abs(width - wanted) <= 1 + shape[0] / shape[1] or width == canvas[0] or height == canvas[1]


@given(SIZES, SHAPES)
def test_a_box_is_drawn_in_multiples_of_eight_and_about_as_many_pixels_as_asked_for(box: Size, budget: Size) -> None:
    width, height = geometry.drawing(box, budget)
    assert width % 8 == height % 8 == 0
    assert 64 <= min(width, height) <= max(width, height) <= 4096
    if 1 / 8 <= box[0] / box[1] <= 8 and 256 * 256 <= budget[0] * budget[1] <= 1024 * 1024:
        assert width * height == pytest.approx(budget[0] * budget[1], rel=0.1)


MARGIN = st.integers(0, 4096)


@given(SIZES, st.builds(Outpaint, left=MARGIN, top=MARGIN, right=MARGIN, bottom=MARGIN))
def test_a_picture_keeps_its_size_between_its_margins(source: Size, margins: Outpaint) -> None:
    canvas, inner = geometry.extended(source, margins)
    assert inside(inner, canvas)
    assert (inner[2] - inner[0], inner[3] - inner[1]) == source
    assert canvas == source or margins


@given(st.tuples(st.integers(64, 2000), st.integers(64, 2000)), st.sampled_from([(1, 1), (16, 9), (3, 4), (2.39, 1)]))
def test_margins_to_an_aspect_reach_it_on_two_sides_at_most(source: Size, aspect: tuple[float, float]) -> None:
    margins = geometry.to_aspect(source, *aspect)
    assert not ((margins.left or margins.right) and (margins.top or margins.bottom))
    assert abs(margins.left - margins.right) <= 1
    assert abs(margins.top - margins.bottom) <= 1
    (width, height), _ = geometry.extended(source, margins)
    if max(margins.left, margins.right, margins.top, margins.bottom) < 4096:
        assert abs(width - height * aspect[0] / aspect[1]) <= 1 + aspect[0] / aspect[1]
        again = geometry.to_aspect((width, height), *aspect)
        assert max(again.left, again.right, again.top, again.bottom) <= 2, "nothing to speak of is left to add"


@given(SIZES.filter(lambda size: max(size) <= 4000), st.sampled_from([1.0, 1.5, 2.0]))
def test_zooming_out_makes_the_canvas_as_many_times_larger(source: Size, factor: float) -> None:
    canvas, inner = geometry.extended(source, geometry.zoom_out(source, factor))
    assert canvas == tuple(side + round(side * (factor - 1)) for side in source)
    assert abs(inner[0] - (canvas[0] - inner[2])) <= 1


@given(SIZES, st.integers(-9000, 9000), st.integers(-9000, 9000))
def test_panning_keeps_the_size_and_some_of_the_picture(source: Size, across: int, down: int) -> None:
    kept, margins = geometry.pan(source, across, down)
    assert inside(kept, source)
    size = kept[2] - kept[0], kept[3] - kept[1]
    assert geometry.extended(size, margins)[0] == source
    assert all(left >= min(64, whole) for left, whole in zip(size, source, strict=True))
    assert not (margins.left and margins.right)
    assert not (margins.top and margins.bottom)


def test_panning_to_the_right_cuts_the_left_and_adds_on_the_right() -> None:
    assert geometry.pan((200, 100), 50, -10) == ((50, 0, 200, 90), Outpaint(right=50, top=10))


FRAME = st.integers(-5000, 5000)


@given(SIZES, FRAME, FRAME, FRAME, FRAME)
def test_a_frame_is_what_is_kept_and_margins_around_it(
    source: Size, left: int, top: int, right: int, bottom: int
) -> None:
    kept, margins = geometry.framed(source, left, top, right, bottom)
    if not inside(kept, source):
        assert source[0] + left + right <= max(left, 0) + max(right, 0) or source[1] + top + bottom <= max(
            top, 0
        ) + max(bottom, 0)
        return
    (width, height), inner = geometry.extended((kept[2] - kept[0], kept[3] - kept[1]), margins)
    capped = [max(side - 4096, 0) for side in (left, top, right, bottom)]
    assert width == source[0] + left + right - capped[0] - capped[2]
    assert height == source[1] + top + bottom - capped[1] - capped[3]
    assert (inner[0], inner[1]) == (margins.left, margins.top)
    for outside, cut in ((margins.left, kept[0]), (margins.top, kept[1])):
        assert not (outside and cut), "a side lies either outside or inside"
