"""A picture for which memory does not suffice, from the engine's side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions, Failed, Finished, Progress
from tests import tiny_models
from tests.resolved import drawn, failed, resolved


@contextmanager
def out_of_memory(engine: LocalEngine, at: set[int], model: str = "mini") -> Iterator[list[int]]:
    """The denoiser fails in these of its calls, as it does on a card: from inside a forward."""
    resident = engine.manager.peek(model)
    assert resident is not None
    calls: list[int] = []

    def short(*_: object) -> None:
        calls.append(len(calls) + 1)
        if len(calls) in at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7000.00 GiB. GPU 0 has")

    handle = resident.pipe.unet.mid_block.register_forward_pre_hook(short)
    try:
        yield calls
    finally:
        handle.remove()


def test_it_is_tried_once_more_in_the_next_leaner_mode_and_the_next_picture_is_as_ever(engine: LocalEngine) -> None:
    expected = drawn(engine, resolved(seed=1)).rgb
    other = drawn(engine, resolved(seed=2)).rgb
    with out_of_memory(engine, {4}) as calls:
        events = list(engine.generate(resolved(seed=1)))
        assert engine.status.mode == "tiled"
        assert isinstance(events[-1], Finished)
        assert events[-1].result.rgb == expected, "tiles are larger than this picture"
        assert Progress("Short of memory, trying again: tiled") in events
        assert len(calls) == 4 + 6
        assert drawn(engine, resolved(seed=2)).rgb == other
    assert engine.status.mode == "whole"
    resident = engine.manager.peek("mini")
    assert resident is not None
    assert not resident.pipe.vae.use_tiling


def test_it_is_not_tried_for_ever(engine: LocalEngine) -> None:
    expected = drawn(engine, resolved(seed=1)).rgb
    with out_of_memory(engine, {2, 5}) as calls:
        reason = failed(engine, resolved(seed=1)).reason
        assert len(calls) == 5
    assert "A picture of 64 × 64 needs about 7516" in reason
    assert reason.endswith("GB free; try a smaller size or the mode “half”.")
    assert drawn(engine, resolved(seed=1)).rgb == expected


def test_other_models_make_room_but_for_the_pinned(tmp_path: Path, tiny: Path) -> None:
    for seed, name in ((5, "other"), (6, "pinned")):
        tiny_models.stable_diffusion(tmp_path / name, seed=seed)
    engine = LocalEngine(EngineOptions(tiny, (tmp_path,), device="cpu", threads=1, preview_every=0))
    try:
        engine.pin("pinned", True)
        for model in ("other", "pinned", "mini"):
            drawn(engine, resolved(model=model, steps=1))
        with out_of_memory(engine, {1}):
            drawn(engine, resolved(steps=1))
        assert [held.key for held in engine.status.memory.models] == ["mini", "pinned"]
    finally:
        engine.close()


def test_a_model_that_cannot_fit_is_told_with_numbers_and_another_still_draws(tmp_path: Path, tiny: Path) -> None:
    tiny_models.stable_diffusion(tmp_path / "large", native=64, seed=7)
    engine = LocalEngine(EngineOptions(tiny, (tmp_path,), device="cpu", threads=1, memory=0.0005))
    try:
        last = list(engine.generate(resolved(model="large")))[-1]
        assert isinstance(last, Failed)
        assert last.reason == "large needs about 1 MB of memory, 0 MB are free; choose a smaller model."
        assert engine.status.memory.models == ()
        assert engine.status.detail == "Ready."
    finally:
        engine.close()


@pytest.mark.parametrize("mode", ["tiled", "half"])
def test_a_mode_asked_for_is_used_and_told(tiny: Path, engine: LocalEngine, mode: str) -> None:
    expected = drawn(engine, resolved(seed=1)).rgb
    lean = LocalEngine(EngineOptions(tiny, device="cpu", threads=1, preview_every=0, mode=mode))
    try:
        assert drawn(lean, resolved(seed=1)).rgb == expected, "stored in half precision, smaller than a tile"
        assert lean.status.mode == mode
    finally:
        lean.close()
