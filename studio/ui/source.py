"""What the Image and Inpaint rooms add to a request: a picture, how it is used, a mask, a frame around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Final, Literal

import gradio as gr
from PIL import Image
from pydantic import BaseModel, Field, ValidationError

from studio import geometry, image
from studio.errors import BadRequest
from studio.request import MAX_LOOPS, MAX_MARGIN, Area, Inpaint, Picture, Resize, ResolvedRequest, Start, Strength
from studio.ui.canvas import Sheet
from studio.ui.form import whole

if TYPE_CHECKING:
    from gradio.components import Component

Room = Literal["create", "image", "inpaint", "guide"]
_Side = Annotated[int, Field(ge=-MAX_MARGIN, le=MAX_MARGIN)]
SIDES: Final = ("left", "top", "right", "bottom")
_AS_USUAL: Final = Inpaint()


class Shown(BaseModel):
    """The values of the controls. The two strengths are two because what suits one room is too much in the other."""

    strength: Strength = 0.6
    resize: Resize = "keep"
    loops: int = Field(1, ge=1, le=MAX_LOOPS)
    loop_decay: float = Field(1.0, gt=0, le=1, allow_inf_nan=False)
    repaint: Strength = 0.9
    start: Start = _AS_USUAL.start
    area: Area = _AS_USUAL.area
    padding: int = Field(_AS_USUAL.padding, ge=0, le=1024)
    mask_blur: int = Field(_AS_USUAL.mask_blur, ge=0, le=64)
    soft: bool = _AS_USUAL.soft
    invert: bool = _AS_USUAL.invert
    match_colour: bool = _AS_USUAL.match_colour
    left: _Side = 0
    top: _Side = 0
    right: _Side = 0
    bottom: _Side = 0


@dataclass(frozen=True, slots=True)
class Source:
    """The controls by the names of `Shown`."""

    strength: gr.Slider
    resize: gr.Radio
    loops: gr.Slider
    loop_decay: gr.Slider
    repaint: gr.Slider
    start: gr.Radio
    area: gr.Radio
    padding: gr.Slider
    mask_blur: gr.Slider
    soft: gr.Checkbox
    invert: gr.Checkbox
    match_colour: gr.Checkbox
    left: gr.Number
    top: gr.Number
    right: gr.Number
    bottom: gr.Number

    @property
    def components(self) -> list[Component]:
        return [getattr(self, field.name) for field in fields(self)]


NAMES: Final = tuple(field.name for field in fields(Source))
DEFAULTS: Final[Mapping[str, object]] = Shown().model_dump()


def restore(saved: Mapping[str, object] | None) -> dict[str, object]:
    """What was remembered by name, with the defaults in the place of what is missing or invalid."""
    shown = dict(DEFAULTS)
    for name in NAMES:
        value = whole((saved or {}).get(name))
        try:
            shown[name] = getattr(Shown.model_validate({name: value}), name)
        except ValidationError:
            continue
    return shown


def room_of(request: ResolvedRequest, inputs: Mapping[str, object]) -> Room:
    """Where `request` is at home; `inputs` holds its input pictures by field."""
    if "init" not in inputs:
        return "guide" if request.controls else "create"
    return "inpaint" if "mask" in inputs or request.outpaint else "image"


def of(request: ResolvedRequest, room: Room) -> dict[str, object]:
    """What the controls of `room` show for a request, by name."""
    if room in ("create", "guide"):
        return {}
    if room == "image":
        return {name: getattr(request, name) for name in ("strength", "resize", "loops", "loop_decay")}
    margins = request.outpaint.model_dump() if request.outpaint else dict.fromkeys(SIDES, 0)
    return {"repaint": request.strength, **request.inpaint.model_dump(), **margins}


def read(source: Source, values: Mapping[Component, object], room: Room, sheet: Sheet | None) -> dict[str, object]:
    """The fields of a request that `room` adds, from its controls and what lies on its canvas.

    Raises:
        BadRequest: no picture, nothing to repaint, or a frame that misses the picture, in one sentence.
    """
    given = {name: whole(values.get(getattr(source, name))) for name in NAMES}
    shown = {name: DEFAULTS[name] if value in (None, "") else value for name, value in given.items()}
    return _PARTS[room](shown, sheet)


def _nothing(_: Mapping[str, object], __: Sheet | None) -> dict[str, object]:
    return {}


def _image(shown: Mapping[str, object], sheet: Sheet | None) -> dict[str, object]:
    if sheet is None:
        raise BadRequest("There is no picture to start from yet; open one, paste one, or begin with a blank page.")
    parts = {name: shown[name] for name in ("strength", "resize", "loops", "loop_decay")}
    # A picture that keeps its own size is drawn in its own proportions, whatever the size on the form.
    free = dict.fromkeys(("width", "height")) if shown["resize"] == "keep" else {}
    return {**parts, **free, "init": sheet.init}


def _inpaint(shown: Mapping[str, object], sheet: Sheet | None) -> dict[str, object]:
    if sheet is None or sheet.source is None:
        raise BadRequest("There is no picture to repaint yet; open one, paste one, or send a result here.")
    sides = {name: value for name in SIDES if isinstance(value := shown[name], int)}
    if len(sides) < len(SIDES):
        raise BadRequest("The margins must be whole numbers of pixels.")
    kept, margins = geometry.framed((sheet.width, sheet.height), **sides)
    if min(kept[2] - kept[0], kept[3] - kept[1]) < image.MIN_SIDE:
        raise BadRequest("The frame leaves next to nothing of the picture; move its sides outwards.")
    if any(side > MAX_MARGIN for side in sides.values()):
        raise BadRequest(f"A margin may have at most {MAX_MARGIN} pixels.")
    if sheet.mask is None and not margins:
        raise BadRequest("Nothing is painted yet; paint over what should change, or set margins to extend the picture.")
    names = ("start", "area", "padding", "mask_blur", "soft", "invert", "match_colour")
    parts: dict[str, object] = {
        "init": _cut(sheet.source, sheet, kept, image.decode),
        "mask": sheet.mask and _cut(sheet.mask, sheet, kept, image.decode_mask),
        "outpaint": margins or None,
        "strength": shown["repaint"],
        "resize": "keep",
        "inpaint": {name: shown[name] for name in names},
    }
    # Only the surroundings of a mask are drawn at a size of their own.
    return parts if shown["area"] == "masked" else {**parts, "width": None, "height": None}


def _cut(picture: Picture, sheet: Sheet, kept: geometry.Box, decode: Callable[[bytes, int], Image.Image]) -> Picture:
    """The part `kept` of a picture of the sheet; its own file if that is all of it."""
    if kept == (0, 0, sheet.width, sheet.height):
        return picture
    return Picture.from_bytes(image.png(decode(picture.data, sheet.width * sheet.height).crop(kept)))


_PARTS: Final[Mapping[Room, Callable[[Mapping[str, object], Sheet | None], dict[str, object]]]] = {
    "create": _nothing,
    "image": _image,
    "inpaint": _inpaint,
    "guide": _nothing,
}
