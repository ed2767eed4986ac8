"""How a model is run may be decided for it alone; what lies beside the models counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from studio.catalog import Catalog
from studio.catalog_choices import Choices
from studio.diffusion import load
from studio.diffusion.card import Card
from studio.diffusion.local import LocalEngine
from studio.diffusion.manager import PipelineManager
from studio.engine import EngineOptions
from studio.errors import BadRequest, ModelError
from tests.diffusion.shelf import CPU, SIZE, Copies, Reader, managed, models, picture


def mode_of(manager: PipelineManager, catalog: Catalog, key: str) -> tuple[str, bytes]:
    with manager.lease(catalog.find(key), pixels=64 * 64) as model:
        drawn = picture(model)
    return manager.mode(key), drawn


def test_one_model_runs_as_it_was_told_the_others_as_they_fit(tmp_path: Path) -> None:
    catalog = models(tmp_path)
    with managed(Reader(), card=Card(CPU, Copies())) as manager:
        whole, expected = mode_of(manager, catalog, "a")
        manager.run_in("a", "offload")
        told, drawn = mode_of(manager, catalog, "a")
        assert (whole, told, drawn == expected) == ("whole", "offload", True)
        assert mode_of(manager, catalog, "b")[0] == "whole"
        manager.run_in("a", "auto")
        assert mode_of(manager, catalog, "a") == ("whole", expected)
        with pytest.raises(BadRequest, match="choose auto, whole, offload"):
            manager.run_in("a", "faster")
        assert manager.report().modes[:2] == ("whole", "offload")


def test_an_engine_that_starts_remembers_how_models_are_run(tmp_path: Path) -> None:
    models(tmp_path / "models")
    choices = Choices(tmp_path / "data")
    choices.run_in("a", "tiled")
    choices.run_in("b", "offload")  # decided on a machine with a card
    choices.run_in("d", "tiled")
    choices.run_in("d", "auto")
    assert Choices(tmp_path / "data").modes == {"a": "tiled", "b": "offload"}
    options = EngineOptions(tmp_path, (tmp_path / "models",), tmp_path / "data", device="cpu", threads=1)
    engine = LocalEngine(options)
    try:
        engine.prepare("a")
        catalog = Catalog(tmp_path, (tmp_path / "models",))
        assert [mode_of(engine.manager, catalog, key)[0] for key in "abd"] == ["tiled", "whole", "whole"]
    finally:
        engine.close()


def test_what_others_hold_of_the_budget_is_not_there_for_models(tmp_path: Path) -> None:
    catalog, beside = models(tmp_path), [0]
    manager = PipelineManager(
        Reader(), Card(CPU), itemsize=lambda spec: 4, budget=int(2.4 * SIZE), beside=lambda: beside[0]
    )
    try:
        for key in "ab":
            mode_of(manager, catalog, key)
        assert [held.key for held in manager.report().models] == ["b", "a"]
        read = manager.peek("b")
        assert read is not None
        assert 0 < read.heard.nbytes < SIZE // 10, "what its text encoder said"
        assert manager.report().host_budget < int(2.4 * SIZE) - read.heard.nbytes // 2
        beside[0] = SIZE
        mode_of(manager, catalog, "d")
        assert [held.key for held in manager.report().models] == ["d"]
    finally:
        manager.close()


def test_a_folder_whose_header_lies_is_refused_before_a_tensor_is_read(tmp_path: Path) -> None:
    catalog = models(tmp_path)
    weights = tmp_path / "a" / "vae" / "diffusion_pytorch_model.safetensors"
    data = weights.read_bytes()
    length = int.from_bytes(data[:8], "little")
    told = json.loads(data[8 : 8 + length])
    first, second = [name for name in told if name != "__metadata__"][:2]
    told[second] = told[first]
    text = json.dumps(told).encode().ljust(length)
    weights.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(ModelError, match=r"a could not be loaded\. .*overlap"):
        load.load(catalog.find("a"), CPU, torch.float32, "")
