"""The embedded model answers its prompt: measured in the pictures that come out, through the studio's own engine."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from studio import plan
from studio.catalog import Catalog
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions, Finished
from studio.presets import Presets
from studio.request import GenerationRequest
from studio.settings import EMBEDDED, PRESETS
from tests.resolved import pixels
from tools.mini.scene import COLORS

#: Name → hue in degrees. Far enough apart that shadows and highlights do not decide.
HUES = {"red": 0, "yellow": 48, "green": 135, "blue": 220}
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    engine = LocalEngine(EngineOptions(embedded=EMBEDDED, device="cpu", preview_every=0))
    yield engine
    engine.close()


def drawn(engine: LocalEngine, prompt: str, seed: int, negative: str = "") -> NDArray[np.float64]:
    """The picture as height × width × 3 values in 0…1."""
    request = GenerationRequest(prompt=prompt, negative=negative, seed=seed, steps=14)
    resolved = plan.resolve(request, catalog=Catalog(EMBEDDED), presets=Presets(PRESETS))
    for event in engine.generate(resolved):
        if isinstance(event, Finished):
            result = event.result
            return pixels(result) / 255
    raise AssertionError("nothing was drawn")


def share(picture: NDArray[np.float64], colour: str) -> float:
    """How much of the picture's middle has the hue of `colour`, of what is coloured at all."""
    height, width, _ = picture.shape
    middle = picture[height // 5 : -height // 5, width // 5 : -width // 5].reshape(-1, 3)[::7]
    hues = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in middle])
    distance = np.abs((hues[:, 0] * 360 - HUES[colour] + 180) % 360 - 180)
    return float(np.mean((distance < 25) & (hues[:, 1] > 0.35) & (hues[:, 2] > 0.2)))


def test_the_colour_word_colours_the_subject(engine: LocalEngine) -> None:
    pictures = {
        word: [drawn(engine, f"a large {word} heart on a white background", seed) for seed in SEEDS] for word in HUES
    }
    for colour in HUES:
        shares = {word: np.mean([share(picture, colour) for picture in drawn]) for word, drawn in pictures.items()}
        assert max(shares, key=lambda word: shares[word]) == colour, shares
        assert shares[colour] > 0.05


@pytest.mark.slow
def test_a_background_of_one_colour_has_that_colour(engine: LocalEngine) -> None:
    names = ("yellow", "purple", "teal")
    corners = [drawn(engine, f"a white cat on a {name} background", 0)[:24, :24].mean((0, 1)) for name in names]
    distances = [[np.linalg.norm(corner - np.array(COLORS[name]) / 255) for name in names] for corner in corners]
    assert np.argmin(distances, axis=1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("scene", ["a white house in the hills", "a yellow car in the city"])
def test_night_darkens_the_sky(engine: LocalEngine, scene: str) -> None:
    def sky(time: str, seed: int) -> float:
        picture = drawn(engine, f"{scene} {time}", seed)
        return float(picture[: picture.shape[0] // 3].mean())

    night, day = (np.array([sky(time, seed) for seed in SEEDS]) for time in ("at night", "on a sunny day"))
    assert (night < day).all()
    assert night.mean() < 0.6 * day.mean()


def test_a_negative_prompt_takes_away_what_it_names(engine: LocalEngine) -> None:
    plain = [drawn(engine, "a heart on a plain background", seed) for seed in SEEDS]
    without = [drawn(engine, "a heart on a plain background", seed, negative="red") for seed in SEEDS]
    assert np.mean([share(picture, "red") for picture in without]) <= np.mean(
        [share(picture, "red") for picture in plain]
    )
    assert not np.array_equal(plain, without)
