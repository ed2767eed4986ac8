"""What the page asks about prompts and what pictures say of them: tokens, settings, pictures made again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from studio import prompt as language
from studio import reading, receipt
from studio.api import body
from studio.catalog import Catalog
from studio.errors import NotFound, StudioError
from studio.gallery import Gallery
from studio.headers import read_header
from studio.jobs import Jobs
from studio.presets import Presets
from studio.request import MAX_PROMPT
from studio.tokens import Counter

#: Bytes of a picture that is only read for its texts.
MAX_PICTURE: Final = 64 * 2**20


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompt: str = Field("", max_length=MAX_PROMPT)
    negative: str = Field("", max_length=MAX_PROMPT)
    model: str = Field("", max_length=400)
    styles: list[str] = Field([], max_length=16)
    steps: int = Field(20, ge=1, le=150)
    seed: int = Field(0, ge=0)


def router(
    jobs: Jobs, gallery: Gallery, catalog: Catalog, presets: Presets, owner_of: Callable[[Request], str]
) -> APIRouter:
    routes = APIRouter(prefix="/studio")
    counter = Counter()

    def counted(asked: _Asked) -> dict[str, object]:
        """Counts for both, as they would be drawn with this seed; what is wrong with them is the error."""
        spec = catalog.find(asked.model or None)
        words = presets.apply(
            language.without_comments(asked.prompt), language.without_comments(asked.negative), asked.styles
        )
        counts = {}
        for name, text, chance in zip(("prompt", "negative"), words, ("", " negative"), strict=True):
            bare, _ = language.extract_loras(presets.wildcards.resolve(text, f"{asked.seed}{chance}"))
            vectors = _vectors(catalog, bare)
            counts[name] = asdict(counter.count(spec, bare, asked.steps, vectors)) | {"text": bare}
        return {"model": spec.key, **counts}

    @routes.get("/tokens")
    def tokens(asked: Annotated[_Asked, Query()]) -> dict[str, object]:
        return counted(asked)

    @routes.post("/tokens")
    async def many_tokens(request: Request) -> dict[str, object]:
        """The same for prompts that are too long for an address."""
        asked = body.parse(_Asked, await body.read(request, 8 * MAX_PROMPT))
        return await run_in_threadpool(counted, asked)

    @routes.get("/wildcards")
    def wildcards() -> dict[str, object]:
        return {"names": presets.wildcards.names()}

    @routes.post("/read-picture")
    async def read_picture(request: Request) -> dict[str, object]:
        """The body is the picture's file. `picture` is the id of one that is still in the gallery, for whoever asks."""
        sent = await body.read(request, MAX_PICTURE)
        return await run_in_threadpool(read, sent, owner_of(request))

    def read(sent: bytes, owner: str) -> dict[str, object]:
        told = asdict(reading.picture(sent, catalog))
        if "seed" in told["settings"]:
            told["settings"]["seed"] = str(told["settings"]["seed"])  # JavaScript loses digits above 2**53
        try:
            gallery.record(told["picture"], owner)
        except NotFound:
            told["picture"] = ""
        return told

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
