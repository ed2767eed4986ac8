"""What the page asks about prompts and what pictures say of them: tokens, settings, pictures made again, copies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from studio import image, reading, receipt
from studio import prompt as language
from studio.api import body
from studio.catalog import Catalog
from studio.errors import NotFound, StudioError
from studio.gallery import Gallery
from studio.gallery_origin import PARAMETERS
from studio.headers import read_header
from studio.jobs import Jobs
from studio.presets import Presets
from studio.request import MAX_PROMPT
from studio.tokens import Counter

#: Bytes of a picture that is only read for its texts.
MAX_PICTURE: Final = 64 * 2**20

Prompt = Annotated[str, Query(max_length=MAX_PROMPT)]


def router(
    jobs: Jobs, gallery: Gallery, catalog: Catalog, presets: Presets, owner_of: Callable[[Request], str]
) -> APIRouter:
    routes = APIRouter(prefix="/studio")
    counter = Counter()

    @routes.get("/tokens")
    def tokens(
        prompt: Prompt = "",
        negative: Prompt = "",
        model: Annotated[str | None, Query(max_length=400)] = None,
        style: Annotated[list[str] | None, Query(max_length=16)] = None,
        steps: Annotated[int, Query(ge=1, le=150)] = 20,
        seed: Annotated[int, Query(ge=0)] = 0,
    ) -> dict[str, object]:
        """Counts for both, as they would be drawn with this seed; what is wrong with them is the error."""
        spec = catalog.find(model or None)
        words = presets.apply(language.without_comments(prompt), language.without_comments(negative), style or ())
        counts = {}
        for name, text, chance in (("prompt", words[0], f"{seed}"), ("negative", words[1], f"{seed} negative")):
            bare, _ = language.extract_loras(presets.wildcards.resolve(text, chance))
            counts[name] = asdict(counter.count(spec, bare, steps, _vectors(catalog, bare))) | {"text": bare}
        return {"model": spec.key, **counts}

    @routes.get("/wildcards")
    def wildcards() -> dict[str, object]:
        return {"names": presets.wildcards.names()}

    @routes.post("/read-picture")
    async def read_picture(request: Request) -> dict[str, object]:
        """The body is the picture's file."""
        sent = await body.read(request, MAX_PICTURE)
        return asdict(await run_in_threadpool(reading.picture, sent, catalog))

    def bytes_of(picture: str, owner: str) -> bytes:
        try:
            return gallery.path(picture, owner).read_bytes()
        except OSError as gone:
            raise NotFound("The file of this picture cannot be read; it may have been moved or deleted.") from gone

    @routes.post("/pictures/{picture}/again", status_code=202)
    def again(picture: str, request: Request) -> dict[str, object]:
        """A job that draws the stored request once more, its wildcards as they fell."""
        owner = owner_of(request)
        ticket = jobs.submit(gallery.request(picture, owner), owner)
        return {"id": ticket.id, "state": ticket.state}

    @routes.get("/pictures/{picture}/receipt")
    def compared(picture: str, request: Request, again: Annotated[str, Query(max_length=100)]) -> dict[str, object]:
        """How the picture `again`, made by the route above, compares with `picture`."""
        owner = owner_of(request)
        return asdict(receipt.compare(bytes_of(picture, owner), bytes_of(again, owner)))

    @routes.get("/pictures/{picture}/as/{kind}")
    def copy(picture: str, kind: Literal["jpeg", "webp"], request: Request) -> Response:
        """A copy in that format, with the settings where other programs look for them."""
        owner = owner_of(request)
        original = bytes_of(picture, owner)
        _, texts = image.png_texts(original)
        made = image.decode(original, 2**28)
        data = image.copied(made, "JPEG" if kind == "jpeg" else "WEBP", texts.get(PARAMETERS, ""))
        name = quote(f"{gallery.path(picture, owner).stem}.{'jpg' if kind == 'jpeg' else kind}")
        return Response(
            data, media_type=f"image/{kind}", headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
        )

    return routes


def _vectors(catalog: Catalog, text: str) -> dict[str, int]:
    """How many vectors each textual inversion has whose name stands in `text`."""
    small = text.lower()
    found = {}
    for spec in catalog.embeddings():
        if spec.title.lower() in small:
            with suppress(StudioError, OSError):  # one that cannot be read is words
                tensors = read_header(spec.path).tensors.values()
                found[spec.title.lower()] = max((info.shape[0] for info in tensors if len(info.shape) == 2), default=1)
    return found
