"""From what was asked to what will be drawn: fixes everything a request left open. Pure, apart from the random seed."""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Sequence
from typing import Final

from PIL import Image
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from studio import abilities, canvas, control_plan, families, geometry, image, prompt, recognise, samplers
from studio.catalog import Catalog
from studio.errors import BadRequest
from studio.geometry import Size
from studio.presets import Presets
from studio.request import (
    MAX_LORAS,
    SEED_END,
    Defaults,
    GenerationRequest,
    LoraUse,
    ModelSpec,
    Outpaint,
    Picture,
    ResolvedRequest,
    Wording,
)

#: What one job may draw in all: sixteen pictures of 2048 × 2048.
PIXEL_BUDGET: Final = 16 * 2048 * 2048
#: Random seeds stay below this, as everywhere in the field: short enough to read out.
RANDOM_SEED_END: Final = 2**32
#: Denoising strengths where the artist names none.
STRENGTH: Final = 0.6
OUTPAINT_STRENGTH: Final = 0.9


def resolve(
    request: GenerationRequest,
    *,
    catalog: Catalog,
    presets: Presets,
    rng: random.Random | None = None,
    max_pixels: int = 40_000_000,
) -> ResolvedRequest:
    """Leave nothing open: model, sampler, size, seed, full prompts. A resolved request comes back as it is.

    `max_pixels` bounds the input pictures and what outpainting makes of them. They come out as plain PNGs: turned
    upright, without metadata; the mask in grey.

    Raises:
        BadRequest: an empty prompt or mask, a mask, margins or rounds without a picture, an unknown sampler, schedule
            type or style, what the model cannot do, or more pixels than a job may draw.
        NotFound, ModelError: no such model, or one that cannot be used.
        TooLarge, UnreadablePicture: an input picture.
    """
    if isinstance(request, ResolvedRequest):
        return request
    if request.init is None and not prompt.without_comments(request.prompt).strip():
        raise BadRequest("The prompt is empty; describe the picture you would like to see.")
    model = catalog.find(request.model)
    if reason := abilities.refusal(request, model):
        raise BadRequest(reason)
    sampler, scheduler = _sampling(request, model)
    _check_parts(request)
    source = None if request.init is None else image.decode(request.init.data, max_pixels)
    mask = None if request.mask is None else image.decode_mask(request.mask.data, max_pixels)
    outpaint = request.outpaint or None
    resize = request.resize or ("crop" if mask is None and outpaint is None else "keep")
    family = families.known(model.family)
    width, height = (
        family.side(side) for side in _size(request, model.defaults, _canvas(source, outpaint, max_pixels))
    )
    _check_pixels(width * height * request.loops, request)
    seed = request.seed
    if seed is None:
        seed = (rng or secrets.SystemRandom()).randrange(RANDOM_SEED_END)
    wordings = _wordings(request, seed, model, catalog, presets)
    settled = {
        "model": model.key,
        "sampler": sampler,
        "scheduler": scheduler,
        "steps": model.defaults.steps if request.steps is None else request.steps,
        "guidance": model.defaults.guidance if request.guidance is None else request.guidance,
        "width": width,
        "height": height,
        "seed": seed,
        "strength": _strength(request, outpaint),
        "resize": resize,
        "init": source and Picture.from_bytes(image.png(source)),
        "mask": mask and Picture.from_bytes(image.png(mask)),
        "vae": _vae(request.vae, model, catalog),
        "controls": control_plan.settled(request.controls, model, catalog, max_pixels),
        "outpaint": outpaint,
        "full_prompt": wordings[0].prompt,
        "full_negative": wordings[0].negative,
        "full_loras": wordings[0].loras,
        "wordings": wordings if len(set(wordings)) > 1 else (),
    }
    resolved = ResolvedRequest.model_validate({**dict(request), **settled})
    if source and mask and not outpaint and canvas.painted(resolved, source.size, mask).getbbox() is None:
        raise BadRequest(_nothing_masked(request))
    return resolved


def expand(resolved: ResolvedRequest) -> tuple[ResolvedRequest, ...]:
    """One request for each picture of the job; seeds count up from the first and wrap at 2**64."""
    pictures = []
    for index in range(resolved.count):
        own: dict[str, object] = {"count": 1, "seed": (resolved.seed + index) % SEED_END, "wordings": ()}
        if resolved.wordings:
            words = resolved.wordings[index]
            own |= {"full_prompt": words.prompt, "full_negative": words.negative, "full_loras": words.loras}
        pictures.append(resolved.model_copy(update=own))
    return tuple(pictures)


def _wordings(
    request: GenerationRequest, seed: int, model: ModelSpec, catalog: Catalog, presets: Presets
) -> tuple[Wording, ...]:
    """What each picture's model is given: comments gone, styles laid around, wildcards settled by its own seed."""
    template = presets.apply(
        prompt.without_comments(request.prompt), prompt.without_comments(request.negative), request.styles
    )
    chance = presets.wildcards
    wordings = []
    for number in ((seed + index) % SEED_END for index in range(request.count)):
        text, tagged = prompt.extract_loras(chance.resolve(template[0], number))
        negative, misplaced = prompt.extract_loras(chance.resolve(template[1], f"{number} negative"))
        if misplaced:
            raise BadRequest("LoRAs belong in the prompt; take the <lora:…> tags out of the negative prompt.")
        wordings.append(
            Wording(prompt=text, negative=negative, loras=_loras((*request.loras, *tagged), model, catalog))
        )
    return tuple(wordings)


