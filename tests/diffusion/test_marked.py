"""What the engine draws over a picture is marked in the gallery, whatever sizes source, mask and drawing have."""

from __future__ import annotations

import itertools
import logging
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio import canvas, image, marks_pattern
from studio.credentials import Credentials
from studio.diffusion.local import LocalEngine
from studio.engine import Finished
from studio.gallery_origin import WATERMARK, Finishing, Origin
from studio.marks import Marks
from studio.request import Inpaint, Outpaint, Picture
from studio.rules import Rules
from tests.resolved import resolved

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

SOURCE, TARGET = (104, 72), (64, 64)


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return Credentials(tmp_path_factory.mktemp("credentials"))


@pytest.fixture(scope="module")
def marks(credentials: Credentials) -> Marks:
    return Marks(credentials, Rules)


def given(picture: Image.Image) -> Picture:
    return Picture.from_bytes(image.png(picture))


@pytest.mark.parametrize(
    ("resize", "area", "masked", "margins"),
    list(
        itertools.product(
            ("keep", "stretch", "crop", "fill"), ("whole", "masked"), (True, False), (None, Outpaint(left=24, bottom=8))
        )
    ),
)
def test_every_size_of_a_real_picture_is_marked_where_it_was_drawn(
    engine: LocalEngine,
    credentials: Credentials,
    marks: Marks,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    resize: str,
    area: str,
    masked: bool,
    margins: Outpaint | None,
) -> None:
    grain = np.random.default_rng(2).integers(60, 190, (SOURCE[1], SOURCE[0], 3), np.uint8)
    mask = Image.new("L", (SOURCE[0] // 2, SOURCE[1] // 2))  # the page sends smaller masks than pictures
    mask.paste(255, (20, 10, 40, 30))
    request = resolved(
        init=given(Image.fromarray(grain)),
        mask=given(mask) if masked else None,
        outpaint=margins,
        resize=resize,
        inpaint=Inpaint(area=area),
        width=TARGET[0],
        height=TARGET[1],
        steps=1,
    )
    *_, last = engine.generate(request)
    assert isinstance(last, Finished), last
    result = last.result
    laid = canvas.read(request, 10**6)
    assert laid is not None
    assert (result.width, result.height) == laid.picture.size
    if resize == "keep" and margins is None:
        assert laid.picture.size == SOURCE, "not the size that was asked for"

    origin = Origin(created=datetime.now(UTC), title="tiny", request={})
    with caplog.at_level(logging.ERROR):
        data = marks.finish(Finishing(result, origin, {}))
    assert not caplog.records
    assert image.png_texts(data)[1] == {WATERMARK: marks_pattern.NAME}
    found = credentials.read(data)
    assert found is not None
    assert found.watermarked
    saved = np.asarray(image.decode(data, 10**6))
    changed = (saved != np.frombuffer(result.rgb, np.uint8).reshape(saved.shape)).any(-1)
    shows = np.full(changed.shape, True) if laid.opacity is None else np.asarray(laid.opacity) > 0
    assert not changed[~shows].any()
    assert changed[shows].mean() > 0.2


def test_where_nothing_may_change_nothing_is_said_to_be_marked(
    engine: LocalEngine, credentials: Credentials, marks: Marks
) -> None:
    source = Image.new("RGB", SOURCE, "teal")
    request = resolved(init=given(source), mask=given(Image.new("L", SOURCE)), resize="keep", steps=1)
    *_, last = engine.generate(request)
    assert isinstance(last, Finished), last
    data = marks.finish(Finishing(last.result, Origin(created=datetime.now(UTC), title="tiny", request={}), {}))
    assert image.decode(data, 10**6).tobytes() == source.tobytes()
    assert WATERMARK not in image.png_texts(data)[1]
    found = credentials.read(data)
    assert found is not None
    assert not found.watermarked
