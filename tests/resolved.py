"""Resolved requests for tests that do not care about most of them."""

from __future__ import annotations

from studio.request import ResolvedRequest


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
