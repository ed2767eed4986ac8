"""The X-ray of a prompt: ordinary jobs in the ordinary queue, and how far their pictures lie apart."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from studio import prompt as language
from studio import xray
from studio.api import body
from studio.errors import NotFound, StudioError
from studio.gallery import Gallery
from studio.jobs import Jobs
from studio.plan import RANDOM_SEED_END
from studio.presets import Presets
from studio.request import MAX_PROMPT, GenerationRequest

Id = Annotated[str, Query(max_length=100)]


def router(jobs: Jobs, gallery: Gallery, presets: Presets, owner_of: Callable[[Request], str]) -> APIRouter:
    routes = APIRouter(prefix="/studio")

    @routes.post("/xray", status_code=202)
    async def start(request: Request) -> dict[str, object]:
        """A job for the whole prompt, chance settled, and one without each of its phrases; all of them or none."""
        sent = await body.read(request, 16 * MAX_PROMPT)
        return await run_in_threadpool(submit, body.parse(GenerationRequest, sent), owner_of(request))

    def submit(asked: GenerationRequest, owner: str) -> dict[str, object]:
        seed = secrets.randbelow(RANDOM_SEED_END) if asked.seed is None else asked.seed
        prompt = presets.wildcards.resolve(language.without_comments(asked.prompt), f"{seed}")
        phrases, requests = xray.plan(asked, prompt, seed)
        tickets: list[str] = []
        try:
            for planned in requests:
                tickets.append(jobs.submit(planned, owner).id)
        except StudioError:
            for ticket in tickets:
                with suppress(StudioError):
                    jobs.cancel(ticket, owner)
            raise
        parts = [
            {"start": phrase.start, "end": phrase.end, "text": phrase.text, "job": job}
            for phrase, job in zip(phrases, tickets[1:], strict=True)
        ]
        return {"prompt": prompt, "seed": str(seed), "base": tickets[0], "phrases": parts}

    @routes.get("/xray")
    def compared(
        request: Request, base: Id, other: Annotated[list[Id], Query(max_length=xray.MOST)]
    ) -> dict[str, object]:
        """How far each picture is from the first, 0 to 1."""
        owner = owner_of(request)

        def bytes_of(picture: str) -> bytes:
            try:
                return gallery.path(picture, owner).read_bytes()
            except OSError as gone:
                raise NotFound("The file of this picture cannot be read; it may have been moved or deleted.") from gone

        first = bytes_of(base)
        return {"distances": [round(xray.distance(first, bytes_of(picture)), 5) for picture in other]}

    return routes
