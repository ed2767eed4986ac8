"""LoRAs in the engine itself: found by name, told of, never leaking from one picture of the queue into the next."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from studio import plan
from studio.catalog import Catalog
from studio.diffusion.load import Model
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions, Failed, Finished, Progress
from studio.presets import Presets
from studio.request import GenerationRequest, ResolvedRequest
from studio.settings import EMBEDDED, PRESETS
from tests import loras, tiny_models
from tests.diffusion.test_local import at_evaluation, fail_with
from tests.resolved import drawn, failed


@pytest.fixture(scope="module")
def folder(mini: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two LoRAs for the embedded model, one for nothing there is, and a second model."""
    folder = tmp_path_factory.mktemp("models")
    loras.save(loras.tint(mini, (0.3, -0.3, -0.3)), folder / "Lora" / "red.safetensors")
    loras.save(loras.kohya(loras.attention(mini)), folder / "Lora" / "styles" / "Strokes.safetensors")
    wide = {path: (torch.zeros(4, 320), torch.zeros(320, 4)) for path in loras.attention(mini)}
    loras.save(loras.kohya(wide), folder / "Lora" / "large.safetensors")
    tiny_models.stable_diffusion(folder / "other")
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[LocalEngine]:
    engine = LocalEngine(EngineOptions(EMBEDDED, (folder,), device="cpu", threads=1))
    yield engine
    engine.close()


def asked(folder: Path, prompt: str, **changes: object) -> ResolvedRequest:
    request = {"prompt": prompt, "seed": 3, "width": 128, "height": 128, "steps": 2, **changes}
    catalog = Catalog(EMBEDDED, (folder,))
    return plan.resolve(GenerationRequest.model_validate(request), catalog=catalog, presets=Presets(PRESETS))


def test_a_queue_of_mixed_pictures_gives_each_what_it_would_get_alone(folder: Path, engine: LocalEngine) -> None:
    prompts = ("an owl", "an owl <lora:red>", "an owl <lora:strokes:0.4><lora:red:0.5>")
    requests = [asked(folder, prompt) for prompt in prompts]
    alone = []
    for request in requests:
        fresh = LocalEngine(EngineOptions(EMBEDDED, (folder,), device="cpu", threads=1))
        alone.append(drawn(fresh, request).rgb)
        fresh.close()
    assert len(set(alone)) == len(requests)
    other = asked(folder, "an owl", model="other", width=64, height=64)
    for number in (1, 0, 2, None, 1, None, 0, 2, 2, 0):
        if number is None:
            drawn(engine, other)
        else:
            assert drawn(engine, requests[number]).rgb == alone[number], number


def test_the_card_and_the_tag_say_the_same_and_the_result_tells_what_was_changed(
    folder: Path, engine: LocalEngine
) -> None:
    events = list(engine.generate(asked(folder, "an owl <lora:strokes:0.8>")))
    assert isinstance(events[-1], Finished)
    tagged = events[-1].result
    assert any(
        isinstance(event, Progress) and "Strokes: 80 layers and 16 of the text encoder" in event.stage
        for event in events
    )
    chosen = drawn(engine, asked(folder, "an owl ", loras=[{"name": "Strokes", "weight": 0.8}]))
    assert chosen.rgb == tagged.rgb
    report = tagged.loras[0]
    assert (report.layers, report.text_layers, report.skipped, len(report.digest)) == (80, 16, (), 12)
    assert drawn(engine, asked(folder, "an owl ")).loras == ()


def test_what_cannot_be_laid_over_the_model_fails_in_a_sentence(folder: Path, engine: LocalEngine) -> None:
    before = drawn(engine, asked(folder, "an owl")).rgb
    request = asked(folder, "an owl <lora:large>")
    assert "“large” is for models of another size than Mini" in failed(engine, request).reason
    assert drawn(engine, asked(folder, "an owl")).rgb == before


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("no room"), RuntimeError("mat1 and mat2 shapes cannot be multiplied")]
)
def test_failed_and_cancelled_pictures_with_loras_leave_no_trace(
    folder: Path, engine: LocalEngine, error: Exception
) -> None:
    plain = asked(folder, "an owl")
    dressed = asked(folder, "an owl <lora:strokes>", steps=4)
    before = drawn(engine, plain).rgb
    with at_evaluation(engine, 2, fail_with(error)):
        list(engine.generate(dressed))
    assert drawn(engine, plain).rgb == before
    stop = threading.Event()
    with at_evaluation(engine, 2, stop.set):
        events = list(engine.generate(dressed, stop))
    assert not any(isinstance(event, Finished | Failed) for event in events)
    assert drawn(engine, plain).rgb == before
