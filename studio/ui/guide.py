"""What the picture is to follow: drawings, pictures and poses, as the browser hands them over at Generate.

The scripts in `assets/js/guide*.js` keep them, and send those that are switched on as units of the request.
"""

from __future__ import annotations

import re
from typing import Final

import gradio as gr
from pydantic import TypeAdapter, ValidationError

from studio import pose
from studio.errors import BadRequest
from studio.request import MAX_CONTROLS
from studio.ui import canvas
from studio.ui.widget import widget

#: What stands for the guides in an event until the browser fills them in.
PLACE: Final = f"{canvas.MARK}guides"
_Units: Final = TypeAdapter(list[dict[str, object]])
_LOST: Final = "The guides did not arrive as they were sent; please try once more."


def place() -> None:
    """The list of guides with what each can be told."""
    widget("guide", "panel", elem_id="guide-panel")


def surface(max_pixels: int) -> None:
    """Where they are drawn and posed."""
    figure = {"joints": pose.BODY, "limbs": pose.LIMBS, "colours": pose.COLOURS, "people": pose.MAX_PEOPLE}
    told = {"limits": canvas.limits(max_pixels), "figure": figure}
    widget("guide", "surface", data=told, elem_id="guide-surface")


def carrier() -> gr.Textbox:
    return gr.Textbox(PLACE, visible=False)


def read(sent: object) -> list[dict[str, object]]:
    """The units as a request takes them, not yet looked at more closely.

    Raises:
        BadRequest: the browser could not send them, or one is empty.
    """
    if sent in (None, "", PLACE):
        return []
    try:
        units = _Units.validate_json(sent if isinstance(sent, str) else "")
    except ValidationError as invalid:
        raise BadRequest(_LOST) from invalid
    if len(units) > MAX_CONTROLS:
        raise BadRequest(_LOST)
    for unit in units:
        unit.pop("place", None)
        problem = unit.pop("problem", None)
        if isinstance(problem, str) and problem:
            raise BadRequest(problem[:400])
    return units


def placed(sentence: str, sent: object) -> str:
    """A sentence about the n-th guide of those that were sent, with the number that it has on the page, where others
    may be switched off before it."""
    found = re.match(r"Guide (\d+): ", sentence)
    try:
        units = _Units.validate_json(sent if isinstance(sent, str) else "")
        place = units[int(found[1]) - 1]["place"] if found else None
    except (ValidationError, IndexError, KeyError):
        place = None
    return f"Guide {place}: {sentence[found.end() :]}" if found and isinstance(place, int) else sentence
