"""One canvas of the page in the hands of a test, and what should come out where something was painted."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from studio.ui.canvas import Sheet
from tests.e2e.canvas.page import Received
from tests.e2e.conftest import eventually

Point = tuple[float, float]
Floats = NDArray[np.float64]
SIZE = (640, 480)
STROKE: list[Point] = [(100, 90), (520, 200), (300, 400)]
#: A colour that is nowhere else on the page, to find the picture on a screenshot.
GREEN = (0, 200, 90)


def file(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def green(width: int = SIZE[0], height: int = SIZE[1]) -> bytes:
    return file(Image.new("RGB", (width, height), GREEN))


@dataclass
class Easel:
    """One canvas of the page, in the hands of a test."""

    page: Page
    mode: str
    received: Received
    #: Where the picture lay when it had been put there.
    place: tuple[float, float, float, float] = (0, 0, 0, 0)

    @property
    def element(self) -> Locator:
        return self.page.locator(f"#canvas-{self.mode} .canvas")

    def put(self, data: bytes, name: str = "picture.png") -> None:
        chooser = self.element.locator("input[type=file]")
        chooser.set_input_files({"name": name, "mimeType": "image/png", "buffer": data})
        expect(self.element.locator(".canvas-empty")).to_be_hidden()
        expect(self.element.locator(".canvas-easel")).not_to_have_attribute("data-busy", "")
        self.place = self.box()

    def tool(self, name: str) -> None:
        self.element.locator(f"[data-tool={name}]").click()

    def set(self, label: str, value: float) -> None:
        field = self.element.get_by_label(label)
        field.fill(str(value))
        field.press("Enter")
        field.blur()

    def act(self, name: str) -> None:
        self.element.get_by_role("button", name=name, exact=True).click()

    def box(self) -> tuple[float, float, float, float]:
        """Where the picture lies on the page: left, top, right, bottom in CSS pixels, as a screenshot shows it."""
        shot = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        width, height = self.page.evaluate("[innerWidth, innerHeight]")
        pixels = np.asarray(shot).astype(int)
        rows, columns = np.nonzero(pixels[:, :, 1] - np.maximum(pixels[:, :, 0], 40) > 40)
        across, down = width / shot.width, height / shot.height
        return (
            float(columns.min() * across),
            float(rows.min() * down),
            float((columns.max() + 1) * across),
            float((rows.max() + 1) * down),
        )

    def screen(self, points: list[Point], size: tuple[int, int] = SIZE) -> list[Point]:
        """Points of the picture → the page."""
        left, top, right, bottom = self.place
        across, down = (right - left) / size[0], (bottom - top) / size[1]
        return [(left + x * across, top + y * down) for x, y in points]

    def drag(self, points: list[Point], size: tuple[int, int] = SIZE, steps: int = 6) -> None:
        """Press at the first point of the picture, pass the others, release at the last."""
        places = self.screen(points, size)
        mouse = self.page.mouse
        mouse.move(*places[0])
        mouse.down()
        for place in places[1:]:
            mouse.move(*place, steps=steps)
        mouse.up()

    def generate(self) -> Sheet:
        """What the server receives at a press of Generate."""
        before = len(self.received.sheets)
        self.page.locator(f"#go-{self.mode}").evaluate("(button) => button.click()")  # a toast may lie over it
        eventually(lambda: len(self.received.sheets) > before)
        sheet = self.received.sheets[-1]
        assert sheet is not None
        return sheet

    def mask(self) -> NDArray[np.uint8]:
        """The received mask, height × width."""
        sheet = self.generate()
        if sheet.mask is None:
            return np.zeros((sheet.height, sheet.width), np.uint8)
        return np.asarray(Image.open(io.BytesIO(sheet.mask.data)))

    def value(self) -> dict[str, Any]:
        """The value as Generate would take it, without sending it."""
        script = """async (id) => {
            const module = await import(`${window.pochade.scripts}/canvas.js`);
            return (await module.find(id)).value();
        }"""
        value: dict[str, Any] = json.loads(self.page.evaluate(script, self.mode))
        return value


def opened(page: Page, address: str, received: Received, mode: str = "mask", zoom: float = 1) -> Easel:
    page.goto(address)
    easel = Easel(page, mode, received)
    easel.element.wait_for()
    page.evaluate("zoom => document.documentElement.style.zoom = zoom", zoom)
    # Each canvas as large as a tab of the studio would make it.
    page.add_style_tag(
        content=f""".page:not(#tab-{mode}) {{ display: none }} .page {{ height: {84 / zoom}vh; padding: 16px }}
        .page > .block:has(.canvas) {{ flex: 1 !important }} .page > button {{ flex: none }} #told {{ order: 9 }}"""
    )
    page.wait_for_timeout(100)
    return easel


def grid(width: int, height: int) -> tuple[Floats, Floats]:
    """x and y of the centres of all pixels."""
    ys, xs = np.mgrid[0:height, 0:width]
    return xs + 0.5, ys + 0.5


def distance_to_line(points: list[Point], size: tuple[int, int]) -> Floats:
    xs, ys = grid(*size)
    nearest = np.full(xs.shape, np.inf)
    for (ax, ay), (bx, by) in pairwise(points):
        dx, dy = bx - ax, by - ay
        along = np.clip(((xs - ax) * dx + (ys - ay) * dy) / (dx * dx + dy * dy), 0, 1)
        nearest = np.minimum(nearest, np.hypot(xs - ax - along * dx, ys - ay - along * dy))
    return nearest


def assert_within_a_pixel(mask: NDArray[np.uint8], outside: Floats) -> None:
    """`outside`: each pixel's distance from the edge of what was drawn; negative inside."""
    wrong = (mask >= 128) != (outside < 0)
    assert (mask >= 128).any()
    furthest = float(np.abs(outside[wrong]).max()) if wrong.any() else 0.0
    assert furthest <= 1.0, f"the mask is {furthest:.2f} pixels off"


def fingers(page: Page) -> Callable[[str, list[Point]], None]:
    session = page.context.new_cdp_session(page)

    def touch(kind: str, points: list[Point]) -> None:
        places = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    return touch
