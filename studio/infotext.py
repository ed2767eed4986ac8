"""The `parameters` text of a picture, as AUTOMATIC1111 v1.10 lays it out, so that other tools can read ours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

import studio
from studio import control, samplers
from studio.prompt import lora_tag
from studio.request import MAX_LOOPS, MAX_MARGIN, GenerationResult, ResolvedRequest
from studio.samplers import AUTOMATIC, SAMPLERS, SCHEDULES

PROMPT: Final = "Prompt"
NEGATIVE: Final = "Negative prompt"

_KEY = re.compile(r"\w[\w \-/]{0,99}")
# The two alternatives exclude each other, so no input makes this slower than linear.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_FEWEST_PAIRS = 3
_LONGEST_NAME: Final = 400

#: A1111's words for ours. `Resize mode`, `Outpaint` and the rounds are not in its texts; the words are its page's.
_RESIZE: Final = {
    "stretch": "Just resize",
    "crop": "Crop and resize",
    "fill": "Resize and fill",
    "keep": "Keep size",
}
_START: Final = {"original": "original", "blur": "fill", "noise": "latent noise", "nothing": "latent nothing"}
_AREA: Final = {"whole": "Whole picture", "masked": "Only masked"}
_MODE: Final = {False: "Inpaint masked", True: "Inpaint not masked"}
_SIDES: Final = ("left", "top", "right", "bottom")


def write(result: GenerationResult, title: str, licence: str = "") -> str:
    """The text for `result`; `title` names its model, `licence` what that may be used for.

    The negative line is always there, even when empty: ComfyUI reads nothing without it. A line of the prompt that
    itself starts with `Negative prompt:` reads back as the negative one; the exact request is kept beside this text.
    """
    request = result.request
    pairs: dict[str, object] = {
        "Steps": request.steps,
        "Sampler": request.sampler,
        "Schedule type": request.scheduler,
        "CFG scale": _number(request.guidance),
        "Seed": request.seed,
        "Size": f"{result.width}x{result.height}",
        "Model hash": result.model_digest,
        "Model": title,
        "Model licence": licence,
        "VAE": request.vae or "",
        "Denoising strength": _number(request.strength) if request.init else "",
        "Clip skip": request.clip_skip if request.clip_skip > 1 else "",
        # Noise is made on the CPU whatever the device; left out, A1111 would take it for that of its card.
        "RNG": "CPU",
        **(_from_picture(request) if request.init else {}),
        **{
            f"ControlNet {number}": control.told(unit)
            for number, unit in enumerate(unit for unit in request.controls if not unit.idle)
        },
        # As the Dynamic Prompts extension tells what was left to chance.
        "Template": request.prompt if _is_template(request.prompt) else "",
        "Negative Template": request.negative if _is_template(request.negative) else "",
        "Lora hashes": ", ".join(f"{_stem(lora.name)}: {lora.digest}" for lora in result.loras),
        "Lora layers": ", ".join(f"{_stem(lora.name)}: {lora.found}" for lora in result.loras),
        "TI hashes": ", ".join(f"{name}: {digest}" for name, digest in result.embeddings),
        "Notes": " ".join(result.notes),
        "Version": f"Pochade v{studio.__version__}",
    }
    settings = ", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items() if value != "")
    tags = [lora_tag(use.model_copy(update={"name": _stem(use.name)})) for use in request.full_loras]
    prompt = " ".join((request.full_prompt.removesuffix(" "), *tags)) if tags else request.full_prompt
    return f"{prompt}\n{NEGATIVE}: {request.full_negative}\n{settings}"


def _is_template(prompt: str) -> bool:
    return "{" in prompt or "__" in prompt


def _stem(key: str) -> str:
    """A1111 calls a LoRA by its file's name alone."""
    return key.rpartition("/")[2].removesuffix(".safetensors")


def _from_picture(request: ResolvedRequest) -> dict[str, object]:
    pairs: dict[str, object] = {"Resize mode": _RESIZE[request.resize]}
    if request.loops > 1:
        pairs |= {"Loops": request.loops, "Loop decay": _number(request.loop_decay)}
    if request.mask or request.outpaint:
        inpaint = request.inpaint
        pairs |= {
            "Mask blur": inpaint.mask_blur,
            "Mask mode": _MODE[inpaint.invert],
            "Masked content": _START[inpaint.start],
            "Inpaint area": _AREA[inpaint.area],
            "Masked area padding": inpaint.padding if inpaint.area == "masked" else "",
            "Soft inpainting enabled": "True" if inpaint.soft else "",
            "Match colours": "" if inpaint.match_colour else "False",
        }
    if request.outpaint:
        pairs["Outpaint"] = " ".join(f"{side} {getattr(request.outpaint, side)}" for side in _SIDES)
    return pairs


def parse(text: str) -> dict[str, str]:
    """`Prompt`, `Negative prompt` and every pair of the last line, as strings. Takes time linear in the text.

    A text whose last line holds fewer than three pairs is all prompt.
    """
    text = text.replace("\r\n", "\n")
    above, _, last = text.rpartition("\n")
    pairs = _pairs(last)
    if len(pairs) < _FEWEST_PAIRS:
        above, pairs = text, {}
    mark = f"\n{NEGATIVE}:"
    prompt, _, negative = f"\n{above}".partition(mark)
    prompt, negative = prompt.removeprefix("\n"), negative.removeprefix(" ")
    return {**pairs, PROMPT: prompt, NEGATIVE: negative}


