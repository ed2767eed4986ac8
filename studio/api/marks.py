"""What the owner decides for the whole studio, and what can be found out about any picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from fastapi import APIRouter, Request
from pydantic import RootModel, ValidationError
from starlette.concurrency import run_in_threadpool

from studio.access import OWNER
from studio.api import body
from studio.api.heavy import Heavy
from studio.api.people import only_owner
from studio.catalog import Catalog
from studio.errors import BadRequest
from studio.marks import Marks
from studio.plan import sentence
from studio.rules import RuleBook

_MAX_PICTURE: Final = 64 * 2**20


class _Changes(RootModel[dict[str, object]]):
    """Some of the rules by name, with what they are to be."""


def router(
    book: RuleBook,
    marks: Marks,
    catalog: Catalog,
    max_pixels: int,
    owner_of: Callable[[Request], str],
    *,
    checker: bool,
) -> APIRouter:
    """`checker`: whether there is a safety checker at all."""
    routes = APIRouter(prefix="/studio")
    heavy = Heavy()

    @routes.get("/rules")
    def told(request: Request) -> dict[str, object]:
        """Guests are told what concerns them."""
        theirs = None if owner_of(request) == OWNER else {"credentials", "watermark", "check", "guest_days"}
        return book.rules.model_dump(include=theirs) | {"checker": checker}

    @routes.post("/rules")
    async def decide(request: Request) -> dict[str, object]:
        only_owner(request, owner_of)
        changes = body.parse(_Changes, await body.read(request, 4096)).root
        try:
            rules = await run_in_threadpool(lambda: book.decide(**changes))
        except ValidationError as invalid:
            raise BadRequest(sentence(invalid)) from invalid
        return rules.model_dump()

    @routes.post("/verify")
    async def verify(request: Request) -> dict[str, object]:
        """The body is the picture's file, which is not kept."""
        sent = await body.read(request, _MAX_PICTURE)
        return asdict(await heavy.run(lambda: marks.verify(sent, catalog, max_pixels)))

    return routes
