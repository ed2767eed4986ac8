"""Photographs in the pose editor: traced, kept over a reload, and the people in them found."""

from __future__ import annotations

import re

import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect

from studio import image, pose
from tests.e2e import test_guide_page as guide
from tests.e2e.conftest import House, eventually

pytestmark = pytest.mark.browser
house = guide.house
page = guide.page

#: The browser has written down what is traced on the first guide, at that opacity.
KEPT = """(opacity) => new Promise((resolve) => {
  const opening = indexedDB.open("pochade.canvas");
  opening.onsuccess = () => {
    const reading = opening.result.transaction("sources").objectStore("sources").get("pose1");
    reading.onsuccess = () => { opening.result.close(); resolve(reading.result?.opacity === opacity); };
  };
})"""
WIDTH = "async (image) => (await createImageBitmap(await (await fetch(image.href.baseVal)).blob())).width"


def photograph(width: int, height: int) -> FilePayload:
    ramp = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    return {"name": "photo.png", "mimeType": "image/png", "buffer": image.png(ramp)}


def posed(page: Page, house: House) -> pose.Pose:
    found = guide.unit_of(guide.drawn(page, house)).pose
    assert found is not None
    return found


def seek(page: Page, photo: FilePayload | None = None) -> None:
    """Press the button, and choose a photograph if one is asked for."""
    button = page.get_by_role("button", name="Find the people in a picture")
    if photo is None:
        button.click()
    else:
        with page.expect_file_chooser() as chooser:
            button.click()
        chooser.value.set_files(photo)
    expect(button).to_be_enabled()


def test_people_of_a_photograph_become_joints_with_their_faces(page: Page, house: House) -> None:
    guide.source(page, "Pose")
    expect(guide.joint(page)).to_have_count(1)
    before = posed(page, house)
    seek(page, photograph(200, 100))
    found = posed(page, house)
    (person,) = found.people
    assert (found.width, found.height) == (guide.SIDE, guide.SIDE)
    # The photograph, twice as wide as high, lies in the middle of the square page.
    assert person.body[3] == pytest.approx((guide.SIDE * 0.2, guide.SIDE * (0.25 + 0.2 / 2)), abs=0.01)
    assert person.body[17] == pytest.approx((guide.SIDE * 0.9, guide.SIDE * (0.25 + 0.9 / 2)), abs=0.01)
    assert len([point for point in person.face if point]) == pose.FACE
    page.get_by_role("button", name="Mirror this person").click()
    assert len([point for point in posed(page, house).people[0].face if point]) == pose.FACE
    for _ in range(2):
        page.keyboard.press("Control+z")
    assert posed(page, house) == before


def test_why_nobody_can_be_found_is_said_in_a_sentence(page: Page, house: House) -> None:
    guide.source(page, "Pose")
    expect(guide.joint(page)).to_have_count(1)
    before = posed(page, house)
    house.engine.blind = "OpenPose needs facenet.pth (153.7 MB); put the file into models/annotators."
    try:
        seek(page, photograph(64, 64))
        expect(page.get_by_role("alert").filter(has_text=house.engine.blind)).to_be_visible()
        assert posed(page, house) == before
    finally:
        house.engine.blind = ""
    seek(page)  # in the same photograph
    expect(page.get_by_role("alert").filter(has_text="OpenPose")).to_have_count(0)
    eventually(lambda: posed(page, house) != before)


def test_what_is_traced_stays_over_a_reload_and_leaves_with_its_guide(page: Page, house: House) -> None:
    guide.source(page, "Pose")
    expect(guide.joint(page)).to_have_count(1)
    traced = page.locator(".guide-canvas:not([hidden]) .pose-traced")
    page.get_by_label("Picture file to trace").set_input_files(photograph(120, 160))
    opacity = page.locator(".guide-canvas:not([hidden]) .pose-opacity")
    opacity.fill("0.8")
    page.wait_for_function(KEPT, arg="0.8")
    page.reload()
    page.locator(".stage").wait_for()
    expect(traced).to_have_attribute("opacity", "0.8")
    expect(traced).to_have_attribute("href", re.compile("^blob:"))
    assert traced.evaluate(WIDTH) == 120
    page.get_by_role("button", name="Remove guide 1").click()
    page.get_by_role("button", name="Another guide").click()
    guide.source(page, "Pose")
    expect(guide.joint(page)).to_have_count(1)
    expect(opacity).to_be_hidden()
    assert traced.get_attribute("href") is None
