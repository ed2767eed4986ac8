"""The whole engine (process, events, film strip) against a bare diffusers call, same picture, same run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from diffusers import AutoPipelineForText2Image, DPMSolverMultistepScheduler
from numpy.typing import NDArray

from benchmarks.measure import Figure, at_most, paired_ratio, seconds
from studio import plan
from studio.catalog import Catalog
from studio.engine import EngineOptions, Finished, Preview
from studio.presets import Presets
from studio.request import GenerationRequest, ResolvedRequest
from studio.settings import EMBEDDED, PRESETS
from studio.worker import ProcessEngine

REQUEST = GenerationRequest(
    prompt="a red sailboat on the sea at sunset", seed=7, sampler="DPM++ 2M", scheduler="Automatic"
)


def bare(request: ResolvedRequest) -> NDArray[np.uint8]:
    """What anyone would write with diffusers alone."""
    pipeline = _pipeline()
    picture = pipeline(
        request.full_prompt,
        negative_prompt=request.full_negative,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance,
        width=request.width,
        height=request.height,
        generator=torch.Generator().manual_seed(request.seed),
    ).images[0]
    return np.asarray(picture)


_cache: dict[str, AutoPipelineForText2Image] = {}


def _pipeline() -> AutoPipelineForText2Image:
    if "mini" not in _cache:
        pipeline = AutoPipelineForText2Image.from_pretrained(EMBEDDED, dtype=torch.float32)
        pipeline.text_encoder.to(torch.float32)
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        _cache["mini"] = pipeline
    return _cache["mini"]


def drain(engine: ProcessEngine, request: ResolvedRequest) -> tuple[NDArray[np.uint8], int]:
    """The engine's picture and how many previews came with it."""
    previews = 0
    for event in engine.generate(request):
        previews += isinstance(event, Preview)
        if isinstance(event, Finished):
            result = event.result
            pixels = np.frombuffer(result.rgb, np.uint8).reshape(result.height, result.width, 3)
            return pixels, previews
    raise RuntimeError("the engine drew nothing")


def figures(repeats: int) -> Iterator[Figure]:
    catalog = Catalog(EMBEDDED, ())
    request = plan.resolve(REQUEST, catalog=catalog, presets=Presets(PRESETS))
    assert isinstance(request, ResolvedRequest)
    options = EngineOptions(embedded=EMBEDDED, models_dir=(), device="cpu", preview_every=0)
    reference = bare(request)
    yield Figure("bare diffusers, one picture", round(seconds(lambda: bare(request)), 2), "s")
    for name, previews, bar in (
        ("engine ÷ bare diffusers, previews off", 0, 1.03),
        ("engine ÷ bare diffusers, a preview every step", 1, 1.10),
    ):
        engine = ProcessEngine(replace(options, preview_every=previews))
        try:
            pixels, shown = drain(engine, request)
            assert (shown > 0) == bool(previews), "previews are as asked for"
            difference = int(np.abs(pixels.astype(int) - reference).max())
            ratio, low, high = paired_ratio(lambda: drain(engine, request), lambda: bare(request), repeats)  # noqa: B023
        finally:
            engine.close()
        note = f"{low:.3f}–{high:.3f}; largest difference of a pixel {difference}/255"
        figure = at_most(name, ratio, bar, note=note)
        # A faster wrong picture proves nothing.
        yield figure if difference <= 1 else replace(figure, holds=False)
