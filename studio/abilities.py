"""What can be asked of a model, told from its row in the table of families: the page shows that and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Final, Literal

from studio import families
from studio.family import Family, GuidanceKind, Task
from studio.request import GenerationRequest, ModelSpec
from studio.samplers import AUTOMATIC, Sampler, table

#: What a request starts from, as the rooms of the page are called.
Start = Literal["create", "image", "inpaint", "guide"]
_TASKS: Final[Mapping[Start, tuple[Task, ...]]] = {
    "create": ("text",),
    "image": ("picture", "edit"),
    "inpaint": ("mask",),
    "guide": ("control",),
}
#: What a model that lacks a task cannot do, and what helps besides another model.
CANNOT: Final[Mapping[Task, tuple[str, str]]] = {
    "text": ("draw from a text alone", "add a picture"),
    "picture": ("start from a picture", "remove the picture"),
    "mask": ("repaint part of a picture", "remove the mask and the margins"),
    "edit": ("edit a picture by instruction", "remove the picture"),
    "control": ("follow a guide", "remove the guides"),
    "control-picture": ("follow a guide when it starts from a picture", "remove one of the two"),
    "control-mask": ("follow a guide while it repaints", "remove one of the two"),
}
#: Families whose text encoder can be read at an earlier layer.
_CLIP: Final = ("mini", "sd15", "sd2", "sdxl", "sdxl-refiner")
#: Samplers of models that bring one of their own, which nothing can take the place of.
OWN_SAMPLER: Final = {"sana-sprint": {"Euler": Sampler("SCMScheduler", schedules=(AUTOMATIC,))}}


@dataclass(frozen=True, slots=True)
class Abilities:
    """`guidance` says what its scale does, `sizes` (width, height) what it was trained on, `kin` whose LoRAs it takes
    ("": nobody knows). `reads`: a picture is looked at rather than drawn upon, so that a strength means nothing.
    `cannot`: a sentence for each start it refuses. `schedules`: those each of its samplers can follow."""

    family: str
    kin: str
    title: str
    guidance: GuidanceKind
    negative: bool
    lora: bool
    controlnet: bool
    clip_skip: bool
    reads: bool
    schedules: Mapping[str, tuple[str, ...]]
    sizes: tuple[tuple[int, int], ...]
    multiple: int
    cannot: Mapping[str, str]


def of(model: ModelSpec) -> Abilities:
    family = families.known(model.family)
    return _of(family.key, family.variant(f"{model.title} {model.path.stem}").guidance)


@lru_cache(256)
def _of(key: str, guidance: GuidanceKind) -> Abilities:
    family = families.known(key)
    untold = family is families.UNKNOWN
    # A name is all that tells these few steps apart; a U-Net can be guided whatever it is called.
    kind: GuidanceKind = "cfg" if guidance == "none" and not family.flow else guidance
    return Abilities(
        family=family.key,
        kin="" if untold else family.related,
        title=family.title,
        guidance=kind,
        negative=(family.negative or untold) and kind == "cfg",
        lora=family.lora or untold,
        controlnet=family.controlnet,
        clip_skip=family.key in _CLIP,
        reads=family.edit and not family.picture,
        schedules={name: row.schedules for name, row in samplers_of(family).items()},
        sizes=family.sizes,
        multiple=family.multiple,
        cannot=_cannot(family),
    )


def samplers_of(family: Family) -> Mapping[str, Sampler]:
    return OWN_SAMPLER.get(family.key) or table(flow=family.flow)


def _cannot(family: Family) -> dict[str, str]:
    # What only fills can fill everything; what nobody described is tried.
    free = family is families.UNKNOWN or tuple(family.pipelines) == ("mask",)
    return {
        start: f"This model cannot {CANNOT[tasks[0]][0]}; choose another one."
        for start, tasks in _TASKS.items()
        if not any(task in family.pipelines for task in tasks) and not (free and start != "guide")
    }


def refusal(request: GenerationRequest, model: ModelSpec) -> str:
    """Why this model cannot do what is asked, in one sentence; "" if it can."""
    masked = request.mask is not None or bool(request.outpaint)
    start: Start = "create" if request.init is None else "inpaint" if masked else "image"
    return cannot(model.title, _TASKS[start][0]) if start in of(model).cannot else ""


def cannot(title: str, task: Task) -> str:
    what, helps = CANNOT[task]
    return f"{title} cannot {what}; {helps}, or choose another model."


def told(models: Iterable[ModelSpec], terms: Callable[[ModelSpec], str]) -> dict[str, dict[str, object]]:
    """For the scripts: what each model likes and may be used for (`terms`), and what it can do, which many share."""
    likes: dict[str, object] = {}
    shared: dict[str, object] = {}
    for model in models:
        can = of(model)
        name = f"{can.family} {can.guidance}"
        shared[name] = asdict(can)
        likes[model.key] = {**asdict(model.defaults), "can": name, "terms": terms(model)}
    return {"defaults": likes, "abilities": shared}
