"""The embedded model's sister, of another family: both draw by turns, each on its own settings and as if alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from studio.tokens import Counter
from tests.diffusion.embedded import Studio
from tests.resolved import pixels


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio()


def draw(studio: Studio, prompt: str, model: str = "mini-flow", steps: int = 8) -> NDArray[np.float64]:
    return pixels(studio.draw(prompt=prompt, model=model, seed=1, steps=steps)).astype(float)


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
        middle(draw(studio, f"a {color} car on a white background")) for color in ("red", "green", "blue")
    )
    assert red[0] > red[1:].max() + 40
    assert green[1] > green[[0, 2]].max() + 15
    assert blue[2] > blue[:2].max() + 15
    night = draw(studio, "a red car, neon")
    assert night[:20].mean() < 0.5 * draw(studio, "a red car on a white background")[:20].mean()


def test_what_it_does_not_read_is_told(studio: Studio) -> None:
    prompt = "a red car " * 30
    told = studio.draw(prompt=prompt, model="mini-flow", seed=1, steps=1).notes
    counted = Counter().count(studio.catalog.find("mini-flow"), prompt)
    assert (counted.tokens, counted.limit) == (90, 75)
    assert [note for note in told if "did not read the end" in note and counted.ignored[:20] in note]
    assert counted.ignored.split() == prompt.split()[75:]


def test_both_families_draw_by_turns_as_if_alone(studio: Studio) -> None:
    one = draw(studio, "a yellow house in the snow")
    other = draw(studio, "a yellow house in the snow", model="mini", steps=6)
    assert np.array_equal(draw(studio, "a yellow house in the snow"), one)
    assert np.array_equal(draw(studio, "a yellow house in the snow", model="mini", steps=6), other)
    assert np.abs(one - other).mean() > 10
