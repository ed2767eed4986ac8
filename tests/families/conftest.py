from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.families import builders


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A pipeline folder of a family by its key, made once; not to be changed."""
    made: dict[str, Path] = {}

    def folder(key: str) -> Path:
        if key not in made:
            made[key] = builders.folder(key, tmp_path_factory.mktemp("family") / key)
        return made[key]

    return folder
