"""Guides beside what they stand with: drawn for Image and Inpaint, and taken from the gallery."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

from studio import image
from studio.request import Picture
from tests.e2e import test_guide_page as guide
from tests.e2e import test_rooms_page as rooms
from tests.e2e.conftest import House
from tests.e2e.test_manners import faults

pytestmark = pytest.mark.browser
house = guide.house
page = guide.page
phone = guide.phone


def enter(page: Page, room: str) -> None:
    page.get_by_role("link", name=room, exact=True).click()


def pixels(picture: Picture | None) -> NDArray[np.uint8]:
    assert picture is not None
    return np.asarray(image.decode(picture.data, 10**7).convert("RGB"))


def test_a_picture_and_its_mask_go_with_a_drawing_begun_in_their_room(page: Page, house: House) -> None:
    # As a new artist comes to it: no guide has been begun.
    page.get_by_role("button", name="Remove guide 1").click()
    rooms.enter(page, "image")
    rooms.put(page, "image", rooms.photo())
    page.locator("#fold-guides-head button").click()
    page.get_by_role("button", name="Drawing", exact=True).click()
    guide.strokes(page)
    lines = guide.ink(guide.unit_of(guide.drawn(page, house)))

    enter(page, "Image")
    expect(page.locator("#fold-guides .fold-summary")).to_have_text("Drawing")
    page.get_by_label("Weight, number").fill("0.7")
    page.get_by_label("Weight, number").blur()
    expect(page.get_by_alt_text("The map that is followed")).to_be_visible()
    assert faults(page) == []
    redrawn = guide.drawn(page, house)
    unit = guide.unit_of(redrawn)
    assert (redrawn.mask, rooms.size_of(redrawn.init)) == (None, rooms.SIZE)
    assert (unit.annotator, unit.model, unit.weight) == ("scribble", "controlnet/scribble", 0.7)
    assert (guide.ink(unit) == lines).all()

    rooms.enter(page, "inpaint")
    rooms.put(page, "inpaint", rooms.photo())
    rooms.rectangle(page, 40, 60, 140, 200)
    repainted = guide.drawn(page, house)
    assert (pixels(repainted.init) == pixels(redrawn.init)).all()
    rooms.assert_box(rooms.mask_of(repainted), 40, 60, 140, 200)
    assert guide.unit_of(repainted) == unit

    page.get_by_label("Follow guide 1").uncheck()
    alone = guide.drawn(page, house)
    assert (alone.controls, alone.mask) == ((), repainted.mask)


def test_a_picture_of_the_gallery_is_followed(page: Page, house: House) -> None:
    guide.strokes(page)
    guide.drawn(page, house)
    guide.seen(page)
    enter(page, "Gallery")
    page.locator(".tile").first.click()
    view = page.get_by_role("dialog", name="Picture")
    saved = page.request.get(view.locator(".view-easel img").first.evaluate("image => image.src")).body()
    view.get_by_role("button", name="To guide").click()
    expect(view).to_be_hidden()
    expect(page.locator(".guide-tab")).to_have_count(2)
    expect(page.locator(".guide-canvas:not([hidden]) .canvas-empty")).to_be_hidden()
    page.get_by_label("Follow guide 1").uncheck()
    unit = guide.unit_of(guide.drawn(page, house))
    assert (unit.annotator, unit.model) == ("canny", "controlnet/canny")
    assert (pixels(unit.image) == np.asarray(image.decode(saved, 10**7).convert("RGB"))).all()


def focused(page: Page) -> str:
    told = page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText")
    return str(told)


def test_who_removes_a_guide_goes_on_at_the_next_and_draws_on_none_that_is_gone(page: Page, house: House) -> None:
    guide.strokes(page)
    first = guide.unit_of(guide.drawn(page, house))
    page.locator(".guides-add").get_by_role("button", name="Picture").click()
    expect(page.get_by_text("A picture to follow")).to_be_visible()
    assert focused(page) == "2 Picture"
    for place, next_ in ((2, "1 · Drawing"), (1, "Drawing")):
        page.get_by_role("button", name=f"Remove guide {place}").focus()
        page.keyboard.press("Enter")
        assert focused(page) == next_
    page.get_by_text("Guide 1 is gone.").hover()  # or it goes while the page is looked at
    expect(page.locator(".guide-canvas:visible")).to_have_count(0)
    expect(page.get_by_text("Nothing is followed")).to_be_visible()
    assert faults(page) == []
    page.get_by_text("Guide 1 is gone.").locator("..").get_by_role("button", name="Undo").click()
    assert (guide.ink(guide.unit_of(guide.drawn(page, house))) == guide.ink(first)).all()


def test_a_guide_begun_or_opened_from_another_room_is_in_sight_on_a_phone(phone: Page) -> None:
    page = phone
    view = page.get_by_role("group", name="On the right side")
    view.get_by_role("button", name="Result").click()  # an artist may have left the room so
    rooms.enter(page, "image")
    page.locator("#fold-guides-head button").click()
    page.locator(".guides-add").get_by_role("button", name="Pose").click()
    expect(guide.joint(page)).to_be_in_viewport()
    assert focused(page) == "2 Pose"
    enter(page, "Image")
    page.get_by_role("button", name="1 · Drawing").click()
    page.get_by_role("link", name="Edit").first.click()
    expect(guide.easel(page)).to_be_in_viewport(ratio=0.9)
    assert focused(page) == "1 Drawing"
    expect(page.get_by_role("button", name="1 Drawing", exact=True)).to_be_in_viewport()