def _vae(name: str | None, model: ModelSpec, catalog: Catalog) -> str | None:
    """By its key."""
    if not name:
        return None
    vae = catalog.vae(name)
    family = families.known(model.family)
    if vae.families and family is not families.UNKNOWN and not recognise.fits(vae.families, model.family):
        raise BadRequest(
            f"The VAE “{vae.title}” is not made for models of {family.title} such as {model.title}; "
            "choose another one, or none."
        )
    return vae.key


def _loras(uses: tuple[LoraUse, ...], model: ModelSpec, catalog: Catalog) -> tuple[LoraUse, ...]:
    """By their keys, without those that do nothing. Whether one really fits is told when it is laid over the model."""
    if len(uses) > MAX_LORAS:
        raise BadRequest(f"{len(uses)} LoRAs are more than the {MAX_LORAS} there may be; remove some.")
    settled = []
    for use in uses:
        lora = catalog.lora(use.name)
        family = families.known(model.family)
        if lora.families and family is not families.UNKNOWN and not recognise.fits(lora.families, model.family):
            raise BadRequest(
                f"The LoRA “{lora.title}” is for {families.known(lora.family).title}, and {model.title} is a model of "
                f"{family.title}; choose a LoRA and a model that belong together."
            )
        settled.append(use.model_copy(update={"name": lora.key}))
    return tuple(use for use in settled if not use.idle)


def _sampling(request: GenerationRequest, model: ModelSpec) -> tuple[str, str]:
    sampler = samplers.ours(request.sampler or model.defaults.sampler)
    scheduler = samplers.ours(request.scheduler or model.defaults.scheduler)
    flow = families.known(model.family).flow
    known = samplers.table(flow=flow).get(sampler)
    if not request.scheduler and known is not None and scheduler not in known.schedules:
        scheduler = samplers.AUTOMATIC  # the artist chose only the sampler; the model's schedule does not suit it
    samplers.check(sampler, scheduler, flow=flow)
    if model.family in abilities.OWN_SAMPLER:
        samplers.check_own(sampler, scheduler)
    return sampler, scheduler


def _check_parts(request: GenerationRequest) -> None:
    if request.init is not None:
        if request.outpaint and request.resize not in (None, "keep"):
            raise BadRequest("Outpainting keeps the picture as it is; set resize to keep, or leave out the margins.")
        return
    for wanted, what in (
        (request.mask is not None, "A mask needs a picture to lie on"),
        (bool(request.outpaint), "Outpainting needs a picture to extend"),
        (request.loops > 1, "Several rounds need a picture to start from"),
    ):
        if wanted:
            raise BadRequest(f"{what}; add one as init.")


def _check_pixels(pixels: int, request: GenerationRequest) -> None:
    if pixels * request.count <= PIXEL_BUDGET:
        return
    if pixels > PIXEL_BUDGET:
        raise BadRequest("So many rounds at this size are more than one job may draw; choose fewer, or a smaller size.")
    raise BadRequest(
        f"{request.count} pictures of this size are more than one job may draw; "
        f"ask for {PIXEL_BUDGET // pixels} or fewer, or for a smaller size."
    )


def _strength(request: GenerationRequest, outpaint: Outpaint | None) -> float:
    if request.strength is not None:
        return request.strength
    return STRENGTH if outpaint is None else OUTPAINT_STRENGTH


def _canvas(source: Image.Image | None, outpaint: Outpaint | None, max_pixels: int) -> Size | None:
    if source is None or outpaint is None:
        return source.size if source else None
    size, _ = geometry.extended(source.size, outpaint)
    if size[0] * size[1] > max_pixels:
        raise BadRequest(
            f"With these margins the picture would be {size[0]} × {size[1]} pixels; "
            f"choose smaller ones: {max_pixels / 1e6:g} million pixels are the most there can be."
        )
    return size


def _nothing_masked(request: GenerationRequest) -> str:
    if request.inpaint.invert:
        return "The inverted mask is empty; leave something unpainted, or do not invert it."
    return "Nothing of the mask is left to repaint; paint what should change, or choose another way to resize."


def _size(request: GenerationRequest, defaults: Defaults, init: Size | None) -> Size:
    """Width and height in pixels. With an input picture, what is left open follows its proportions.

    Its own size is kept up to four times the pixels the model was made for: beyond that models repeat their subject.
    Only the surroundings of a mask are drawn at the size the model was made for.
    """
    if init is None or (request.inpaint.area == "masked" and (request.mask is not None or request.outpaint)):
        return request.width or defaults.width, request.height or defaults.height
    width, height = init
    if request.width is not None:
        scale = request.width / width
    elif request.height is not None:
        scale = request.height / height
    else:
        scale = min(1.0, math.sqrt(4 * defaults.width * defaults.height / (width * height)))
    return request.width or geometry.side(width * scale), request.height or geometry.side(height * scale)


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
        case "literal_error":
            return f"must be one of {str(limits['expected']).replace(chr(39), '')}, not {given}"
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
