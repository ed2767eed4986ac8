"""Resolved requests for tests that do not care about most of them, and what an engine makes of one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from studio.engine import Engine, Failed, Finished
from studio.request import GenerationResult, ResolvedRequest


def resolved(prompt: str = "a red boat", **changes: object) -> ResolvedRequest:
    """One small picture of the embedded model; `changes` by field name."""
    usual: dict[str, object] = {
        "prompt": prompt,
        "full_prompt": prompt,
        "full_negative": "",
        "model": "mini",
        "sampler": "DPM++ 2M",
        "scheduler": "Karras",
        "steps": 6,
        "guidance": 5.0,
        "width": 64,
        "height": 64,
        "seed": 1,
    }
    return ResolvedRequest.model_validate(usual | changes)


def drawn(engine: Engine, request: ResolvedRequest) -> GenerationResult:
    last = list(engine.generate(request))[-1]
    assert isinstance(last, Finished), last
    return last.result


def failed(engine: Engine, request: ResolvedRequest) -> Failed:
    last = list(engine.generate(request))[-1]
    assert isinstance(last, Failed), last
    return last


def pixels(result: GenerationResult) -> NDArray[np.uint8]:
    """Height × width × 3."""
    return np.frombuffer(result.rgb, np.uint8).reshape(result.height, result.width, 3)
