"""The canvas in a real browser: what is painted is what is received, wherever and however the page is looked at."""

from __future__ import annotations

import io

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, expect

from tests.e2e.canvas.easel import (
    GREEN,
    SIZE,
    STROKE,
    Easel,
    Point,
    assert_within_a_pixel,
    distance_to_line,
    file,
    fingers,
    green,
    grid,
    opened,
)
from tests.e2e.canvas.page import Received

pytestmark = pytest.mark.browser


#: The window's size in device pixels / ratio, the ratio, and a zoom in CSS. A browser's own zoom is a ratio.
SCREENS = {
    "plain": (1.0, 1.0),
    "two dots a pixel": (2.0, 1.0),
    "zoomed to 67 %": (0.67, 1.0),
    "zoomed to 150 %": (1.5, 1.0),
    "zoomed to 67 % with two dots": (1.34, 1.0),
    "CSS zoom 67 %": (1.0, 0.67),
    "CSS zoom 150 %": (1.0, 1.5),
}


@pytest.mark.parametrize("screen", SCREENS)
def test_the_mask_lies_exactly_under_the_mouse(
    screen: str, chromium: Browser, address: str, received: Received
) -> None:
    ratio, zoom = SCREENS[screen]
    # A window of about 1440 × 1000 dots, or twice that, and of whole dots: a screenshot has no others.
    width, height = (1440, 1000) if ratio == 2 else (round(1440 / ratio / 50) * 50, round(1000 / ratio / 50) * 50)
    context = chromium.new_context(viewport={"width": width, "height": height}, device_scale_factor=ratio)
    try:
        easel = opened(context.new_page(), address, received, zoom=zoom)
        easel.put(green())
        easel.set("Size, px", 40)
        easel.set("Hardness, %", 100)
        easel.drag(STROKE)
        assert_within_a_pixel(easel.mask(), distance_to_line(STROKE, SIZE) - 20)
    finally:
        context.close()


def test_it_stays_under_the_mouse_when_zoomed_and_moved(easel: Easel) -> None:
    easel.put(green())
    easel.set("Size, px", 30)
    easel.set("Hardness, %", 100)
    [(x, y)] = easel.screen([(200, 150)])
    page = easel.page
    page.mouse.move(x, y)
    for _ in range(4):
        page.mouse.wheel(0, -240)
    page.wait_for_timeout(200)
    # What was under the pointer stays under it, so a dab here is a dab at (200, 150).
    page.mouse.down()
    page.mouse.up()
    page.keyboard.down("Space")
    page.mouse.down()
    page.mouse.move(x + 120, y - 60, steps=4)
    page.mouse.up()
    page.keyboard.up("Space")
    page.mouse.down()
    page.mouse.move(x + 122, y - 60)  # no further: still the same point of the picture
    page.mouse.up()
    xs, ys = grid(*SIZE)
    assert_within_a_pixel(easel.mask(), np.hypot(xs - 200.3, ys - 150) - 15)
    page.keyboard.press("0")
    box = easel.box()
    assert box[0] > 16
    assert box[2] < 1424


def test_one_finger_paints(phone: Easel) -> None:
    size = (300, 200)
    phone.put(green(*size))
    phone.set("Size, px", 24)
    phone.set("Hardness, %", 100)
    line: list[Point] = [(60, 50), (240, 150)]
    touch = fingers(phone.page)
    (ax, ay), (bx, by) = phone.screen(line, size)
    touch("touchStart", [(ax, ay)])
    for step in range(1, 11):
        touch("touchMove", [(ax + (bx - ax) * step / 10, ay + (by - ay) * step / 10)])
    touch("touchEnd", [])
    assert_within_a_pixel(phone.mask(), distance_to_line(line, size) - 12)


def test_two_fingers_scale_and_move_without_painting(phone: Easel) -> None:
    size = (300, 200)
    phone.put(green(*size))
    touch = fingers(phone.page)
    [(ax, ay), (bx, by)] = phone.screen([(140, 100), (160, 100)], size)
    zoom = phone.element.locator(".canvas-zoom")
    before = int(zoom.inner_text().split()[0])
    # As hands do it: one finger comes a little before the other, and would have begun a stroke.
    touch("touchStart", [(ax, ay)])
    touch("touchStart", [(ax, ay), (bx, by)])
    for step in range(1, 9):
        touch("touchMove", [(ax - step * 5, ay + step), (bx + step * 5, by + step)])
    touch("touchEnd", [])
    phone.page.wait_for_timeout(100)
    span = bx - ax
    assert int(zoom.inner_text().split()[0]) == pytest.approx(before * (span + 80) / span, rel=0.03)
    assert not phone.mask().any()


