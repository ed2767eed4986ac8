"""Which textual inversions a picture was drawn with, as its text tells and as it is read again."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin
from safetensors.numpy import save_file

from studio import infotext, reading
from studio.catalog import Catalog
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions
from studio.plan import resolve
from studio.presets import Presets
from studio.request import GenerationRequest
from tests import tiny_models
from tests.resolved import drawn


def test_the_embeddings_a_prompt_called_are_told_with_their_hashes(tmp_path: Path) -> None:
    model = tiny_models.stable_diffusion(tmp_path / "model", width=768)
    folder = tmp_path / "models" / "embeddings"
    folder.mkdir(parents=True)
    for name, width in (("Wash", 768), ("Idle", 768), ("Foreign", 1024)):
        save_file({"emb_params": np.full((2, width), 0.02, np.float32)}, folder / f"{name}.safetensors")
    digest = hashlib.sha256((folder / "Wash.safetensors").read_bytes()).hexdigest()[:12]
    catalog = Catalog(model, (tmp_path / "models",))
    asked = GenerationRequest(prompt="a boat, (wash:1.2), foreign", steps=1, width=64, height=64, seed=1)
    engine = LocalEngine(EngineOptions(model, (tmp_path / "models",), device="cpu", threads=1, preview_every=0))
    try:
        job = resolve(asked, catalog=catalog, presets=Presets(tmp_path))
        made = drawn(engine, job)
        without = drawn(engine, job.model_copy(update={"full_prompt": "a boat, (wish:1.2), foreign"}))
    finally:
        engine.close()
    assert made.embeddings == (("Wash", digest),)
    assert without.embeddings == ()
    assert made.rgb != without.rgb
    text = infotext.write(made, "Tiny")
    assert f'TI hashes: "Wash: {digest}", ' in text
    assert "foreign was made for another kind of model" in text
    info, kept = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_itxt("parameters", text)
    Image.new("RGB", (8, 8)).save(kept, "PNG", pnginfo=info)
    assert not any("Wash" in told for told in reading.picture(kept.getvalue(), catalog).missing)
    (folder / "Wash.safetensors").unlink()
    said = reading.picture(kept.getvalue(), Catalog(model, (tmp_path / "models",)))
    assert "The embedding “Wash” is not here; its name is read as words." in said.missing
