"""What the embedded model makes of a picture, measured: none of this depends on how well it draws."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from studio import image
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions
from studio.request import Picture
from studio.settings import ASSETS
from tests.resolved import drawn as result_of
from tests.resolved import pixels, resolved

pytestmark = pytest.mark.slow

SIDE = 128
Pixels = NDArray[np.float64]


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    engine = LocalEngine(EngineOptions(ASSETS / "mini", device="cpu", threads=1, preview_every=0))
    yield engine
    engine.close()


def scene(number: int, width: int = SIDE, height: int = SIDE) -> Image.Image:
    """A paling sky, a ground, a thing on it, each in other colours, with a painter's grain."""
    source = np.random.default_rng(number)
    top, bottom, ground, thing = source.integers(40, 220, (4, 3))
    ramp = np.linspace(0, 1, height)[:, None, None]
    levels = np.broadcast_to(top * (1 - ramp) + bottom * ramp, (height, width, 3)).copy()
    levels[height * 2 // 3 :] = ground
    picture = Image.fromarray(np.clip(levels + source.normal(0, 3, levels.shape), 0, 255).astype(np.uint8))
    x, y = int(source.integers(width // 4, width // 2)), int(source.integers(height // 4, height // 2))
    ImageDraw.Draw(picture).ellipse((x, y, x + width // 3, y + height // 3), fill=tuple(int(level) for level in thing))
    return picture


def drawn(
    engine: LocalEngine,
    source: Image.Image,
    mask: Image.Image | None = None,
    prompt: str = "a house under a blue sky",
    **changes: object,
) -> Pixels:
    given: dict[str, object] = {"init": Picture.from_bytes(image.png(source)), "steps": 10, "resize": "keep"}
    if mask is not None:
        given["mask"] = Picture.from_bytes(image.png(mask))
    told = {"width": SIDE, "height": SIDE, **given, **changes}
    result = result_of(engine, resolved(prompt, **told))
    return pixels(result).astype(float)


def levels(picture: Image.Image) -> Pixels:
    return np.asarray(picture).astype(float)


def test_the_stronger_the_further_from_the_source(engine: LocalEngine) -> None:
    scenes = [scene(number) for number in range(8)]
    strengths = [tenth / 10 for tenth in range(1, 11)]
    distances = [
        np.mean(
            [
                np.abs(drawn(engine, source, strength=strength, seed=number) - levels(source)).mean()
                for number, source in enumerate(scenes)
            ]
        )
        for strength in strengths
    ]
    assert all(nearer < further for nearer, further in itertools.pairwise(distances)), distances
    assert distances[-1] > 3 * distances[0], distances


def test_the_greyer_a_soft_mask_the_further_from_the_source(engine: LocalEngine) -> None:
    """One mask with five bands of grey, drawn over eight pictures."""
    greys = (0, 64, 128, 192, 255)
    mask = Image.new("L", (160, 96))
    for number, grey in enumerate(greys):
        mask.paste(grey, (number * 32, 0, (number + 1) * 32, 96))
    changed = np.zeros(len(greys))
    for number in range(8):
        source = scene(number, 160, 96)
        told: dict[str, Any] = {"width": 160, "height": 96, "strength": 1.0, "seed": number}
        inpaint = {"soft": True, "mask_blur": 0, "match_colour": False}
        result = drawn(engine, source, mask, inpaint=inpaint, **told)
        off = np.abs(result - levels(source)).mean(axis=(0, 2))
        changed += [off[band * 32 + 8 : band * 32 + 24].mean() / 8 for band in range(len(greys))]
    assert changed[0] == 0
    assert all(changed[:-1] < changed[1:]), changed


def step(picture: Pixels, column: int, rows: slice) -> float:
    """How much colour changes from the four columns before `column` to the four after it, over blocks of eight rows."""
    before, after = picture[rows, column - 4 : column].mean(axis=1), picture[rows, column : column + 4].mean(axis=1)
    blocks = (after - before).reshape(-1, 8, 3).mean(axis=1)
    return float(np.abs(blocks).mean())


def test_the_sky_of_an_outpainting_continues_the_sky(engine: LocalEngine) -> None:
    rows = slice(0, SIDE // 4 // 8 * 8)
    seams, plain, within = [], [], []
    for number in range(8):
        source = scene(number)
        told: dict[str, Any] = {"outpaint": {"right": 64}, "width": 192, "strength": 0.9, "seed": number}
        result = drawn(engine, source, **told)
        assert np.array_equal(result[:, :SIDE], levels(source)), "the original pixels"
        seams.append(step(result, SIDE, rows))
        plain.append(step(drawn(engine, source, inpaint={"match_colour": False}, **told), SIDE, rows))
        within += [step(result, column, rows) for column in range(SIDE + 8, 188, 8)]
    assert np.mean(seams) < np.mean(plain) / 2, "matching colours helps"
    assert np.mean(seams) <= np.mean(within) + 1, "no more of a step than inside the new margin"


#: Asked of the model to have sources as rough as what it repaints them with.
OWN = (
    "a house under a blue sky",
    "a red sailboat on the sea at sunset",
    "a white owl in the forest at night",
    "a yellow house in the hills",
    "a teal robot in the city in the fog",
    "a green tree in the garden",
    "a blue car in the city",
    "a pink flower in the garden on a sunny day",
)


def text_to_image(engine: LocalEngine, prompt: str, seed: int) -> Image.Image:
    result = result_of(engine, resolved(prompt, width=SIDE, height=SIDE, steps=10, seed=seed))
    return Image.frombytes("RGB", (SIDE, SIDE), result.rgb)


def test_the_seam_is_no_steeper_than_the_picture_was_there_before(engine: LocalEngine) -> None:
    """Slopes where the drawing passes into the source, and at the same places of the sources, which have no seam there.

    The sources are the model's own: in a smoother one everything it draws is steeper, at the seam and far from it.
    """
    places = np.random.default_rng(7).integers(20, 44, (2 * len(OWN), 2))
    sources = [text_to_image(engine, prompt, number) for number, prompt in enumerate(OWN)] * 2

    def steepness(picture: Pixels, x: int, y: int) -> Pixels:
        """Over eight pixels each, the first of them around the edge of what was painted, the last where all fades."""
        found = []
        for axis, start, along in ((1, x, y), (0, y, x)):
            slope = np.abs(np.diff(picture, axis=axis)).mean(axis=2)
            lines = (slope if axis else slope.T)[along + 8 : along + 56]
            for edge, outwards in ((start, -1), (start + 64, 1)):
                middles = (edge + outwards * away for away in (0, 4, 8, 12))
                found.append([lines[:, middle - 4 : middle + 4].mean() for middle in middles])
        return np.asarray(np.mean(found, axis=0))

    def seams(**inpaint: object) -> Pixels:
        found = []
        for number, (source, (x, y)) in enumerate(zip(sources, places, strict=True)):
            mask = Image.new("L", (SIDE, SIDE))
            mask.paste(255, (x, y, x + 64, y + 64))
            result = drawn(engine, source, mask, strength=0.75, seed=50 + number, inpaint=inpaint)
            found.append(steepness(result, x, y))
        return np.asarray(np.mean(found, axis=0))

    before = np.mean([steepness(levels(source), x, y) for source, (x, y) in zip(sources, places, strict=True)], axis=0)
    cut, usual = seams(mask_blur=0, match_colour=False) / before, seams() / before
    assert cut[0] > 1.2, f"a hard cut shows: {cut}"
    assert usual.mean() <= 1.05, usual
    assert usual.max() <= 1.12, f"nowhere along the way: {usual}"


def test_what_is_repainted_has_the_colour_the_prompt_asks_for(engine: LocalEngine) -> None:
    """Only the word differs: the same sources, masks, seeds; measured inside the mask, mean over eight pictures."""
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (32, 24, 96, 88))

    def mean_inside(word: str) -> Pixels:
        told: dict[str, Any] = {"strength": 1.0, "guidance": 5.0, "inpaint": {"start": "noise"}}
        means = []
        for number in range(8):
            result = drawn(engine, scene(number), mask, seed=number, prompt=f"a {word} moon", **told)
            assert np.array_equal(result[:8], levels(scene(number))[:8]), "outside it stays as it was"
            means.append(result[32:80, 40:88].mean(axis=(0, 1)))
        return np.asarray(np.mean(means, axis=0))

    yellow, blue, red = (mean_inside(word) for word in ("yellow", "blue", "red"))
    assert (yellow[0] + yellow[1]) / 2 - yellow[2] > (blue[0] + blue[1]) / 2 - blue[2] + 30, (yellow, blue)
    assert yellow[1] > red[1] + 30, "yellow is red and green"
    assert red[0] - red[2] > blue[0] - blue[2] + 30, (red, blue)


def test_only_the_mask_is_drawn_with_more_detail_than_it_has_in_the_whole(engine: LocalEngine) -> None:
    """The same small mask of a larger picture, drawn with as many pixels in all: sharper when it has them to itself."""
    source = scene(3, 512, 512)
    mask = Image.new("L", source.size)
    mask.paste(255, (200, 200, 264, 264))
    detail = {}
    for area in ("whole", "masked"):
        inpaint = {"area": area, "padding": 16, "match_colour": False, "mask_blur": 0}
        result = drawn(engine, source, mask, strength=1.0, inpaint=inpaint)
        inside = result[204:260, 204:260]
        detail[area] = float(np.abs(np.diff(inside, n=2, axis=1)).mean())
        assert np.array_equal(result[:190], levels(source)[:190])
    assert detail["masked"] > 1.5 * detail["whole"], detail
