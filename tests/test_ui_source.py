"""Image and Inpaint: what their controls and canvases say becomes parts of a request, and a request shows in them."""

from __future__ import annotations

import io
from collections.abc import Mapping

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from studio import image
from studio.errors import BadRequest
from studio.request import GenerationRequest, Outpaint, Picture
from studio.ui import source
from studio.ui.canvas import Sheet
from studio.ui.source import NAMES, Source
from tests.resolved import resolved

SIZE = (96, 64)
RAMP = Image.linear_gradient("L").resize(SIZE)
PHOTO = Picture.from_bytes(image.png(Image.merge("RGB", (RAMP, RAMP.rotate(180), RAMP))))
MASK = Picture.from_bytes(image.png(RAMP))
PAINTED = Sheet(*SIZE, PHOTO, MASK, None)


@pytest.fixture
def controls() -> Source:
    return Source(**{name: gr.Textbox() for name in NAMES})


def asked(
    controls: Source, room: source.Room, sheet: Sheet | None, values: Mapping[str, object] | None = None
) -> GenerationRequest:
    given = {getattr(controls, name): value for name, value in {**source.DEFAULTS, **(values or {})}.items()}
    return GenerationRequest.model_validate({"prompt": "a heron", **source.read(controls, given, room, sheet)})


def pixels(picture: Picture | None) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    assert picture is not None
    with Image.open(io.BytesIO(picture.data)) as opened:
        return np.asarray(opened)


def test_text_to_image_gets_nothing_from_the_other_rooms(controls: Source) -> None:
    assert asked(controls, "create", PAINTED, {"strength": 0.2, "left": 64}) == GenerationRequest(prompt="a heron")


def test_every_control_of_the_image_room_reaches_the_request(controls: Source) -> None:
    values = {"strength": 0.45, "resize": "fill", "loops": 3.0, "loop_decay": 0.8, "left": 64, "repaint": 0.1}
    request = asked(controls, "image", Sheet(*SIZE, PHOTO, None, None), values)
    assert request == GenerationRequest(
        prompt="a heron", init=PHOTO, strength=0.45, resize="fill", loops=3, loop_decay=0.8
    )


def test_a_picture_that_keeps_its_size_is_not_given_the_one_on_the_form(controls: Source) -> None:
    free = source.read(controls, {}, "image", Sheet(*SIZE, PHOTO, None, None))
    assert (free["resize"], free["width"], free["height"]) == ("keep", None, None)
    assert "width" not in source.read(controls, {controls.resize: "crop"}, "image", Sheet(*SIZE, PHOTO, None, None))


def test_every_control_of_the_inpaint_room_reaches_the_request(controls: Source) -> None:
    own = {"mask_blur": 7.0, "invert": True, "start": "noise", "area": "masked", "padding": 48.0, "soft": True}
    values = {**own, "match_colour": False, "repaint": 0.8, "left": 8.0, "top": 16, "right": 24, "bottom": 32}
    request = asked(controls, "inpaint", PAINTED, values)
    assert (request.init, request.mask, request.strength, request.resize) == (PHOTO, MASK, 0.8, "keep")
    assert request.inpaint.model_dump() == {**own, "match_colour": False}
    assert request.outpaint == Outpaint(left=8, top=16, right=24, bottom=32)
    assert values.keys() | {"strength", "resize", "loops", "loop_decay"} == set(NAMES)


def test_sides_inside_the_picture_cut_it_and_its_mask(controls: Source) -> None:
    request = asked(controls, "inpaint", PAINTED, {"left": -32, "right": 32, "top": -8})
    assert request.outpaint == Outpaint(right=32)
    assert np.array_equal(pixels(request.init), pixels(PHOTO)[8:, 32:])
    assert np.array_equal(pixels(request.mask), pixels(MASK)[8:, 32:])


@pytest.mark.parametrize(
    ("room", "sheet", "values", "said"),
    [
        ("image", None, {}, "no picture to start from"),
        ("inpaint", None, {}, "no picture to repaint"),
        ("inpaint", Sheet(*SIZE, None, MASK, None), {}, "no picture to repaint"),
        ("inpaint", Sheet(*SIZE, PHOTO, None, None), {}, "Nothing is painted yet"),
        ("inpaint", Sheet(*SIZE, PHOTO, None, None), {"invert": True}, "Nothing is painted yet"),
        ("inpaint", Sheet(*SIZE, PHOTO, None, None), {"left": -32}, "Nothing is painted yet"),
        ("inpaint", PAINTED, {"left": -92}, "leaves next to nothing"),
        ("inpaint", PAINTED, {"left": 12.5}, "whole numbers of pixels"),
        ("inpaint", PAINTED, {"left": "wide"}, "whole numbers of pixels"),
        ("inpaint", PAINTED, {"left": 5000}, "at most 4096 pixels"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(
    controls: Source, room: source.Room, sheet: Sheet | None, values: dict[str, object], said: str
) -> None:
    with pytest.raises(BadRequest, match=said):
        asked(controls, room, sheet, values)


def test_margins_alone_need_no_mask(controls: Source) -> None:
    request = asked(controls, "inpaint", Sheet(*SIZE, PHOTO, None, None), {"bottom": 40})
    assert (request.mask, request.outpaint) == (None, Outpaint(bottom=40))


def test_memory_comes_back_as_far_as_it_makes_sense() -> None:
    assert source.restore(None) == source.restore({}) == source.DEFAULTS
    kept = {**source.DEFAULTS, "strength": 0.25, "resize": "crop", "soft": True, "left": -64}
    assert source.restore(kept) == kept
    nonsense = {"strength": 7, "resize": "sideways", "loops": "many", "soft": "perhaps", "left": 10**9, "padding": None}
    assert source.restore(nonsense) == source.DEFAULTS


def test_a_picture_made_in_a_room_shows_there_how_it_was_made() -> None:
    plain = resolved()
    assert source.room_of(plain, {}) == "create"
    assert source.of(plain, "create") == {}
    of_image = resolved(init=PHOTO, strength=0.3, resize="crop", loops=2, loop_decay=0.5)
    assert source.room_of(of_image, {"init": "…"}) == "image"
    assert source.of(of_image, "image") == {"strength": 0.3, "resize": "crop", "loops": 2, "loop_decay": 0.5}
    of_inpaint = resolved(init=PHOTO, strength=0.8, outpaint={"left": 8}, inpaint={"soft": True}, resize="keep")
    assert source.room_of(of_inpaint, {"init": "…"}) == "inpaint"
    shown = source.of(of_inpaint, "inpaint")
    assert shown.keys() < set(NAMES)
    assert (shown["repaint"], shown["soft"], shown["left"], shown["right"]) == (0.8, True, 8, 0)
