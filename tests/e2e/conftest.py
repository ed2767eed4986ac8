"""The whole studio, its engine replaced by one that obeys, and a real browser in front of it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

import app
from studio.engine import Event, Finished, Preview
from studio.request import ResolvedRequest
from studio.settings import EMBEDDED, Settings
from tests.fakes import FakeEngine
from tools.browser import find_or_install

PATIENCE = 60_000  # milliseconds; a busy machine is slow
expect.set_options(timeout=PATIENCE)


class FilmingEngine(FakeEngine):
    """A `FakeEngine` that keeps its previews as the film, as the real one does."""

    def generate(self, request: ResolvedRequest) -> Generator[Event]:
        frames: list[bytes] = []
        with ExitStack() as stack:
            events = super().generate(request)
            stack.callback(events.close)
            for event in events:
                if isinstance(event, Preview):
                    frames.append(event.jpeg)
                if isinstance(event, Finished):
                    film = tuple(frames[i * len(frames) // 8] for i in range(8)) if frames else ()
                    yield Finished(dataclasses.replace(event.result, film=film))
                    continue
                yield event


@dataclasses.dataclass
class House:
    """A studio that serves: its address, its engine, its data folder."""

    address: str
    engine: FilmingEngine
    folder: Path


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    """A folder with a second model, `large`, which likes other settings than the embedded one."""
    folder = tmp_path / "models"
    shutil.copytree(EMBEDDED, folder / "large", copy_function=os.symlink)
    likes = {"title": "Large", "sampler": "Euler a", "scheduler": "Automatic", "steps": 40, "width": 512, "height": 384}
    (folder / "large" / "pochade.json").unlink(missing_ok=True)
    (folder / "large" / "pochade.json").write_text(json.dumps(likes), "utf-8")
    return folder


@contextmanager
def serving(folder: Path, *models: Path, port: int = 0) -> Iterator[House]:
    """A studio with its data in `folder` and the model folders `models`."""
    engine = FilmingEngine(step_seconds=0.02)
    settings = Settings(data_dir=folder, models_dir=models)
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("studio.worker.ProcessEngine", lambda options: engine)
        studio = app._studio(settings)
        gate, *_ = studio.__enter__()
    with ExitStack() as stack:
        stack.push(studio)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", port)))
        server = uvicorn.Server(uvicorn.Config(gate, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        yield House(f"http://127.0.0.1:{listener.getsockname()[1]}", engine, settings.data_dir)
        engine.gate.set()
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def house(tmp_path: Path, other_model: Path) -> Iterator[House]:
    with serving(tmp_path / "data", other_model) as house:
        yield house


# Not for the whole session: while Playwright runs, its event loop would be in the way of every asynchronous test.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = find_or_install(playwright)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A fresh browser; whatever its pages complain about fails the test."""
    complaints: list[str] = []
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    yield context
    context.close()
    assert not complaints


@pytest.fixture
def page(house: House, context: BrowserContext) -> Page:
    page = context.new_page()
    open_studio(page, house.address)
    return page


def open_studio(page: Page, address: str) -> None:
    """Go there and wait until the form has been filled and the stage stands."""
    page.goto(address)
    page.locator(".stage").wait_for()
    page.locator(".fold-summary", has_text="steps").wait_for(state="attached")
    page.wait_for_function("!document.querySelector('.engine-text').textContent.startsWith('Connecting')")


def eventually(condition: Callable[[], bool], seconds: float = PATIENCE / 1000) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
