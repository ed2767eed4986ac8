"""Style presets, graded: a small judge that has only seen rendered scenes names the style of what the model draws."""

from __future__ import annotations

import cv2
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
from tools.mini.scene import STYLES
from tools.mini.style_judge import StyleJudge, renders

pytestmark = pytest.mark.slow

#: Preset → the style it asks for, and how much more likely that has to become. The other four that the model was taught
#: are not told apart yet: without a style, too, it paints like oil, and paper, pixels and flat shapes come out so.
SHOWN = {
    "Neon sign": ("neon", 0.5),
    "Watercolor wash": ("watercolor", 0.5),
    "Chalk on a blackboard": ("chalk", 0.5),
    "Pen and ink": ("ink", 0.25),
}
PROMPTS = ("a red sailboat on the sea", "a green tree in a meadow")


@pytest.fixture(scope="module")
def judge() -> StyleJudge:
    cv2.setNumThreads(1)
    return StyleJudge.taught(*renders(640, seed=0, times=3))


@pytest.fixture(scope="module")
def pictures() -> dict[str, list[NDArray[np.uint8]]]:
    """Eight of each preset, and of none (""), by the same prompts and seeds."""
    catalog, presets = Catalog(EMBEDDED), Presets(PRESETS)
    engine = LocalEngine(EngineOptions(EMBEDDED, device="cpu", threads=2, preview_every=0))
    made: dict[str, list[NDArray[np.uint8]]] = {}
    for name in ("", *SHOWN):
        for seed, prompt in enumerate(PROMPTS):
            sizes = {"width": 128, "height": 128, "steps": 12, "seed": 10 * seed, "count": 4}
            asked = GenerationRequest.model_validate({"prompt": prompt, "styles": [name] if name else [], **sizes})
            for one in expand(resolve(asked, catalog=catalog, presets=presets)):
                result = drawn(engine, one)
                made.setdefault(name, []).append(pixels(result))
    engine.close()
    return made


def test_the_judge_knows_the_styles_of_renders_it_has_not_seen(judge: StyleJudge) -> None:
    unseen, styles = renders(240, seed=1)
    right = judge.shares(unseen).argmax(1) == styles
    assert right.mean() > 0.6
    for style, _ in SHOWN.values():
        assert right[styles == STYLES.index(style)].mean() > 0.65, style


@pytest.mark.parametrize("preset", SHOWN)
def test_a_preset_moves_the_graded_style_to_its_own(
    judge: StyleJudge, pictures: dict[str, list[NDArray[np.uint8]]], preset: str
) -> None:
    style, more = SHOWN[preset]
    with_it, plain = (judge.shares(pictures[name])[:, STYLES.index(style)].mean() for name in (preset, ""))
    assert with_it > plain + more
    others = [judge.shares(pictures[name])[:, STYLES.index(style)].mean() for name in SHOWN if name != preset]
    assert with_it > max(others)
