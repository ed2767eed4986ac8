from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image

from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions, Event, Failed, Finished, Preview, Progress, State
from studio.errors import ModelError
from studio.request import SEED_END, Picture
from tests import tiny_models
from tests.resolved import drawn, failed, resolved

ROOT = Path(__file__).parent.parent.parent


def red(width: int, height: int) -> Picture:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 40)).save(file, "PNG")
    return Picture.from_bytes(file.getvalue())


def unet_of(engine: LocalEngine) -> torch.nn.Module:
    """Of the default model, which is loaded."""
    model = engine.manager.peek("mini")
    assert model is not None
    unet: torch.nn.Module = model.pipe.unet
    return unet


@contextmanager
def at_evaluation(engine: LocalEngine, number: int, act: Callable[[], None]) -> Iterator[list[int]]:
    """Do something from the `number`th call of the denoiser on; the list grows with every call."""
    engine.warm()
    calls: list[int] = []

    def hook(*_: object) -> None:
        calls.append(len(calls) + 1)
        if len(calls) >= number:
            act()

    handle = unet_of(engine).register_forward_pre_hook(hook)
    try:
        yield calls
    finally:
        handle.remove()


def fail_with(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def test_a_picture_has_the_size_asked_for(engine: LocalEngine) -> None:
    result = drawn(engine, resolved(width=96, height=72))
    assert (result.width, result.height, len(result.rgb)) == (96, 72, 96 * 72 * 3)
    assert len(set(result.rgb)) > 20
    assert result.device == "CPU"
    assert len(result.model_digest) == 10


def test_every_step_is_told_and_previewed(engine: LocalEngine) -> None:
    events = list(engine.generate(resolved(steps=7)))
    steps = [event.step for event in events if isinstance(event, Progress) and event.steps]
    assert sorted(set(steps)) == list(range(8))
    assert steps == sorted(steps)
    assert [event.step for event in events if isinstance(event, Preview)] == [2, 4, 6]
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize("sampler", ["Heun", "DPM2 a", "PNDM"])
def test_samplers_that_take_more_evaluations_still_count_steps(engine: LocalEngine, sampler: str) -> None:
    events = list(engine.generate(resolved(steps=5, sampler=sampler, scheduler="Automatic")))
    assert isinstance(events[-1], Finished)
    steps = [event.step for event in events if isinstance(event, Progress) and event.steps]
    assert sorted(set(steps)) == list(range(6))


def test_the_same_request_gives_the_same_bits_and_another_seed_others(engine: LocalEngine) -> None:
    first = drawn(engine, resolved(seed=11))
    assert drawn(engine, resolved(seed=11)).rgb == first.rgb
    assert drawn(engine, resolved(seed=12)).rgb != first.rgb
    assert drawn(engine, resolved("a blue cube", seed=11)).rgb != first.rgb


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M SDE", "DPM++ SDE", "DDPM"])
def test_noisy_samplers_follow_the_seed(engine: LocalEngine, sampler: str) -> None:
    request = resolved(sampler=sampler, scheduler="Automatic")
    torch.manual_seed(1)
    first = drawn(engine, request)
    torch.manual_seed(2)
    torch.rand(5)
    assert drawn(engine, request).rgb == first.rgb


def test_a_cancelled_picture_leaves_no_trace(engine: LocalEngine) -> None:
    expected = drawn(engine, resolved(seed=21)).rgb
    for sampler in ("DPM++ 2M", "Euler a", "Heun"):
        cancelled = engine.generate(resolved(seed=22, sampler=sampler, scheduler="Automatic", steps=50))
        for event in cancelled:
            if isinstance(event, Progress) and event.step == 3:
                break
        cancelled.close()
        assert engine.status.state is State.READY
        assert drawn(engine, resolved(seed=21)).rgb == expected


def test_cancelling_stops_within_one_evaluation_and_decodes_nothing(engine: LocalEngine) -> None:
    stop = threading.Event()
    with at_evaluation(engine, 4, stop.set) as calls:
        events = list(engine.generate(resolved(steps=50), stop))
    assert len(calls) == 4
    assert not any(isinstance(event, Finished | Failed) for event in events)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "64 × 64 needs more memory than there is; try a smaller size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), "needs more memory than there is"),
        (torch.OutOfMemoryError("Tried to allocate 9000.00 GiB"), r"needs about 9663.\d GB, \d+\.\d GB free; try"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), r"could not draw this \(RuntimeError\)"),
    ],
)
def test_a_failed_picture_is_told_in_a_sentence_and_leaves_no_trace(
    engine: LocalEngine, error: Exception, sentence: str
) -> None:
    expected = drawn(engine, resolved(seed=31)).rgb
    with at_evaluation(engine, 3, fail_with(error)):
        text = failed(engine, resolved(seed=32)).reason
    assert re.search(sentence, text), text
    assert drawn(engine, resolved(seed=31)).rgb == expected


