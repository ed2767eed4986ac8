"""The gallery over HTTP: lists, files, and the few things one can do with a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final, Protocol
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from studio import infotext
from studio.access import OWNER
from studio.api import body
from studio.api.heavy import Heavy
from studio.api.stream import described
from studio.errors import Forbidden, NotFound
from studio.gallery import Gallery
from studio.gallery_db import Record
from studio.gallery_origin import Kind

#: A picture's bytes never change under its id.
_FOREVER: Final = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}

_GONE: Final = "The file of this picture is missing; it may have been moved or its disk is not there."

Text = Annotated[str, Query(max_length=1000)]
Filter = Annotated[str | None, Query(max_length=400)]


class _Switch(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    on: bool


#: How files end that are not called like their kind.
_ENDS: Final = {"jpeg": "jpg"}

#: The owner to look a picture up under: None where the one who asks may see whosever it is.
Sees = Callable[[Request, str], str | None]


class Copies(Protocol):
    """Pictures to take away."""

    def copied(self, png: bytes, kind: Kind, *, quiet: bool) -> bytes: ...

    def film(self, png: bytes, strip: bytes) -> bytes: ...


def router(
    gallery: Gallery,
    owner_of: Callable[[Request], str],
    sees: Sees,
    tells: Callable[[str, str], bool],
    copies: Copies,
) -> APIRouter:
    """Another owner's picture is answered like one that does not exist, unless it may be seen.

    `tells`: whether a person shown a picture is told its settings as well.
    """
    routes = APIRouter()
    heavy = Heavy()

    def keeps_quiet(request: Request, record: Record) -> bool:
        """Whether whoever asks sees the picture and nothing of how it was made."""
        me = owner_of(request)
        return me not in (OWNER, record.owner) and not tells(record.id, me)

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
        if keeps_quiet(request, record):
            return {**without_settings(brief(record)), "mine": False, "licence": _licence(record)}
        return {
            **brief(record),
            "owner": record.owner,
            "mine": record.owner == owner_of(request),
            "licence": _licence(record),
            "infotext": record.infotext,
            "effects": infotext.effects(record.infotext),
            "request": described(record.request, record.inputs),
        }

    @routes.get("/pictures/{picture}/file")
    async def file(
        picture: str, request: Request, download: bool = False, quiet: bool = False, kind: Kind = "png"
    ) -> Response:
        """`quiet`: a copy to give away, which does not say how it was made; the only one for those not to be told."""

        def look() -> tuple[Path, bool]:
            seen = sees(request, picture)
            return gallery.path(picture, seen), quiet or keeps_quiet(request, gallery.record(picture, seen))

        path, silent = await run_in_threadpool(look)
        if silent or kind != "png":
            stem = f"picture-{picture[-6:]}" if silent else path.stem
            data = await heavy.run(lambda: copies.copied(_read(path), kind, quiet=silent))
            return _made(data, f"image/{kind}", f"{stem}.{_ENDS.get(kind, kind)}", download=download)
        how = "attachment" if download else "inline"
        return await run_in_threadpool(_sent, path, "image/png", path.name, how)

    @routes.get("/pictures/{picture}/thumb")
    def thumb(picture: str, request: Request) -> FileResponse:
        return _sent(gallery.thumb(picture, sees(request, picture)))

    @routes.get("/pictures/{picture}/inputs/{field}")
    def given(picture: str, field: str, request: Request) -> FileResponse:
        if keeps_quiet(request, gallery.record(picture, sees(request, picture))):
            raise NotFound("What this picture was made from is not shown.")
        return _sent(gallery.input(picture, field, sees(request, picture)), "image/png")

    @routes.get("/pictures/{picture}/film")
    def film(picture: str, request: Request, download: bool = False) -> Response:
        """With `download` one to take away, signed like the picture."""
        path = gallery.film(picture, sees(request, picture))
        if path is None:
            raise NotFound("This picture has no film.")
        if not download:
            return _sent(path)
        data = copies.film(_read(gallery.path(picture, sees(request, picture))), _read(path))
        return _made(data, "image/jpeg", f"film-{picture[-6:]}.jpg", download=True)

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


def without_settings(told: dict[str, object]) -> dict[str, object]:
    """What `brief` says, for people who are to see the picture and nothing else."""
    return told | {"name": "", "prompt": "", "seed": "", "model": "", "job": ""}


def _licence(record: Record) -> str:
    """What the model may be used for; not a word of how the picture was made."""
    return infotext.parse(record.infotext).get("Model licence", "")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as gone:
        raise NotFound(_GONE) from gone


def _made(data: bytes, media_type: str, name: str, *, download: bool) -> Response:
    how = "attachment" if download else "inline"
    headers = {"Cache-Control": "private, no-cache", "Content-Disposition": f"{how}; filename*=UTF-8''{quote(name)}"}
    return Response(data, media_type=media_type, headers=headers)


def _sent(
    path: Path, media_type: str | None = None, filename: str | None = None, content_disposition_type: str = "inline"
) -> FileResponse:
    """`FileResponse` knows the type from the suffix when it is not given."""
    if not path.is_file():
        raise NotFound(_GONE)
    return FileResponse(
        path,
        media_type=media_type,
        filename=filename,
        headers=_FOREVER,
        content_disposition_type=content_disposition_type,
    )
