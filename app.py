"""Pochade: settings → engine → jobs → page and HTTP → serve.

Imports stay inside the commands: the engine's process imports this file again when it is spawned, `--schema` needs no
web server, and `--once` no page.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import socket

    from studio.access import Gate, Invitations
    from studio.engine import EngineOptions
    from studio.jobs import Jobs
    from studio.settings import Settings


def main(argv: Sequence[str] | None = None) -> int:
    from pydantic import ValidationError

    from studio.errors import StudioError
    from studio.plan import sentence
    from studio.settings import Settings

    try:
        settings = Settings.from_command_line(sys.argv[1:] if argv is None else list(argv))
        if settings.print_schema:
            return schema()
        return once(settings) if settings.once is not None else serve(settings)
    except ValidationError as invalid:
        return _fail(sentence(invalid))
    except StudioError as error:
        return _fail(str(error))


def schema() -> int:
    import json

    from studio.request import GenerationRequest

    print(json.dumps(GenerationRequest.model_json_schema(), indent=2, ensure_ascii=False))
    return 0


def once(settings: Settings) -> int:
    """Draw the requests of a JSON file and print one line of JSON for each picture."""
    from studio.catalog import Catalog
    from studio.headless import draw, read
    from studio.presets import Presets
    from studio.settings import EMBEDDED, PRESETS

    assert settings.once is not None
    catalog = Catalog(EMBEDDED, settings.model_folders, settings.data_dir)
    presets = Presets(PRESETS, settings.data_dir)
    requests = read(settings.once, catalog, presets, settings.max_pixels)
    from studio.diffusion.local import LocalEngine  # seconds of PyTorch, spent once there is something to draw

    engine = LocalEngine(_engine_options(settings))
    for line in draw(requests, engine, settings.out, catalog):
        print(line, flush=True)
    return 0


def serve(settings: Settings) -> int:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from studio.access import Invitations, is_loopback
    from studio.errors import StudioError

    with _only_studio_of(settings.data_dir):
        listener = _listen(settings.host, settings.port)
        port = listener.getsockname()[1]
        private = settings.share or not is_loopback(settings.host)
        invitations = Invitations() if private else None
        with _studio(settings, invitations) as (gate, jobs):
            _announce(f"http://{_readable(settings.host)}:{port}{settings.root_path}", invitations)
            if settings.share:
                from studio.ui.share import open_tunnel

                try:
                    address = open_tunnel(port)
                    gate.allow(address.partition("://")[2].strip("/"))
                    _announce(address, invitations)
                except StudioError as offline:
                    print(offline, file=sys.stderr, flush=True)
            _run(gate, jobs, listener)
    return 0


@contextmanager
def _studio(settings: Settings, invitations: Invitations | None) -> Iterator[tuple[Gate, Jobs]]:
    """Everything between the engine and the gate, closed in the order that loses nothing."""
    import gradio as gr
    from fastapi import FastAPI

    from studio import known, plan
    from studio.access import Gate, owner_of
    from studio.api import engine as engine_routes
    from studio.api import house
    from studio.api import hub as hub_routes
    from studio.api import models as models_routes
    from studio.api import prompts as prompts_routes
    from studio.catalog import Catalog
    from studio.catalog_watch import Watch
    from studio.downloads import Downloads
    from studio.gallery import Gallery
    from studio.hub import Hub
    from studio.jobs import Jobs
    from studio.presets import Presets
    from studio.settings import ASSETS, EMBEDDED, PRESETS
    from studio.ui import shell
    from studio.worker import ProcessEngine

    engine = ProcessEngine(_engine_options(settings))
    try:
        catalog = Catalog(EMBEDDED, settings.model_folders, settings.data_dir)
        presets = Presets(PRESETS, settings.data_dir)
        gallery = Gallery(settings.data_dir, settings.filename)
        gallery.reconcile()
        jobs = Jobs(
            settings.data_dir / "jobs.sqlite3",
            engine,
            resolve=lambda request: plan.resolve(
                request, catalog=catalog, presets=presets, max_pixels=settings.max_pixels
            ),
            keep=lambda result, job, index, owner: (
                gallery.add(
                    result, job=job, index=index, owner=owner, title=catalog.find(result.request.model).title
                ).id
            ),
        )
        watch = Watch(catalog)
        well_known, hub = known.read(PRESETS), Hub()
        downloads = Downloads(hub, settings.downloads, well_known, catalog.refresh)
        try:
            app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
            house.install(app, house.router(jobs, gallery, owner_of, lambda: engine.status))
            app.include_router(engine_routes.router(engine, owner_of, catalog.find))
            app.include_router(models_routes.router(catalog, owner_of, well_known))
            app.include_router(hub_routes.router(hub, downloads, catalog, well_known, owner_of))
            app.include_router(prompts_routes.router(jobs, gallery, catalog, presets, owner_of))
            page = shell.build(shell.Studio(jobs, catalog, presets, gallery, settings))
            gr.mount_gradio_app(app, page, path="/", **shell.mount_options(ASSETS, settings.root_path))
            gate = Gate(
                app,
                hosts=(settings.host, *settings.allowed_host),
                any_address=settings.host in ("0.0.0.0", "::"),
                invitations=invitations,
            )
            yield gate, jobs
        finally:
            jobs.close()
            downloads.close()
            watch.close()
            catalog.close()
            gallery.close()
    finally:
        engine.close()


def _engine_options(settings: Settings) -> EngineOptions:
    from studio.engine import EngineOptions
    from studio.settings import EMBEDDED

    return EngineOptions(
        embedded=EMBEDDED,
        models_dir=settings.model_folders,
        data_dir=settings.data_dir,
        device=settings.device,
        dtype=settings.dtype,
        threads=settings.threads,
        preview_every=settings.preview_every,
        hang_after=settings.hang_after,
        max_pixels=settings.max_pixels,
    )


@contextmanager
def _only_studio_of(folder: Path) -> Iterator[None]:
    """Two studios on one folder would both draw its waiting jobs."""
    from filelock import FileLock, Timeout

    from studio.errors import ReadOnly

    lock = FileLock(folder / "studio.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as taken:
        raise ReadOnly(f"Another Pochade is using {folder}; close it, or give this one its own --data-dir.") from taken
    except OSError as denied:
        raise ReadOnly(
            f"The folder {folder} cannot be written ({denied.strerror}); choose another --data-dir."
        ) from denied
    try:
        yield
    finally:
        lock.release()


def _listen(host: str, port: int) -> socket:
    import socket

    from studio.errors import BadRequest

    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as taken:
        why = taken.strerror or str(taken)
        raise BadRequest(f"Cannot listen on {host} port {port} ({why}); choose another --port.") from taken


def _run(gate: Gate, jobs: Jobs, listener: socket) -> None:
    import asyncio

    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket] | None = None) -> None:
            # Streams of events end when the queue closes; uvicorn would wait for them, then cut them off noisily.
            await asyncio.to_thread(jobs.close)
            await super().shutdown(sockets)

    config = uvicorn.Config(gate, log_level="warning", timeout_graceful_shutdown=5, server_header=False)
    with suppress(KeyboardInterrupt):  # raised once more by uvicorn after it has shut down
        Server(config).run(sockets=[listener])


def _readable(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _announce(address: str, invitations: Invitations | None) -> None:
    if invitations is None:
        print(f"Pochade is at {address}", flush=True)
        return
    print(f"Pochade is at {address}/?key={invitations.owner_key} (yours, keep it)", flush=True)
    print(f"   for friends {address}/?key={invitations.guest_key}", flush=True)


def _fail(reason: str) -> int:
    print(f"pochade: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