def as_settings(fields: dict[str, str]) -> dict[str, object]:
    """What `parse` read, in the field names of a `GenerationRequest`; what is absent or unreadable is left out.

    The sampler's old names ("DPM++ 2M Karras") fall apart into sampler and schedule type.
    """
    found: dict[str, object] = {"prompt": fields.get(PROMPT, ""), "negative": fields.get(NEGATIVE, "")}
    sampler, scheduler = samplers.ours(fields.get("Sampler", "")), samplers.ours(fields.get("Schedule type", ""))
    for schedule in SCHEDULES:
        known = samplers.ours(sampler.removesuffix(f" {schedule}"))
        if not scheduler and known in SAMPLERS and sampler.endswith(f" {schedule}"):
            sampler, scheduler = known, schedule
    if sampler in SAMPLERS:
        found["sampler"] = sampler
        found["scheduler"] = scheduler if scheduler in SAMPLERS[sampler].schedules else AUTOMATIC
    for key, name in (("Steps", "steps"), ("Seed", "seed")):
        if (value := fields.get(key, "")).isdecimal():
            found[name] = int(value[:20])
    for key, name in (("CFG scale", "guidance"), ("Denoising strength", "strength")):
        if re.fullmatch(r"\d{1,9}(\.\d{1,18})?", value := fields.get(key, "")):
            found[name] = float(value)
    if size := re.fullmatch(r"(\d{1,5})x(\d{1,5})", fields.get("Size", "")):
        found["width"], found["height"] = int(size[1]), int(size[2])
    if re.fullmatch(r"[1-9]|1[0-2]", skip := fields.get("Clip skip", "")):
        found["clip_skip"] = int(skip)
    # A1111 names none where the model's own decodes.
    if (vae := fields.get("VAE", "").strip()) and vae not in ("None", "Automatic") and len(vae) <= _LONGEST_NAME:
        found["vae"] = vae
    found |= _picture_settings(fields)
    return found


def effects(text: str) -> tuple[str, ...]:
    """What LoRAs did to the model and what it could not follow, a sentence each, from the text of a picture."""
    fields = parse(text)
    layers = fields.get("Lora layers", "")
    worn = tuple(f"The LoRA {name} changed {found}." for name, found in re.findall(r"([^:, ][^:]*): ([^,]+)", layers))
    return (*worn, *((fields["Notes"],) if fields.get("Notes") else ()))


def _picture_settings(fields: dict[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    if (resize := _ours(_RESIZE, fields.get("Resize mode"))) is not None:
        found["resize"] = resize
    if re.fullmatch("[1-9]", loops := fields.get("Loops", "")) and int(loops) <= MAX_LOOPS:
        found["loops"] = int(loops)
    if re.fullmatch(r"1|0?\.\d{1,18}", decay := fields.get("Loop decay", "")) and float(decay) > 0:
        found["loop_decay"] = float(decay)
    inpaint: dict[str, object] = {}
    for key, name, words in (
        ("Mask mode", "invert", _MODE),
        ("Masked content", "start", _START),
        ("Inpaint area", "area", _AREA),
    ):
        if (value := _ours(words, fields.get(key))) is not None:
            inpaint[name] = value
    for key, name, most in (("Mask blur", "mask_blur", 64), ("Masked area padding", "padding", 1024)):
        if re.fullmatch(r"\d{1,4}", value := fields.get(key, "")):
            inpaint[name] = min(int(value), most)
    for key, name in (("Soft inpainting enabled", "soft"), ("Match colours", "match_colour")):
        if (value := fields.get(key, "")) in ("True", "False"):
            inpaint[name] = value == "True"
    if inpaint:
        found["inpaint"] = inpaint
    margins = " ".join(rf"{side} (\d{{1,4}})" for side in _SIDES)
    if given := re.fullmatch(margins, fields.get("Outpaint", "")):
        found["outpaint"] = {
            side: min(int(pixels), MAX_MARGIN) for side, pixels in zip(_SIDES, given.groups(), strict=True)
        }
    return found


def _ours(words: Mapping[str, str] | Mapping[bool, str], theirs: str | None) -> str | bool | None:
    return next((ours for ours, word in words.items() if word == theirs), None)


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _quoted(value: str) -> str:
    # Beyond A1111's own rule (comma, colon, line break): a value that would not come back as it was.
    if any(c in value for c in ",:\n") or value.startswith('"') or value != value.strip():
        return json.dumps(value, ensure_ascii=False)
    return value


def _pairs(line: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while (colon := line.find(":", at)) >= 0:
        key = line[at:colon].rpartition(",")[2].strip()
        at = colon + 1
        if _KEY.fullmatch(key):
            while line[at : at + 1] == " ":
                at += 1
            quoted = _QUOTED.match(line, at)
            if quoted and line[quoted.end() : quoted.end() + 1] in ("", ","):
                end, found[key] = quoted.end(), _unquoted(quoted[0])
            else:
                comma = line.find(",", at)
                end = comma if comma >= 0 else len(line)
                found[key] = line[at:end].rstrip()
            at = end + 1
    return found


def _unquoted(text: str) -> str:
    try:
        # `\\ud800` alone is JSON, yet no text that can be stored.
        return str(json.loads(text)).encode("utf-8", "ignore").decode()
    except ValueError:
        return text
