"""Stable Diffusion 3 without its T5, as many keep it: gigabytes less, and it still reads with both CLIPs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions
from tests.families import builders
from tests.resolved import drawn, resolved


@pytest.mark.parametrize("written", ["as absent", "not at all"])
def test_stable_diffusion_3_draws_without_its_t5(written: str, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "without"
    builders.sd3().save_pretrained(folder)
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    for part in ("text_encoder_3", "tokenizer_3"):
        shutil.rmtree(folder / part)
        del index[part]
        if written == "as absent":
            index[part] = [None, None]
    (folder / "model_index.json").write_text(json.dumps(index), "utf-8")
    engine = LocalEngine(EngineOptions(tmp_path / "none", (tmp_path / "models",), device="cpu", threads=1))
    try:
        texts = ("a red boat", "a green hill")
        pictures = {drawn(engine, resolved(text, model="without", steps=2)).rgb for text in texts}
    finally:
        engine.close()
    assert len(pictures) == 2, "the words are heard"
