"""Which ControlNet follows which maps: told by its name, by what it says of itself, or by its tensors. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from studio.annotators import ANNOTATORS, Kind, find
from studio.request import ControlUnit
from studio.specs import ControlNetSpec

#: Words in the names of ControlNets, the more particular first → what their maps show.
_NAMES: Final[tuple[tuple[str, Kind], ...]] = (
    ("openpose|pose|dwpose|densepose|mediapipe", "pose"),
    ("scribble|sketch|doodle", "scribble"),
    ("canny", "canny"),
    ("anime|manga", "anime"),
    ("lineart|line|mistoline|anyline", "lineart"),
    ("hed|softedge|soft|pidi|teed", "softedge"),
    ("mlsd|hough|straight", "mlsd"),
    ("depth|midas|zoe", "depth"),
    ("normal|normalbae|bae", "normal"),
    ("seg|segmentation|sam", "segments"),
    ("tile|upscaler?", "tile"),
    ("blur", "blur"),
    ("gr[ae]y|recolor|colou?r", "grey"),
    ("shuffle", "shuffle"),
)
#: Maps that a ControlNet understands besides its own kind: all of them are lines on black.
_KIN: Final[Mapping[Kind, tuple[Kind, ...]]] = {
    "scribble": ("softedge", "canny", "lineart"),
    "canny": ("lineart", "softedge", "scribble"),
    "lineart": ("anime", "canny", "softedge", "scribble"),
    "anime": ("lineart", "canny"),
    "softedge": ("lineart", "canny", "scribble"),
}
#: Told of an embedded or trained one by the `pochade.json` beside it.
_KINDS: Final[Mapping[str, Kind]] = {row.key: row.kind for row in ANNOTATORS.values()} | {"pose": "pose"}


def kind_of(unit: ControlUnit) -> Kind:
    """What its map shows; "" for a ready map, which does not say."""
    return "pose" if unit.pose is not None else find(unit.annotator).kind


_RESIZED: Final = {
    "stretch": "Just Resize",
    "crop": "Crop and Resize",
    "fill": "Resize and Fill",
    "keep": "Keep Size",
}
_MATTERS: Final = {
    "balanced": "Balanced",
    "prompt": "My prompt is more important",
    "control": "ControlNet is more important",
}


def told(unit: ControlUnit) -> str:
    """As the ControlNet extension of A1111 writes a unit into the text of a picture."""
    name = (unit.model or "").rpartition("/")[2].removesuffix(".safetensors")
    pairs: dict[str, object] = {
        "Module": "pose" if unit.pose is not None else unit.annotator,
        "Model": name,
        "Weight": unit.weight,
        "Resize Mode": _RESIZED[unit.resize],
    }
    if unit.annotator == "canny":
        canny = find("canny").settled(unit.parameters)
        pairs |= {"Threshold A": canny["low_threshold"], "Threshold B": canny["high_threshold"]}
    pairs |= {"Guidance Start": unit.start, "Guidance End": unit.end, "Control Mode": _MATTERS[unit.mode]}
    return ", ".join(
        f"{key}: {value:g}" if isinstance(value, float) else f"{key}: {value}" for key, value in pairs.items()
    )


def is_union(net: ControlNetSpec) -> bool:
    return net.content == "union"


def made_for(net: ControlNetSpec) -> tuple[Kind, ...]:
    """The kinds of map it follows; empty where nothing tells: it may be any."""
    if net.annotator:
        kind = _KINDS.get(net.annotator, "")
        return (kind,) if kind else ()
    if is_union(net):
        return tuple(dict.fromkeys(row.kind for row in ANNOTATORS.values() if row.kind))
    words = re.sub(r"[^a-z]+", " ", f"{net.title} {net.path.name}".casefold()).split()
    kinds = (kind for pattern, kind in _NAMES if any(re.fullmatch(pattern, word) for word in words))
    return tuple(dict.fromkeys(kinds))


def annotators_of(net: ControlNetSpec) -> tuple[str, ...]:
    """Keys of the annotators whose maps it follows."""
    kinds = made_for(net)
    return tuple(row.key for row in ANNOTATORS.values() if row.kind and (row.kind in kinds or not kinds))


def suiting(nets: tuple[ControlNetSpec, ...], kind: Kind) -> ControlNetSpec | None:
    """The one to follow maps of that kind: made for just it, then for its kin, then for all; any for a ready map."""
    if not kind:
        return nets[0] if nets else None
    single = [net for net in nets if not is_union(net)]
    wanted = [next((net for net in single if close in made_for(net)), None) for close in (kind, *_KIN.get(kind, ()))]
    exact, kin = wanted[0], next((net for net in wanted[1:] if net is not None), None)
    union = next((net for net in nets if is_union(net)), None)
    untold = next((net for net in single if not made_for(net)), None)
    return exact or union or kin or untold
