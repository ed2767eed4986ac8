"""The gallery over HTTP: lists, files, and the few things one can do with a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from studio.access import OWNER
from studio.api import body
from studio.api.stream import described
from studio.errors import Forbidden, NotFound
from studio.gallery import Gallery
from studio.gallery_db import Record

#: A picture's bytes never change under its id.
_FOREVER: Final = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}

Text = Annotated[str, Query(max_length=1000)]
Filter = Annotated[str | None, Query(max_length=400)]


class _Switch(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    on: bool


#: The owner to look a picture up under: None where the one who asks may see whosever it is.
Sees = Callable[[Request, str], str | None]


def router(gallery: Gallery, owner_of: Callable[[Request], str], sees: Sees) -> APIRouter:
    """Another owner's picture is answered like one that does not exist, unless it may be seen."""
    routes = APIRouter()

    def changes(request: Request) -> str | None:
        me = owner_of(request)
        return None if me == OWNER else me

    @routes.get("/pictures")
    def search(
        request: Request,
        text: Text = "",
        model: Filter = None,
        day: Filter = None,
        favourite: bool = False,
        trashed: bool = False,
        before: Filter = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 60,
        of: Filter = None,
    ) -> dict[str, object]:
        """`of`: whose pictures, `*` for everybody's; for the studio's owner alone."""
        me = owner_of(request)
        if of not in (None, "", me) and me != OWNER:
            raise Forbidden("Only the studio's owner sees the pictures of others.")
        page = gallery.search(
            owner=None if of == "*" else of or me,
            text=text,
            model=model or None,
            day=day or None,
            favourite=favourite,
            trashed=trashed,
            before=before or None,
            limit=limit,
        )
        return {"items": [brief(record) for record in page.items], "next": page.next, "health": gallery.health}

    @routes.get("/facets")
    def facets(request: Request) -> dict[str, object]:
        return asdict(gallery.facets(owner_of(request)))

    @routes.get("/pictures/{picture}")
    def details(picture: str, request: Request) -> dict[str, object]:
        record = gallery.record(picture, sees(request, picture))
        return {
            **brief(record),
            "owner": record.owner,
            "mine": record.owner == owner_of(request),
            "infotext": record.infotext,
            "request": described(record.request, record.inputs),
        }

    @routes.get("/pictures/{picture}/file")
    def file(picture: str, request: Request, download: bool = False) -> FileResponse:
        path = gallery.path(picture, sees(request, picture))
        return _sent(
            path,
            "image/png",
            filename=path.name,
            content_disposition_type="attachment" if download else "inline",
        )

    @routes.get("/pictures/{picture}/thumb")
    def thumb(picture: str, request: Request) -> FileResponse:
        return _sent(gallery.thumb(picture, sees(request, picture)))

    @routes.get("/pictures/{picture}/inputs/{field}")
    def given(picture: str, field: str, request: Request) -> FileResponse:
        return _sent(gallery.input(picture, field, sees(request, picture)), "image/png")

    @routes.get("/pictures/{picture}/film")
    def film(picture: str, request: Request) -> FileResponse:
        path = gallery.film(picture, sees(request, picture))
        if path is None:
            raise NotFound("This picture has no film.")
        return _sent(path)

    @routes.post("/pictures/{picture}/favourite")
    async def favourite(picture: str, request: Request) -> dict[str, object]:
        switch = body.parse(_Switch, await body.read(request, 1024))
        return brief(await run_in_threadpool(gallery.favourite, picture, switch.on, owner_of(request)))

    @routes.post("/pictures/{picture}/trash")
    def trash(picture: str, request: Request) -> dict[str, object]:
        return brief(gallery.trash(picture, changes(request)))

    @routes.post("/pictures/{picture}/restore")
    def restore(picture: str, request: Request) -> dict[str, object]:
        return brief(gallery.restore(picture, changes(request)))

    @routes.post("/gallery/rebuild")
    def rebuild(request: Request) -> dict[str, object]:
        if owner_of(request) != OWNER:
            raise Forbidden("Only the studio's owner can rebuild its gallery.")
        gallery.rebuild()
        return {"health": gallery.health}

    return routes


def brief(record: Record) -> dict[str, object]:
    """A picture as lists show it."""
    return {
        "id": record.id,
        "name": Path(record.path).name,
        "job": record.job,
        "index": record.index,
        "created": record.created,
        "width": record.width,
        "height": record.height,
        "model": record.model,
        "title": record.title,
        "seed": str(record.seed),
        "prompt": record.prompt,
        "seconds": record.seconds,
        "favourite": record.favourite,
        "trashed": record.trashed,
        "missing": record.missing,
    }


def _sent(
    path: Path, media_type: str | None = None, filename: str | None = None, content_disposition_type: str = "inline"
) -> FileResponse:
    """`FileResponse` knows the type from the suffix when it is not given."""
    if not path.is_file():
        raise NotFound("The file of this picture is missing; it may have been moved or its disk is not there.")
    return FileResponse(
        path,
        media_type=media_type,
        filename=filename,
        headers=_FOREVER,
        content_disposition_type=content_disposition_type,
    )
