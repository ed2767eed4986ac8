"""The pose editor's joints: those that are missing are added, whole people are turned and grow."""

from __future__ import annotations

import json
import math
from statistics import median

import numpy as np
import pytest
from playwright.sync_api import FilePayload, Page, expect

from studio import pose
from studio.settings import PRESETS
from tests.e2e import test_guide_page as guide
from tests.e2e.conftest import House
from tests.e2e.test_manners import faults

pytestmark = pytest.mark.browser
house = guide.house
page = guide.page
phone = guide.phone
Body = tuple[pose.Joint, ...]

STANDING = pose.read_openpose((PRESETS / "poses" / "standing.json").read_bytes()).people[0].body
KNEE, ANKLE = "right knee", "right ankle"
#: What is suggested for each of the given bodies on a page of that size.
SUGGESTED = """async ([bodies, limbs, size]) => {
  const { suggested } = await import(`${window.pochade.scripts}/pose-missing.js`);
  return bodies.map((body) => suggested({ body }, limbs, size));
}"""


def file(*lacking: str) -> FilePayload:
    """OpenPose JSON of somebody upright on 256 × 256 without these joints."""
    body = [None if name in lacking else joint for name, joint in zip(pose.BODY, fitted(STANDING), strict=True)]
    person = pose.Person(body=tuple(body))
    told = pose.Pose(people=(person,), width=guide.SIDE, height=guide.SIDE).to_openpose()
    return {"name": "pose.json", "mimeType": "application/json", "buffer": json.dumps(told).encode()}


def fitted(body: Body) -> Body:
    """From a preset's page of 384 × 512 to the middle of a square one."""
    scale = guide.SIDE / 512
    return tuple(joint and (joint[0] * scale + (guide.SIDE - 384 * scale) / 2, joint[1] * scale) for joint in body)


def opened(page: Page, *lacking: str) -> None:
    guide.source(page, "Pose")
    expect(guide.joint(page)).to_have_count(1)
    page.get_by_label("OpenPose JSON file").set_input_files(file(*lacking))
    expect(guide.joint(page, lacking[0])).to_have_attribute("aria-label", f"{lacking[0]}, missing")


def body_of(page: Page, house: House) -> Body:
    found = guide.unit_of(guide.drawn(page, house)).pose
    assert found is not None
    return found.people[0].body


def at(body: Body, name: str) -> tuple[float, float]:
    joint = body[pose.BODY.index(name)]
    assert joint is not None, name
    return joint


def test_a_joint_that_is_missing_is_pressed_or_dragged_to_its_place_and_undone(page: Page, house: House) -> None:
    opened(page, guide.WRIST, KNEE, ANKLE)
    before = body_of(page, house)
    assert [name for name, joint in zip(pose.BODY, before, strict=True) if joint is None] == [guide.WRIST, KNEE, ANKLE]
    expect(page.get_by_text("Press a dotted ring")).to_be_visible()
    expect(guide.joint(page, ANKLE)).to_be_hidden()  # until there is a knee beside it
    page.mouse.click(*guide.middle(guide.joint(page, KNEE).locator(".pose-dot")))
    expect(guide.joint(page, KNEE)).to_have_attribute("aria-label", KNEE)
    expect(guide.joint(page, KNEE)).to_be_focused()
    x, y = guide.middle(guide.joint(page, ANKLE).locator(".pose-dot"))
    guide.drag(page, (x, y), (x - 60, y - 20))
    expect(guide.joint(page, ANKLE)).to_have_attribute("aria-label", ANKLE)
    assert faults(page) == []
    body = body_of(page, house)
    assert math.dist(at(body, KNEE), at(fitted(STANDING), KNEE)) < 12
    assert at(body, ANKLE)[0] < at(body, KNEE)[0] - 15
    assert body[pose.BODY.index(guide.WRIST)] is None, "what is only suggested is not sent"
    for _ in range(2):
        page.keyboard.press("Control+z")
    assert body_of(page, house) == before


