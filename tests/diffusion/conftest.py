from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions
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
