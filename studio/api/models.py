"""The Models tab over HTTP: what there is, the owner's notes and choices on it, and downloads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, get_args

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from studio import families, image, known, recognise
from studio.access import OWNER
from studio.api import body
from studio.catalog import Catalog
from studio.catalog_choices import AUTO, MAX_NOTES
from studio.catalog_scan import Entry, Group
from studio.catalog_trash import Trashed, restore, trash
from studio.errors import BadRequest, Forbidden, NotFound, StudioError
from studio.hashes import SHA256
from studio.request import ModelSpec
from studio.specs import LoraSpec

_LARGEST_PREVIEW: Final = 40_000_000
_LONGEST: Final = 4 * MAX_NOTES + 4096
#: A preview is asked for with its date, so it may stay.
_KEPT: Final = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}

_ORDER: Final = get_args(Group)

Text = Annotated[str, Query(max_length=400)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    id: str = Field(max_length=4096)


class _Note(_Entry):
    text: str = Field(max_length=MAX_NOTES)


def router(catalog: Catalog, owner_of: Callable[[Request], str], hub: Mapping[str, known.Known]) -> APIRouter:
    """`hub`: what is known of models that came from there."""
    routes = APIRouter(prefix="/studio/models")
    graves: dict[str, Trashed] = {}

    @routes.get("")
    def everything(
        request: Request,
        group: Text = "",
        family: Text = "",
        fits: Text = "",
        text: Text = "",
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 60,
    ) -> dict[str, object]:
        """Cards, those of use before those refused; how many there are of every group and family; the default.

        `fits`: a family with whose models they can be used.
        """
        revision = catalog.revision
        words = text.casefold().split()
        matching = [entry for entry in catalog.entries() if all(word in _words(entry) for word in words)]
        groups = Counter(entry.group for entry in matching)
        matching = [entry for entry in matching if not group or entry.group == group]
        if fits not in ("", families.UNKNOWN.key):
            matching = [entry for entry in matching if _fits(entry, fits)]
        counts = Counter(_family(entry) for entry in matching)
        matching = [entry for entry in matching if not family or _family(entry) == family]
        matching.sort(key=lambda entry: (bool(entry.refused), _ORDER.index(entry.group)))
        default = catalog.find(None).key if catalog.models() else ""
        return {
            "items": [_card(entry, catalog, hub, default) for entry in matching[offset : offset + limit]],
            "total": len(matching),
            "groups": groups,
            "families": [
                {"key": key, "title": families.known(key).title, "count": count}
                for key, count in sorted(counts.items(), key=lambda row: families.known(row[0]).title.casefold())
            ],
            "faults": catalog.faults(),
            "revision": revision,
            "owner": owner_of(request) == OWNER,
        }

    @routes.get("/revision")
    def revision() -> dict[str, object]:
        """Counts up when anything changes; cheap to ask."""
        return {"revision": catalog.revision}

    @routes.get("/entry")
    def entry(request: Request, id: Annotated[str, Query(max_length=4096)]) -> dict[str, object]:  # noqa: A002
        """A card with all that is known; where it lies is the owner's business."""
        found = catalog.entry(id)
        default = catalog.find(None).key if catalog.models() else ""
        return _card(found, catalog, hub, default) | _details(found, catalog, owner_of(request) == OWNER)

    @routes.get("/preview")
    def preview(id: Annotated[str, Query(max_length=4096)]) -> Response:  # noqa: A002
        """The picture beside it, small and drawn anew: whoever made the file made the picture, too."""
        file = catalog.entry(id).place.preview
        if file is None:
            raise NotFound("There is no picture of this.")
        try:
            return Response(_small(file, file.stat().st_mtime_ns), media_type="image/jpeg", headers=_KEPT)
        except OSError as gone:
            raise NotFound("The picture of this cannot be read.") from gone

    @routes.post("/refresh")
    def refresh(request: Request) -> dict[str, object]:
        """For disks that do not tell of changes; elsewhere the list follows by itself."""
        _owners_only(owner_of(request))
        catalog.refresh()
        return {"revision": catalog.revision}

    @routes.post("/default")
    async def default(request: Request) -> dict[str, object]:
        _owners_only(owner_of(request))
        wish = body.parse(_Entry, await body.read(request, _LONGEST))

        def choose() -> str:
            spec = catalog.entry(wish.id).spec
            if not isinstance(spec, ModelSpec):
                raise BadRequest("Only a model one can draw with can be the one to start with.")
            catalog.choices.set_default(spec.key)
            return spec.key

        return {"default": await run_in_threadpool(choose)}

    @routes.post("/note")
    async def note(request: Request) -> dict[str, object]:
        _owners_only(owner_of(request))
        wish = body.parse(_Note, await body.read(request, _LONGEST))

        def keep() -> str:
            found = catalog.entry(wish.id)
            catalog.choices.note(found.id, wish.text)
            return catalog.choices.notes.get(found.id, "")

        return {"id": wish.id, "note": await run_in_threadpool(keep)}

    @routes.post("/trash")
    async def remove(request: Request) -> dict[str, object]:
        _owners_only(owner_of(request))
        wish = body.parse(_Entry, await body.read(request, _LONGEST))

        def move() -> str:
            graves[wish.id] = trash(catalog.entry(wish.id))
            catalog.refresh()
            return str(graves[wish.id].grave)

        return {"id": wish.id, "moved": await run_in_threadpool(move)}

    @routes.post("/restore")
    async def bring_back(request: Request) -> dict[str, object]:
        """What was moved into the trash since the studio started."""
        _owners_only(owner_of(request))
        wish = body.parse(_Entry, await body.read(request, _LONGEST))

        def move_back() -> None:
            if wish.id not in graves:
                raise NotFound("This is not in the trash any more; look into the folder .trash of its model folder.")
            restore(graves.pop(wish.id))
            catalog.refresh()

        await run_in_threadpool(move_back)
        return {"id": wish.id}

    @routes.get("/likes")
    def likes() -> dict[str, object]:
        """What every model likes and can do, for the form."""
        return known.told(catalog, hub)

    return routes


