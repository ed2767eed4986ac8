"""The whole queue, for the studio's owner: look, pause, reorder, clear; and how full the disk is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from studio.api import body
from studio.api.people import only_owner
from studio.job_store import Ticket
from studio.jobs import Jobs

_MAX_BODY: Final = 256 * 1024
Id = Annotated[str, Field(max_length=80)]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Switch(_Sent):
    on: bool


class _Order(_Sent):
    jobs: Annotated[list[Id], Field(max_length=5000)]


class _Clear(_Sent):
    owner: Id | None = None


def router(jobs: Jobs, folder: Path, owner_of: Callable[[Request], str]) -> APIRouter:
    routes = APIRouter(prefix="/studio")

    @routes.get("/queue")
    def look(request: Request) -> dict[str, object]:
        only_owner(request, owner_of)
        running, waiting = jobs.queue()
        return {
            "paused": jobs.paused,
            "running": None
            if running is None
            else {**_brief(running.ticket), "step": running.step, "steps": running.steps},
            "waiting": [
                {**_brief(one.ticket), "seconds": None if one.seconds is None else round(one.seconds)}
                for one in waiting
            ],
        }

    @routes.post("/queue/pause")
    async def pause(request: Request) -> dict[str, object]:
        only_owner(request, owner_of)
        sent = body.parse(_Switch, await body.read(request, _MAX_BODY))
        await run_in_threadpool(jobs.pause, sent.on)
        return {"paused": sent.on}

    @routes.post("/queue/order")
    async def order(request: Request) -> dict[str, object]:
        only_owner(request, owner_of)
        sent = body.parse(_Order, await body.read(request, _MAX_BODY))
        await run_in_threadpool(jobs.reorder, sent.jobs)
        return {"jobs": sent.jobs}

    @routes.post("/queue/clear")
    async def clear(request: Request) -> dict[str, object]:
        only_owner(request, owner_of)
        sent = body.parse(_Clear, await body.read(request, _MAX_BODY))
        return {"cancelled": await run_in_threadpool(jobs.clear, sent.owner)}

    @routes.get("/disk")
    def disk(request: Request) -> dict[str, object]:
        """Bytes, by the folders of the studio's data."""
        only_owner(request, owner_of)
        parts = {name: sum(_sizes(folder / name)) for name in ("pictures", "trash", "inputs", "films", "thumbs")}
        usage = shutil.disk_usage(folder)
        return {"studio": parts, "free": usage.free, "total": usage.total}

    return routes


def _brief(ticket: Ticket) -> dict[str, object]:
    return {
        "id": ticket.id,
        "owner": ticket.owner,
        "state": ticket.state,
        "prompt": ticket.request.prompt if ticket.request else "",
        "count": ticket.count,
        "drawn": len(ticket.pictures),
        "position": ticket.position,
        "created": ticket.created,
    }


def _sizes(folder: Path) -> Iterator[int]:
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                yield (Path(path) / name).stat().st_size
            except OSError:
                continue
