"""What a picture's own texts say about it: written with the picture, read again when its row is lost."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from studio import image, infotext
from studio.gallery_db import Row
from studio.request import GenerationResult, ResolvedRequest

#: Keywords of the text chunks.
PARAMETERS: Final = "parameters"
POCHADE: Final = "pochade"
WATERMARK: Final = "watermark"

_LARGEST: Final = 2**28
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_ID: Final = rf"^[{_DIGITS}]{{26}}$"
Name = Annotated[str, Field(max_length=400)]


class Origin(BaseModel):
    """The `pochade` text. Input pictures stand in `request` as `sha256:…`; their files are the gallery's `inputs/`."""

    model_config = ConfigDict(frozen=True)

    version: int = 1
    id: str = Field("", pattern=rf"{_ID}|^$")
    job: Name = ""
    index: int = Field(0, ge=0, lt=10_000)
    owner: Name = ""
    created: AwareDatetime
    title: Name
    digest: Name = ""
    licence: Name = ""
    device: Name = ""
    seconds: float = Field(0, ge=0, allow_inf_nan=False)
    request: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finishing:
    """A picture about to be saved. `texts` are the chunks of its file."""

    result: GenerationResult
    origin: Origin
    texts: dict[str, str]


#: The bytes of a picture's PNG file.
Finish = Callable[[Finishing], bytes]
#: What copies can be.
Kind = Literal["png", "jpeg", "webp"]


def plain(finishing: Finishing) -> bytes:
    """The pixels as they were drawn, and nothing but the texts beside them."""
    result = finishing.result
    return image.png(image.from_rgb(result.width, result.height, result.rgb), finishing.texts)


def copied(png: bytes, kind: Kind, *, quiet: bool) -> bytes:
    """A copy that says how the picture was made where other programs look for it, or, if `quiet`, nothing of it.

    Raises:
        TooLarge: see `image.copied`.
        UnreadablePicture: the file is damaged.
    """
    if kind == "png":
        return image.png(image.decode(png, _LARGEST)) if quiet else png
    said = "" if quiet else image.png_texts(png)[1].get(PARAMETERS, "")
    return image.copied(image.decode(png, _LARGEST), "JPEG" if kind == "jpeg" else "WEBP", said)


def new_id(moment: datetime, after: str = "") -> str:
    """26 signs that sort by time and cannot be guessed: 10 of milliseconds, 16 (80 bits) at random.

    Later than `after` even when the clock went back.
    """
    milliseconds = int(moment.timestamp() * 1000)
    if after:
        milliseconds = max(milliseconds, _milliseconds(after) + 1)
    time = "".join(_DIGITS[milliseconds >> shift & 31] for shift in range(45, -5, -5))
    return time + "".join(secrets.choice(_DIGITS) for _ in range(16))


def _milliseconds(identifier: str) -> int:
    value = 0
    for digit in identifier[:10]:
        value = value << 5 | max(_DIGITS.find(digit), 0)
    return value


def detached(request: ResolvedRequest) -> dict[str, Any]:
    """`request` as JSON values, its input pictures as references."""
    return request.referring({name: picture.sha256 for name, picture in request.pictures.items()})


def texts(result: GenerationResult, origin: Origin) -> dict[str, str]:
    """The text chunks of the file of `result`."""
    return {PARAMETERS: infotext.write(result, origin.title, origin.licence), POCHADE: origin.model_dump_json()}


def identity(chunks: dict[str, str]) -> str:
    """The id in a picture's own texts; "" where there is none."""
    try:
        return Origin.model_validate_json(chunks.get(POCHADE, "")).id
    except ValidationError:
        return ""


def row(size: tuple[int, int], chunks: dict[str, str], path: str, made: datetime) -> Row:
    """The row of the file at `path` (relative to the gallery's folder), from nothing but its size and texts.

    A picture of ours says everything. Another program's is read as A1111's infotext, as far as that goes; `made` is
    then its date. `id` is empty where the file does not know one.
    """
    parameters = chunks.get(PARAMETERS, "")
    try:
        origin = Origin.model_validate_json(chunks.get(POCHADE, ""))
    except ValidationError:
        origin = _foreign(infotext.parse(parameters), made)
    request = origin.request
    folder, day = path.split("/")[0], path.split("/")[1]
    return {
        "id": origin.id,
        "path": path,
        "job": origin.job,
        "number": origin.index,
        "owner": origin.owner,
        "created": origin.created.astimezone(UTC).isoformat(timespec="milliseconds"),
        "day": day if _is_day(day) else origin.created.astimezone().date().isoformat(),
        "counter": 0,
        "width": size[0],
        "height": size[1],
        "model": str(request.get("model", "")),
        "title": origin.title,
        "seed": str(request.get("seed", 0)),
        "seconds": origin.seconds,
        "prompt": str(request.get("prompt", "")),
        "full_prompt": str(request.get("full_prompt", "")),
        "full_negative": str(request.get("full_negative", "")),
        "request": json.dumps(request, ensure_ascii=False),
        "infotext": parameters,
        "favourite": 0,
        "trashed": int(folder == "trash"),
        "missing": 0,
    }


def _foreign(fields: dict[str, str], made: datetime) -> Origin:
    said = infotext.as_settings(fields)
    title = fields.get("Model", "")[:400]
    request = {**said, "model": title, "full_prompt": said["prompt"], "full_negative": said["negative"]}
    return Origin(created=made, title=title, digest=fields.get("Model hash", "")[:400], request=request)


def _is_day(name: str) -> bool:
    try:
        datetime.strptime(name, "%Y-%m-%d")
    except ValueError:
        return False
    return True
