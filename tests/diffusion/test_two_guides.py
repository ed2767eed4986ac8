"""Two guides at once on the embedded model: its pictures have edges where either of them has lines, measured."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from studio import image
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions
from studio.request import ControlUnit, Picture
from studio.settings import EMBEDDED
from tests.resolved import drawn, pixels, resolved
from tools.mini.control_grade import edges

pytestmark = pytest.mark.slow

SIDE = 128
SEEDS = (1, 2, 3)
Lines = NDArray[np.bool_]


def house() -> Image.Image:
    page = Image.new("L", (SIDE, SIDE))
    pen = ImageDraw.Draw(page)
    pen.line(((14, 100), (14, 58), (34, 32), (54, 58), (54, 100), (14, 100)), fill=255, width=2)
    pen.line(((14, 58), (54, 58)), fill=255, width=2)
    return page


def apple() -> Image.Image:
    page = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(page).ellipse((76, 52, 116, 92), outline=255, width=2)
    return page


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    engine = LocalEngine(EngineOptions(EMBEDDED, device="cpu", threads=1, preview_every=0))
    yield engine
    engine.close()


def unit(lines: Image.Image) -> ControlUnit:
    drawing = Picture.from_bytes(image.png(lines.convert("RGB")))
    return ControlUnit(image=drawing, annotator="none", model="mini/scribble")


def followed(engine: LocalEngine, *guides: Image.Image) -> tuple[float, float]:
    """Shares of the lines of the house and of the apple that have an edge of the picture within 2 pixels."""
    shares = []
    for seed in SEEDS:
        asked = resolved(
            "a red house and a green apple",
            width=SIDE,
            height=SIDE,
            steps=12,
            seed=seed,
            controls=tuple(unit(lines) for lines in guides),
        )
        picture = pixels(drawn(engine, asked))
        far = cv2.distanceTransform((~edges(picture)).astype(np.uint8), cv2.DIST_L2, 5)
        shares.append([float((far[np.asarray(lines) > 127] <= 2).mean()) for lines in (house(), apple())])
    left, right = np.mean(shares, axis=0)
    return float(left), float(right)


def test_two_guides_are_both_followed(engine: LocalEngine) -> None:
    """Each less closely than alone: the other's empty half says that nothing is there. Measured on the weights of
    November 2026: house and apple 0.55 and 0.11 without, 0.85 and 0.91 each alone, 0.83 and 0.60 together."""
    free, left, right, both = (followed(engine, *guides) for guides in ((), (house(),), (apple(),), (house(), apple())))
    told = f"without {free}, left alone {left}, right alone {right}, both {both}"
    for side, alone, other in ((0, left, right), (1, right, left)):
        assert both[side] > max(free[side], other[side]) + 0.2, told
        assert both[side] > 0.55 * alone[side], told
