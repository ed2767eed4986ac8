"""How a picture says that a model drew it: content credentials and an invisible watermark, put on as it is saved.

What was promised to stay bit for bit, the outside of a mask and the source within new margins, is never watermarked.
The watermark is the same for the same pixels, so a picture made again is still identical to the first one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from PIL.Image import Image

from studio import canvas, gallery_origin, image, marks_pattern, reading
from studio.catalog import Catalog
from studio.credentials import Claim, Credentials, Found
from studio.errors import NotFound, StudioError, UnreadablePicture
from studio.gallery_origin import WATERMARK, Finishing, Kind
from studio.marks_pattern import Sighting
from studio.reading import Reading
from studio.request import GenerationResult
from studio.rules import Rules

log = logging.getLogger(__name__)

_LARGEST: Final = 2**28


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be found in a picture. `reading`: the settings it was made with."""

    width: int
    height: int
    credentials: Found | None
    watermark: Sighting | None
    reading: Reading | None


class Marks:
    def __init__(self, credentials: Credentials, rules: Callable[[], Rules]) -> None:
        self._credentials = credentials
        self._rules = rules

    def finish(self, finishing: Finishing) -> bytes:
        """The PNG file of a picture, as `Gallery` wants it. A picture that cannot be signed is kept all the same."""
        result, rules = finishing.result, self._rules()
        picture = image.from_rgb(result.width, result.height, result.rgb)
        marked = _watermarked(picture, result) if rules.watermark else None
        mentioned = {} if marked is None else {WATERMARK: marks_pattern.NAME}
        png = image.png(marked or picture, finishing.texts | mentioned)
        if not rules.credentials:
            return png
        source = result.request.init
        claim = Claim(
            model=finishing.origin.title,
            digest=result.model_digest,
            licence=finishing.origin.licence,
            composite=source is not None,
            source=b"" if source is None else source.data,
            watermarked=marked is not None,
        )
        return self._signed(png, claim)

    def copied(self, png: bytes, kind: Kind = "png", *, quiet: bool = True) -> bytes:
        """A copy to take away, signed if the first is; `quiet`: without its texts, so without the prompt.

        Raises:
            TooLarge: see `image.copied`.
        """
        copy = gallery_origin.copied(png, kind, quiet=quiet)
        return png if copy is png else self._told_alike(png, copy, source=b"" if quiet else png)

    def film(self, png: bytes, strip: bytes) -> bytes:
        """The film of a picture to take away, signed if the picture is."""
        return self._told_alike(png, strip)

    def _told_alike(self, png: bytes, made: bytes, source: bytes = b"") -> bytes:
        """`made`, signed with what the credentials of `png` say; with those themselves if it is the `source` too, and
        so with what earlier pictures say of themselves, which is not for everybody."""
        found = self._credentials.read(png)
        if found is None or not found.drawn:
            return made
        claim = Claim(
            found.model,
            licence=found.licence,
            composite=found.composite,
            source=source,
            change="transcoded",
            watermarked=found.watermarked and not source,
        )
        return self._signed(made, claim)

    def verify(self, data: bytes, catalog: Catalog, max_pixels: int) -> Verdict:
        """What a PNG, JPEG or WebP says of itself. Everything happens here; nothing is sent anywhere.

        Raises:
            TooLarge, UnreadablePicture: it is no picture that can be looked at.
        """
        picture = image.decode(data, max_pixels)
        try:
            said = reading.picture(data, catalog)
        except NotFound:
            said = None
        return Verdict(*picture.size, self._credentials.read(data), marks_pattern.look(picture), said)

    def _signed(self, data: bytes, claim: Claim) -> bytes:
        try:
            return self._credentials.sign(data, claim)
        except StudioError:
            log.exception("a picture is saved without content credentials")
            return data


def _watermarked(picture: Image, result: GenerationResult) -> Image | None:
    """None where nothing of it may change."""
    try:
        laid = canvas.read(result.request, _LARGEST)
    except UnreadablePicture:
        laid = None  # it was drawn from, so it can be read; a stored request may still say otherwise
    if laid is None or laid.opacity is None:
        return marks_pattern.marked(picture)
    if laid.untouched:
        return None
    if laid.opacity.size != picture.size:
        log.error("a mask of %s lies over a picture of %s; it has no watermark", laid.opacity.size, picture.size)
        return None
    return marks_pattern.marked(picture, laid.opacity)
