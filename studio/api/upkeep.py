"""How much of the disk everybody's pictures take, and tidying up by the rules; for the studio's owner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter, Request

from studio.api.people import only_owner
from studio.gallery import Gallery
from studio.people import People
from studio.retention import Due, Retention


def router(gallery: Gallery, people: People, retention: Retention, owner_of: Callable[[Request], str]) -> APIRouter:
    routes = APIRouter(prefix="/studio/upkeep")

    @routes.get("")
    def look(request: Request) -> dict[str, object]:
        """Pictures and bytes of everybody, and how many pictures the rules would move or delete now."""
        only_owner(request, owner_of)
        pictures, taken = Counter[str](), Counter[str]()
        for owner, file in gallery.paths():
            pictures[owner] += 1
            taken[owner] += _size(file)
        names = {person.id: person.name for person in people.people()}
        return {
            "people": [
                {"id": owner, "name": names.get(owner, ""), "pictures": count, "bytes": taken[owner]}
                for owner, count in pictures.most_common()
            ],
            **_counted(retention.due()),
        }

    @routes.post("/tidy")
    def tidy(request: Request) -> dict[str, object]:
        """At once what would be done within the hour."""
        only_owner(request, owner_of)
        return _counted(retention.tidy())

    return routes


def _counted(due: Due) -> dict[str, object]:
    return {"trash": len(due.trash), "delete": len(due.delete)}


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
