"""The manager with a card that is one. Needs CUDA; what needs no card is in `test_manager.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from studio.diffusion import card, memory
from studio.diffusion.local import LocalEngine
from studio.diffusion.part import Part
from studio.diffusion.residency import ON_CARD, Mode
from studio.engine import EngineOptions
from tests import tiny_models
from tests.diffusion.shelf import SIZE
from tests.resolved import drawn, resolved

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no card")]


def test_a_part_goes_there_by_one_copy_from_memory_the_card_reads_itself_and_leaves_without_one() -> None:
    place = torch.device("cuda", 0)
    part = Part("unet", torch.nn.Linear(2048, 2048))
    part.pin()
    assert part.pinned
    layer = part.module
    assert isinstance(layer, torch.nn.Linear)
    home = layer.weight.data_ptr()
    assert layer.weight.is_pinned()
    before, given = layer.weight.clone(), torch.rand(4, 2048)
    expected = layer(given)
    there = card.of(place)
    for _ in range(3):
        held = torch.cuda.memory_allocated(place)
        there.bring((part,))
        assert layer.weight.device.type == "cuda"
        assert torch.cuda.memory_allocated(place) - held >= part.bytes
        assert torch.allclose(layer(given.to(place)).cpu(), expected, atol=1e-2)
        there.evict((part,))
        torch.cuda.synchronize()
        assert torch.cuda.memory_allocated(place) == held
        assert layer.weight.data_ptr() == home
        assert torch.equal(layer.weight, before)
    part.close()
    assert not layer.weight.is_pinned()


@pytest.mark.parametrize("mode", ON_CARD[:3], ids=lambda mode: mode.name)
def test_every_exact_mode_draws_the_same_picture_with_less_of_the_card(tiny: Path, mode: Mode) -> None:
    whole = LocalEngine(EngineOptions(tiny, device="cuda", preview_every=0))
    lean = LocalEngine(EngineOptions(tiny, device="cuda", preview_every=0, mode=mode.name))
    try:
        expected = drawn(whole, resolved(seed=3)).rgb
        for _ in range(2):
            assert drawn(lean, resolved(seed=3)).rgb == expected
        assert lean.status.mode == mode.name
        assert (lean.status.memory.card > 0) == (mode.span == "model")
        assert lean.status.memory.host_locked == lean.status.memory.host
    finally:
        whole.close()
        lean.close()


def test_models_take_turns_on_a_card_too_small_for_both(tmp_path: Path, tiny: Path) -> None:
    tiny_models.stable_diffusion(tmp_path / "other", seed=5)
    engine = LocalEngine(EngineOptions(tiny, (tmp_path,), device="cuda", preview_every=0, card_memory=SIZE / 1e9))
    try:
        first = [drawn(engine, resolved(model=model)).rgb for model in ("mini", "other")]
        assert [drawn(engine, resolved(model=model)).rgb for model in ("mini", "other")] == first
        assert engine.status.memory.card <= SIZE
    finally:
        engine.close()


def test_the_gauge_reads_the_allocators_peak() -> None:
    place = torch.device("cuda", 0)
    gauge = memory.Gauge(place)
    gauge.start()
    torch.ones(25_000_000, device=place)
    assert 100_000_000 <= (gauge.peak() or 0) < 140_000_000


def test_a_real_lack_of_memory_is_told_with_numbers_and_the_next_picture_is_as_ever(tiny: Path) -> None:
    engine = LocalEngine(EngineOptions(tiny, device="cuda", preview_every=0))
    resident: list[torch.Tensor] = []
    try:
        expected = drawn(engine, resolved(seed=1)).rgb
        model = engine.manager.peek("mini")
        assert model is not None
        handle = model.pipe.unet.mid_block.register_forward_pre_hook(
            lambda *_: resident.append(torch.empty(2**50, dtype=torch.uint8, device="cuda"))
        )
        last = list(engine.generate(resolved(seed=1)))[-1]
        handle.remove()
        assert "GB free; try" in str(last)
        assert drawn(engine, resolved(seed=1)).rgb == expected
    finally:
        engine.close()
