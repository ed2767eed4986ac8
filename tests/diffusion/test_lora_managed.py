"""LoRAs on models that the manager moves about: on a card with room for one, in every mode, with shared parts."""

from __future__ import annotations

import random

import pytest
import torch

from studio.catalog import Catalog
from studio.diffusion.card import Card
from studio.diffusion.lora import Loras, Worn
from studio.diffusion.manager import PipelineManager
from studio.diffusion.residency import ON_CARD, Mode
from studio.request import LoraUse
from tests import loras
from tests.diffusion.shelf import CPU, SIZE, Copies, Reader, models, picture


class Studio:
    """A manager and its LoRAs, joined as the engine joins them."""

    def __init__(self, reader: Reader, card: Card) -> None:
        self.loras = Loras()
        self.manager = PipelineManager(reader, card, itemsize=lambda spec: 4, moving=self.loras.rest)

    def draw(self, catalog: Catalog, key: str, worn: tuple[Worn, ...], mode: Mode | None = None) -> bytes:
        self.loras.keep_for(key)
        spec = catalog.find(key)
        with self.manager.lease(
            spec, pixels=64 * 64, mode=mode, dressed=lambda model: self.loras.applied(model, worn)
        ) as model:
            return picture(model)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return models(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


@pytest.fixture(scope="module")
def worn(catalog: Catalog, reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> tuple[Worn, ...]:
    pairs = loras.attention(reader(catalog.find("a"), ""))
    file = loras.save(loras.kohya(pairs), tmp_path_factory.mktemp("loras") / "strokes.safetensors")
    return ((LoraUse(name="strokes"), file),)


def expected(reader: Reader, catalog: Catalog, key: str, worn: tuple[Worn, ...]) -> bytes:
    """What nobody manages."""
    model = reader(catalog.find(key), "")
    with Loras().applied(model, worn):
        return picture(model)


@pytest.mark.parametrize("room", [None, int(1.3 * SIZE)], ids=["room for all", "room for one"])
def test_models_that_come_and_go_wear_what_they_are_asked_to_and_nothing_else(
    room: int | None, reader: Reader, catalog: Catalog, worn: tuple[Worn, ...]
) -> None:
    """`a` and `c` share a text encoder."""
    right = {(key, dress): expected(reader, catalog, key, dress) for key in "ac" for dress in ((), worn)}
    assert len(set(right.values())) == 4
    copies = Copies()
    studio = Studio(reader, Card(CPU, copies, budget=room))
    chance = random.Random(2)
    try:
        for _ in range(14):
            key, dress = chance.choice(list(right))
            assert studio.draw(catalog, key, dress) == right[key, dress]
    finally:
        studio.manager.close()


@pytest.mark.parametrize("first", [mode for mode in ON_CARD if mode.is_exact], ids=lambda mode: mode.name)
def test_a_lora_stays_what_it_is_when_the_way_to_run_a_model_changes(
    first: Mode, reader: Reader, catalog: Catalog, worn: tuple[Worn, ...]
) -> None:
    right = {dress: expected(reader, catalog, "a", dress) for dress in ((), worn)}
    studio = Studio(reader, Card(CPU, torch.clone))
    try:
        for mode in (first, ON_CARD[1], first, ON_CARD[0], first):
            for dress in (worn, worn, ()):
                assert studio.draw(catalog, "a", dress, mode) == right[dress]
            assert studio.draw(catalog, "a", worn, mode) == right[worn]
    finally:
        studio.manager.close()
