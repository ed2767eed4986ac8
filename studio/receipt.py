"""Made again: whether a picture came out as before, and if not, what has changed since."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Final, Literal

from PIL import ImageChops, ImageStat

from studio import image, infotext
from studio.gallery_origin import PARAMETERS, POCHADE, WATERMARK

#: dB from which on nobody sees a difference without laying one picture over the other.
CLOSE: Final = 35.0
_LARGEST: Final = 2**28


@dataclass(frozen=True, slots=True)
class Receipt:
    """`psnr` in dB, None where all is equal or the sizes differ. `changed`: what is not as it was, before and after."""

    verdict: Literal["identical", "close", "different"]
    psnr: float | None
    changed: dict[str, tuple[str, str]]


def compare(before: bytes, after: bytes) -> Receipt:
    """Two PNGs of the gallery.

    Raises:
        UnreadablePicture: one of them is damaged.
    """
    changed = _changed(_facts(before), _facts(after))
    first, second = (image.decode(data, _LARGEST) for data in (before, after))
    if first.size != second.size:
        return Receipt("different", None, changed)
    stat = ImageStat.Stat(ImageChops.difference(first, second))
    error = sum(stat.sum2) / (3 * first.width * first.height)
    if error == 0:
        return Receipt("identical", None, changed)
    psnr = 10 * math.log10(255**2 / error)
    return Receipt("close" if psnr >= CLOSE else "different", round(psnr, 2), changed)


def _facts(data: bytes) -> dict[str, str]:
    """What may decide about pixels: the program, the device, the model's hash, and every field of the request."""
    _, texts = image.png_texts(data)
    fields = infotext.parse(texts.get(PARAMETERS, ""))
    try:
        origin: Any = json.loads(texts.get(POCHADE, "{}"))
    except (ValueError, RecursionError):
        origin = {}
    facts = {"Version": fields.get("Version", ""), "Lora hashes": fields.get("Lora hashes", "")}
    facts["Watermark"] = texts.get(WATERMARK, "")
    if isinstance(origin, dict):
        facts |= {"Device": str(origin.get("device", "")), "Model hash": str(origin.get("digest", ""))}
        request = origin.get("request")
        facts |= {name: _written(value) for name, value in (request if isinstance(request, dict) else {}).items()}
    return facts


def _changed(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str, str]]:
    both = {name: (before.get(name, ""), after.get(name, "")) for name in before | after}
    return {name: (then, now) for name, (then, now) in both.items() if then != now}


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
