"""What else the studio brings for its embedded model: a LoRA for four steps, and a word."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from studio.request import GenerationResult
from tests.diffusion.embedded import Studio
from tests.resolved import pixels

PROMPTS = ("a red car in a city at night", "a yellow tree in a meadow", "a blue house in the snow, watercolor")


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio()


def blurred(result: GenerationResult) -> NDArray[np.float32]:
    """L*a*b* without what is finer than a few pixels: what stands where, and in which colour."""
    lab = cv2.cvtColor(pixels(result).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return np.asarray(cv2.GaussianBlur(lab, (0, 0), 3), np.float32)


def test_four_steps_without_guidance_come_near_to_many_with_it(studio: Studio) -> None:
    apart = {"plain": 0.0, "taught": 0.0}
    for seed, prompt in enumerate(PROMPTS):
        same = {"prompt": prompt, "seed": seed, "sampler": "Euler", "scheduler": "SGM Uniform"}
        full = blurred(studio.draw(**same, steps=20, guidance=3.0))
        few = {**same, "steps": 4, "guidance": 1.0}
        taught = studio.draw(**few, loras=[{"name": "mini/few-steps", "weight": 1.0}])
        for kind, picture in (("plain", studio.draw(**few)), ("taught", taught)):
            apart[kind] += float(np.abs(blurred(picture) - full).mean()) / len(PROMPTS)
    assert apart["taught"] < 0.65 * apart["plain"], apart


def test_a_word_brings_its_mood(studio: Studio) -> None:
    for seed, subject in enumerate(("a large umbrella", "a blue house on the left")):
        plain = studio.draw(prompt=subject, seed=seed, steps=10)
        moody = studio.draw(prompt=f"{subject}, nocturne", seed=seed, steps=10)
        assert plain.embeddings == ()
        assert [name for name, _ in moody.embeddings] == ["nocturne"]
        assert pixels(moody).mean() < 0.6 * pixels(plain).mean()