def test_a_reloaded_model_draws_the_same(tiny: Path, engine: LocalEngine) -> None:
    expected = drawn(engine, resolved(seed=41)).rgb
    again = LocalEngine(EngineOptions(tiny, device="cpu", threads=1, preview_every=0))
    try:
        assert drawn(again, resolved(seed=41)).rgb == expected
    finally:
        again.close()


FRESH = """
import sys, hashlib
from pathlib import Path
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions
from tests.resolved import resolved
engine = LocalEngine(EngineOptions(Path(sys.argv[1]), device="cpu", threads=1))
for seed in (51, 52):
    print(hashlib.sha256(list(engine.generate(resolved(seed=seed)))[-1].result.rgb).hexdigest())
"""


def test_a_fresh_process_draws_the_same(tiny: Path, engine: LocalEngine) -> None:
    expected = [hashlib.sha256(drawn(engine, resolved(seed=seed)).rgb).hexdigest() for seed in (51, 52)]
    fresh = subprocess.run(
        [sys.executable, "-c", FRESH, str(tiny)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert fresh.stdout.split() == expected
    assert fresh.stderr == ""


def test_any_seed_there_is_can_be_drawn(engine: LocalEngine) -> None:
    seeds = (0, 2**31, 2**32 - 1, 2**32 + 7, 2**63 + 8, SEED_END - 2)
    assert len({drawn(engine, resolved(seed=seed, steps=2)).rgb for seed in seeds}) == len(seeds)


def test_a_prompt_longer_than_the_model_reads_is_cut_without_a_fuss(
    engine: LocalEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    drawn(engine, resolved("boat " * 4000, full_negative="ugly " * 4000, steps=2))
    assert capfd.readouterr() == ("", "")


def test_guidance_of_one_and_below_spares_the_second_half_of_the_batch(engine: LocalEngine) -> None:
    engine.warm()
    batches: list[int] = []
    unet = unet_of(engine)
    handle = unet.register_forward_pre_hook(lambda _, given: batches.append(len(given[0])))
    for guidance in (0.0, 1.0, 1.5):
        drawn(engine, resolved(guidance=guidance, steps=1))
    handle.remove()
    assert batches == [1, 1, 2]


def test_the_negative_prompt_reaches_the_model(engine: LocalEngine) -> None:
    assert drawn(engine, resolved(full_negative="blurry")).rgb != drawn(engine, resolved()).rgb


def test_strength_zero_gives_the_picture_back(engine: LocalEngine) -> None:
    result = drawn(engine, resolved(init=red(120, 64), strength=0.0))
    assert set(zip(result.rgb[::3], result.rgb[1::3], result.rgb[2::3], strict=True)) == {(200, 30, 40)}
    assert len(result.film) == 8


@pytest.mark.parametrize(("strength", "steps"), [(0.01, 1), (0.5, 4), (1.0, 8)])
def test_strength_is_the_share_of_the_steps_taken(engine: LocalEngine, strength: float, steps: int) -> None:
    request = resolved(init=red(200, 90), strength=strength, steps=8)
    events = list(engine.generate(request))
    assert isinstance(events[-1], Finished)
    told = [event for event in events if isinstance(event, Progress) and event.steps]
    assert (told[-1].step, told[-1].steps) == (steps, steps)
    assert drawn(engine, request).rgb == events[-1].result.rgb


def test_an_unreadable_input_picture_is_told_in_a_sentence(engine: LocalEngine) -> None:
    assert "picture" in failed(engine, resolved(init=Picture.from_bytes(b"not a picture"))).reason.lower()


def test_a_sampler_that_cannot_follow_the_schedule_is_told_in_a_sentence(engine: LocalEngine) -> None:
    assert "Euler a cannot follow the Karras schedule" in failed(engine, resolved(sampler="Euler a")).reason


def test_the_film_leads_from_noise_to_the_picture(engine: LocalEngine) -> None:
    for steps in (2, 8, 20):
        result = drawn(engine, resolved(width=320, height=192, steps=steps))
        frames = [Image.open(io.BytesIO(frame)) for frame in result.film]
        assert [frame.size for frame in frames] == [(128, 77)] * 8
        # Shrunk, because JPEG is at its worst on what random weights draw.
        first, last, picture = (
            shown.resize((20, 12), Image.Resampling.BOX)
            for shown in (frames[0], frames[-1], Image.frombytes("RGB", (320, 192), result.rgb))
        )
        assert difference(last, picture) < 3
        assert difference(first, picture) > difference(last, picture) + 1


def test_previews_are_small_and_shaped_like_the_picture(engine: LocalEngine) -> None:
    previews = [e for e in engine.generate(resolved(width=640, height=160, steps=4)) if isinstance(e, Preview)]
    assert [Image.open(io.BytesIO(event.jpeg)).size for event in previews] == [(512, 128)]
    small = [e for e in engine.generate(resolved(width=64, height=80, steps=4)) if isinstance(e, Preview)]
    assert [Image.open(io.BytesIO(event.jpeg)).size for event in small] == [(64, 80)]


def test_no_previews_when_none_are_wanted(tiny: Path) -> None:
    engine = LocalEngine(EngineOptions(tiny, device="cpu", threads=1, preview_every=0))
    try:
        assert not any(isinstance(event, Preview) for event in engine.generate(resolved()))
    finally:
        engine.close()


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two pictures in levels of 255."""
    pairs = zip(one.convert("RGB").tobytes(), other.convert("RGB").tobytes(), strict=True)
    return sum(abs(a - b) for a, b in pairs) / (one.width * one.height * 3)


def test_silence_while_loading_is_filled(tiny: Path) -> None:
    engine = LocalEngine(EngineOptions(tiny, device="cpu", threads=1))
    try:
        events: list[Event] = list(engine.generate(resolved(steps=2)))
        assert Progress("Loading Mini") in events
        assert engine.status.model == "Mini"
    finally:
        engine.close()


def test_a_model_added_while_running_is_found(tmp_path: Path, tiny: Path) -> None:
    engine = LocalEngine(EngineOptions(tiny, (tmp_path,), device="cpu", threads=1))
    try:
        mine = drawn(engine, resolved()).rgb
        assert "no model “other”" in failed(engine, resolved(model="other")).reason
        tiny_models.stable_diffusion(tmp_path / "other", seed=5)
        other = drawn(engine, resolved(model="other"))
        assert other.rgb != mine
        assert drawn(engine, resolved()).rgb == mine
        assert drawn(engine, resolved(model="other")).model_digest == other.model_digest
    finally:
        engine.close()


def test_a_model_replaced_on_disk_is_loaded_anew(tmp_path: Path) -> None:
    tiny_models.stable_diffusion(tmp_path / "mini", seed=1)
    engine = LocalEngine(EngineOptions(tmp_path / "mini", device="cpu", threads=1))
    try:
        before = drawn(engine, resolved())
        tiny_models.stable_diffusion(tmp_path / "mini", seed=2)
        after = drawn(engine, resolved())
        assert after.rgb != before.rgb
        assert after.model_digest != before.model_digest
    finally:
        engine.close()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_damaged_model_is_told_in_a_sentence_and_another_still_draws(
    tmp_path: Path, tiny: Path, share: float
) -> None:
    broken = shutil.copytree(tiny, tmp_path / "broken")
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[: int(weights.stat().st_size * share)])
    engine = LocalEngine(EngineOptions(tiny, (tmp_path,), device="cpu", threads=1))
    try:
        assert "broken could not be loaded" in failed(engine, resolved(model="broken")).reason
        drawn(engine, resolved(steps=1))
    finally:
        engine.close()


def test_a_missing_device_is_told_in_a_sentence(tiny: Path) -> None:
    missing = next(name for name in ("mps", "cuda") if not getattr(torch, name).is_available())
    with pytest.raises(ModelError, match=f"no {missing} device here; start the studio with --device"):
        LocalEngine(EngineOptions(tiny, device=missing))
