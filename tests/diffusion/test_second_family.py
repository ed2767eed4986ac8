"""The embedded model's sister, of another family: both draw by turns, each on its own settings and as if alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from studio.catalog import Catalog
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions
from studio.plan import resolve
from studio.presets import Presets
from studio.request import GenerationRequest
from studio.settings import EMBEDDED, PRESETS
from studio.tokens import Counter
from tests.resolved import drawn, pixels


class Studio:
    def __init__(self) -> None:
        self.catalog, self.presets = Catalog(EMBEDDED), Presets(PRESETS)
        self.engine = LocalEngine(EngineOptions(EMBEDDED, device="cpu", threads=2, preview_every=0))

    def draw(self, prompt: str, model: str = "mini-flow", **asked: object) -> NDArray[np.float64]:
        request = GenerationRequest.model_validate({"prompt": prompt, "model": model, "seed": 1, "steps": 8, **asked})
        return pixels(drawn(self.engine, resolve(request, catalog=self.catalog, presets=self.presets))).astype(float)


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio()


def middle(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean red, green and blue where the subject stands."""
    height, width = picture.shape[:2]
    mean: NDArray[np.float64] = picture[height // 3 : -height // 4, width // 3 : -width // 3].mean((0, 1))
    return mean


def test_it_is_there_beside_the_first_with_settings_of_its_own(studio: Studio) -> None:
    spec = studio.catalog.find("mini-flow")
    assert (spec.family, spec.title, spec.licence) == ("mini-flow", "Mini Flow", "cc0-1.0")
    assert (spec.defaults.sampler, spec.defaults.width, spec.defaults.height) == ("Euler", 256, 256)
    assert studio.catalog.find(None).key == "mini", "the first remains what one starts with"
    assert spec.size_bytes < 25e6


def test_words_decide_its_colours(studio: Studio) -> None:
    red, green, blue = (
        middle(studio.draw(f"a {color} car on a white background")) for color in ("red", "green", "blue")
    )
    assert red[0] > red[1:].max() + 40
    assert green[1] > green[[0, 2]].max() + 15
    assert blue[2] > blue[:2].max() + 15
    night = studio.draw("a red car, neon")
    assert night[:20].mean() < 0.5 * studio.draw("a red car on a white background")[:20].mean()


def test_what_it_does_not_read_is_told(studio: Studio) -> None:
    prompt = "a red car " * 30
    request = GenerationRequest.model_validate({"prompt": prompt, "model": "mini-flow", "seed": 1, "steps": 1})
    told = drawn(studio.engine, resolve(request, catalog=studio.catalog, presets=studio.presets)).notes
    counted = Counter().count(studio.catalog.find("mini-flow"), prompt)
    assert (counted.tokens, counted.limit) == (90, 75)
    assert [note for note in told if "did not read the end" in note and counted.ignored[:20] in note]
    assert counted.ignored.split() == prompt.split()[75:]


def test_both_families_draw_by_turns_as_if_alone(studio: Studio) -> None:
    one = studio.draw("a yellow house in the snow")
    other = studio.draw("a yellow house in the snow", model="mini", steps=6)
    assert np.array_equal(studio.draw("a yellow house in the snow"), one)
    assert np.array_equal(studio.draw("a yellow house in the snow", model="mini", steps=6), other)
    assert np.abs(one - other).mean() > 10
