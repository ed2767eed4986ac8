"""A gallery of ten thousand pictures: making it, opening it, its first page in a browser, searching it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure, at_most, seconds
from benchmarks.web import visited
from studio.access import OWNER
from studio.gallery import Gallery
from tests.galleries import PATTERN, drawn
from tests.running import running

PICTURES = 10_000
COLOURS = ("red", "green", "blue", "yellow", "white")
#: Every thumbnail of the first screen is there and decoded.
FIRST_SCREEN = """() => {
    const seen = [...document.querySelectorAll(".grid img")].filter((i) => i.getBoundingClientRect().top < innerHeight);
    return seen.length > 11 && seen.every((i) => i.complete && i.naturalWidth);
}"""


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        took = seconds(lambda: _fill(data))
        yield Figure(
            "gallery: keeping a 256² picture", round(1000 * took / PICTURES, 1), "ms", note="file, film, row; fsynced"
        )
        start = time.perf_counter()
        gallery = Gallery(data, PATTERN)
        gallery.reconcile()
        yield Figure(f"gallery of {PICTURES:,}: opening and reconciling", round(time.perf_counter() - start, 2), "s")
        for name, text in (("first page", ""), ("search for two words", "red fox")):
            answer = min(seconds(lambda: gallery.search(text=text)) for _ in range(5))  # noqa: B023 - called here
            yield Figure(f"gallery of {PICTURES:,}: {name}, database", round(1000 * answer, 1), "ms")
        gallery.close()
        yield from _in_a_browser(data)


def _fill(data: Path) -> None:
    gallery = Gallery(data, PATTERN)
    for number in range(PICTURES):
        result = drawn(f"a {COLOURS[number % 5]} fox, number {number}", seed=number, size=256)
        gallery.add(result, job=f"job-{number}", index=0, owner=OWNER)
    gallery.close()


def _in_a_browser(data: Path) -> Iterator[Figure]:
    with running(data) as studio, visited(studio.address) as (page, _):
        for visit, bar in (("first visit, thumbnails made", None), ("thumbnails kept", 1.0)):
            page.goto("about:blank")
            page.goto("/")
            page.get_by_role("button", name="Generate").first.wait_for()
            start = time.perf_counter()
            page.get_by_role("link", name="Gallery").click()
            page.wait_for_function(FIRST_SCREEN)
            took = time.perf_counter() - start
            name = f"gallery of {PICTURES:,}: tab → first screen ({visit})"
            yield at_most(name, took, bar, "s") if bar else Figure(name, round(took, 2), "s")