def test_a_joint_that_is_missing_is_added_with_the_keyboard_alone(page: Page, house: House) -> None:
    opened(page, guide.WRIST, "left wrist")
    guide.joint(page, "right elbow").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == f"{guide.WRIST}, missing"
    expect(page.get_by_role("button", name="Show or hide this joint")).to_be_enabled()
    page.keyboard.press("Enter")
    expect(page.locator(".pose .sr-only[role=status]")).to_have_text(guide.WRIST)
    page.keyboard.press("Shift+ArrowUp")
    guide.joint(page, "left wrist").focus()
    page.keyboard.press("ArrowDown")  # moved from where it is suggested
    body = body_of(page, house)
    elbow, wrist = at(body, "right elbow"), at(body, guide.WRIST)
    assert 20 < math.dist(elbow, (wrist[0], wrist[1] + 10)) < 60
    assert at(body, "left wrist")[1] > at(body, "left elbow")[1] + 20
    guide.joint(page).focus()
    page.keyboard.press("h")
    expect(guide.joint(page)).to_have_attribute("aria-label", f"{guide.WRIST}, hidden")
    page.keyboard.press("Space")
    assert body_of(page, house) == body, "hidden and shown again it is where it was"


def test_a_finger_adds_a_joint_on_a_phone(phone: Page, house: House) -> None:
    opened(phone, guide.WRIST)
    ring = guide.joint(phone)
    ring.scroll_into_view_if_needed()
    box = ring.locator(".pose-target").bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 43.9
    expect(phone.get_by_text("Press a dotted ring")).to_be_visible()
    guide.fingers(phone)(guide.middle(ring.locator(".pose-dot")))
    expect(ring).to_have_attribute("aria-label", guide.WRIST)
    expect(phone.get_by_text("Press a dotted ring")).to_be_hidden()
    assert body_of(phone, house)[pose.BODY.index(guide.WRIST)] is not None


def test_whole_people_are_turned_and_grow_around_their_middle(page: Page, house: House) -> None:
    guide.source(page, "Pose")
    expect(guide.joint(page)).to_have_count(1)
    before = np.array(body_of(page, house))
    middle = (before.min(0) + before.max(0)) / 2
    steps = [
        ("Turn to the right", 10, 1.0),
        ("Turn to the left", -10, 1.0),
        ("Larger", 0, 1.1),
        ("Smaller", 0, 1 / 1.1),
    ]
    for name, degrees, scale in steps:
        page.get_by_role("button", name=name, exact=True).click()
        turn = math.radians(degrees)
        by = scale * np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        assert np.array(body_of(page, house)) == pytest.approx(middle + (before - middle) @ by, abs=0.01), name
        page.keyboard.press("Control+z")
    for _ in range(9):
        page.get_by_role("button", name="Larger", exact=True).click()
    beyond = body_of(page, house)
    assert beyond[pose.BODY.index(ANKLE)] is None, "what lies beside the page is not sent"
    for _ in range(9):
        page.get_by_role("button", name="Smaller", exact=True).click()
    assert np.array(body_of(page, house)) == pytest.approx(before, abs=0.01), "and is not lost either"


def test_what_is_suggested_lies_near_where_the_presets_have_it(page: Page) -> None:
    """Distances in lengths of the trunk, over every preset of one whole person and every joint of it."""
    guide.source(page, "Pose")
    expect(guide.joint(page)).to_have_count(1)
    whole = [
        read.people[0].body
        for path in sorted((PRESETS / "poses").glob("*.json"))
        if len((read := pose.read_openpose(path.read_bytes())).people) == 1 and all(read.people[0].body)
    ]
    assert len(whole) >= 20
    lacking = [
        (body, i, tuple(None if n == i else one for n, one in enumerate(body))) for body in whole for i in range(18)
    ]
    found = page.evaluate(SUGGESTED, [[rest for _, _, rest in lacking], pose.LIMBS, (384, 512)])
    off: dict[str, list[float]] = {}
    for (body, i, _), places in zip(lacking, found, strict=True):
        assert list(places) == [str(i)]
        hips = [(one + other) / 2 for one, other in zip(at(body, "right hip"), at(body, "left hip"), strict=True)]
        trunk = max(math.dist(at(body, "neck"), hips), 1)
        off.setdefault(pose.BODY[i], []).append(math.dist(at(body, pose.BODY[i]), places[str(i)]) / trunk)
    assert {name: round(median(all_), 2) for name, all_ in off.items() if median(all_) > 0.5} == {}
    bare = page.evaluate(SUGGESTED, [[[None] * 18, [None, (100, 90), *[None] * 16]], pose.LIMBS, (384, 512)])
    assert list(bare[0]) == ["1"], "of nobody the neck"
    assert set(bare[1]) == {"0", "2", "5", "8", "11"}, "of a neck what hangs on it"
