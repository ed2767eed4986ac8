"""From what was asked to what will be drawn: fixes everything a request left open. Pure, apart from the random seed."""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Sequence
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from studio import image, samplers
from studio.catalog import Catalog
from studio.errors import BadRequest
from studio.presets import Presets
from studio.request import SEED_END, Defaults, GenerationRequest, Picture, ResolvedRequest

#: What one job may draw in all: sixteen pictures of 2048 × 2048.
PIXEL_BUDGET: Final = 16 * 2048 * 2048
#: Random seeds stay below this, as everywhere in the field: short enough to read out.
RANDOM_SEED_END: Final = 2**32
_SMALLEST_SIDE, _LARGEST_SIDE = 64, 4096


def resolve(
    request: GenerationRequest,
    *,
    catalog: Catalog,
    presets: Presets,
    rng: random.Random | None = None,
    max_pixels: int = 40_000_000,
) -> ResolvedRequest:
    """Leave nothing open: model, sampler, size, seed, full prompts. A resolved request comes back as it is.

    `max_pixels` bounds the input picture, which comes out as a plain PNG: turned upright, without its metadata.

    Raises:
        BadRequest: an empty prompt, an unknown sampler, schedule type or style, or more pixels than a job may draw.
        NotFound, ModelError: no such model, or one that cannot be used.
        TooLarge, UnreadablePicture: the input picture.
    """
    if isinstance(request, ResolvedRequest):
        return request
    if request.init is None and not request.prompt.strip():
        raise BadRequest("The prompt is empty; describe the picture you would like to see.")
    model = catalog.find(request.model)
    sampler, scheduler = _sampling(request, model.defaults)
    init, init_size = (None, None) if request.init is None else _clean(request.init, max_pixels)
    width, height = _size(request, model.defaults, init_size)
    if width * height * request.count > PIXEL_BUDGET:
        fitting = PIXEL_BUDGET // (width * height)
        raise BadRequest(
            f"{request.count} pictures of {width} × {height} are more than one job may draw; "
            f"ask for {fitting} or fewer, or for a smaller size."
        )
    full_prompt, full_negative = presets.apply(request.prompt, request.negative, request.styles)
    seed = request.seed
    if seed is None:
        seed = (rng or secrets.SystemRandom()).randrange(RANDOM_SEED_END)
    settled = {
        "model": model.key,
        "sampler": sampler,
        "scheduler": scheduler,
        "steps": model.defaults.steps if request.steps is None else request.steps,
        "guidance": model.defaults.guidance if request.guidance is None else request.guidance,
        "width": width,
        "height": height,
        "seed": seed,
        "init": init,
        "full_prompt": full_prompt,
        "full_negative": full_negative,
    }
    return ResolvedRequest.model_validate({**dict(request), **settled})


def expand(resolved: ResolvedRequest) -> tuple[ResolvedRequest, ...]:
    """One request for each picture of the job; seeds count up from the first and wrap at 2**64."""
    return tuple(
        resolved.model_copy(update={"count": 1, "seed": (resolved.seed + index) % SEED_END})
        for index in range(resolved.count)
    )


def _sampling(request: GenerationRequest, defaults: Defaults) -> tuple[str, str]:
    sampler = request.sampler or defaults.sampler
    scheduler = request.scheduler or defaults.scheduler
    known = samplers.SAMPLERS.get(sampler)
    if not request.scheduler and known is not None and scheduler not in known.schedules:
        scheduler = samplers.AUTOMATIC  # the artist chose only the sampler; the model's schedule does not suit it
    samplers.check(sampler, scheduler)
    return sampler, scheduler


def _clean(picture: Picture, max_pixels: int) -> tuple[Picture, tuple[int, int]]:
    upright = image.decode(picture.data, max_pixels)
    return Picture.from_bytes(image.png(upright)), upright.size


def _size(request: GenerationRequest, defaults: Defaults, init: tuple[int, int] | None) -> tuple[int, int]:
    """Width and height in pixels. With an input picture, what is left open follows its proportions.

    Its own size is kept up to four times the pixels the model was made for: beyond that models repeat their subject.
    """
    if init is None:
        return request.width or defaults.width, request.height or defaults.height
    width, height = init
    if request.width is not None:
        scale = request.width / width
    elif request.height is not None:
        scale = request.height / height
    else:
        scale = min(1.0, math.sqrt(4 * defaults.width * defaults.height / (width * height)))
    return request.width or _side(width * scale), request.height or _side(height * scale)


def _side(pixels: float) -> int:
    return min(max(round(pixels / 8) * 8, _SMALLEST_SIDE), _LARGEST_SIDE)


def sentence(error: ValidationError) -> str:
    """The first fault of a request in one sentence for the artist, e.g. `Width must be at most 4096, not 100000.`"""
    return explain(error.errors(include_url=False))


def explain(faults: Sequence[ErrorDetails]) -> str:
    """As `sentence`, from pydantic's list of faults."""
    fault = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if fault["type"] == "json_invalid":
        return "The request is not readable as JSON."
    name = next((part for part in reversed(fault["loc"]) if isinstance(part, str)), "")
    subject = name.replace("_", " ").strip().capitalize() or "The request"
    return f"{subject} {_complaint(fault)}{more}."


def _complaint(fault: ErrorDetails) -> str:
    limits = fault.get("ctx", {})
    given = _shown(fault["input"])
    match fault["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not a setting of this studio"
        case "less_than_equal":
            return f"must be at most {limits['le']:g}, not {given}"
        case "less_than":
            return f"must be less than {limits['lt']}, not {given}"
        case "greater_than_equal":
            return f"must be at least {limits['ge']:g}, not {given}"
        case "greater_than":
            return f"must be more than {limits['gt']:g}, not {given}"
        case "multiple_of":
            return f"must be a multiple of {limits['multiple_of']:g}, not {given}"
        case "string_too_long":
            return f"may have at most {limits['max_length']} characters"
        case "too_long":
            return f"may have at most {limits['max_length']} entries, not {limits['actual_length']}"
        case "string_pattern_mismatch":
            return "must be a PNG, JPEG or WebP picture as a data URL"
        case "finite_number" | "int_type" | "int_parsing" | "int_from_float" | "int_parsing_size":
            whole = "a number" if fault["type"] == "finite_number" else "a whole number"
            return f"must be {whole}, not {given}"
        case "float_type" | "float_parsing":
            return f"must be a number, not {given}"
        case "bool_type" | "bool_parsing":
            return f"must be true or false, not {given}"
        case "string_type" | "string_unicode":
            return "must be text"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "must be an object with named settings"
        case "tuple_type" | "list_type":
            return "must be a list"
        case "value_error":
            return fault["msg"].removeprefix("Value error, ")
        case _:
            plain = fault["msg"].rstrip(".")
            return f"is not right: {plain[:1].lower()}{plain[1:]}"


def _shown(given: object) -> str:
    text = f"“{given}”" if isinstance(given, str) else str(given)
    return text if len(text) <= 40 else f"{text[:40]}…"
