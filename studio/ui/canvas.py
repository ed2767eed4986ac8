"""A canvas on a tab: where it stands, and what the artist has painted when Generate is pressed.

The scripts in `assets/js/canvas*.js` keep picture and strokes in the browser. A tab hands the text component of `place`
to its event together with `js=TAKE`; only then, and in the event's own request, does anything travel.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final, Literal

import gradio as gr
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio import image
from studio.access import MAX_BODY
from studio.errors import BadRequest
from studio.request import Picture
from studio.ui.widget import widget

#: `mask`: what is to be repainted. `sketch`: colours over a picture or a blank page. `line`: black lines on either.
#: `draw`: pens and colours on paper, through which a picture below can be traced.
Mode = Literal["mask", "sketch", "line", "draw"]

#: Begins the values of components that the browser fills in; a character that nobody types.
MARK: Final = "\ue000"
#: The `js` of an event that takes a canvas: fills in what is on it, and leaves its other inputs as they are.
TAKE: Final = "async (...values) => (await import(`${window.pochade.scripts}/canvas.js`)).fetchInto(values)"

_LOST: Final = "The canvas did not arrive as it was sent; please try once more."
#: Base64 makes four bytes of three, and the strokes need room beside the picture.
_LARGEST_FILE: Final = MAX_BODY * 5 // 8
_LARGEST_VALUE: Final = MAX_BODY - 2**20


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is on a canvas, checked: every part can be decoded and has `width` × `height` pixels, upright."""

    width: int
    height: int
    #: The file as it was put there, not yet turned as its EXIF says; none on a blank page.
    source: Picture | None
    #: An 8-bit grey PNG: 255 where painted entirely. None: nothing painted.
    mask: Picture | None
    #: An RGBA PNG, transparent where nothing is painted. None: nothing painted.
    strokes: Picture | None

    @property
    def init(self) -> Picture:
        """What is seen: the source, or white paper, under the strokes. Without strokes the source's own file."""
        if self.source is not None and self.strokes is None:
            return self.source
        size = (self.width, self.height)
        pixels = self.width * self.height
        flat = image.decode(self.source.data, pixels) if self.source else Image.new("RGB", size, "white")
        if self.strokes is not None:
            with Image.open(io.BytesIO(self.strokes.data), formats=("PNG",)) as strokes:
                flat.paste(strokes.convert("RGB"), mask=strokes.getchannel("A"))
        return Picture.from_bytes(image.png(flat))


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    width: int = Field(0, ge=0)
    height: int = Field(0, ge=0)
    source: Picture | None = None
    mask: Picture | None = None
    strokes: Picture | None = None
    problem: str | None = Field(None, max_length=400)


def place(
    name: str, mode: Mode, *, max_pixels: int, page: tuple[int, int] = (512, 512), script: str = "canvas"
) -> gr.Textbox:
    """Put a canvas here and return the input that stands for it in events with `js=TAKE`.

    `name` is unique on the page; the browser remembers the canvas by it. `page` is the width and height of a new blank
    page in pixels. `script` is the module that mounts it: the canvas's own at once, another one when it sees fit.
    """
    data = {"id": name, "mode": mode, "limits": limits(max_pixels), "page": page}
    widget(script, data=data, elem_id=f"canvas-{name}")
    return gr.Textbox(f"{MARK}canvas:{name}", visible=False)


def limits(max_pixels: int) -> dict[str, int]:
    """For the scripts: pixels of a picture at most, and a side at least; bytes of its file and of a whole value."""
    return {"pixels": max_pixels, "side": image.MIN_SIDE, "bytes": _LARGEST_FILE, "total": _LARGEST_VALUE}


def read(sent: object, max_pixels: int) -> Sheet | None:
    """What an event was given for a canvas. None: there is nothing on it.

    Raises:
        BadRequest: the browser could not send it, or it is not what our own scripts send.
        TooLarge: more than `max_pixels` pixels.
        UnreadablePicture: a part that cannot be decoded.
    """
    try:
        given = _Sent.model_validate_json(sent if isinstance(sent, str) else "")
    except ValidationError as invalid:
        raise BadRequest(_LOST) from invalid
    if given.problem:
        raise BadRequest(given.problem)
    if not given.width and not given.height:
        return None
    if given.width * given.height > max_pixels or min(given.width, given.height) < image.MIN_SIDE:
        raise BadRequest(f"A canvas cannot be {given.width}×{given.height} pixels; start with another picture.")
    for part in (given.source, given.mask, given.strokes):
        if part is not None and image.decode(part.data, max_pixels).size != (given.width, given.height):
            raise BadRequest(_LOST)
    if given.mask is not None and _mode(given.mask) != "L":
        raise BadRequest(_LOST)
    if given.strokes is not None and _mode(given.strokes) != "RGBA":
        raise BadRequest(_LOST)
    return Sheet(given.width, given.height, given.source, given.mask, given.strokes)


def _mode(picture: Picture) -> str | None:
    """Pillow's mode of a PNG's pixels; None for another format."""
    with Image.open(io.BytesIO(picture.data)) as opened:
        return opened.mode if opened.format == "PNG" else None
