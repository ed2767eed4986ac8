"""The safety check with a real checker of random weights, taught to dislike red."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor, CLIPVisionConfig

from studio import safety
from studio.diffusion import load
from studio.diffusion.local import LocalEngine
from studio.diffusion.safety import Checker
from studio.engine import EngineOptions
from studio.errors import ModelError
from studio.request import GenerationResult, Verdict
from studio.settings import EMBEDDED
from studio.worker import ProcessEngine
from tests.resolved import drawn, resolved

RED, BLUE = bytes((200, 20, 10)), bytes((10, 30, 210))


def plain(colour: bytes) -> GenerationResult:
    return GenerationResult(resolved(), 64, 64, colour * 64**2, 1.0, "0123456789", "cpu")


def checker(folder: Path, *, flags_all: bool = False) -> Path:
    """Flags pictures nearer to red than to blue, or all."""
    load.quiet()
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
    )
    model = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision.to_dict(), projection_dim=8)).eval()
    torch.nn.init.normal_(model.visual_projection.weight)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})

    def embedded(colour: bytes) -> torch.Tensor:
        from studio import image

        seen = processor(image.from_rgb(64, 64, colour * 64**2), return_tensors="pt").pixel_values
        with torch.no_grad():
            flat = model.visual_projection(model.vision_model(seen)[1])[0]
        return torch.nn.functional.normalize(flat, dim=0)

    red, blue = embedded(RED), embedded(BLUE)
    model.special_care_embeds_weights.data.fill_(2)  # a cosine never exceeds 1
    model.concept_embeds_weights.data.fill_(2)
    model.concept_embeds.data[0] = red
    model.concept_embeds_weights.data[0] = -2 if flags_all else float(red @ blue + 1) / 2
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dislikes_red(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checker(tmp_path_factory.mktemp("models") / "sd15" / "safety_checker")


def test_it_looks_at_the_picture(dislikes_red: Path) -> None:
    found = Checker(dislikes_red)
    assert found.verdict(plain(RED)) is Verdict.FLAGGED
    assert found.verdict(plain(BLUE)) is Verdict.PASSED


def test_it_is_found_beside_the_model_it_came_with(dislikes_red: Path, tmp_path: Path) -> None:
    folder = dislikes_red.parent.parent
    assert safety.find([tmp_path / "nowhere", folder]) == dislikes_red
    assert safety.find([], dislikes_red.parent) == dislikes_red
    assert safety.find([tmp_path]) is None
    with pytest.raises(ModelError, match="holds no safety checker"):
        safety.find([folder], tmp_path)


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    folder = checker(tmp_path_factory.mktemp("all"), flags_all=True)
    engine = LocalEngine(EngineOptions(EMBEDDED, device="cpu", threads=1, safety=folder))
    yield engine
    engine.close()


def test_the_engine_tells_the_verdict_and_changes_no_pixel(looking: LocalEngine) -> None:
    request = resolved(width=64, height=64, steps=2)
    seen = drawn(looking, request)
    assert seen.verdict is Verdict.FLAGGED
    without = LocalEngine(EngineOptions(EMBEDDED, device="cpu", threads=1))
    try:
        unseen = drawn(without, request)
    finally:
        without.close()
    assert unseen.verdict is Verdict.UNCHECKED
    assert seen.rgb == unseen.rgb


def test_a_checker_that_breaks_lets_nobody_believe_it_looked(tmp_path: Path) -> None:
    folder = checker(tmp_path)
    (folder / safety.WEIGHTS).write_bytes(b"torn")
    assert Checker(folder).verdict(plain(BLUE)) is Verdict.UNCHECKED


@pytest.mark.parametrize(
    ("verdict", "said"),
    [(Verdict.PASSED, ""), (Verdict.FLAGGED, "held this picture back"), (Verdict.UNCHECKED, "could not be checked")],
)
def test_what_is_held_back_is_said_in_a_sentence(verdict: Verdict, said: str) -> None:
    told = safety.objection(replace(plain(BLUE), verdict=verdict))
    assert said in told
    assert bool(said) == bool(told)


@pytest.mark.slow
def test_the_verdict_crosses_from_the_engines_process(tmp_path: Path) -> None:
    engine = ProcessEngine(EngineOptions(EMBEDDED, device="cpu", threads=1, safety=checker(tmp_path, flags_all=True)))
    try:
        assert drawn(engine, resolved(width=64, height=64, steps=2)).verdict is Verdict.FLAGGED
    finally:
        engine.close()
