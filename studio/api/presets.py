"""Styles and everybody's own presets, as the page lists, brings in and keeps them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from studio import style_files
from studio.access import OWNER
from studio.api import body
from studio.errors import Forbidden, NotFound
from studio.own_presets import Name, OwnPreset, OwnPresets
from studio.presets import SAMPLES, Presets

Text = Annotated[str, Query(max_length=200)]


class _Renamed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Name


def router(
    presets: Presets, own: OwnPresets, folder: Path, data_dir: Path, owner_of: Callable[[Request], str]
) -> APIRouter:
    """`folder`: that of the house's presets, whose samples are shown. `data_dir`: where styles brought in are kept."""
    routes = APIRouter(prefix="/studio")

    def sample_of(name: str) -> Path | None:
        style = next((style for style in presets.styles() if style.name == name), None)
        file = folder / SAMPLES / f"{style.slug}.webp" if style else None
        return file if file is not None and file.is_file() else None

    @routes.get("/styles")
    def styles() -> dict[str, object]:
        """`sample`: when its picture was drawn, 0 for a style without one."""
        listed = [
            {
                "name": style.name,
                "prompt": style.prompt,
                "negative": style.negative,
                "category": style.category,
                "sample": int(file.stat().st_mtime) if (file := sample_of(style.name)) else 0,
            }
            for style in presets.styles()
        ]
        return {"styles": listed, "faults": presets.faults}

    @routes.get("/styles/sample")
    def sample(name: Text) -> FileResponse:
        file = sample_of(name)
        if file is None:
            raise NotFound("There is no picture of this style.")
        return FileResponse(file, media_type="image/webp", headers={"Cache-Control": "private, max-age=86400"})

    @routes.post("/styles")
    async def bring_in(request: Request, name: Text = "styles.csv") -> dict[str, object]:
        """The body is the file. Styles are everybody's, so they are the owner's to add."""
        if owner_of(request) != OWNER:
            raise Forbidden("Only the studio's owner can add styles; they are everybody's.")
        sent = await body.read(request, style_files.MAX_FILE)

        def keep() -> dict[str, object]:
            found, faults = style_files.parse(sent, name)
            style_files.keep(found, data_dir)
            presets.refresh()
            return {"added": [style.name for style in found], "faults": faults}

        return await run_in_threadpool(keep)

    @routes.get("/presets")
    def listed(request: Request) -> dict[str, object]:
        return {"presets": [preset.model_dump() for preset in own.of(owner_of(request))]}

    @routes.post("/presets", status_code=201)
    async def keep(request: Request) -> dict[str, object]:
        asked = body.parse(OwnPreset, await body.read(request, 2**20))
        return (await run_in_threadpool(own.keep, owner_of(request), asked)).model_dump()

    @routes.post("/presets/{preset}/rename")
    async def rename(preset: str, request: Request) -> dict[str, object]:
        asked = body.parse(_Renamed, await body.read(request, 4096))
        return (await run_in_threadpool(own.rename, owner_of(request), preset, asked.name)).model_dump()

    @routes.post("/presets/{preset}/remove")
    def remove(preset: str, request: Request) -> dict[str, object]:
        own.remove(owner_of(request), preset)
        return {}

    return routes
