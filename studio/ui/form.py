"""The artist's controls, read into a request and filled from one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import gradio as gr
from pydantic import TypeAdapter, ValidationError

from studio import abilities, known, plan, samplers
from studio.abilities import Abilities
from studio.errors import BadRequest, StudioError
from studio.family import GuidanceKind
from studio.request import MAX_PROMPT, SEED_END, Defaults, GenerationRequest, ModelSpec
from studio.ui import worn

if TYPE_CHECKING:
    from gradio.components import Component

    from studio.catalog import Catalog
    from studio.gallery import Gallery
    from studio.jobs import Jobs
    from studio.known import Known
    from studio.presets import Presets, Style
    from studio.settings import Settings

#: In the words the embedded model was trained on; the first is already in the field on a first visit.
EXAMPLES: Final = (
    "a red sailboat on the sea at sunset, watercolor",
    "a white owl in the forest at night, ink drawing",
    "a yellow house in the hills with northern lights, oil painting",
    "a teal robot in the city in the fog, pixel art",
)
_SEED = re.compile(r"-?[0-9]{1,20}")
#: What the browser remembers by name: plain values, nothing that could be code.
_Saved: Final = TypeAdapter(dict[str, bool | str | float | list[str] | None])
_REMEMBERED_AT_MOST: Final = 200_000


@dataclass(frozen=True, slots=True)
class Studio:
    """Everything the page stands on."""

    jobs: Jobs
    catalog: Catalog
    presets: Presets
    gallery: Gallery
    settings: Settings
    well_known: Mapping[str, Known]


@dataclass(frozen=True, slots=True)
class Form:
    """The controls by the names of the request's fields."""

    prompt: gr.Textbox
    negative: gr.Textbox
    styles: gr.Dropdown
    model: gr.Dropdown
    width: gr.Number
    height: gr.Number
    count: gr.Slider
    seed: gr.Textbox
    sampler: gr.Dropdown
    scheduler: gr.Dropdown
    steps: gr.Slider
    guidance: gr.Slider
    clip_skip: gr.Slider
    vae: gr.Dropdown
    loras: gr.Textbox

    @property
    def components(self) -> list[Component]:
        return [getattr(self, field.name) for field in fields(self)]


NAMES: Final = tuple(field.name for field in fields(Form))
#: What a model has an opinion about.
OF_MODEL: Final = ("sampler", "scheduler", "steps", "guidance", "width", "height")


#: What the guidance scale is called, by what it does.
GUIDANCE: Final[Mapping[GuidanceKind, str]] = {
    "cfg": "Guidance scale",
    "embedded": "Guidance, distilled",
    "none": "Guidance scale",
}


def read(
    form: Form,
    values: Mapping[Component, object],
    parts: Mapping[str, object] | None = None,
    can: Abilities | None = None,
) -> GenerationRequest:
    """The request the controls ask for. An emptied control leaves its field to the model.

    `parts` are fields that come from elsewhere, in the place of what the controls say. What the model `can` not do is
    not asked of it, although its control, hidden on the page, still holds a value.

    Raises:
        BadRequest: a value no request may have, in one sentence.
    """
    given = {name: _encodable(values.get(getattr(form, name))) for name in NAMES}
    given["seed"] = read_seed(given["seed"])
    for name in ("width", "height", "steps", "count", "clip_skip"):
        given[name] = whole(given[name])
    given["loras"] = worn.read(given["loras"])
    if can is not None:
        given.update(dict.fromkeys(_unheard(can)))
    given.update(parts or {})
    asked = {name: value for name, value in given.items() if value not in (None, "", [], ())}
    try:
        return GenerationRequest.model_validate(asked)
    except ValidationError as invalid:
        raise BadRequest(plan.sentence(invalid)) from invalid


def _unheard(can: Abilities) -> list[str]:
    """The fields whose controls the page hides."""
    able = {"negative": can.negative, "guidance": can.guidance != "none", "clip_skip": can.clip_skip}
    return [name for name, heard in able.items() if not heard]


def read_seed(text: object) -> int | None:
    """Empty and -1 mean random.

    Raises:
        BadRequest: not a whole number from 0 to 2**64 - 1.
    """
    shown = str(text if text is not None else "").strip()
    if shown in ("", "-1"):
        return None
    if not _SEED.fullmatch(shown) or not 0 <= int(shown) < SEED_END:
        short = shown if len(shown) <= 40 else f"{shown[:40]}…"
        raise BadRequest(
            f"“{short}” cannot be a seed; write a whole number from 0 to {SEED_END - 1}, or leave it empty for chance."
        )
    return int(shown)


def _encodable(value: object) -> object:
    """Browsers may send half a surrogate pair, which no text can hold."""
    return value.encode("utf-8", "ignore").decode() if isinstance(value, str) else value


