"""What the page owes everybody: access for all, privacy, small screens, light and dark."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import House, open_studio
from tests.e2e.test_gallery_page import made, open_gallery

pytestmark = pytest.mark.browser


def faults(page: Page) -> list[str]:
    """Serious and critical faults that axe-core finds, in Gradio's own controls too, once all colours have settled."""
    page.evaluate(
        "Promise.allSettled("
        "document.getAnimations().filter(one => one instanceof CSSTransition).map(one => one.finished))"
    )
    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {node['target']} {node['failureSummary']}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_no_serious_fault_of_ours(page: Page, house: House, theme: str) -> None:
    page.evaluate("theme => localStorage.setItem('pochade.theme', theme)", theme)
    made(house, "a heron", "an owl")
    open_studio(page, house.address)
    for fold in ("negative", "sampling"):
        page.locator(f"#fold-{fold} button").first.click()
    expect(page.locator(".easel img")).to_be_visible()
    assert faults(page) == []
    for room in ("Image", "Inpaint"):
        page.get_by_role("link", name=room, exact=True).click()
        page.locator(f"#canvas-{room.lower()} .canvas").wait_for()
        assert faults(page) == []
    page.get_by_role("link", name="Text", exact=True).click()
    page.locator("#prompt textarea").fill("")
    page.locator("#generate").click()
    expect(page.get_by_role("alert")).to_contain_text("empty")
    assert faults(page) == []
    page.get_by_role("button", name="Keyboard shortcuts").click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    open_gallery(page, 2)
    assert faults(page) == []
    page.locator(".tile").first.click()
    expect(page.get_by_role("dialog", name="Picture").get_by_text("64 × 64")).to_be_visible()
    assert faults(page) == []


def test_nothing_is_asked_of_another_host(chromium: Browser, house: House) -> None:
    context = chromium.new_context()
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    open_studio(page, house.address)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".strip .thumb:not(.live)")).to_have_count(1)
    open_gallery(page, 1)
    page.wait_for_timeout(500)
    context.close()
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {urlsplit(house.address).netloc}


def test_a_phone_needs_no_sideways_scrolling_and_has_room_for_fingers(chromium: Browser, house: House) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    open_studio(page, house.address)
    made(house, "a heron " * 40)
    expect(page.locator(".strip .thumb")).to_have_count(1)
    page.get_by_role("button", name="Settings", exact=True).click()
    page.locator("#fold-sampling button").first.click()

    def fits() -> bool:
        return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))

    assert fits()
    tops = [
        page.locator(part).bounding_box() for part in ("#prompt", ".easel", ".strip", ".actions", "#settings-toggle")
    ]
    assert all(box is not None for box in tops)
    order = [box["y"] for box in tops if box is not None]
    assert order == sorted(order)
    generate = page.locator("#generate").bounding_box()
    assert generate is not None
    assert generate["y"] + generate["height"] <= 844
    small = page.evaluate("""() => [...document.querySelectorAll(':is(.widget, dialog) :is(button, a, select)')]
        .filter(e => e.checkVisibility() && Math.min(e.offsetHeight, e.offsetWidth) < 44)
        .map(e => e.outerHTML)""")
    assert small == []
    open_gallery(page, 1)
    assert fits()
    page.locator(".tile").click()
    expect(page.get_by_role("dialog", name="Picture")).to_be_visible()
    assert fits()
    context.close()


def test_light_and_dark_are_remembered(page: Page, house: House) -> None:
    ground = "getComputedStyle(document.querySelector('.gradio-container')).backgroundColor"
    assert page.evaluate(ground) == "rgb(29, 29, 29)"
    page.get_by_role("button", name="Change to light").click()
    assert page.evaluate(ground) == "rgb(242, 242, 240)"
    open_studio(page, house.address)
    assert page.evaluate(ground) == "rgb(242, 242, 240)"


def test_the_keyboard_reaches_everything_on_the_way_to_a_picture(page: Page, house: House) -> None:
    page.get_by_label("Prompt", exact=True).focus()
    seen = []
    for _ in range(120):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.closest('[id]:not([id^=html-])')?.id ?? ''"))
        if seen[-1] == "generate":
            break
    assert {"examples", "fold-negative-head", "styles", "model", "width", "height", "count", "seed", "generate"} <= set(
        seen
    )


def test_the_shortcuts_tell_themselves(page: Page) -> None:
    page.locator(".easel").click()
    page.keyboard.press("?")
    help_sheet = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(help_sheet).to_be_visible()
    page.keyboard.press("Escape")
    expect(help_sheet).to_be_hidden()
    page.keyboard.press("g")
    expect(page.locator("#gallery .grid-foot")).to_be_visible()
    page.keyboard.press("g")
    expect(page.get_by_label("Prompt", exact=True)).to_be_visible()


def test_a_lost_studio_is_said_and_found_again(page: Page) -> None:
    page.route("**/studio/events", lambda route: route.abort())
    page.reload()
    expect(page.locator("#engine-status")).to_contain_text("Reconnecting…")
    page.unroute("**/studio/events")
    expect(page.locator("#engine-status")).to_contain_text("Ready")
