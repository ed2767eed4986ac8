"""The gallery in a real browser."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Page, expect

from studio.gallery import MARKER
from studio.gallery_reconcile import PICTURES
from tests.e2e.conftest import House, eventually

pytestmark = pytest.mark.browser


def made(house: House, *prompts: str, **parts: object) -> None:
    """Have pictures drawn through the house's own route."""
    already = len(house.engine.drawn)
    with httpx.Client(base_url=house.address) as client:
        for prompt in prompts:
            small = {"prompt": prompt, "width": 64, "height": 64, "steps": 2, **parts}
            assert client.post("/studio/jobs", json=small).status_code == 202
        eventually(lambda: len(house.engine.drawn) == already + len(prompts))
        eventually(lambda: _settled(client, already + len(prompts)))


def _settled(client: httpx.Client, count: int) -> bool:
    items = client.get("/studio/pictures", params={"limit": 200}).json()["items"]
    return len(items) == count and client.get("/studio/status").json()["state"] == "ready"


def open_gallery(page: Page, count: int) -> None:
    page.get_by_role("link", name="Gallery").click()
    expect(page.locator(".grid .tile")).to_have_count(count)


def test_words_find_pictures(page: Page, house: House) -> None:
    made(house, "a blue heron", "a red owl", "a blue whale")
    open_gallery(page, 3)
    expect(page.locator(".grid img").first).to_have_attribute("alt", "a blue whale")
    page.get_by_role("searchbox", name="Search in prompts").fill("blue")
    expect(page.locator(".grid .tile")).to_have_count(2)
    page.get_by_role("searchbox", name="Search in prompts").fill('zebra <b>"*')
    expect(page.get_by_text("Nothing here matches.")).to_be_visible()
    page.get_by_role("searchbox", name="Search in prompts").fill("")
    page.get_by_label("Day").select_option(index=1)
    expect(page.locator(".grid .tile")).to_have_count(3)


def test_a_picture_shows_all_that_is_known_of_it(page: Page, house: House) -> None:
    made(house, "a heron <b>&amp;</b>", negative="fog", seed=2**64 - 1)
    open_gallery(page, 1)
    page.locator(".tile").click()
    sheet = page.get_by_role("dialog", name="Picture")
    for fact in ("a heron <b>&amp;</b>", "fog", "18446744073709551615", "64 × 64", "DPM++ 2M"):
        expect(sheet.get_by_text(fact, exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    expect(page.locator(".tile")).to_be_focused()


def test_the_trash_gives_back_what_was_thrown_away(page: Page, house: House) -> None:
    made(house, "a heron", "an owl")
    open_gallery(page, 2)
    page.locator(".tile").first.click()
    page.get_by_role("button", name="Move to the trash").click()
    page.keyboard.press("Escape")
    expect(page.locator(".grid .tile")).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".grid .tile")).to_have_count(2)
    page.locator(".tile").first.focus()
    page.keyboard.press("Delete")
    expect(page.locator(".grid .tile")).to_have_count(1)
    page.get_by_role("button", name="Trash", exact=True).click()
    expect(page.locator(".grid img")).to_have_attribute("alt", "an owl")
    page.locator(".tile").click()
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_text("The trash is empty.")).to_be_visible()
    page.get_by_role("button", name="Trash", exact=True).click()
    expect(page.locator(".grid .tile")).to_have_count(2)


def test_settings_go_back_to_text_to_image(page: Page, house: House) -> None:
    made(house, "a heron", seed=5, steps=3)
    open_gallery(page, 1)
    page.locator(".tile").click()
    page.get_by_role("dialog").get_by_role("button", name="Reuse settings").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a heron")
    expect(page.locator("#seed input")).to_have_value("5")


def test_arrows_walk_through_the_pictures(page: Page, house: House) -> None:
    made(house, "a heron", "an owl", "a whale")
    open_gallery(page, 3)
    page.locator(".tile").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    sheet = page.get_by_role("dialog", name="Picture")
    expect(sheet.get_by_alt_text("an owl")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(sheet.get_by_alt_text("a heron")).to_be_visible()


def test_more_pictures_come_while_one_scrolls(page: Page, house: House) -> None:
    made(house, *(f"heron {number}" for number in range(130)), steps=1)
    page.get_by_role("link", name="Gallery").click()
    expect(page.locator(".grid .tile").first).to_be_visible()
    # At the end again before anything has been painted: the end was never seen to leave the view.
    page.evaluate(
        "new MutationObserver(() => scrollTo(0, 1e9)).observe(document.querySelector('.grid'), { childList: true })"
    )
    page.keyboard.press("End")
    expect(page.locator(".grid .tile")).to_have_count(130)
    alts = page.locator(".grid img").evaluate_all("images => images.map(image => image.alt)")
    assert alts == [f"heron {number}" for number in reversed(range(130))]


def test_a_gallery_in_trouble_says_so_and_can_be_rebuilt(page: Page, house: House) -> None:
    made(house, "a heron")
    (house.folder / PICTURES / MARKER).unlink()
    page.get_by_role("link", name="Gallery").click()
    expect(page.locator(".banner")).to_contain_text("is not the one this gallery knows")
    page.get_by_role("button", name="Rebuild from the files").click()
    expect(page.get_by_text("has been rebuilt")).to_be_visible()
    expect(page.locator(".banner")).to_be_hidden()
    expect(page.locator(".grid .tile")).to_have_count(1)
