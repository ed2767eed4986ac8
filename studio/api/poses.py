"""Poses and sketches over HTTP: the shelf, OpenPose's JSON in and out, people found in photographs, clean drawings."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from studio import image, pose, sketch
from studio.api import body
from studio.engine import Tracer
from studio.pose import Pose
from studio.pose_shelf import Shelf

#: Bytes of a photograph.
_LARGEST: Final = 32 * 2**20
_DAY: Final = {"Cache-Control": "private, max-age=86400"}

Side = Annotated[int, Query(ge=64, le=pose.MAX_SIDE)]


def router(shelf: Shelf, tracer: Tracer, max_pixels: int) -> APIRouter:
    routes = APIRouter(prefix="/studio")

    @routes.get("/poses")
    def poses() -> list[dict[str, object]]:
        return [
            {"key": preset.key, "title": preset.title, "pose": preset.pose.model_dump(mode="json")}
            for preset in shelf.presets()
        ]

    @routes.get("/poses/{key}/picture")
    def picture(key: str) -> Response:
        return Response(shelf.find(key).picture, media_type="image/png", headers=_DAY)

    @routes.post("/poses")
    async def read(request: Request, width: Side = 512, height: Side = 512) -> dict[str, object]:
        """OpenPose's JSON as a pose; `width` and `height` are its page unless the file says one."""
        sent = await body.read(request, pose.LARGEST)
        return pose.read_openpose(sent, width, height).model_dump(mode="json")

    @routes.post("/poses/openpose")
    async def write(request: Request) -> dict[str, object]:
        return body.parse(Pose, await body.read(request, pose.LARGEST)).to_openpose()

    @routes.post("/poses/found")
    async def found(request: Request) -> dict[str, object]:
        """The people in a photograph, on a page of its shape. Missing weights are fetched, which may take long."""
        sent = await body.read(request, _LARGEST)
        people = await run_in_threadpool(tracer.find_people, sent)
        return people.model_dump(mode="json")

    @routes.post("/sketches")
    async def cleaned(request: Request) -> Response:
        """A photographed sketch as black lines on white, set straight."""
        sent = await body.read(request, _LARGEST)
        clean = await run_in_threadpool(lambda: image.png(sketch.clean(image.decode(sent, max_pixels))))
        return Response(clean, media_type="image/png")

    return routes
