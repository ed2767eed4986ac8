"""Pochade: settings → engine → jobs → page and HTTP → serve.

Imports stay inside the commands: the engine's process imports this file again when it is spawned, `--schema` needs no
web server, and `--once` no page.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import socket

    from studio.engine import EngineOptions
    from studio.gate import Gate
    from studio.jobs import Jobs
    from studio.people import People
    from studio.prompt_help import Helper
    from studio.request import GenerationResult
    from studio.settings import Settings
    from studio.vocabulary import Vocabulary


def main(argv: Sequence[str] | None = None) -> int:
    from pydantic import ValidationError

    from studio.errors import StudioError
    from studio.plan import sentence
    from studio.settings import Settings

    try:
        settings = Settings.from_command_line(sys.argv[1:] if argv is None else list(argv))
        if settings.print_schema:
            return schema()
        if settings.backup is not None or settings.restore is not None:
            return keep_safe(settings)
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


def keep_safe(settings: Settings) -> int:
    from studio import backup

    if settings.backup is not None:
        print(f"{backup.backup(settings.data_dir, settings.backup)} files are now in {settings.backup}.")
    else:
        assert settings.restore is not None
        print(f"{backup.restore(settings.restore, settings.data_dir)} files are now in {settings.data_dir}.")
    return 0


def once(settings: Settings) -> int:
    """Draw the requests of a JSON file and print one line of JSON for each picture."""
    from studio import known
    from studio.catalog import Catalog
    from studio.credentials import Credentials
    from studio.headless import draw, read
    from studio.marks import Marks
    from studio.presets import Presets
    from studio.rules import RuleBook
    from studio.settings import EMBEDDED, PRESETS

    assert settings.once is not None
    rules, well_known = RuleBook(settings.data_dir).rules, known.read(PRESETS)
    catalog = Catalog(EMBEDDED, settings.model_folders, settings.data_dir)
    presets = Presets(PRESETS, settings.data_dir)
    marks = Marks(Credentials(settings.data_dir / "credentials"), lambda: rules)
    requests = read(settings.once, catalog, presets, settings.max_pixels)
    from studio.diffusion.local import LocalEngine  # seconds of PyTorch, spent once there is something to draw

    engine = LocalEngine(_engine_options(settings))
    for line in draw(requests, engine, settings.out, catalog, lambda spec: known.terms(spec, well_known), marks.finish):
        print(line, flush=True)
    return 0


def serve(settings: Settings) -> int:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from studio import journal

    private = _is_private(settings)
    journal.write(settings.log_format, settings.log_level)
    with _only_studio_of(settings.data_dir):
        listener = _listen(settings.host, settings.port)
        port = listener.getsockname()[1]
        with _studio(settings) as (gate, jobs, people):
            keys = people.terminal_keys() if private else None
            _announce(f"http://{_readable(settings.host)}:{port}{settings.root_path}", keys)
            with _shared(gate, port, keys) if settings.share else nullcontext():
                _run(gate, jobs, listener, settings)
    return 0


@contextmanager
def _shared(gate: Gate, port: int, keys: tuple[str, str] | None) -> Iterator[None]:
    """A public link for as long as the studio runs, or a sentence that says why there is none."""
    from studio.errors import StudioError
    from studio.ui.share import PublicLink

    def host(address: str) -> str:
        return address.partition("://")[2].strip("/")

    def opened(address: str) -> None:
        gate.allow(host(address))
        _announce(address, keys)

    link = PublicLink(port, opened, lambda address: gate.forget(host(address)))
    try:
        link.open()
    except StudioError as offline:
        print(offline, file=sys.stderr, flush=True)
    try:
        yield
    finally:
        link.close()


def _is_private(settings: Settings) -> bool:
    """Whether one must sign in: wherever somebody else could come along.

    Raises:
        BadRequest: signing in was turned off there.
    """
    from studio.access import is_loopback
    from studio.errors import BadRequest

    public = settings.share or settings.root_path or not all(map(is_loopback, (settings.host, *settings.allowed_host)))
    if public and settings.sign_in == "off":
        raise BadRequest(
            "Others could reach this studio, and nobody would be asked to sign in; leave out --sign-in off, "
            "or stay on this machine (--host 127.0.0.1 without --share, --allowed-host and --root-path)."
        )
    return bool(public) or settings.sign_in == "on"


@contextmanager
def _studio(settings: Settings) -> Iterator[tuple[Gate, Jobs, People]]:
    """Everything between the engine and the gate, closed in the order that loses nothing."""
    import gradio as gr
    from fastapi import APIRouter, Depends, FastAPI

    from studio import known, plan
    from studio.access import OWNER, owner_of
    from studio.api import control as control_routes
    from studio.api import engine as engine_routes
    from studio.api import health, house
    from studio.api import hub as hub_routes
    from studio.api import marks as marks_routes
    from studio.api import models as models_routes
    from studio.api import people as people_routes
    from studio.api import poses as poses_routes
    from studio.api import presets as presets_routes
    from studio.api import prompts as prompts_routes
    from studio.api import queue as queue_routes
    from studio.api import upkeep as upkeep_routes
    from studio.api import words as words_routes
    from studio.api import xray as xray_routes
    from studio.catalog import Catalog
    from studio.catalog_watch import Watch
    from studio.credentials import Credentials
    from studio.downloads import Downloads
    from studio.gallery import Gallery
    from studio.gate import Gate
    from studio.hub import Hub
    from studio.jobs import Jobs
    from studio.marks import Marks
    from studio.own_presets import OwnPresets
    from studio.people import People
    from studio.pose_shelf import Shelf
    from studio.presets import Presets
    from studio.quotas import Limits, QuietHours
    from studio.retention import Retention
    from studio.rules import RuleBook
    from studio.settings import ASSETS, EMBEDDED, PRESETS
    from studio.ui import shell
    from studio.ui.fence import Fence
    from studio.vocabulary import Vocabulary
    from studio.worker import ProcessEngine

    def limits(owner: str) -> Limits:
        if owner == OWNER:
            return Limits()
        return Limits(
            scope=people.person(owner).scope,
            jobs=settings.guest_jobs,
            hourly=settings.guest_pictures,
            pixels=settings.guest_pixels,
            steps=settings.guest_steps,
        )

    def is_shown(picture: str, person: str) -> bool:
        return people.is_shown(picture, person) and not gallery.record(picture).trashed

    def keep(result: GenerationResult, job: str, index: int, owner: str) -> str:
        spec = catalog.find(result.request.model)
        terms = known.terms(spec, well_known)
        record = gallery.add(result, job=job, index=index, owner=owner, title=spec.title, licence=terms)
        metrics.saved(result)
        return record.id

    private, quiet = _is_private(settings), QuietHours.of(settings.quiet_hours)
    people, metrics = People(settings.data_dir / "people.sqlite3"), health.Metrics()
    options = _engine_options(settings)
    engine = ProcessEngine(options)
    try:
        catalog = Catalog(EMBEDDED, settings.model_folders, settings.data_dir)
        presets = Presets(PRESETS, settings.data_dir)
        well_known, hub = known.read(PRESETS), Hub()
        vocabulary = Vocabulary(PRESETS, settings.data_dir, presets)
        helper = _helper(settings, vocabulary)
        rules = RuleBook(settings.data_dir)
        marks = Marks(Credentials(settings.data_dir / "credentials"), lambda: rules.rules)
        gallery = Gallery(settings.data_dir, settings.filename, marks.finish)
        gallery.reconcile()
        jobs = Jobs(
            settings.data_dir / "jobs.sqlite3",
            engine,
            resolve=lambda request: plan.resolve(
                request, catalog=catalog, presets=presets, max_pixels=settings.max_pixels
            ),
            keep=keep,
            limits=limits,
            quiet=quiet,
            checks=lambda owner: options.safety is not None and rules.rules.checks(owner),
        )
        metrics.register(health.StudioFigures(jobs, people, lambda: engine.status))
        watch = Watch(catalog)
        retention = Retention(gallery, lambda: rules.rules)
        retention.start()
        downloads = Downloads(hub, settings.downloads, well_known, catalog.refresh)
        try:
            app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
            about_models = APIRouter(dependencies=[Depends(people_routes.viewers_only_look)])
            about_models.include_router(engine_routes.router(engine, owner_of, catalog.find, catalog.choices.run_in))
            about_models.include_router(models_routes.router(catalog, owner_of, well_known))
            about_models.include_router(control_routes.router(engine, catalog, settings.models_dir))
            shelf = Shelf(PRESETS, settings.data_dir)
            about_models.include_router(poses_routes.router(shelf, engine, settings.max_pixels))
            about_models.include_router(hub_routes.router(hub, downloads, catalog, well_known, owner_of))
            house.install(
                app,
                house.router(jobs, gallery, owner_of, lambda: engine.status, marks, is_shown, people.tells_prompt),
                marks_routes.router(
                    rules, marks, catalog, settings.max_pixels, owner_of, checker=options.safety is not None
                ),
                people_routes.router(people, jobs, gallery, settings.root_path.rstrip("/"), asked=private),
                upkeep_routes.router(gallery, people, retention, owner_of),
                queue_routes.router(jobs, settings.data_dir, owner_of),
                health.router(metrics, gallery, lambda: engine.status, owner_of),
                prompts_routes.router(jobs, gallery, catalog, presets, owner_of),
                presets_routes.router(presets, OwnPresets(settings.data_dir), PRESETS, settings.data_dir, owner_of),
                xray_routes.router(jobs, gallery, presets, owner_of),
                words_routes.router(catalog, presets, vocabulary, helper),
                about_models,
            )
            page = shell.build(shell.Studio(jobs, catalog, presets, gallery, settings, well_known))
            gr.mount_gradio_app(app, page, path="/", **shell.mount_options(ASSETS, settings.root_path))
            gate = Gate(
                health.Timed(Fence(app), metrics),
                hosts=(settings.host, *settings.allowed_host),
                any_address=settings.host in ("0.0.0.0", "::"),
                people=people if private else None,
                root_path=settings.root_path,
            )
            yield gate, jobs, people
        finally:
            jobs.close()
            helper.close()
            downloads.close()
            retention.close()
            watch.close()
            catalog.close()
            gallery.close()
    finally:
        engine.close()
        people.close()


def _helper(settings: Settings, vocabulary: Vocabulary) -> Helper:
    """Who helps with prompts.

    Raises:
        ModelError: a folder without a language model was named.
    """
    from studio import prompt_writer
    from studio.prompt_help import Endpoint, Rules

    if not settings.prompt_help:
        return Rules(vocabulary)
    if "://" in settings.prompt_help:
        return Endpoint(settings.prompt_help, settings.prompt_help_model, settings.prompt_help_key)
    return prompt_writer.Local(prompt_writer.find(settings.prompt_help), threads=settings.threads)


def _engine_options(settings: Settings) -> EngineOptions:
    from studio import safety
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
        memory=settings.memory,
        card_memory=settings.card_memory,
        mode=settings.mode,
        safety=safety.find(settings.model_folders, settings.safety_checker),
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


def _run(gate: Gate, jobs: Jobs, listener: socket, settings: Settings) -> None:
    import asyncio
    import signal

    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket] | None = None) -> None:
            # Streams of events end when the queue closes; uvicorn would wait for them, then cut them off noisily.
            await asyncio.to_thread(jobs.close)
            await super().shutdown(sockets)

    config = uvicorn.Config(
        gate,
        log_config=None,
        access_log=False,  # addresses carry keys
        timeout_graceful_shutdown=5,
        server_header=False,
        forwarded_allow_ips=list(settings.trusted_proxy),
    )
    # uvicorn raises once more what it was stopped with, after it has shut down; the rest is to be closed then, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listener])


def _readable(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _announce(address: str, keys: tuple[str, str] | None) -> None:
    if keys is None:
        print(f"Pochade is at {address}", flush=True)
        return
    print(f"Pochade is at {address}/?key={keys[0]} (yours, keep it)", flush=True)
    print(f"   for friends {address}/?key={keys[1]}", flush=True)


def _fail(reason: str) -> int:
    print(f"pochade: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
