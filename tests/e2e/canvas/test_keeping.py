"""The canvas in a real browser: which pictures come to it, what of it stays, and what is sent."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, expect

from tests.e2e.canvas.easel import (
    GREEN,
    SIZE,
    STROKE,
    Easel,
    Point,
    assert_within_a_pixel,
    distance_to_line,
    file,
    green,
    grid,
    opened,
)
from tests.e2e.canvas.page import Received, served
from tests.e2e.conftest import eventually

pytestmark = pytest.mark.browser


def test_everything_is_there_after_a_reload_and_a_crash_of_the_server(
    context: BrowserContext, received: Received
) -> None:
    with served(received) as address:
        easel = opened(context.new_page(), address, received)
        easel.put(green())
        easel.drag(STROKE)
        drawn = easel.mask()
    # The server is gone; painting goes on.
    easel.tool("rectangle")
    easel.drag([(20, 20), (60, 60)])
    easel.page.wait_for_timeout(600)
    with served(received, port=int(address.rpartition(":")[2])) as again:
        assert again == address
        easel = opened(easel.page, address, received)
        expect(easel.element.locator(".canvas-empty")).to_be_hidden()
        mask = easel.mask()
        assert (mask[22:58, 22:58] == 255).all()
        assert np.array_equal(mask[100:], drawn[100:])
        # The view too: zoom in, reload.
        easel.page.keyboard.press("+")
        easel.page.wait_for_timeout(600)
        zoom = easel.element.locator(".canvas-zoom").inner_text()
        easel = opened(easel.page, address, received)
        expect(easel.element.locator(".canvas-zoom")).to_have_text(zoom)


def test_nothing_is_sent_but_one_request_at_generate(easel: Easel) -> None:
    posts: list[str] = []
    easel.page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    easel.put(green())
    easel.drag(STROKE)
    easel.act("Undo")
    easel.act("Redo")
    assert posts == []
    easel.generate()
    easel.page.wait_for_timeout(300)  # Playwright tells of requests only while it is asked
    assert len(posts) == 1
    easel.page.locator("#draw").click()
    expect(easel.page.get_by_label("Told")).to_have_value("preview 20")
    easel.drag(STROKE)
    easel.page.wait_for_timeout(500)
    assert len(posts) <= 2  # one for the run of twenty previews, none of them the canvas's
    easel.generate()
    easel.page.wait_for_timeout(300)
    assert len(posts) <= 3


def test_a_turned_photograph_stands_upright(easel: Easel) -> None:
    lying = Image.new("RGB", (400, 200), GREEN)
    exif = Image.Exif()
    exif[0x0112] = 6
    easel.put(file(lying, "JPEG", exif=exif.tobytes()), "photo.jpg")
    left, top, right, bottom = easel.box()
    assert (bottom - top) / (right - left) == pytest.approx(2, rel=0.02)
    easel.set("Size, px", 20)
    easel.set("Hardness, %", 100)
    line: list[Point] = [(50, 60), (150, 350)]
    easel.drag(line, size=(200, 400))
    sheet = easel.generate()
    assert (sheet.width, sheet.height) == (200, 400)
    assert sheet.mask is not None
    mask = np.asarray(Image.open(io.BytesIO(sheet.mask.data)))
    assert_within_a_pixel(mask, distance_to_line(line, (200, 400)) - 10)


def test_a_picture_is_pasted(easel: Easel) -> None:
    easel.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    easel.page.evaluate(
        """async (data) => {
            const blob = await (await fetch("data:image/png;base64," + data)).blob();
            await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
        }""",
        base64.b64encode(green(120, 90)).decode(),
    )
    easel.element.locator(".canvas-easel").focus()
    easel.page.keyboard.press("Control+v")
    expect(easel.element.locator(".canvas-empty")).to_be_hidden()
    sheet = easel.generate()
    assert (sheet.width, sheet.height) == (120, 90)


def drop(easel: Easel, data: bytes, name: str, mime: str) -> None:
    easel.element.locator(".canvas-easel").evaluate(
        """async (target, [data, name, mime]) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type: mime }));
            for (const kind of ["dragenter", "dragover", "drop"])
                target.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        [base64.b64encode(data).decode(), name, mime],
    )


