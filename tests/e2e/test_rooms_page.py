"""Image and Inpaint in a real browser: from a few strokes to what the engine is asked for, and on from there."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, FilePayload, Page, Route, expect

from studio import image
from studio.request import Outpaint, Picture, ResolvedRequest
from tests.e2e.conftest import House, eventually, open_studio, serving
from tests.e2e.test_manners import faults

pytestmark = pytest.mark.browser

SIZE = (320, 240)


def photo(width: int = SIZE[0], height: int = SIZE[1], kind: str = "PNG") -> bytes:
    ramp = Image.linear_gradient("L").resize((width, height))
    out = io.BytesIO()
    Image.merge("RGB", (ramp, ramp.rotate(180), ramp.point(lambda level: 90))).save(out, kind)
    return out.getvalue()


@pytest.fixture(scope="module")
def house(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with serving(tmp_path_factory.mktemp("data")) as house:
        yield house


@pytest.fixture(autouse=True)
def usual_pace(house: House) -> None:
    house.engine.step_seconds = 0.005


@pytest.fixture
def page(house: House, context: BrowserContext) -> Page:
    page = context.new_page()
    open_studio(page, house.address)
    return page


def enter(page: Page, room: str) -> None:
    page.get_by_role("link", name=room.capitalize(), exact=True).click()
    page.locator(f"#canvas-{room} .canvas").wait_for()


def put(page: Page, room: str, data: bytes, name: str = "picture.png") -> None:
    chooser = page.locator(f"#canvas-{room} input[type=file]")
    chooser.set_input_files({"name": name, "mimeType": "image/png", "buffer": data})
    page.locator(f"#canvas-{room} .canvas-empty").wait_for(state="hidden")


def draw(page: Page, house: House) -> ResolvedRequest:
    """Press Generate; what the engine is asked for, once the picture is there."""
    before = len(house.engine.drawn)
    pictures = page.locator(".strip .thumb:not(.live)")
    shown = pictures.count()
    page.keyboard.press("Control+Enter")
    eventually(lambda: len(house.engine.drawn) == before + 1)
    expect(pictures).to_have_count(shown + 1)
    return house.engine.drawn[-1]


def size_of(picture: Picture | None) -> tuple[int, int]:
    assert picture is not None
    return image.decode(picture.data, 10**8).size


def mask_of(request: ResolvedRequest) -> NDArray[np.uint8]:
    assert request.mask is not None
    return np.asarray(image.decode_mask(request.mask.data, 10**8))


def place(page: Page, size: tuple[int, int] = SIZE) -> tuple[float, float, float]:
    """Left and top of the picture on the inpaint canvas, and CSS pixels per pixel of it; it must be fitted."""
    box = page.locator("#canvas-inpaint .canvas-easel").bounding_box()
    assert box is not None
    scale = min(box["width"] / size[0] * 0.92, box["height"] / size[1] * 0.92)
    return box["x"] + (box["width"] - size[0] * scale) / 2, box["y"] + (box["height"] - size[1] * scale) / 2, scale


def rectangle(page: Page, left: int, top: int, right: int, bottom: int, size: tuple[int, int] = SIZE) -> None:
    """Drag the rectangle tool over these pixels of the picture, which has `size`."""
    page.locator("#canvas-inpaint [data-tool=rectangle]").click()
    x, y, scale = place(page, size)
    page.mouse.move(x + left * scale, y + top * scale)
    page.mouse.down()
    page.mouse.move(x + right * scale, y + bottom * scale, steps=4)
    page.mouse.up()


def assert_box(mask: NDArray[np.uint8], *box: int) -> None:
    rows, columns = np.nonzero(mask >= 128)
    found = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    assert max(abs(one - other) for one, other in zip(found, box, strict=True)) <= 1, found


def test_a_picture_is_redrawn_and_compared_and_costs_few_requests(page: Page, house: House) -> None:
    page.get_by_label("Prompt", exact=True).fill("a heron in the rain")
    enter(page, "image")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a heron in the rain")
    page.locator("#generate").click()
    expect(page.get_by_role("alert")).to_contain_text("no picture to start from yet")
    put(page, "image", photo())
    page.locator("#strength input[type=number]").fill("0.35")
    page.locator("#strength input[type=number]").blur()
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    asked = draw(page, house)
    assert asked.steps >= 20
    assert len(posts) <= 3, posts
    assert (asked.prompt, asked.strength, asked.resize, asked.mask) == ("a heron in the rain", 0.35, "keep", None)
    assert (size_of(asked.init), asked.width, asked.height) == (SIZE, *SIZE)
    assert page.evaluate("document.documentElement.dataset.view") == "result"
    expect(page.locator(".easel img")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("#generate").focus()
    page.keyboard.press("d")
    slider = page.locator(".comparison").get_by_role("slider")
    expect(slider).to_be_visible()
    assert page.locator(".comparison img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    slider.press("ArrowLeft")
    expect(slider).to_have_value("49.5")
    assert faults(page) == []
    page.locator("#generate").focus()
    page.keyboard.press("c")
    expect(page.locator("#canvas-image .canvas")).to_be_visible()
    assert faults(page) == []
    page.locator("#resize").get_by_text("Crop").click()
    page.get_by_role("button", name="Size of the source").click()
    expect(page.locator("#width input")).to_have_value("320")
    expect(page.locator("#height input")).to_have_value("240")
    page.locator("#fold-loops button").first.click()
    page.locator("#loops input[type=number]").fill("2")
    page.locator("#loops input[type=number]").blur()
    again = draw(page, house)
    assert (again.resize, again.width, again.height, again.loops) == ("crop", 320, 240, 2)
    # Several pictures: each is drawn in turn; what cannot be read is named, and nothing else is lost.
    files = [("one.png", photo(200, 160)), ("two.jpg", photo(160, 200, "JPEG")), ("three.txt", b"no picture")]
    payloads: list[FilePayload] = [{"name": name, "mimeType": "image/png", "buffer": data} for name, data in files]
    page.locator("#batch input[type=file]").set_input_files(payloads)
    expect(page.locator(".batch-list li")).to_have_count(2)
    expect(page.get_by_role("alert")).to_contain_text("three.txt: This file cannot be read as a picture")
    before = len(house.engine.drawn)
    page.keyboard.press("Control+Enter")
    eventually(lambda: len(house.engine.drawn) == before + 2)
    assert [size_of(drawn.init) for drawn in house.engine.drawn[-2:]] == [(200, 160), (160, 200)]
    expect(page.locator(".batch-list li")).to_have_count(0)


def test_colours_are_sketched_on_a_blank_page(page: Page, house: House) -> None:
    enter(page, "image")
    page.locator("#canvas-image").get_by_role("button", name="Blank page", exact=True).click()
    page.locator("#canvas-image .canvas-easel").click()
    asked = draw(page, house)
    assert asked.init is not None
    sketch = np.asarray(image.decode(asked.init.data, 10**8)).astype(int)
    assert sketch.shape == (256, 256, 3)
    assert tuple(sketch[5, 5]) == (255, 255, 255)
    assert tuple(sketch[128, 128]) == (200, 68, 42), "the first colour of the brush"


def test_a_mask_is_painted_extended_and_painted_on(page: Page, house: House) -> None:
    enter(page, "inpaint")
    page.locator("#generate").click()
    expect(page.get_by_role("alert")).to_contain_text("no picture to repaint yet")
    put(page, "inpaint", photo())
    page.locator("#generate").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing is painted yet")
    put(page, "inpaint", b"GIF89a", "bad.gif")
    expect(page.locator("#canvas-inpaint .canvas-problem")).to_contain_text("This is a GIF file")
    rectangle(page, 200, 20, 300, 100)
    rectangle(page, 40, 60, 140, 200)
    page.locator("#prompt textarea").blur()
    page.locator("#canvas-inpaint .canvas-easel").focus()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    page.locator("#area").get_by_text("Only masked").click()
    page.locator("#fold-mask button").first.click()
    page.get_by_label("Soft: grey says how much may change").check()
    assert faults(page) == []
    asked = draw(page, house)
    assert_box(mask_of(asked), 200, 20, 300, 100)
    assert (asked.inpaint.area, asked.inpaint.soft, asked.strength, asked.resize) == ("masked", True, 0.9, "keep")
    assert (asked.width, asked.height) == (256, 256), "the size on the form is that of the drawing"
    # A reload: the strokes, the picture, the settings and the room are as they were.
    page.reload()
    page.locator("#canvas-inpaint .canvas").wait_for(state="attached")
    expect(page.get_by_label("Soft: grey says how much may change")).to_be_checked()
    page.locator("#area").get_by_text("Whole picture").click()
    again = draw(page, house)
    assert np.array_equal(mask_of(again), mask_of(asked))
    assert again.init == asked.init
    assert (again.width, again.height) == SIZE
    # Beyond the edges, and on from the result.
    page.locator("#view-switch").get_by_role("button", name="Canvas").click()
    page.locator("#canvas-inpaint").get_by_role("button", name="Clear").click()
    page.locator("#fold-outpaint button").first.click()
    page.get_by_role("button", name="Zoom out 1.5×").first.click()
    expect(page.locator("#left input")).to_have_value("80")
    wider = draw(page, house)
    assert (wider.outpaint, wider.mask, size_of(wider.init)) == (
        Outpaint(left=80, top=60, right=80, bottom=60),
        None,
        SIZE,
    )
    page.get_by_role("button", name="Extend to 16:9").click()
    page.get_by_role("button", name="No margins").click()
    page.get_by_role("button", name="Pan to the right").first.click()
    panned = draw(page, house)
    assert (panned.outpaint, size_of(panned.init)) == (Outpaint(right=80), (240, 240))
    page.locator(".stage").get_by_role("button", name="Use as source").click()
    expect(page.locator("#left input")).to_have_value("0")
    page.get_by_role("button", name="Extend to 3:2").click()
    onward = draw(page, house)
    assert onward.init is not None
    assert size_of(onward.init) == (panned.width, panned.height) == SIZE
    assert onward.outpaint == Outpaint(left=20, right=20)


def test_generate_waits_for_what_was_pressed_before_it(page: Page, house: House) -> None:
    enter(page, "inpaint")
    put(page, "inpaint", photo())
    page.locator("#fold-outpaint button").first.click()
    press = "(label) => document.querySelector(`button[aria-label='${label}']`).click()"
    generate = "document.getElementById('generate').click()"
    # A busy browser handles both presses without a breath between them.
    before = len(house.engine.drawn)
    page.evaluate(f"({press})('Zoom out 1.5×'); {generate}")
    eventually(lambda: len(house.engine.drawn) == before + 1)
    wider = house.engine.drawn[-1]
    assert (wider.outpaint, size_of(wider.init)) == (Outpaint(left=80, top=60, right=80, bottom=60), SIZE)
    # On a slow line the next source comes late; it and its margins are what is drawn.
    expect(page.locator(".stage").get_by_role("button", name="Use as source")).to_be_visible()
    page.evaluate(
        """() => {
            const fetch = window.fetch;
            window.fetch = async (...given) => {
                if (String(given[0]).includes("/file")) await new Promise((resolve) => setTimeout(resolve, 1500));
                return fetch(...given);
            };
        }"""
    )
    page.locator(".stage").get_by_role("button", name="Use as source").click()
    page.evaluate(f"({press})('Extend to 16:9'); {generate}")
    eventually(lambda: len(house.engine.drawn) == before + 2)
    onward = house.engine.drawn[-1]
    assert size_of(onward.init) == (wider.width, wider.height) == (480, 360)
    assert onward.outpaint == Outpaint(left=80, right=80)


def test_every_picture_can_be_gone_on_from(page: Page, house: House) -> None:
    enter(page, "inpaint")
    put(page, "inpaint", photo())
    page.get_by_label("Prompt", exact=True).fill("a heron at dusk")
    rectangle(page, 40, 60, 140, 200)
    first = draw(page, house)
    pictures = page.locator(".strip .thumb:not(.live)")
    known = pictures.count()
    for entry, strength in (("Subtle variation", 0.35), ("Strong variation", 0.7)):
        before = len(house.engine.drawn)
        page.locator(".stage").get_by_role("button", name="Go on").click()
        page.get_by_role("menuitem", name=entry).click()
        eventually(lambda before=before: len(house.engine.drawn) == before + 1)  # type: ignore[misc]
        varied = house.engine.drawn[-1]
        assert (varied.prompt, varied.strength, varied.mask) == ("a heron at dusk", strength, None)
    expect(pictures).to_have_count(known + 2)
    page.locator(".stage").get_by_role("button", name="Go on").press("Enter")
    expect(page.get_by_role("menuitem", name="Subtle variation")).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_role("menuitem", name="Make it again")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    eventually(lambda: house.engine.drawn[-1].outpaint == Outpaint(right=80))
    expect(pictures).to_have_count(known + 3)
    # Settings of the first one: its source and its mask come back with them.
    page.get_by_label("Prompt", exact=True).fill("something else")
    page.locator("#canvas-inpaint [aria-label=Clear]").evaluate("button => button.click()")
    pictures.nth(3).click()
    page.locator(".stage").get_by_role("button", name="Reuse settings").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a heron at dusk")
    expect(page.locator("#canvas-inpaint .canvas")).to_be_visible()
    expect(page.locator("#canvas-inpaint").get_by_role("button", name="Clear")).to_be_enabled()
    again = draw(page, house)
    assert np.abs(mask_of(again).astype(int) - mask_of(first)).max() <= 1
    assert (size_of(again.init), again.seed) == (SIZE, first.seed)
    # From the gallery by keyboard, from a tile and from the picture in full.
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Gallery").click()
    page.locator(".tile").first.focus()
    page.keyboard.press("t")
    expect(page.locator("#canvas-image .canvas-empty")).to_be_hidden()
    page.get_by_role("link", name="Gallery").click()
    page.locator(".tile").nth(1).click()
    expect(page.get_by_role("dialog", name="Picture")).to_be_visible()
    assert faults(page) == []
    page.keyboard.press("p")
    expect(page.get_by_role("dialog", name="Picture")).to_be_hidden()
    expect(page.locator("#canvas-inpaint .canvas")).to_be_visible()
    page.locator("#generate").focus()
    page.keyboard.press("?")
    expect(
        page.get_by_role("dialog", name="Keyboard shortcuts").get_by_text("Smaller and larger brush")
    ).to_be_visible()


def test_a_slow_line_still_brings_back_what_was_set(context: BrowserContext, house: House) -> None:
    page = context.new_page()
    open_studio(page, house.address)
    page.get_by_label("Prompt", exact=True).fill("a heron that stays")
    page.wait_for_function("(localStorage['pochade.settings'] ?? '').includes('a heron that stays')")

    def late(route: Route) -> None:
        page.wait_for_timeout(3000)
        route.continue_()

    page.route("**/main.js", late)
    open_studio(page, house.address)
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a heron that stays")


def test_a_job_that_gave_way_has_its_finished_pictures_in_the_strip(context: BrowserContext, house: House) -> None:
    picture = made_by(house)
    waiting = {
        "id": "gave-way",
        "state": "queued",
        "request": {},
        "pictures": [picture],
        "position": 1,
        "seconds": None,
    }
    told = {"engine": {"state": "ready", "detail": "", "device": "", "model": ""}, "trouble": "", "running": None}
    board = json.dumps({**told, "waiting": [waiting], "waiting_total": 1, "recent": []})
    page = context.new_page()
    stream = f"retry: 60000\ndata: {board}\n\n"
    page.route("**/studio/events", lambda route: route.fulfill(content_type="text/event-stream", body=stream))
    page.goto(house.address)
    expect(page.locator(f".strip [data-picture='{picture}']")).to_be_visible()


def made_by(house: House) -> str:
    with httpx.Client(base_url=house.address) as client:
        client.post("/studio/jobs", json={"prompt": "a heron", "width": 64, "height": 64, "steps": 2})
        found: list[dict[str, str]] = []

        def is_there() -> bool:
            found[:] = client.get("/studio/pictures").json()["items"]
            return bool(found)

        eventually(is_there)
    return found[0]["id"]


def test_on_a_phone_fingers_paint_and_nothing_scrolls_sideways(chromium: Browser, house: House, tmp_path: Path) -> None:
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, device_scale_factor=2, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    open_studio(page, house.address)
    enter(page, "inpaint")
    put(page, "inpaint", photo(240, 240))
    x, y, scale = place(page, (240, 240))
    page.locator("#canvas-inpaint").get_by_label("Size, px").fill("40")
    page.locator("#canvas-inpaint").get_by_label("Size, px").press("Enter")
    page.evaluate("scrollTo(0, 0)")
    page.touchscreen.tap(x + 120 * scale, y + 80 * scale)
    tools = page.locator("#canvas-inpaint .canvas-options").bounding_box()
    generate = page.locator("#generate").bounding_box()
    assert tools is not None
    assert generate is not None
    assert tools["y"] + tools["height"] <= generate["y"], "tools and Generate are within the thumb's reach at once"
    small = """() => [...document.querySelectorAll(':is(.widget, dialog) :is(button, a, select), .choice label')]
        .filter(e => e.checkVisibility() && Math.min(e.offsetHeight, e.offsetWidth) < 44).map(e => e.outerHTML)"""
    fits = "document.documentElement.scrollWidth <= innerWidth"
    for fold in ("mask", "outpaint"):
        page.locator(f"#fold-{fold} button").first.click()
    assert page.evaluate(small) == []
    assert page.evaluate(fits)
    before = len(house.engine.drawn)
    page.locator("#generate").click()
    eventually(lambda: len(house.engine.drawn) == before + 1)
    assert_box(mask_of(house.engine.drawn[-1]), 100, 60, 140, 100)
    expect(page.locator(".stage .actions")).to_be_visible()
    assert page.evaluate(small) == []
    page.locator(".stage").get_by_role("button", name="Go on").click()
    expect(page.get_by_role("menu")).to_be_in_viewport()
    page.keyboard.press("Escape")
    enter(page, "image")
    assert page.evaluate(small) == []
    assert page.evaluate(fits)
    context.close()
