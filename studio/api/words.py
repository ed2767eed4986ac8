"""Words for the page: what completes what one types, what the builder offers, and a prompt out of the blue."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from studio import prompt_help
from studio.api import body
from studio.catalog import Catalog
from studio.errors import TooManyRequests
from studio.presets import Presets
from studio.prompt_help import Helper
from studio.request import MAX_PROMPT, ModelSpec
from studio.specs import PartSpec
from studio.vocabulary import Vocabulary

#: Language models are slow; those who ask meanwhile are told so.
_AT_ONCE: Final = 4


class _Help(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=MAX_PROMPT)
    model: str = Field("", max_length=400)
    turn: int = Field(0, ge=0, lt=2**31)


def router(catalog: Catalog, presets: Presets, vocabulary: Vocabulary, helper: Helper) -> APIRouter:
    routes = APIRouter(prefix="/studio")
    helping = threading.BoundedSemaphore(_AT_ONCE)

    def written() -> bytes:
        presets.wildcards.refresh()
        told = {
            "facets": vocabulary.facets(),
            "tags": vocabulary.tags(),
            "wildcards": presets.wildcards.names(),
            "loras": _callable(catalog.loras()),
            "embeddings": [spec.title for spec in catalog.embeddings()],
        }
        return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()

    @routes.get("/words")
    async def words(request: Request) -> Response:
        """Everything at once; a browser that has it already is told so."""
        content = await run_in_threadpool(written)
        mark = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"ETag": mark, "Cache-Control": "private, no-cache"}
        if request.headers.get("if-none-match") == mark:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="application/json", headers=headers)

    @routes.get("/surprise")
    def surprise(model: Annotated[str, Query(max_length=400)] = "") -> dict[str, str]:
        """A whole prompt for a model, another one each time."""
        template = vocabulary.surprise(*_keys(catalog.find(model or None)))
        return {"prompt": presets.wildcards.resolve(template, secrets.token_hex(8))}

    @routes.post("/prompt-help")
    async def help_with(request: Request) -> dict[str, str]:
        """Another wording, and whose; nothing is changed by asking."""
        asked = body.parse(_Help, await body.read(request, 8 * MAX_PROMPT))
        text, model = prompt_help.checked(asked.text), catalog.find(asked.model or None)
        if not helping.acquire(blocking=False):
            raise TooManyRequests("Others are being helped just now; try once more in a moment.", 10)
        stop = threading.Event()
        watching = asyncio.create_task(_gone(request, stop))
        try:
            told = await run_in_threadpool(helper.rewrite, text, model, asked.turn, stop)
        finally:
            watching.cancel()
            helping.release()
        return {"prompt": told, "by": helper.title}

    @routes.get("/negatives")
    def negatives(model: Annotated[str, Query(max_length=400)] = "") -> dict[str, Sequence[str]]:
        """What is often unwanted in pictures of a model."""
        return {"words": vocabulary.negatives(*_keys(catalog.find(model or None)))}

    return routes


async def _gone(request: Request, stop: threading.Event) -> None:
    """Sets `stop` once whoever asked has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    stop.set()


def _keys(model: ModelSpec) -> tuple[str, str]:
    return model.key, model.family


def _callable(parts: Iterable[PartSpec]) -> list[str]:
    """The names one calls them by: their titles, or the whole key where two have the same title."""
    there = tuple(parts)
    titles = Counter(spec.title for spec in there)
    return [spec.title if titles[spec.title] == 1 else spec.key for spec in there]