def test_a_picture_is_dropped(easel: Easel) -> None:
    drop(easel, file(Image.new("RGB", (200, 100), GREEN), "WEBP"), "picture.webp", "image/webp")
    expect(easel.element.locator(".canvas-empty")).to_be_hidden()
    sheet = easel.generate()
    assert (sheet.width, sheet.height) == (200, 100)
    assert sheet.source is not None
    assert Image.open(io.BytesIO(sheet.source.data)).format == "WEBP"


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""
    head = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(head)) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (claiming(20_000, 20_000), "20000×20000 pixels; scale it down to at most 40 million"),
        (claiming(4, 400), "only 4×400 pixels"),
        (file(Image.new("RGB", (64, 64)), "GIF"), "a GIF file; save it as PNG, JPEG or WebP"),
        (green()[:400], "damaged or cut off"),
        (b"", "empty"),
        (b"my shopping list", "cannot be read as a picture"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(easel: Easel, data: bytes, sentence: str) -> None:
    easel.put(green())
    easel.drag(STROKE)
    drop(easel, data, "picture.png", "image/png")
    expect(easel.element.get_by_role("alert")).to_contain_text(sentence)
    assert easel.mask().any()  # what was there stays


def test_a_result_is_sent_here_and_can_be_taken_back(easel: Easel) -> None:
    send = """async ([data, keep]) => {
        const module = await import(`${window.pochade.scripts}/canvas.js`);
        await module.load("mask", "data:image/png;base64," + data, { keep });
    }"""
    easel.put(green())
    easel.drag(STROKE)
    drawn = easel.mask()
    same = base64.b64encode(file(Image.new("RGB", SIZE, (0, 180, 60)))).decode()
    easel.page.evaluate(send, [same, True])
    assert np.array_equal(easel.mask(), drawn)  # the next round on the same mask
    easel.page.evaluate(send, [base64.b64encode(green(100, 80)).decode(), False])
    sheet = easel.generate()
    assert (sheet.width, sheet.mask) == (100, None)
    easel.page.get_by_role("status").get_by_role("button", name="Undo").click()
    assert np.array_equal(easel.mask(), drawn)


def test_two_windows_do_not_mix_their_canvases(easel: Easel, address: str, received: Received) -> None:
    easel.put(green())
    easel.drag(STROKE)
    easel.page.wait_for_timeout(600)
    other = opened(easel.page.context.new_page(), address, received)
    expect(other.element.locator(".canvas-empty")).to_be_hidden()
    other.put(green(320, 240))  # a picture of its own
    other.page.wait_for_timeout(600)
    easel.page.bring_to_front()
    easel.tool("rectangle")
    easel.drag([(10, 10), (40, 40)])
    drawn = easel.mask()
    easel.page.wait_for_timeout(600)
    # Who painted last is remembered, as a whole.
    assert np.array_equal(opened(other.page, address, received).mask(), drawn)


def test_an_empty_canvas_says_so(easel: Easel) -> None:
    before = len(easel.received.sheets)
    easel.page.locator("#go-mask").click()
    eventually(lambda: len(easel.received.sheets) > before)
    assert easel.received.sheets[-1] is None


def test_a_very_large_picture_stays_usable(easel: Easel) -> None:
    size = (4096, 4096)
    easel.put(file(Image.new("RGB", size, GREEN), "JPEG"), "large.jpg")
    easel.set("Size, px", 400)
    easel.set("Hardness, %", 80)
    line: list[Point] = [(600, 600), (3400, 3000)]
    easel.page.evaluate(
        """() => {
            window.longest = 0;
            new PerformanceObserver((list) => {
                for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
            }).observe({ type: "longtask", buffered: false });
        }"""
    )
    easel.drag(line, size, steps=40)
    blocked = easel.page.evaluate("window.longest")
    assert blocked < 1500, f"the page stood still for {blocked} ms"
    mask = easel.mask()
    xs, ys = grid(*size)
    solid = distance_to_line(line, size)
    assert (mask[solid < 150] == 255).all()
    assert (mask[solid > 205] == 0).all()
    assert xs.shape == ys.shape == mask.shape
