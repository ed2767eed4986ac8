"""Guides over HTTP: what makes maps of pictures, which ControlNets there are, and the maps themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from studio import annotators, control, control_files, families
from studio.api import body
from studio.catalog import Catalog
from studio.engine import Tracer
from studio.request import ControlUnit, Side

#: Bytes of a unit, which carries its picture.
MAX_UNIT: Final = 64 * 2**20


class _Wanted(BaseModel):
    """A map of `unit` for a drawing of that size, in pixels."""

    model_config = ConfigDict(extra="forbid")

    unit: ControlUnit
    width: Side
    height: Side


def router(tracer: Tracer, catalog: Catalog, folders: tuple[Path, ...]) -> APIRouter:
    """`folders` hold models."""
    routes = APIRouter(prefix="/studio")

    @routes.get("/annotators")
    def all_annotators() -> list[dict[str, object]]:
        """`missing` says what one lacks; it is `ready` without."""
        found: list[dict[str, object]] = []
        for row in annotators.ANNOTATORS.values():
            missing = control_files.lacking(row, folders)
            found.append(
                {
                    "key": row.key,
                    "title": row.title,
                    "group": row.group,
                    "parameters": [
                        {"name": one.name, "label": one.label, "min": one.minimum, "max": one.maximum}
                        | {"step": one.step, "default": one.default}
                        for one in row.parameters
                    ],
                    "needs_weights": bool(row.files),
                    "size_bytes": row.size_bytes,
                    "ready": not missing,
                    "missing": missing,
                }
            )
        return found

    @routes.get("/controlnets")
    def controlnets(model: Annotated[str, Query(max_length=400)] = "") -> list[dict[str, object]]:
        """Those that fit the model, the default one if none is named; `annotators` make the maps that each follows."""
        spec = catalog.find(model or None)
        family = families.known(spec.family)
        return [
            {
                "key": net.key,
                "title": net.title,
                "family": family.title,
                "annotators": control.annotators_of(net),
                "union": control.is_union(net),
                "size_bytes": net.size_bytes,
            }
            for net in catalog.controlnets_of(spec)
        ]

    @routes.post("/maps")
    async def maps(request: Request) -> Response:
        """The map that a drawing would follow, as a PNG. What is missing for it is fetched, which may take long."""
        wanted = body.parse(_Wanted, await body.read(request, MAX_UNIT))
        made = await run_in_threadpool(tracer.trace, wanted.unit, wanted.width, wanted.height)
        return Response(made, media_type="image/png", headers={"Cache-Control": "no-store"})

    return routes
