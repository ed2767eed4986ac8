from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.access import MAX_BODY
from studio.errors import BadRequest, StudioError, TooLarge, UnreadablePicture
from studio.request import Picture
from studio.ui import canvas

MANY = 1_000_000
SIZE = (48, 32)


def file(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def url(picture: Image.Image, kind: str = "PNG", **options: Any) -> str:
    return Picture.from_bytes(file(picture, kind, **options), f"image/{kind.lower()}").root


def sent(**parts: object) -> str:
    return json.dumps({"width": SIZE[0], "height": SIZE[1], **parts})


RED = Image.new("RGB", SIZE, (200, 10, 10))
MASK = Image.linear_gradient("L").resize(SIZE)


def test_a_mask_arrives_level_by_level() -> None:
    sheet = canvas.read(sent(source=url(RED), mask=url(MASK)), MANY)
    assert sheet is not None
    assert sheet.mask is not None
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(sheet.mask.data))), np.asarray(MASK))
    assert sheet.init is sheet.source  # the artist's own file, not a copy of a copy


def test_strokes_are_laid_on_the_upright_source() -> None:
    lying = Image.new("RGB", (SIZE[1], SIZE[0]), (10, 10, 200))
    exif = Image.Exif()
    exif[0x0112] = 6
    strokes = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    strokes.paste((0, 255, 0, 255), (0, 0, 10, 10))
    strokes.paste((0, 255, 0, 128), (20, 0, 30, 10))
    sheet = canvas.read(sent(source=url(lying, exif=exif.tobytes()), strokes=url(strokes)), MANY)
    assert sheet is not None
    init = Image.open(io.BytesIO(sheet.init.data))
    assert init.size == SIZE
    assert [init.getpixel((x, 5)) for x in (5, 15, 25)] == [(0, 255, 0), (10, 10, 200), (5, 133, 100)]


def test_a_blank_page_is_white_paper() -> None:
    sheet = canvas.read(sent(), MANY)
    assert sheet is not None
    assert Image.open(io.BytesIO(sheet.init.data)).getcolors() == [(SIZE[0] * SIZE[1], (255, 255, 255))]


def test_nothing_on_the_canvas_is_nothing() -> None:
    assert canvas.read("{}", MANY) is None


def test_what_the_browser_could_not_send_is_told_as_it_is() -> None:
    with pytest.raises(BadRequest, match=r"^Too much at once\.$"):
        canvas.read(json.dumps({"problem": "Too much at once."}), MANY)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "canvas:mask",
        "[]",
        '{"width": "many"}',
        sent(source="https://example.org/a.png"),
        sent(source="data:image/png;base64,????"),
        sent(unheard_of=1),
        sent(source=url(RED.resize((40, 32)))),
        sent(mask=url(MASK.resize((40, 32)))),
        sent(mask=url(MASK.convert("RGB"))),
        sent(mask=url(MASK, "JPEG")),
        sent(strokes=url(RED)),
        json.dumps({"width": 48, "height": 0}),
    ],
)
def test_what_our_own_scripts_would_not_send_is_refused(value: object) -> None:
    with pytest.raises(BadRequest):
        canvas.read(value, MANY)


def test_broken_and_oversized_parts_are_refused_by_the_decoder() -> None:
    with pytest.raises(UnreadablePicture):
        canvas.read(sent(source=Picture.from_bytes(file(RED)[:60]).root), MANY)
    with pytest.raises(TooLarge):
        canvas.read(sent(source=url(RED.resize((2000, 2000)))), MANY)
    with pytest.raises(StudioError, match="20000×20000"):
        canvas.read(json.dumps({"width": 20_000, "height": 20_000}), MANY)


def test_the_largest_file_fits_into_one_request_with_its_mask() -> None:
    assert canvas._LARGEST_FILE * 4 / 3 < canvas._LARGEST_VALUE < MAX_BODY
