"""Going on from a picture of the gallery: each of these is a new job with that picture's own settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from studio import further
from studio.api import body
from studio.api.pictures import Sees
from studio.errors import NotFound
from studio.gallery import Gallery
from studio.jobs import Jobs
from studio.request import MAX_MARGIN, GenerationRequest, Picture, ResolvedRequest

#: Pixels of a picture of our own making; what may grow out of it is for the jobs to say.
_LARGEST: Final = 2**28

Shift = Annotated[int, Field(ge=-MAX_MARGIN, le=MAX_MARGIN)]
Step = Callable[[ResolvedRequest, Picture], GenerationRequest]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Variation(_Sent):
    how: Literal["subtle", "strong"]


class _Pan(_Sent):
    """Pixels to the right and downwards."""

    across: Shift = 0
    down: Shift = 0


class _Zoom(_Sent):
    factor: float = Field(gt=1, le=4, allow_inf_nan=False)


def router(jobs: Jobs, gallery: Gallery, owner_of: Callable[[Request], str], sees: Sees) -> APIRouter:
    """Of one's own pictures and those one is shown."""
    routes = APIRouter(prefix="/pictures/{picture}")

    async def go_on(picture: str, request: Request, step: Step) -> dict[str, object]:
        def submit() -> dict[str, object]:
            owner = owner_of(request)
            seen = sees(request, picture)
            record = gallery.record(picture, seen)
            if record.request is None:
                raise NotFound("This picture does not say how it was made; send it to Image or Inpaint instead.")
            try:
                result = Picture.from_bytes(gallery.path(picture, seen).read_bytes())
            except OSError as gone:
                raise NotFound("The file of this picture cannot be read; it may have been moved or deleted.") from gone
            ticket = jobs.submit(step(record.request, result), owner, remix=True)
            return {"id": ticket.id, "state": ticket.state}

        return await run_in_threadpool(submit)

    @routes.post("/variation", status_code=202)
    async def vary(picture: str, request: Request) -> dict[str, object]:
        asked = body.parse(_Variation, await body.read(request, 1024))
        return await go_on(picture, request, lambda made, result: further.variation(made, result, asked.how))

    @routes.post("/pan", status_code=202)
    async def pan(picture: str, request: Request) -> dict[str, object]:
        asked = body.parse(_Pan, await body.read(request, 1024))
        return await go_on(
            picture, request, lambda made, result: further.panned(made, result, asked.across, asked.down, _LARGEST)
        )

    @routes.post("/zoom", status_code=202)
    async def zoom(picture: str, request: Request) -> dict[str, object]:
        asked = body.parse(_Zoom, await body.read(request, 1024))
        return await go_on(
            picture, request, lambda made, result: further.zoomed_out(made, result, asked.factor, _LARGEST)
        )

    return routes
