"""How soon the page is there, and what it costs a browser."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

from benchmarks.measure import Figure
from tests.e2e.chromium import chromium

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def studio(data: Path) -> Iterator[tuple[str, float]]:
    """A running studio: its address, and the seconds from the command to the page's first answer."""
    start = time.perf_counter()
    command = [sys.executable, "app.py", "--port", "0", "--data-dir", str(data)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, f"app.py printed {line!r}"
            httpx.get(found[0], timeout=60).raise_for_status()
            yield found[0], time.perf_counter() - start
        finally:
            process.terminate()


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder, studio(Path(folder)) as (address, seconds):
        yield Figure("`python app.py` → first page", round(seconds, 1), "s")
        yield from page_load(address)


def page_load(address: str) -> Iterator[Figure]:
    """A cold visit: requests, bytes over the wire, CPU time of the page's thread until Generate can be clicked."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            devtools = context.new_cdp_session(page)
            devtools.send("Network.enable")
            devtools.send("Performance.enable")
            requests: list[str] = []
            received = [0.0]
            page.on("request", lambda request: requests.append(request.url))
            devtools.on("Network.loadingFinished", lambda done: received.append(done["encodedDataLength"]))
            page.goto(address)
            page.get_by_role("button", name="Generate").first.wait_for()
            page.wait_for_timeout(1500)
            metrics = {m["name"]: m["value"] for m in devtools.send("Performance.getMetrics")["metrics"]}
        finally:
            browser.close()
    foreign = [url for url in requests if not url.startswith((address, "data:", "blob:"))]
    yield Figure("page load: requests", len(requests), "", "0 foreign", not foreign, note="; ".join(foreign))
    yield Figure("page load: transferred", round(sum(received) / 1000), "kB")
    yield Figure("page load: main thread", round(1000 * metrics["TaskDuration"]), "ms CPU")
    yield Figure("page load: DOM nodes", int(metrics["Nodes"]), "")
