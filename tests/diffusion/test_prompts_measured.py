"""What the language of prompts does to pictures of the embedded model, measured in their colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from studio.catalog import Catalog
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions
from studio.plan import expand, resolve
from studio.presets import Presets
from studio.request import GenerationRequest
from studio.settings import EMBEDDED, PRESETS
from tests.resolved import drawn, pixels

CATALOG, WORDS = Catalog(EMBEDDED), Presets(PRESETS)
Draw = Callable[..., list[np.ndarray]]


@pytest.fixture(scope="module")
def draw() -> Iterator[Draw]:
    """Pictures of a request as arrays of height × width × 3 in 0…1."""
    engine = LocalEngine(EngineOptions(EMBEDDED, device="cpu", threads=2, preview_every=0))

    def drawing(prompt: str, negative: str = "", **parts: object) -> list[np.ndarray]:
        asked = {"prompt": prompt, "negative": negative, "width": 128, "height": 128, "steps": 10, "seed": 3, **parts}
        job = resolve(GenerationRequest.model_validate(asked), catalog=CATALOG, presets=WORDS)
        results = [drawn(engine, picture) for picture in expand(job)]
        return [pixels(one) / 255.0 for one in results]

    yield drawing
    engine.close()


def redness(pictures: list[np.ndarray]) -> float:
    """How much more red than blue there is."""
    return float(np.mean([picture[..., 0] - picture[..., 2] for picture in pictures]))


@pytest.mark.slow
def test_the_more_a_colour_word_weighs_the_more_there_is_of_its_colour(draw: Draw) -> None:
    """Without any weight much of it stays: the words behind have heard it. Measured on the weights of November 2026:
    0.08, 0.10, 0.12 and 0.23."""
    nothing, light, plain, heavy = (
        redness([*draw(f"a {word} house", count=4), *draw(f"{word} house", count=4)])
        for word in ("(red:0)", "(red:0.3)", "red", "(red:1.8)")
    )
    assert light > nothing + 0.01
    assert plain > light + 0.01
    assert heavy > plain + 0.05


@pytest.mark.slow
def test_a_schedule_ends_with_the_other_colour_the_more_the_sooner_it_changes(draw: Draw) -> None:
    red, half, tenth, blue = (
        redness(draw(f"a {word} house on a white background", count=4))
        for word in ("red", "[red:blue:0.5]", "[red:blue:0.1]", "blue")
    )
    assert red > half + 0.005 > tenth + 0.05 > blue
    assert tenth < 0 < half


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["DPM++ 2M", "Euler"])
def test_half_way_through_the_second_colour_wins_where_half_of_the_steps_come_early(draw: Draw, sampler: str) -> None:
    """The model decides colours while there is most noise, where `Beta` spends more of its steps than `Karras`."""
    asked = {"sampler": sampler, "scheduler": "Beta", "steps": 12, "count": 4}
    red, half, blue = (
        np.stack(draw(f"a {word} house on a sunny day", **asked)) for word in ("red", "[red:blue:0.5]", "blue")
    )
    to_red, to_blue = (np.linalg.norm(half.mean((1, 2)) - other.mean((1, 2)), axis=1) for other in (red, blue))
    assert (to_blue < to_red).all()
    assert share(half, 2) > 2 * share(half, 0)
    for other in (red, blue):
        assert np.abs(half - other).mean((1, 2, 3)).min() > 0.02


def share(pictures: np.ndarray, channel: int) -> float:
    """Of the pixels, those in which this channel is clearly the strongest: lit windows are yellow, and not red."""
    _, second, first = np.moveaxis(np.sort(pictures), -1, 0)
    return float(((first - second > 0.2) & (pictures.argmax(-1) == channel)).mean())


def test_a_negative_prompt_takes_its_colour_away(draw: Draw) -> None:
    assert redness(draw("a house", "red", count=2)) < redness(draw("a house", count=2)) - 0.1


def test_prompts_joined_by_and_are_both_in_the_picture(draw: Draw) -> None:
    red, both, blue = (
        np.stack(draw(prompt, count=4)) for prompt in ("a red house", "a red house AND a blue house", "a blue house")
    )
    assert share(both, 0) > share(blue, 0) + 0.04
    assert share(both, 2) > share(red, 2) + 0.08


def test_wildcards_vary_with_the_seed_and_repeat_with_it(draw: Draw) -> None:
    asked = {"count": 3, "steps": 3}
    first, again = draw("a {red|blue|yellow|green} house", **asked), draw("a {red|blue|yellow|green} house", **asked)
    means = [picture.mean((0, 1)) for picture in first]
    assert max(np.abs(one - other).max() for one in means for other in means) > 0.1
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


def test_a_style_preset_changes_how_a_picture_looks(draw: Draw) -> None:
    flat, ink, neon = (
        draw("a red sailboat on the sea on a sunny day", styles=[name])[0]
        for name in ("Flat vector", "Pen and ink", "Neon sign")
    )
    assert saturation(flat) > saturation(ink) + 0.1
    assert flat.mean() > neon.mean() + 0.2


def saturation(picture: np.ndarray) -> float:
    return float(np.mean(picture.max(2) - picture.min(2)))
