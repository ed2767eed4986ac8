from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from studio.catalog import Catalog
from studio.diffusion import load
from studio.diffusion.load import Model
from studio.diffusion.local import LocalEngine
from studio.diffusion.lora import Loras
from studio.engine import EngineOptions
from studio.settings import EMBEDDED
from tests import tiny_models


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion folder with random weights; not to be changed."""
    return tiny_models.stable_diffusion(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def engine(tiny: Path) -> Iterator[LocalEngine]:
    engine = LocalEngine(EngineOptions(tiny, device="cpu", threads=1))
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def mini() -> Model:
    """The embedded model; to be left as it was."""
    spec = Catalog(EMBEDDED).find(None)
    return load.load(spec, torch.device("cpu"), torch.float32, spec.digest)


@pytest.fixture
def worn(mini: Model) -> Iterator[Loras]:
    """No LoRA of one test is left for the next."""
    shelf = Loras()
    yield shelf
    shelf.rest()
