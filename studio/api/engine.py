"""What the engine keeps in memory, and the wishes one may have about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from studio.access import OWNER
from studio.api import body
from studio.api.stream import describe_status
from studio.catalog_choices import AUTO
from studio.engine import Keeper
from studio.errors import BadRequest, Forbidden
from studio.request import ModelSpec

_LONGEST = 4096


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    model: str = Field(max_length=400)


class _Ahead(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    model: str | None = Field(max_length=400)


class _Pin(_Model):
    on: bool


class _RunIn(_Model):
    mode: str = Field(max_length=80)


def router(
    keeper: Keeper,
    owner_of: Callable[[Request], str],
    find: Callable[[str], ModelSpec],
    keep_mode: Callable[[str, str], None],
) -> APIRouter:
    """`find` knows the models there are, `keep_mode` remembers how one is to be run. A wish is granted when the engine
    gets to it: `GET` tells what came of it."""
    routes = APIRouter(prefix="/studio/engine")

    @routes.get("")
    def engine() -> dict[str, object]:
        """The status line and, in bytes, what is held: `memory.models` last used first, one on its way last."""
        status = keeper.status
        return {**describe_status(status), "memory": asdict(status.memory)}

    @routes.post("/prepare", status_code=202)
    async def prepare(request: Request) -> dict[str, object]:
        """Load a model in advance, as when somebody is about to choose it; null stops that."""
        wish = body.parse(_Ahead, await body.read(request, _LONGEST))
        model = None if wish.model is None else (await run_in_threadpool(find, wish.model)).key
        await run_in_threadpool(keeper.prepare, model)
        return {"model": model}

    @routes.post("/unload", status_code=202)
    async def unload(request: Request) -> dict[str, object]:
        _owners_only(owner_of(request))
        model = body.parse(_Model, await body.read(request, _LONGEST)).model
        await run_in_threadpool(keeper.unload, model)
        return {"model": model}

    @routes.post("/pin", status_code=202)
    async def pin(request: Request) -> dict[str, object]:
        _owners_only(owner_of(request))
        wish = body.parse(_Pin, await body.read(request, _LONGEST))
        model = (await run_in_threadpool(find, wish.model)).key
        await run_in_threadpool(keeper.pin, model, wish.on)
        return {"model": model, "on": wish.on}

    @routes.post("/mode", status_code=202)
    async def mode(request: Request) -> dict[str, object]:
        """How a model is run from now on: one of `memory.modes`, or `auto`."""
        _owners_only(owner_of(request))
        wish = body.parse(_RunIn, await body.read(request, _LONGEST))
        model = (await run_in_threadpool(find, wish.model)).key
        memory = keeper.status.memory
        there = (AUTO, *memory.modes)
        if lacking := dict(memory.missing).get(wish.mode):
            raise BadRequest(lacking)
        if wish.mode not in there:
            raise BadRequest(f"Models cannot be run in the mode “{wish.mode}” here; choose {', '.join(there)}.")
        await run_in_threadpool(keep_mode, model, wish.mode)
        await run_in_threadpool(keeper.run_in, model, wish.mode)
        return {"model": model, "mode": wish.mode}

    return routes


def _owners_only(person: str) -> None:
    if person != OWNER:
        raise Forbidden("Only the studio's owner decides what stays in memory.")