def whole(value: object) -> object:
    """Sliders and number fields hand over 512.0 for 512."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def fill(request: GenerationRequest, studio: Studio) -> dict[str, object]:
    """What each control shows for `request`, by field name."""
    asked = {name: getattr(request, name) for name in NAMES}
    return _settle({**asked, "loras": worn.write(request.loras, studio.catalog)}, studio)


def default_values(studio: Studio, model: str | None = None) -> dict[str, object]:
    """The form as a first visitor finds it, or as `model` likes it; an unknown model gives way to the default one."""
    spec = _found(studio, model)
    likes = spec.defaults
    return {
        "prompt": EXAMPLES[0],
        "negative": "",
        "styles": [],
        "model": spec.key,
        "count": 1,
        "seed": "",
        "clip_skip": 1,
        "vae": "",
        "loras": "",
        **{name: getattr(likes, name) for name in OF_MODEL},
    }


def remembered(saved: object) -> Mapping[str, object] | None:
    """What a browser remembered, by name; None if that is nothing or cannot be read."""
    if not isinstance(saved, str) or len(saved) > _REMEMBERED_AT_MOST:
        return None
    try:
        return _Saved.validate_json(saved)
    except ValidationError:
        return None


def restore(saved: Mapping[str, object] | None, studio: Studio) -> dict[str, object]:
    """What was remembered, as far as it still makes sense; otherwise the defaults."""
    return default_values(studio) if saved is None else _settle(saved, studio)


def _settle(wanted: Mapping[str, object], studio: Studio) -> dict[str, object]:
    """`wanted` by field name, with the defaults in the place of what is missing, invalid, or gone by now."""
    model = wanted.get("model")
    defaults = default_values(studio, model if isinstance(model, str) else None)
    shown = dict(defaults)
    for name in NAMES:
        value = whole(wanted.get(name))
        if name == "seed":
            shown[name] = _seed_text(value)
        elif name == "loras":
            shown[name] = worn.settle(value)
        elif name != "model" and value is not None and _is_valid(name, value):
            shown[name] = value
    known = {style.name for style in studio.presets.styles()}
    styles = shown["styles"]
    shown["styles"] = [name for name in styles if name in known] if isinstance(styles, list | tuple) else []
    if shown["vae"] not in {spec.key for spec in studio.catalog.vaes()}:
        shown["vae"] = ""
    can = able(studio, shown["model"])
    if shown["sampler"] not in can.schedules:
        shown["sampler"] = defaults["sampler"]
    if shown["scheduler"] not in can.schedules[str(shown["sampler"])]:
        shown["scheduler"] = samplers.AUTOMATIC
    return shown


def _seed_text(value: object) -> str:
    try:
        seed = read_seed(value)
    except BadRequest:
        return ""
    return "" if seed is None else str(seed)


def _is_valid(name: str, value: object) -> bool:
    try:
        GenerationRequest.model_validate({name: value})
    except ValidationError:
        return False
    return True


def able(studio: Studio, model: object) -> Abilities:
    """What `model` can do, or the default one in the place of an unknown one."""
    return abilities.of(_found(studio, str(model)))


def _found(studio: Studio, model: str | None) -> ModelSpec:
    try:
        return studio.catalog.find(model)
    except StudioError:
        return studio.catalog.find(None)


def follow_model(old: Defaults, new: Defaults, can: Abilities, shown: Mapping[str, object]) -> dict[str, object]:
    """What the controls show after a change of model: untouched values follow, the artist's own stay where the new
    model `can` follow them."""
    following = {}
    for name in OF_MODEL:
        untouched = shown[name] in (None, getattr(old, name))
        following[name] = getattr(new, name) if untouched else shown[name]
    if following["sampler"] not in can.schedules:
        following["sampler"], following["scheduler"] = new.sampler, new.scheduler
    if following["scheduler"] not in can.schedules[str(following["sampler"])]:
        following["scheduler"] = samplers.AUTOMATIC
    return following


def updates(shown: Mapping[str, object], defaults: Defaults, can: Abilities) -> list[object]:
    """One Gradio update for each control, in the order of `Form.components`."""
    answer: list[object] = []
    for name in NAMES:
        value = shown[name]
        if name == "sampler":
            answer.append(gr.update(value=value, choices=list(can.schedules)))
        elif name == "scheduler":
            answer.append(gr.update(value=value, choices=list(can.schedules[str(shown["sampler"])])))
        elif name == "guidance":
            answer.append(gr.update(value=value, label=GUIDANCE[can.guidance]))
        elif name in ("width", "height"):
            answer.append(gr.update(value=value, placeholder=str(getattr(defaults, name))))
        else:
            answer.append(value)
    return answer


def models(studio: Studio) -> list[tuple[str, str]]:
    """Titles and keys for the list of models; what has the same title as another shows its key."""
    there = studio.catalog.models()
    titles = Counter(spec.title for spec in there)
    return [(spec.title if titles[spec.title] == 1 else spec.key, spec.key) for spec in there]


def vaes(studio: Studio) -> list[tuple[str, str]]:
    """Titles and keys for the list of VAEs; the first is the model's own."""
    return [("The model’s own", ""), *((spec.title, spec.key) for spec in studio.catalog.vaes())]


def for_scripts(studio: Studio) -> dict[str, object]:
    """What the scripts need to know of the form."""
    styles: tuple[Style, ...] = studio.presets.styles()
    return {
        "names": NAMES,
        "examples": EXAMPLES,
        "longest": MAX_PROMPT,
        **known.told(studio.catalog, studio.well_known),
        "styles": {style.name: {"prompt": style.prompt, "negative": style.negative} for style in styles},
    }
