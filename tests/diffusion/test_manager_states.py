"""Whatever is asked of a manager in whatever order: its budgets hold, nothing leaks, the next picture is right."""

from __future__ import annotations

import gc
import tempfile
import threading
import weakref
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import booleans, sampled_from

from studio.catalog import Catalog
from studio.diffusion import manager as managing
from studio.diffusion.card import Card
from studio.diffusion.load import Model
from studio.diffusion.manager import PipelineManager
from studio.diffusion.residency import ON_CARD, Mode, Storage
from studio.errors import Cancelled, ModelError, OutOfMemory
from studio.request import ModelSpec
from tests.diffusion.shelf import CPU, SIZE, Reader, models, picture

HOST = int(2.3 * SIZE)
CARD = int(1.2 * SIZE)
KEYS = sampled_from("abcd")
EXACT = sampled_from([mode for mode in ON_CARD if mode.is_exact])


@cache
def world() -> tuple[Catalog, Reader, dict[str, bytes]]:
    catalog, reader = models(Path(tempfile.mkdtemp(prefix="states"))), Reader()
    return catalog, reader, {key: picture(reader(catalog.find(key), "")) for key in "abcd"}


class Keeping(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.catalog, self.reader, self.expected = world()
        self.reader.error = None
        self.reader.gate.set()
        self.leases: list[tuple[str, ExitStack]] = []
        self.pinned: set[str] = set()
        self.seen: list[weakref.ref[torch.nn.Module]] = []
        self.card = Card(CPU, self.copy, budget=CARD)
        self.manager = PipelineManager(self.read, self.card, itemsize=lambda spec: 4, budget=HOST)

    def read(self, spec: ModelSpec, storage: Storage) -> Model:
        model = self.reader(spec, storage)
        self.seen.append(weakref.ref(model.pipe.unet))
        taken = sum(
            p.nbytes for part in ("unet", "vae", "text_encoder") for p in getattr(model.pipe, part).parameters()
        )
        assert self.manager._holdings.held() + taken <= HOST, "room is made before a model is read"
        return model

    def copy(self, piece: torch.Tensor) -> torch.Tensor:
        assert self.card.held + piece.numel() <= CARD
        return piece.clone()

    def spec(self, key: str) -> ModelSpec:
        return self.catalog.find(key)

    @property
    def hindered(self) -> bool:
        """Whether something may rightly be in the way of a model that would fit alone."""
        return bool(self.leases or self.pinned)

    @rule(key=KEYS)
    def draws(self, key: str) -> None:
        try:
            with self.manager.lease(self.spec(key)) as model:
                drawn = picture(model)
                if self.runs_exactly(key):
                    assert drawn == self.expected[key]
                else:  # between two others there may be room for its weights in eight bits only
                    assert self.hindered
                    assert max(abs(a - b) for a, b in zip(drawn, self.expected[key], strict=True)) < 40
        except OutOfMemory:
            assert self.hindered

    def runs_exactly(self, key: str) -> bool:
        shown = next(held.mode for held in self.manager.report().models if held.key == key)
        return next(mode.is_exact for mode in ON_CARD if mode.name == shown)

    @rule(key=KEYS, mode=EXACT)
    def draws_in_a_mode(self, key: str, mode: Mode) -> None:
        try:
            with self.manager.lease(self.spec(key), mode=mode) as model:
                assert picture(model) == self.expected[key]
        except OutOfMemory:
            assert self.hindered or mode.span == "model"

    @rule(key=KEYS, error=sampled_from([torch.OutOfMemoryError, ValueError]))
    def fails_while_drawing(self, key: str, error: type[Exception]) -> None:
        def short(*_: object) -> None:
            raise error("Tried to allocate 9.00 GiB")

        try:
            with self.manager.lease(self.spec(key)) as model:
                model.pipe.vae.to(torch.float64)
                handle = model.pipe.unet.mid_block.register_forward_pre_hook(short)
                try:
                    picture(model)
                finally:
                    handle.remove()
        except OutOfMemory:
            assert self.hindered
        except error:
            pass
        else:
            raise AssertionError("the failure is told")

    @precondition(lambda self: len(self.leases) < 2)
    @rule(key=KEYS)
    def is_lent(self, key: str) -> None:
        with ExitStack() as stack:
            try:
                stack.enter_context(self.manager.lease(self.spec(key), mode=ON_CARD[1]))
            except OutOfMemory:
                assert self.hindered
                return
            self.leases.append((key, stack.pop_all()))

    @precondition(lambda self: self.leases)
    @rule()
    def comes_back(self) -> None:
        self.leases.pop()[1].close()

    @rule(key=KEYS)
    def is_prepared(self, key: str) -> None:
        self.manager.prepare(self.spec(key))

    @rule()
    def is_no_longer_wanted(self) -> None:
        self.manager.prepare(None)

    @rule(key=KEYS, on=booleans())
    def is_pinned(self, key: str, on: bool) -> None:
        self.manager.pin(key, on)
        (self.pinned.add if on else self.pinned.discard)(key)

    @rule(key=KEYS)
    def is_unloaded(self, key: str) -> None:
        self.manager.unload(key)
        self.pinned.discard(key)
        if key not in {lent for lent, _ in self.leases}:
            assert self.manager.peek(key) is None

    @rule(key=KEYS)
    def is_cancelled_while_it_loads(self, key: str) -> None:
        stop = threading.Event()
        self.reader.gate.clear()
        threading.Timer(0.01, stop.set).start()
        try:
            with self.manager.lease(self.spec(key), stop=stop):
                pass
        except Cancelled:
            pass
        except OutOfMemory:
            assert self.hindered
        finally:
            self.reader.gate.set()

    @rule(key=KEYS)
    def fails_to_load(self, key: str) -> None:
        self.manager.prepare(None)
        self.reader.error = ModelError(f"{key} could not be loaded; download it again.")
        try:
            with self.manager.lease(self.spec(key)):
                pass
        except ModelError:
            assert self.manager.peek(key) is None
        except OutOfMemory:
            assert self.hindered
        finally:
            self.reader.error = None

    @rule(key=KEYS)
    def makes_room(self, key: str) -> None:
        self.manager.make_room(self.spec(key))

    @invariant()
    def holds_no_more_than_it_may(self) -> None:
        told = self.manager.report()
        assert told.host <= HOST
        assert told.card == self.card.held <= CARD
        lent = [key for key, _ in self.leases]
        assert set(lent) <= {held.key for held in told.models if held.state == "busy"}

    def teardown(self) -> None:
        if not hasattr(self, "manager"):
            return
        for _, lease in self.leases:
            lease.close()
        self.manager.close()
        assert self.manager.report().models == ()
        assert (self.manager.report().host, self.card.held) == (0, 0)
        gc.collect()
        assert [unet for unet in self.seen if unet() is not None] == [], "nothing outlives its manager"


def run(examples: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managing, "_LULL", 0.01)
    run_state_machine_as_test(
        Keeping,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            # Loads and threads make a failure too slow to shrink.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
        ),
    )


def test_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    run(5, 12, monkeypatch)


@pytest.mark.slow
def test_in_very_many_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    run(60, 40, monkeypatch)
