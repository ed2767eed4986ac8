from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import models


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")
def test_fifty_random_changes_of_model_leave_no_memory_behind(tmp_path: Path) -> None:
    specs = [spec for spec in models.twins(tmp_path).models() if spec.key.startswith("twin")]
    growth, loads = models.grown(specs, 50)
    assert loads > 5, "many changes load one model and let another go"
    assert growth < 0.02
