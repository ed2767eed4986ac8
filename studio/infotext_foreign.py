"""What other programs write into their pictures → settings of ours. All of it is text of strangers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from studio import comfy_graph, infotext
from studio.foreign_values import (
    SHOWN,
    clean,
    clip_skip,
    listed,
    mapping,
    plain,
    renamed,
    rest,
    sampling,
    unpacked,
    whole,
)
from studio.prompt import lora_tag
from studio.request import INPUTS, MAX_PROMPT, GenerationRequest, LoraUse

#: Characters of a text that are looked at.
_LONGEST: Final = 8_000_000
_MOST_OTHERS: Final = 200


@dataclass(frozen=True, slots=True)
class Found:
    """`settings` in the field names of a `GenerationRequest`, each of them valid; `model` and `model_hash` as the other
    program called it; `loras` by name, which the prompt's tags use too; `others`: what was there and has no place here.
    """

    program: str
    settings: dict[str, Any]
    model: str = ""
    model_hash: str = ""
    loras: tuple[str, ...] = ()
    others: dict[str, str] = field(default_factory=dict)


def read(texts: Mapping[str, str]) -> Found | None:
    """The settings in the texts of a picture; None where there are none. Never fails, whatever they hold."""
    for key, reader in _READERS:
        text = texts.get(key, "")[:_LONGEST]
        if not text.strip():
            continue
        value = unpacked(text.removeprefix("prompt:").removeprefix("workflow:"))
        found = reader(text, value, texts)
        if found is not None:
            return found
    return None


def _a1111(text: str, value: object, _texts: Mapping[str, str]) -> Found | None:
    if isinstance(value, dict):
        return None
    fields = infotext.parse(text[: 8 * MAX_PROMPT])
    if len(fields) == 2:
        # Nothing but a prompt, or a comment that is none.
        return None
    version = fields.get("Version", "")
    program = next((name for mark, name in _PROGRAMS if mark in version or mark == fields.get("App")), "AUTOMATIC1111")
    said = infotext.as_settings(fields)
    others = {name: shown for name, shown in fields.items() if name not in _KNOWN}
    if "sampler" not in said and "Sampler" in fields:
        others["Sampler"] = fields["Sampler"]
    return _found(program, said, fields.get("Model", ""), fields.get("Model hash", ""), others)


def _pochade(_text: str, value: object, _texts: Mapping[str, str]) -> Found | None:
    """Our own text says everything; input pictures are left out, being only named there."""
    request = value.get("request") if isinstance(value, dict) else None
    if not isinstance(request, dict):
        return None
    asked = {name: request[name] for name in GenerationRequest.model_fields if name in request}
    pictures = {name: asked.pop(name) for name in INPUTS if asked.get(name)}
    if "controls" in asked:
        units = [mapping(unit) for unit in listed(asked["controls"])]
        pictures |= {f"control{n}": unit["image"] for n, unit in enumerate(units, 1) if unit.get("image")}
        asked["controls"] = [unit for unit in units if unit.get("pose")]
    others = {name: f"a picture kept in its gallery ({str(reference)[:20]}…)" for name, reference in pictures.items()}
    if "init" in pictures:  # without it they mean nothing, and would be refused
        others |= {name: plain(asked.pop(name)) for name in ("outpaint", "loops") if asked.get(name) not in (None, 1)}
    assert isinstance(value, dict)
    return _found("Pochade", asked, str(asked.pop("model", "") or ""), str(value.get("digest", "")), others)


def _fooocus(_text: str, value: object, _texts: Mapping[str, str]) -> Found | None:
    if not isinstance(value, dict) or "Fooocus" not in str(value.get("version", value.get("metadata_scheme", ""))):
        return None
    said = renamed(
        value, prompt="prompt", negative_prompt="negative", steps="steps", guidance_scale="guidance", seed="seed"
    )
    size = re.fullmatch(r"\(?(\d{1,5}), ?(\d{1,5})\)?", str(value.get("resolution", "")))
    if size:
        said |= {"width": size[1], "height": size[2]}
    said |= sampling(value.get("sampler"), value.get("scheduler")) | clip_skip(value.get("clip_skip"))
    loras = [
        (entry[0], entry[1]) for entry in listed(value.get("loras")) if isinstance(entry, list) and len(entry) >= 2
    ]
    known = ("resolution", "sampler", "scheduler", "loras", "base_model", "base_model_hash", *_RENAMED)
    others = rest(value, *known, *(name for name in value if name.startswith("lora_combined_")))
    model = str(value.get("base_model", ""))
    return _found("Fooocus", said, model, str(value.get("base_model_hash", "")), others, loras)


def _invoke(_text: str, value: object, _texts: Mapping[str, str]) -> Found | None:
    if not isinstance(value, dict) or not {"positive_prompt", "generation_mode", "app_version"} & value.keys():
        return None
    said = renamed(
        value,
        positive_prompt="prompt",
        negative_prompt="negative",
        steps="steps",
        cfg_scale="guidance",
        guidance="guidance",
        seed="seed",
        width="width",
        height="height",
    )
    if "img2img" in str(value.get("generation_mode")):
        said |= renamed(value, strength="strength")
    said |= sampling(value.get("scheduler"), None)
    if isinstance(skip := value.get("clip_skip"), int):  # they count the layers left out
        said |= clip_skip(skip + 1)
    model = mapping(value.get("model"))
    loras = []
    for entry in listed(value.get("loras")):
        named = mapping(mapping(entry).get("model")) or mapping(mapping(entry).get("lora"))
        loras.append((named.get("name") or named.get("model_name"), mapping(entry).get("weight")))
    others = rest(value, "positive_prompt", "cfg_scale", "model", "loras", "scheduler", "guidance", *_RENAMED)
    name = str(model.get("name") or model.get("model_name") or "")
    return _found("InvokeAI", said, name, str(model.get("hash") or ""), others, loras)


def _invoke_old(_text: str, value: object, _texts: Mapping[str, str]) -> Found | None:
    """InvokeAI before version 3."""
    image = mapping(mapping(value).get("image"))
    if not isinstance(value, dict) or not image:
        return None
    said = renamed(image, steps="steps", cfg_scale="guidance", seed="seed", width="width", height="height")
    prompt = image.get("prompt")
    words = prompt if isinstance(prompt, str) else ", ".join(str(mapping(p).get("prompt", "")) for p in listed(prompt))
    # What stands in square brackets was the negative prompt.
    said["negative"] = ", ".join(re.findall(r"\[([^\[\]]{0,2000})\]", words[:MAX_PROMPT]))
    said["prompt"] = re.sub(r"\[[^\[\]]{0,2000}\]", "", words[:MAX_PROMPT]).strip()
    sampler = str(image.get("sampler", "")).removeprefix("k_")
    others = rest(image, "prompt", "sampler", *_RENAMED)
    model = str(value.get("model_weights", ""))
    return _found("InvokeAI", said | sampling(sampler, None), model, str(value.get("model_hash", "")), others)


def _comfy(_text: str, value: object, texts: Mapping[str, str]) -> Found | None:
    told = comfy_graph.read(value)
    if told is None:
        return None
    values = told.values
    said = renamed(values, steps="steps", seed="seed", width="width", height="height", cfg="guidance")
    if "guidance" in values:  # FluxGuidance, beside which the other is 1
        said |= renamed(values, guidance="guidance")
    said |= {"prompt": told.positive, "negative": told.negative}
    said |= sampling(values.get("sampler"), values.get("scheduler"))
    if isinstance(denoise := values.get("denoise"), int | float) and denoise < 1:
        said["strength"] = denoise
    if isinstance(skip := values.get("clip_skip"), int):
        said |= clip_skip(-skip)
    loras = [(name, weight) for name, weight, _ in told.loras]
    others = rest(values, "model", *_RENAMED, *(_WHOLE if said.get("sampler") else ()))
    return _found("ComfyUI", said, str(values.get("model", "")), "", others, loras)


Reader = Callable[[str, object, Mapping[str, str]], Found | None]
#: The keywords under which programs write, the most telling first.
_READERS: Final[tuple[tuple[str, Reader], ...]] = (
    ("pochade", _pochade),
    ("invokeai_metadata", _invoke),
    ("sd-metadata", _invoke_old),
    ("parameters", _fooocus),
    ("UserComment", _fooocus),
    ("parameters", _a1111),
    ("UserComment", _a1111),
    ("prompt", _comfy),
    ("workflow", _comfy),
    ("Model", _comfy),
    ("Make", _comfy),
    ("ImageDescription", _comfy),
    ("UserComment", _comfy),
    ("comment", _a1111),
    ("ImageDescription", _a1111),
)
_PROGRAMS: Final = (
    ("Pochade", "Pochade"),
    ("Fooocus", "Fooocus"),
    ("SD.Next", "SD.Next"),
    ("ComfyUI", "ComfyUI"),
    ("f2.0", "Forge"),
    ("f1.", "Forge"),
    ("neo", "Forge"),
)
#: What `infotext.as_settings` reads, and what is shown by itself.
_KNOWN: Final = {
    *("Prompt", "Negative prompt", "Steps", "Schedule type", "CFG scale", "Seed", "Size", "Denoising strength"),
    *("Resize mode", "Loops", "Loop decay", "Mask blur", "Mask mode", "Masked content", "Inpaint area", "Outpaint"),
    *("Masked area padding", "Soft inpainting enabled", "Match colours", "Clip skip", "Model", "Model hash", "Sampler"),
    "VAE",
}
#: Fields that several programs call alike and that `_renamed` or `_clip_skip` read.
_RENAMED: Final = ("prompt", "negative_prompt", "steps", "seed", "width", "height", "guidance_scale", "clip_skip")
_WHOLE: Final = ("cfg", "guidance", "sampler", "scheduler", "denoise")


def _found(
    program: str,
    said: dict[str, Any],
    model: str,
    model_hash: str,
    others: Mapping[str, str],
    loras: Sequence[tuple[object, object]] = (),
) -> Found:
    """With only what a request may say; what it may not is told with the others."""
    settings = {name: clean(value, MAX_PROMPT) if isinstance(value, str) else value for name, value in said.items()}
    settings = {name: value for name, value in settings.items() if value is not None}
    unusable: dict[str, str] = {}
    for side in ("width", "height"):
        if (number := whole(settings.get(side))) is not None:
            settings[side] = min(max(round(number / 8) * 8, 64), 4096)
    tags = []
    for name, weight in loras:
        try:
            stem = re.split(r"[\\/]", str(name))[-1].removesuffix(".safetensors")
            tags.append(LoraUse(name=stem, weight=float(str(weight))))
        except ValueError:
            unusable["LoRA"] = plain(name)
    if tags:
        settings["prompt"] = " ".join([str(settings.get("prompt", "")), *map(lora_tag, tags)])
    while True:
        try:
            request = GenerationRequest.model_validate(settings)
            break
        except ValidationError as invalid:
            for fault in invalid.errors(include_url=False):
                name = str(fault["loc"][0])
                unusable[name] = plain(settings.pop(name, ""))
    valid = request.model_dump(include=set(settings), mode="json")
    names = re.findall(r"<(?:lora|lyco):([^:<>]{1,400})", str(settings.get("prompt", "")))
    names += [str(use["name"]) for use in valid.get("loras", ())]
    told = {clean(name, 100): plain(value) for name, value in list(others.items())[:_MOST_OTHERS]}
    short_model = re.split(r"[\\/]", model)[-1].removesuffix(".safetensors")
    return Found(
        program,
        valid,
        clean(short_model, SHOWN),
        clean(model_hash, 80),
        tuple(dict.fromkeys(names)),
        told | unusable,
    )
