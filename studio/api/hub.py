"""Downloads over HTTP: what is well known, what a download would bring, and how far it is. The owner's alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from studio import families, hub
from studio.access import OWNER
from studio.api import body
from studio.catalog import Catalog
from studio.downloads import Download, Downloads
from studio.errors import BadRequest, Forbidden
from studio.hub import Hub, Offer
from studio.known import Known, commercial

#: Offers looked at and not yet taken.
_MOST_OFFERS: Final = 100


class _Wish(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    model: str = Field(max_length=400)
    #: The commit that was looked at: what starts is what was shown.
    revision: str = Field(max_length=100)


def router(
    hub_: Hub, downloads: Downloads, catalog: Catalog, known: Mapping[str, Known], owner_of: Callable[[Request], str]
) -> APIRouter:
    def owners_only(request: Request) -> None:
        if owner_of(request) != OWNER:
            raise Forbidden("Only the studio's owner downloads models.")

    routes = APIRouter(prefix="/studio/hub", dependencies=[Depends(owners_only)])
    seen: dict[tuple[str, str], Offer] = {}

    @routes.get("/known")
    def well_known() -> list[dict[str, object]]:
        models = {name for spec in catalog.models() for name in (spec.key, spec.title)}
        there = models | {name for net in catalog.controlnets() for name in (net.key, net.title)}
        return [
            {
                "repo": model.repo,
                "title": model.title,
                "kind": model.kind,
                "family": model.family,
                "family_title": families.known(model.family).title,
                "licence": model.licence,
                "commercial": model.commercial,
                "gated": model.gated,
                "gb": model.gb,
                "about": model.about,
                "there": model.repo in there,
            }
            for model in known.values()
        ]

    @routes.get("/offer")
    def offer(model: Annotated[str, Query(max_length=400)]) -> dict[str, object]:
        found = hub_.look(hub.parse(model))
        while len(seen) >= _MOST_OFFERS:
            del seen[next(iter(seen))]
        seen[model.strip(), found.revision] = found
        return _offered(found, known)

    @routes.get("/downloads")
    def everything() -> list[dict[str, object]]:
        return [_described(download, known) for download in downloads.all()]

    @routes.post("/downloads", status_code=202)
    async def start(request: Request) -> dict[str, object]:
        wish = body.parse(_Wish, await body.read(request, 4096))
        found = seen.get((wish.model.strip(), wish.revision))
        if found is None:
            raise BadRequest("Look at size and licence of this model before it is downloaded.")
        return _described(await run_in_threadpool(downloads.start, found), known)

    @routes.post("/downloads/{download}/resume", status_code=202)
    def resume(download: str) -> dict[str, object]:
        return _described(downloads.resume(download), known)

    @routes.post("/downloads/{download}/cancel")
    def cancel(download: str) -> dict[str, object]:
        downloads.cancel(download)
        return {"id": download}

    return routes


def _offered(offer: Offer, known: Mapping[str, Known]) -> dict[str, object]:
    row = known.get(offer.repo)
    licence = offer.licence or ("" if row is None else row.licence)
    return {
        "repo": offer.repo,
        "file": offer.file,
        "revision": offer.revision,
        "files": len(offer.files),
        "bytes": offer.size_bytes,
        "licence": licence,
        "commercial": row.commercial if row is not None else commercial(licence),
        "gated": offer.gated,
        "locked": offer.locked,
        "page": f"https://huggingface.co/{offer.repo}",
    }


def _described(download: Download, known: Mapping[str, Known]) -> dict[str, object]:
    return {
        "id": download.id,
        "state": download.state,
        "done": download.done_bytes,
        "speed": round(download.speed),
        "seconds": download.seconds_left,
        "reason": download.reason,
        "offer": _offered(download.offer, known),
    }