def test_sixty_steps_are_undone_and_done_again(easel: Easel) -> None:
    easel.put(green())
    easel.set("Size, px", 40)
    places = easel.screen([(40 + (n % 12) * 50, 60 + (n // 12) * 90) for n in range(60)])
    for x, y in places:
        easel.page.mouse.move(x, y)
        easel.page.mouse.down()
        easel.page.mouse.up()
    whole = easel.mask()
    assert all(whole[60 + (n // 12) * 90, 40 + (n % 12) * 50] == 255 for n in range(60))
    for _ in range(60):
        easel.page.keyboard.press("Control+z")
    assert easel.value()["mask"] is None
    expect(easel.element.get_by_role("button", name="Undo")).to_be_disabled()
    for _ in range(30):
        easel.page.keyboard.press("Control+Shift+z")
    half = easel.mask()
    assert half[60, 40] == 255
    assert half[60 + 4 * 90, 40] == 0
    for _ in range(30):
        easel.page.keyboard.press("Control+y")
    assert np.array_equal(easel.mask(), whole)


def test_rectangle_lasso_fill_invert_erase_and_clear(easel: Easel) -> None:
    easel.put(green())
    easel.tool("rectangle")
    easel.drag([(100, 80), (300, 260)])
    xs, ys = grid(*SIZE)
    inside = np.maximum(np.abs(xs - 200) - 100, np.abs(ys - 170) - 90)
    first = easel.mask()
    assert_within_a_pixel(first, inside)
    assert set(np.unique(first)) == {0, 255}

    easel.page.keyboard.press("i")
    assert np.array_equal(easel.mask(), 255 - first)
    easel.page.keyboard.press("i")

    easel.tool("lasso")
    triangle: list[Point] = [(400, 100), (560, 240), (380, 300)]
    easel.drag([*triangle, triangle[0]], steps=12)
    sides = [
        ((xs - ax) * (by - ay) - (ys - ay) * (bx - ax)) / np.hypot(bx - ax, by - ay)
        for (ax, ay), (bx, by) in zip(triangle, [*triangle[1:], triangle[0]], strict=True)
    ]
    within_triangle = np.max(sides if sides[0][200, 440] < 0 else [-side for side in sides], axis=0)
    both = easel.mask()
    assert_within_a_pixel(both, np.minimum(inside, within_triangle))

    # A drawn ring is filled up to its line, without a rim; what lies outside it stays.
    easel.tool("brush")
    easel.set("Size, px", 12)
    easel.set("Hardness, %", 100)
    ring = [(200 + 80 * np.cos(turn), 380 + 80 * np.sin(turn)) for turn in np.linspace(0, 2 * np.pi, 40)]
    easel.drag(ring, steps=1)
    easel.tool("fill")
    [(x, y)] = easel.screen([(200, 380)])
    easel.page.mouse.click(x, y)
    filled = easel.mask()
    assert (filled[np.hypot(xs - 200, ys - 380) < 84] == 255).all()
    assert np.array_equal(filled[:, 400:], both[:, 400:])

    easel.tool("eraser")
    easel.drag([(100, 170), (300, 170)])
    erased = easel.mask()
    assert (erased[(np.abs(ys - 170) < 5) & (np.abs(xs - 200) < 100)] == 0).all()
    assert np.array_equal(erased[np.abs(ys - 170) > 7.5], filled[np.abs(ys - 170) > 7.5])

    easel.act("Clear")
    assert easel.value()["mask"] is None
    easel.act("Undo")
    assert np.array_equal(easel.mask(), erased)


def test_shapes_take_away_with_alt_and_with_their_switch(easel: Easel) -> None:
    easel.put(green())
    easel.page.keyboard.press("i")  # everything
    easel.page.keyboard.press("r")
    easel.page.keyboard.down("Alt")
    easel.drag([(100, 100), (200, 200)])
    easel.page.keyboard.up("Alt")
    easel.act("Take away")
    easel.drag([(300, 100), (400, 200)])
    mask = easel.mask()
    assert (mask[102:198, 102:198] == 0).all()
    assert (mask[102:198, 302:398] == 0).all()
    assert (mask[220:] == 255).all()


def test_shift_makes_a_square_of_a_rectangle(easel: Easel) -> None:
    easel.put(green())
    easel.tool("rectangle")
    easel.page.keyboard.down("Shift")
    easel.drag([(300, 100), (100, 160)])
    easel.page.keyboard.up("Shift")
    xs, ys = grid(*SIZE)
    assert_within_a_pixel(easel.mask(), np.maximum(np.abs(xs - 200), np.abs(ys - 200)) - 100)


def test_the_fill_can_follow_the_colours_of_the_picture(easel: Easel) -> None:
    picture = Image.new("RGB", SIZE, GREEN)
    picture.paste((0, 120, 60), (200, 100, 440, 300))
    easel.put(file(picture))
    easel.tool("fill")
    easel.act("Colours")
    [(x, y)] = easel.screen([(300, 200)])
    easel.page.mouse.click(x, y)
    xs, ys = grid(*SIZE)
    assert_within_a_pixel(easel.mask(), np.maximum(np.abs(xs - 320) - 120, np.abs(ys - 200) - 100) - 1)


def test_hardness_and_opacity_shape_the_edge(easel: Easel) -> None:
    easel.put(green())
    easel.set("Size, px", 200)
    easel.set("Hardness, %", 0)
    easel.set("Opacity, %", 50)
    # Back and forth: within one stroke it does not add up.
    easel.drag([(200, 240), (440, 240), (200, 240)])
    mask = easel.mask()
    column = mask[:, 320].astype(int)
    assert column[240] == pytest.approx(128, abs=2)
    assert (np.diff(column[140:239]) >= 0).all()
    assert 20 < column[190] < 108
    easel.drag([(200, 240), (440, 240)])
    assert int(easel.mask()[240, 320]) == pytest.approx(191, abs=2)  # a second stroke does


def test_a_pen_that_presses_harder_draws_broader(easel: Easel) -> None:
    easel.put(green())
    easel.set("Size, px", 60)
    easel.set("Hardness, %", 100)
    session = easel.page.context.new_cdp_session(easel.page)
    (x0, y), (x1, _) = easel.screen([(100, 240), (540, 240)])

    def pen(kind: str, x: float, force: float) -> None:
        event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "force": force, "pointerType": "pen"}
        session.send("Input.dispatchMouseEvent", event)

    pen("mousePressed", x0, 0.1)
    for step in range(1, 41):
        pen("mouseMoved", x0 + (x1 - x0) * step / 40, 0.1 + 0.9 * step / 40)
    pen("mouseReleased", x1, 0)
    mask = easel.mask()
    widths = [int((mask[:, x] >= 128).sum()) for x in (140, 320, 500)]
    assert widths == sorted(widths)
    assert widths[0] < 26
    assert widths[2] > 48


def test_colours_are_painted_over_a_picture(context: BrowserContext, address: str, received: Received) -> None:
    easel = opened(context.new_page(), address, received, "sketch")
    easel.put(green())
    easel.element.get_by_label("Colour of the brush").fill("#2040c0")
    easel.set("Size, px", 60)
    easel.set("Hardness, %", 100)
    easel.drag([(100, 100), (300, 100)])
    easel.set("Opacity, %", 50)
    easel.drag([(100, 300), (300, 300)])
    sheet = easel.generate()
    assert sheet.mask is None
    seen = np.asarray(Image.open(io.BytesIO(sheet.init.data))).astype(int)
    assert tuple(seen[100, 200]) == (0x20, 0x40, 0xC0)
    assert np.abs(seen[300, 200] - (np.array(GREEN) + np.array([0x20, 0x40, 0xC0])) / 2).max() <= 1
    assert tuple(seen[400, 500]) == GREEN
    # Alt picks up what is seen, half transparent strokes included.
    [(x, y)] = easel.screen([(200, 300)])
    easel.page.keyboard.down("Alt")
    easel.page.mouse.click(x, y)
    easel.page.keyboard.up("Alt")
    picked = easel.element.get_by_label("Colour of the brush").input_value()
    assert [int(picked[at : at + 2], 16) for at in (1, 3, 5)] == pytest.approx(list(seen[300, 200]), abs=1)
    easel.tool("eraser")
    easel.set("Opacity, %", 100)
    easel.drag([(100, 100), (300, 100)])
    erased = np.asarray(Image.open(io.BytesIO(easel.generate().init.data)))
    assert tuple(erased[100, 200]) == GREEN
    easel.page.wait_for_timeout(600)
    easel = opened(easel.page, address, received, "sketch")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(easel.generate().init.data))), erased)


def test_lines_are_drawn_on_a_blank_page(context: BrowserContext, address: str, received: Received) -> None:
    easel = opened(context.new_page(), address, received, "line")
    easel.element.get_by_role("button", name="Blank page", exact=True).click()
    place = easel.element.locator(".canvas-easel").bounding_box()
    assert place is not None
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    easel.page.mouse.move(x - 100, y)
    easel.page.mouse.down()
    easel.page.mouse.move(x + 100, y, steps=5)
    easel.page.mouse.up()
    sheet = easel.generate()
    assert (sheet.width, sheet.height, sheet.source) == (384, 256, None)
    assert sheet.mask is not None
    mask = np.asarray(Image.open(io.BytesIO(sheet.mask.data)))
    assert mask[128, 192] == 255
    assert mask[100, 192] == 0


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_no_fault(easel: Easel, theme: str) -> None:
    easel.page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    for step in range(2):
        found = Axe().run(easel.page, context=".canvas").response["violations"]
        assert [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found] == []
        if step == 0:
            easel.put(green())
            easel.tool("fill")


def test_fingers_find_everything_and_nothing_scrolls_sideways(phone: Easel) -> None:
    phone.put(green(300, 200))
    phone.tool("fill")
    small = phone.element.evaluate(
        """(canvas) => [...canvas.querySelectorAll("button, input[type=color], input[type=range]")]
            .filter((e) => e.checkVisibility() && Math.min(e.offsetHeight, e.offsetWidth) < 44)
            .map((e) => e.outerHTML)"""
    )
    assert small == []
    assert phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_every_key_of_the_help_does_something(easel: Easel) -> None:
    easel.put(green())
    shortcuts = easel.page.evaluate(
        "import(`${window.pochade.scripts}/canvas-keys.js`).then((keys) => keys.SHORTCUTS.map(([keys]) => keys))"
    )
    told = {key for keys in shortcuts for key in keys}
    assert {"B", "E", "R", "L", "F", "[", "]", "I", "V", "Z", "0"} <= told
    page = easel.page
    for key, tool in [("e", "eraser"), ("r", "rectangle"), ("l", "lasso"), ("f", "fill"), ("b", "brush")]:
        page.keyboard.press(key)
        expect(easel.element.locator(f"[data-tool={tool}]")).to_have_attribute("aria-pressed", "true")
    size = easel.element.get_by_label("Size, px")
    easel.set("Size, px", 50)
    page.keyboard.press("]")
    expect(size).to_have_value("60")
    page.keyboard.press("[")
    expect(size).to_have_value("50")
    page.keyboard.press("{")
    expect(easel.element.get_by_label("Hardness, %")).to_have_value("80")
    page.keyboard.press("v")
    expect(easel.element.locator(".canvas-overlay")).to_be_hidden()
    easel.drag(STROKE)  # painting blindfold is nobody's wish
    expect(easel.element.locator(".canvas-overlay")).to_be_visible()
    page.keyboard.press("Delete")
    assert easel.value()["mask"] is None
    page.keyboard.press("1")
    expect(easel.element.locator(".canvas-zoom")).to_have_text("100 %")
    # While somebody types, letters are letters.
    page.get_by_label("Prompt").press("End")
    page.keyboard.type(" left")
    expect(page.get_by_label("Prompt")).to_have_value("a heron left")
    expect(easel.element.locator("[data-tool=brush]")).to_have_attribute("aria-pressed", "true")
