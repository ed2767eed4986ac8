"""The routes our own page uses, under /studio: jobs and their events here, pictures in `pictures`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from studio import plan
from studio.access import OWNER
from studio.api import body, further, pictures
from studio.api.pictures import Copies
from studio.api.stream import describe_status, described, events
from studio.engine import Status
from studio.errors import BadRequest, NotFound, StudioError
from studio.gallery import Gallery
from studio.gate import refusal
from studio.job_store import Ticket
from studio.jobs import Jobs
from studio.request import GenerationRequest

#: Bytes of the body of a job, which may carry input pictures.
MAX_JOB: Final = 64 * 2**20


def install(app: FastAPI, *routers: APIRouter) -> None:
    """Add the routes, and answer every `StudioError` and invalid input with `{"error": sentence}`."""

    async def refuse(_: Request, error: Exception) -> Response:
        assert isinstance(error, StudioError)
        return refusal(error)

    async def explain(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return JSONResponse({"error": plan.explain(error.errors())}, BadRequest.status)

    for routes in routers:
        app.include_router(routes)
    app.add_exception_handler(StudioError, refuse)
    app.add_exception_handler(RequestValidationError, explain)


def router(
    jobs: Jobs,
    gallery: Gallery,
    owner_of: Callable[[Request], str],
    status: Callable[[], Status],
    copies: Copies,
    is_shown: Callable[[str, str], bool] = lambda picture, person: False,
    tells_prompt: Callable[[str, str], bool] = lambda picture, person: False,
) -> APIRouter:
    """What belongs to somebody else is answered like what does not exist; the studio's owner sees everything.

    `is_shown`: whether a picture of somebody else's was shown to this person; `tells_prompt`: together with its
    settings.
    """
    house = APIRouter(prefix="/studio")

    def sees(request: Request, picture: str) -> str | None:
        me = owner_of(request)
        return None if me == OWNER or is_shown(picture, me) else me

    def own(job: str, request: Request) -> Ticket:
        ticket = jobs.ticket(job)
        if owner_of(request) not in (OWNER, ticket.owner):
            raise NotFound("There is no such job.")
        return ticket

    @house.post("/jobs", status_code=202)
    async def submit(request: Request) -> dict[str, object]:
        sent = await body.read(request, MAX_JOB)

        def accept() -> Ticket:
            return jobs.submit(body.parse(GenerationRequest, sent), owner_of(request))

        return described_ticket(await run_in_threadpool(accept))

    @house.get("/jobs/{job}")
    def ticket(job: str, request: Request) -> dict[str, object]:
        return described_ticket(own(job, request))

    @house.post("/jobs/{job}/cancel")
    def cancel(job: str, request: Request) -> dict[str, object]:
        return described_ticket(jobs.cancel(job, own(job, request).owner))

    @house.post("/jobs/{job}/save")
    def save(job: str, request: Request) -> dict[str, object]:
        return described_ticket(jobs.retry_save(own(job, request).id))

    @house.get("/events")
    async def watch(request: Request) -> StreamingResponse:
        stream = events(jobs, owner_of(request), status, request.is_disconnected)
        # Without the second header nginx would hold events back.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    @house.get("/status")
    def engine_status() -> dict[str, object]:
        return describe_status(status())

    house.include_router(pictures.router(gallery, owner_of, sees, tells_prompt, copies))
    house.include_router(further.router(jobs, gallery, owner_of, sees))
    return house


def described_ticket(ticket: Ticket) -> dict[str, object]:
    return {
        "id": ticket.id,
        "state": ticket.state,
        "reason": ticket.reason,
        "request": described(ticket.request, ticket.inputs),
        "pictures": ticket.pictures,
        "created": ticket.created,
        "started": ticket.started,
        "finished": ticket.finished,
        "attempts": ticket.attempts,
        "position": ticket.position,
        "unsaved": ticket.unsaved,
    }
