"""The LoRAs that the studio brings: each paints in its own style, which a judge that saw only renders names."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from studio.catalog import Catalog
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions
from studio.plan import expand, resolve
from studio.presets import Presets
from studio.request import GenerationRequest
from studio.settings import EMBEDDED, PRESETS
from tests.resolved import drawn, pixels
from tools.mini.judge import Judge, likely, load_judge
from tools.mini.scene import LORA_STYLES, NAMES

pytestmark = pytest.mark.slow

Picture = NDArray[np.uint8]
PROMPTS = ("a red sailboat on the sea", "a green tree in a meadow")
FILES = tuple(style.replace(" ", "-") for style in LORA_STYLES)


class Painter:
    """Draws eight pictures, or `count`, with LoRAs at given weights."""

    def __init__(self, folder: Path) -> None:
        self.catalog, self.presets = Catalog(EMBEDDED, (folder,)), Presets(PRESETS)
        self.engine = LocalEngine(
            EngineOptions(EMBEDDED, models_dir=(folder,), device="cpu", threads=2, preview_every=0)
        )

    def paint(self, loras: dict[str, float], count: int = 4) -> list[Picture]:
        made = []
        for number, prompt in enumerate(PROMPTS):
            worn = [{"name": name, "weight": weight} for name, weight in loras.items()]
            sizes = {"width": 256, "height": 256, "steps": 12, "seed": 10 * number, "count": count}
            asked = GenerationRequest.model_validate({"prompt": prompt, "loras": worn, **sizes})
            for one in expand(resolve(asked, catalog=self.catalog, presets=self.presets)):
                result = drawn(self.engine, one)
                made.append(pixels(result))
        return made


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Painter:
    folder = tmp_path_factory.mktemp("models") / "loras"
    shutil.copytree(EMBEDDED / "lora" / "kohya", folder)
    return Painter(folder.parent)


@pytest.fixture(scope="module")
def plain(painter: Painter) -> list[Picture]:
    return painter.paint({})


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load_judge()


@pytest.mark.parametrize(("style", "file"), tuple(zip(LORA_STYLES, FILES, strict=True)))
def test_a_lora_paints_in_its_style(
    painter: Painter, plain: list[Picture], judge: Judge, style: str, file: str
) -> None:
    number = NAMES["style"].index(style) + 1
    named = likely(judge, painter.paint({f"mini/{file}": 1.0}), "style").argmax(1) == number
    assert named.sum() >= 7, style
    assert not (likely(judge, plain, "style").argmax(1) == number).any()


def test_weights_of_nothing_change_nothing_and_half_a_weight_less(painter: Painter, plain: list[Picture]) -> None:
    for idle, without in zip(painter.paint({"mini/blueprint": 0.0}, 1), plain[::4], strict=True):
        np.testing.assert_array_equal(idle, without)
    half, whole = (
        np.mean(
            [np.abs(picture.astype(int) - without).mean() for picture, without in zip(made, plain[::4], strict=True)]
        )
        for made in (painter.paint({"mini/blueprint": weight}, 1) for weight in (0.5, 1.0))
    )
    assert 5 < half < whole


def test_the_file_in_kohya_s_format_paints_the_same(painter: Painter) -> None:
    own, theirs = (painter.paint({name: 1.0}, 1) for name in ("mini/blueprint", "loras/blueprint"))
    for one, other in zip(own, theirs, strict=True):
        assert np.abs(one.astype(int) - other).mean() < 1
