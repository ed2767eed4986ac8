"""A private studio that serves: the whole app behind its gate, its engine replaced by one that obeys."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import httpx
import uvicorn

import app
from studio.access import Scope
from studio.gate import Gate
from studio.jobs import Jobs
from studio.people import People
from studio.settings import Settings
from studio.signin import ENTER
from tests.fakes import FakeEngine, until


class KeepingEngine(FakeEngine):
    """A `FakeEngine` with wishes one may have about its memory."""

    def prepare(self, model: str | None) -> None:
        assert model is None or model

    def unload(self, model: str) -> None:
        assert model

    def pin(self, model: str, on: bool) -> None:
        assert model


@dataclass
class PrivateStudio:
    address: str
    engine: FakeEngine
    jobs: Jobs
    people: People
    gate: Gate
    server: uvicorn.Server

    def stranger(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.address, headers=headers, timeout=30)

    def owner(self) -> httpx.Client:
        key, _ = self.people.terminal_keys()
        return self.enter(key)

    def guest(self, name: str, scope: Scope = Scope.GENERATE) -> httpx.Client:
        _, key = self.people.invite(name, scope)
        return self.enter(key)

    def enter(self, key: str) -> httpx.Client:
        client = self.stranger()
        answer = client.post(ENTER, data={"key": key})
        assert answer.status_code == 303, answer.text
        return client

    def drawn(self, client: httpx.Client, **parts: object) -> dict[str, Any]:
        """A finished job of this person."""
        answer = client.post("/studio/jobs", json={"prompt": "a heron", "width": 64, "height": 64, "steps": 2, **parts})
        assert answer.status_code == 202, answer.text
        job = answer.json()["id"]
        until(lambda: client.get(f"/studio/jobs/{job}").json()["state"] in ("done", "failed", "cancelled"))
        ticket: dict[str, Any] = client.get(f"/studio/jobs/{job}").json()
        return ticket


def pressed(client: httpx.Client, session: str = "x", **chosen: object) -> dict[str, Any]:
    """What the page sends to `/gradio_api/run/predict` when Generate is pressed; `chosen` by the names of controls."""
    config = client.get("/config").json()
    names = {part["id"]: part["props"].get("elem_id") for part in config["components"]}
    go = next(
        event
        for event in config["dependencies"]
        if any(names.get(target) == "generate" and kind == "click" for target, kind in event["targets"])
    )
    values = {part["id"]: part["props"].get("value") for part in config["components"]}
    given = {"prompt": "a heron", **chosen}
    data = [given.get(names[part], values.get(part)) for part in go["inputs"]]
    return {"data": data, "fn_index": go["id"], "session_hash": session}


def key_of(link: str) -> str:
    return parse_qs(urlsplit(link).query)["key"][0]


@contextmanager
def private_studio(folder: Path, **settings: Any) -> Iterator[PrivateStudio]:
    chosen = Settings(data_dir=folder / "data", **{"sign_in": "on", **settings})
    chosen.data_dir.mkdir(parents=True, exist_ok=True)
    engine, standing = KeepingEngine(), Future[PrivateStudio]()

    async def live() -> None:
        """Built where its event loop runs: elsewhere Gradio makes loops for its locks and never closes them."""
        with (
            mock.patch("studio.worker.ProcessEngine", return_value=engine),
            app._studio(chosen) as (gate, jobs, people),
            socket.create_server(("127.0.0.1", 0)) as listener,
        ):
            # A client that pauses must not find its connection closed just as it asks again.
            calm = uvicorn.Config(gate, log_level="warning", timeout_graceful_shutdown=1, timeout_keep_alive=600)
            server = uvicorn.Server(calm)
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            standing.set_result(PrivateStudio(address, engine, jobs, people, gate, server))
            await server.serve([listener])

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as failed:
            if standing.done():
                raise
            standing.set_exception(failed)

    thread = threading.Thread(target=run)
    thread.start()
    studio = standing.result(600)
    until(lambda: studio.server.started)
    try:
        yield studio
    finally:
        engine.gate.set()
        studio.jobs.close()
        studio.server.should_exit = True
        thread.join(20)
