"""Models that AutoPipeline can load and the table of families does not know: they draw with ordinary settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest

from studio import abilities
from studio.catalog import Catalog
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions
from studio.families import UNKNOWN
from tests.families import builders, parts
from tests.families.parts import WIDTH
from tests.resolved import drawn, failed, resolved


def aura() -> Any:
    """A transformer that follows a flow."""
    return diffusers.AuraFlowPipeline(
        tokenizer=parts.t5_tokenizer(),
        text_encoder=parts.t5(),
        vae=parts.vae(4),
        transformer=diffusers.AuraFlowTransformer2DModel(
            sample_size=8,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            num_attention_heads=2,
            attention_head_dim=16,
            caption_projection_dim=32,
            joint_attention_dim=WIDTH,
            pos_embed_max_size=64,
        ),
        scheduler=builders._flow(),
    )


def consistency() -> Any:
    """A U-Net of Stable Diffusion in a pipeline of its own, which takes away noise."""
    return diffusers.LatentConsistencyModelPipeline(
        vae=parts.vae(4),
        text_encoder=parts.clip(),
        tokenizer=parts.clip_tokenizer(),
        unet=builders._unet(WIDTH, time_cond_proj_dim=16),
        scheduler=diffusers.LCMScheduler(**builders._TRAINED),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.mark.parametrize("build", [aura, consistency])
def test_it_is_found_loaded_and_drawn_with_on_the_settings_it_starts_with(build: Any, tmp_path: Path) -> None:
    build().save_pretrained(tmp_path / "models" / "strange")
    catalog = Catalog(tmp_path / "none", (tmp_path / "models",))
    spec = catalog.find("strange")
    assert spec.family == UNKNOWN.key
    size = spec.defaults.width, spec.defaults.height  # its own, where its U-Net tells
    assert spec.defaults == replace(UNKNOWN.defaults, width=size[0], height=size[1])
    can = abilities.of(spec)
    assert (can.controlnet, bool(can.cannot)) == (False, True), "nothing is claimed beyond drawing"
    likes = {"sampler": spec.defaults.sampler, "scheduler": spec.defaults.scheduler, "guidance": spec.defaults.guidance}
    engine = LocalEngine(EngineOptions(tmp_path / "none", (tmp_path / "models",), device="cpu", threads=1))
    try:
        pictures = [
            drawn(engine, resolved(prompt, model="strange", seed=seed, steps=3, **likes)).rgb
            for prompt, seed in (("a red boat", 1), ("a red boat", 1), ("a red boat", 2), ("a green hill", 1))
        ]
        if build is consistency:
            told = failed(engine, resolved(model="strange", sampler="DPM++ 2M", steps=3)).reason
            assert told == "This model has a sampler of its own: choose Euler with the Automatic schedule."
    finally:
        engine.close()
    assert pictures[0] == pictures[1]
    assert len(set(pictures)) == 3, "seed and prompt are heard"
    assert np.frombuffer(pictures[0], np.uint8).std() > 2
