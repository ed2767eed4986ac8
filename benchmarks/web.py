"""How soon the page is there, and what it costs a browser."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import CDPSession, Page, sync_playwright

from benchmarks.measure import Figure
from tests.running import Studio
from tools.browser import find_or_install


@contextmanager
def visited(address: str) -> Iterator[tuple[Page, CDPSession]]:
    """A fresh browser on a blank page, and its developer tools."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_or_install(playwright), args=["--no-sandbox"])
        try:
            context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=address)
            page = context.new_page()
            yield page, context.new_cdp_session(page)
        finally:
            browser.close()


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        studio = Studio(Path(folder))
        try:
            studio.client.get("/").raise_for_status()
            yield Figure("`python app.py` → first page", round(time.perf_counter() - start, 1), "s")
            yield from page_load(studio.address)
        finally:
            studio.stop()


def page_load(address: str) -> Iterator[Figure]:
    """A cold visit: requests, bytes over the wire, CPU time of the page's thread until Generate can be clicked."""
    with visited(address) as (page, devtools):
        devtools.send("Network.enable")
        devtools.send("Performance.enable")
        requests: list[str] = []
        received = [0.0]
        page.on("request", lambda request: requests.append(request.url))
        devtools.on("Network.loadingFinished", lambda done: received.append(done["encodedDataLength"]))
        page.goto("/")
        page.get_by_role("button", name="Generate").first.wait_for()
        page.wait_for_timeout(1500)
        metrics = {m["name"]: m["value"] for m in devtools.send("Performance.getMetrics")["metrics"]}
    foreign = [url for url in requests if not url.startswith((address, "data:", "blob:"))]
    yield Figure("page load: requests", len(requests), "", "0 foreign", not foreign, note="; ".join(foreign))
    yield Figure("page load: transferred", round(sum(received) / 1000), "kB")
    yield Figure("page load: main thread", round(1000 * metrics["TaskDuration"]), "ms CPU")
    yield Figure("page load: DOM nodes", int(metrics["Nodes"]), "")