def _owners_only(person: str) -> None:
    if person != OWNER:
        raise Forbidden("Only the studio's owner looks after its models.")


def _family(entry: Entry) -> str:
    if isinstance(entry.spec, ModelSpec):
        return entry.spec.family
    return entry.facts.families[0] if entry.facts.families else families.UNKNOWN.key


def _fits(entry: Entry, family: str) -> bool:
    return not entry.facts.families or recognise.fits(entry.facts.families, family)


def _words(entry: Entry) -> str:
    """What a search looks into."""
    spec = entry.spec
    parts = (entry.key, entry.facts.alias, *entry.facts.triggers, families.known(_family(entry)).title)
    return " ".join((*parts, spec.title if spec is not None else "")).casefold()


def _card(entry: Entry, catalog: Catalog, hub: Mapping[str, known.Known], default: str) -> dict[str, object]:
    spec, facts, place = entry.spec, entry.facts, entry.place
    row = hub.get(entry.key) or hub.get(spec.title if isinstance(spec, ModelSpec) else "")
    licence = (spec.licence if isinstance(spec, ModelSpec) else facts.licence) or ("" if row is None else row.licence)
    family = families.known(_family(entry))
    return {
        "id": entry.id,
        "group": entry.group,
        "key": entry.key,
        "title": spec.title if spec is not None else place.path.name,
        "family": family.key,
        "family_title": family.title if entry.refused == "" else "",
        "families": facts.families,
        "kin": sorted({families.known(key).related for key in facts.families}),
        "kind": spec.kind if isinstance(spec, ModelSpec) else place.kind,
        "content": facts.content,
        "precision": facts.precision,
        "parameters": facts.parameters,
        "bytes": spec.size_bytes if spec is not None else place.size,
        "licence": licence,
        "commercial": row.commercial if row is not None else known.commercial(licence),
        "digest": spec.digest if spec is not None else "",
        "alias": facts.alias,
        "triggers": spec.triggers if isinstance(spec, LoraSpec) else facts.triggers,
        "about": facts.about or ("" if row is None else row.about),
        "note": catalog.choices.notes.get(entry.id, ""),
        "preview": _date(place.preview),
        "refused": entry.refused,
        "default": entry.group == "model" and entry.key == default,
        "embedded": entry.embedded,
    }


def _details(entry: Entry, catalog: Catalog, owner: bool) -> dict[str, object]:
    family = families.known(_family(entry))
    place = entry.place
    likes = entry.spec.defaults if isinstance(entry.spec, ModelSpec) else None
    return {
        "path": str(place.path) if owner else place.path.name,
        "sha256": catalog.index.hash(place.path, place.size, place.mtime_ns, SHA256) if place.size else "",
        "holds": entry.facts.holds,
        "likes": None if likes is None else asdict(likes),
        "mode": catalog.choices.modes.get(entry.key, AUTO),
        "can": [
            word
            for able, word in (
                (family.picture, "image to image"),
                (family.inpaint, "inpainting"),
                (family.edit, "editing by instruction"),
                (family.controlnet, "ControlNet"),
                (family.lora, "LoRA"),
                (family.negative, "negative prompt"),
                (family.text_in_image, "text in pictures"),
            )
            if able and entry.group == "model"
        ],
    }


def _date(file: Path | None) -> str:
    """By which a page knows that a picture has changed; "" without one."""
    try:
        return "" if file is None else str(file.stat().st_mtime_ns)
    except OSError:
        return ""


@lru_cache(512)
def _small(file: Path, date: int) -> bytes:
    """Raises:
    NotFound: it is no picture, or far too large.
    OSError: it cannot be read.
    """
    if file.stat().st_size > _LARGEST_PREVIEW:
        raise NotFound("The picture of this is too large to be shown.")
    try:
        return image.jpeg(image.decode(file.read_bytes(), _LARGEST_PREVIEW), 512, quality=82)
    except StudioError as broken:
        raise NotFound("The picture of this cannot be read.") from broken
