"""Values other programs write, as text, JSON or anything, → numbers and words that can be trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from studio import samplers
from studio.samplers import AUTOMATIC, SAMPLERS, SCHEDULES

#: What a value that has no place here is shown as, at most.
SHOWN: Final = 400
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NUMBER: Final = re.compile(r"-?\d{1,20}(?:\.\d{1,18})?")

#: k-diffusion's and diffusers' names, as ComfyUI, Fooocus and InvokeAI write them, without what follows below.
_SAMPLERS: Final = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "euler_a": "Euler a",
    "heun": "Heun",
    "dpm_2": "DPM2",
    "kdpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "kdpm_2_a": "DPM2 a",
    "lms": "LMS",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2s_ancestral": "DPM++ 2S",
    "dpmpp_2s": "DPM++ 2S",
    "dpmpp_3m": "DPM++ 3M",
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "lcm": "LCM",
    "pndm": "PNDM",
    "plms": "PNDM",
    "deis": "DEIS",
    "unipc": "UniPC",
    "uni_pc": "UniPC",
    "uni_pc_bh2": "UniPC",
}
_SCHEDULES: Final = {
    "normal": "Uniform",
    "karras": "Karras",
    "exponential": "Exponential",
    "sgm_uniform": "SGM Uniform",
    "simple": "SGM Uniform",
    "beta": "Beta",
    "ddim_uniform": "DDIM",
    "align_your_steps": "Align Your Steps",
    "ays": "Align Your Steps",
    "kl_optimal": "KL Optimal",
}


def unpacked(text: str) -> object:
    """The JSON in it, also where it was encoded again as a string; None if there is none."""
    value: object = text
    for _ in range(3):
        if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"'):
            break
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict | list) else None


def renamed(values: Mapping[str, object], **names: str) -> dict[str, Any]:
    """By our names what has a number or words; numbers may stand there as text."""
    said: dict[str, Any] = {}
    for theirs, ours in names.items():
        value = values.get(theirs)
        if ours in ("prompt", "negative"):
            said[ours] = value if isinstance(value, str) else ""
        elif (number := whole(value) if ours in ("steps", "seed", "width", "height") else fraction(value)) is not None:
            said[ours] = number
    return said


def sampling(sampler: object, schedule: object) -> dict[str, Any]:
    """Our sampler and schedule type, where there are such. InvokeAI marks Karras levels with `_k`."""
    name = str(sampler or "").lower().removesuffix("_gpu").removesuffix("_cfg_pp")
    bare = name.removesuffix("_k")
    found = _SAMPLERS.get(bare) or samplers.ours(str(sampler or ""))
    if found not in SAMPLERS:
        return {}
    kind = "Karras" if bare != name else _SCHEDULES.get(str(schedule or "").lower(), str(schedule or ""))
    kind = samplers.ours(kind)
    allowed = kind in SCHEDULES and kind in SAMPLERS[found].schedules
    return {"sampler": found, "scheduler": kind if allowed else AUTOMATIC}


def clip_skip(layers: object) -> dict[str, Any]:
    return {"clip_skip": layers} if isinstance(layers, int) and 1 <= layers <= 12 else {}


def rest(values: Mapping[str, object], *known: str) -> dict[str, str]:
    return {
        str(name): plain(value) for name, value in values.items() if name not in known and value not in (None, "", [])
    }


def whole(value: object) -> int | None:
    number = fraction(value)
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,20}", value.strip()):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 2**64 else None
    return None if number is None else int(number)


def fraction(value: object) -> float | None:
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e20:
        return None
    return float(value)


def mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[object]:
    return value[:1000] if isinstance(value, list) else []


def plain(value: object) -> str:
    """On one line, short, and nothing but letters and signs."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        text = "…"
    return clean(" ".join(text[: 4 * SHOWN].split()), SHOWN)


def clean(text: str, longest: int) -> str:
    """Without controls, nor the marks that turn the direction of writing around."""
    return _CONTROLS.sub("", text)[:longest]
