"""The Guide room in a real browser: from strokes, photographs and joints to what the engine is asked to follow."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from studio import image, pose
from studio.request import ControlUnit, ResolvedRequest
from studio.settings import EMBEDDED
from tests.e2e.conftest import House, eventually, open_studio, serving
from tests.e2e.test_manners import faults
from tests.weight_files import write

pytestmark = pytest.mark.browser

#: What a ControlNet of Stable Diffusion 1.5 is known by.
NET = {
    "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320, 768),
}
SIDE = 256
WRIST = "right wrist"
#: The browser has written down what is drawn on the first guide, which it does a moment after the last stroke.
WRITTEN = """async () => {
  const { find } = await import(`${window.pochade.scripts}/canvas.js`);
  await (await find("guide1-draw")).store.flush();
}"""


@pytest.fixture(scope="module")
def house(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """With a model of Stable Diffusion 1.5, as far as its settings tell, and ControlNets for lines, edges and poses."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(EMBEDDED, models / "guided", copy_function=os.symlink)
    (models / "guided" / "pochade.json").unlink()
    (models / "guided" / "pochade.json").write_text(json.dumps({"title": "Guided", "width": SIDE, "height": SIDE}))
    unet = models / "guided" / "unet" / "config.json"
    settings = json.loads(unet.read_text()) | {"cross_attention_dim": 768}
    unet.unlink()
    unet.write_text(json.dumps(settings))
    for kind in ("scribble", "canny", "openpose"):
        write(models / "controlnet" / f"{kind}.safetensors", NET)
    with serving(tmp_path_factory.mktemp("data"), models) as house:
        house.engine.step_seconds = 0.005
        yield house


def entered(context: BrowserContext, house: House, room: str = "guide") -> Page:
    remembered = json.dumps({"prompt": "a heron", "model": "guided", "steps": 4})
    context.add_init_script(f"if (location.host) localStorage['pochade.settings'] ??= {json.dumps(remembered)}")
    page = context.new_page()
    open_studio(page, f"{house.address}/#{room}")
    expect(page.locator("#model input")).to_have_value("Guided")
    return page


@pytest.fixture
def page(house: House, context: BrowserContext) -> Page:
    return entered(context, house)


def source(page: Page, name: str) -> None:
    page.get_by_role("group", name="What is followed").get_by_role("button", name=name, exact=True).click()


def easel(page: Page) -> Locator:
    place = page.locator(".guide-canvas:not([hidden]) .canvas-easel")
    place.wait_for()
    return place


def spot(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a point of the fitted page of `SIDE` pixels lies on the screen."""
    box = easel(page).bounding_box()
    assert box is not None
    scale = min(box["width"], box["height"]) / SIDE * 0.92
    return box["x"] + box["width"] / 2 + (x - SIDE / 2) * scale, box["y"] + box["height"] / 2 + (y - SIDE / 2) * scale


def drag(page: Page, *points: tuple[float, float]) -> None:
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


def strokes(page: Page) -> None:
    """A triangle in three strokes."""
    corners = [(60, 70), (196, 70), (128, 200)]
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        drag(page, spot(page, *start), spot(page, *end))


def drawn(page: Page, house: House) -> ResolvedRequest:
    """What the engine is asked for at Generate."""
    before = len(house.engine.drawn)
    page.keyboard.press("Control+Enter")
    eventually(lambda: len(house.engine.drawn) == before + 1)
    return house.engine.drawn[-1]


def seen(page: Page) -> None:
    """Wait for the result on the stage."""
    expect(page.locator(".actions:not([data-idle])").first).to_be_visible()
    expect(page.locator(".easel img")).to_be_visible()


def unit_of(request: ResolvedRequest) -> ControlUnit:
    (unit,) = request.controls
    return unit


def ink(unit: ControlUnit) -> NDArray[np.bool_]:
    assert unit.image is not None
    return np.asarray(image.decode(unit.image.data, 10**7).convert("L")) < 128


def triangle() -> NDArray[np.bool_]:
    page = np.zeros((SIDE, SIDE), np.uint8)
    cv2.polylines(page, [np.array([[60, 70], [196, 70], [128, 200]])], True, 255, 6)
    return page > 0


def near(lines: NDArray[np.bool_], wanted: NDArray[np.bool_], slack: int) -> float:
    """Share of `lines` that lies within `slack` pixels of `wanted`."""
    wide = cv2.dilate(wanted.astype(np.uint8), np.ones((2 * slack + 1, 2 * slack + 1), np.uint8)) > 0
    return float((lines & wide).sum() / max(lines.sum(), 1))


def wrist(unit: ControlUnit) -> tuple[float, float]:
    assert unit.pose is not None
    joint = unit.pose.people[0].body[pose.BODY.index(WRIST)]
    assert joint is not None
    return joint


def joint(page: Page, name: str = WRIST) -> Locator:
    return page.locator(f".guide-canvas:not([hidden]) .pose-joint[aria-label^='{name}']")


def middle(place: Locator) -> tuple[float, float]:
    box = place.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_three_strokes_are_what_the_picture_follows_and_cost_one_request(page: Page, house: House) -> None:
    strokes(page)
    expect(page.get_by_alt_text("The map that is followed")).to_be_visible()
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    asked = drawn(page, house)
    unit = unit_of(asked)
    assert (unit.annotator, unit.model, unit.weight) == ("scribble", "controlnet/scribble", 1)
    assert (asked.init, asked.mask) == (None, None)
    assert min(near(ink(unit), triangle(), 3), near(triangle(), ink(unit), 3)) > 0.97
    seen(page)
    assert len([url for url in posts if "/gradio_api/" in url]) == 1
    expect(easel(page)).to_be_visible()
    assert faults(page) == []


def test_guides_stay_over_a_reload_go_with_every_room_and_can_rest(page: Page, house: House) -> None:
    strokes(page)
    page.get_by_label("Weight, number").fill("0.65")
    page.get_by_label("Weight, number").blur()
    page.get_by_role("button", name="Prompt first").click()
    first = unit_of(drawn(page, house))
    page.evaluate(WRITTEN)
    page.reload()
    page.locator(".stage").wait_for()
    page.get_by_role("link", name="Text", exact=True).click()
    expect(page.locator("#fold-guides .fold-summary")).to_have_text("Drawing")
    again = unit_of(drawn(page, house))
    assert (again.weight, again.mode) == (0.65, "prompt")
    assert (ink(again) == ink(first)).all()
    page.locator("#fold-guides-head button").click()
    page.get_by_label("Follow guide 1").uncheck()
    assert drawn(page, house).controls == ()
    page.get_by_label("Follow guide 1").check()
    assert (ink(unit_of(drawn(page, house))) == ink(first)).all()
    seen(page)
    assert faults(page) == []


def test_generate_waits_for_guides_whose_surface_is_not_there_yet(page: Page, house: House) -> None:
    strokes(page)
    first = unit_of(drawn(page, house))
    page.evaluate(WRITTEN)
    held: list[Route] = []
    page.route("**/guide.js", lambda route: held.append(route))
    with page.expect_request("**/guide.js"):
        page.reload()
    page.locator(".stage").wait_for()
    page.get_by_role("link", name="Text", exact=True).click()
    expect(page.locator("#fold-guides .fold-summary")).to_have_text("Drawing")
    before = len(house.engine.drawn)
    pressed = "() => new Promise((done) => document.getElementById('generate').addEventListener('click', () => done()))"
    waiting = page.evaluate_handle(f"() => ({{ pressed: ({pressed})() }})")
    page.keyboard.press("Control+Enter")
    page.evaluate("(waiting) => waiting.pressed", waiting)
    for route in held:
        route.continue_()
    page.unroute("**/guide.js")
    eventually(lambda: len(house.engine.drawn) == before + 1)
    assert (ink(unit_of(house.engine.drawn[-1])) == ink(first)).all()
    seen(page)
    assert faults(page) == []


def test_lines_ellipses_and_mirrors_are_drawn(page: Page, house: House) -> None:
    easel(page)
    page.keyboard.press("u")
    drag(page, spot(page, 30, 40), spot(page, 100, 40))
    page.keyboard.press("o")
    drag(page, spot(page, 30, 150), spot(page, 90, 230))
    page.get_by_role("button", name="Left and right").click()
    page.keyboard.press("b")
    page.get_by_label("Steady", exact=True).fill("0.6")
    drag(page, spot(page, 20, 90), spot(page, 60, 120), spot(page, 100, 90))
    wanted = np.zeros((SIDE, SIDE), np.uint8)
    cv2.line(wanted, (30, 40), (100, 40), 255, 6)
    cv2.ellipse(wanted, (60, 190), (30, 40), 0, 0, 360, 255, 6)
    lines = ink(unit_of(drawn(page, house)))
    assert near(wanted > 0, lines, 2) > 0.98
    free = lines & ~(cv2.dilate(wanted, np.ones((9, 9), np.uint8)) > 0)
    assert free.sum() > 400, "the steadied stroke and its image"
    assert near(free, free[:, ::-1], 2) > 0.95
    page.keyboard.press("Control+z")
    expect(page.locator(".guide-canvas:not([hidden])").get_by_role("button", name="Redo")).to_be_enabled()
    assert not ink(unit_of(drawn(page, house)))[80:130].any()


def photographed() -> bytes:
    """The triangle in pencil on shaded, tinted paper."""
    ramp = np.linspace(0.55, 1, SIDE)[None] * np.full((SIDE, 1), 225.0)
    paper = np.where(triangle(), ramp * 0.35, ramp)
    return image.png(Image.fromarray(paper.astype(np.uint8)).convert("RGB"))


def test_a_photographed_sketch_becomes_strokes_that_can_be_erased(page: Page, house: House) -> None:
    easel(page)
    chooser = page.locator(".guide-canvas:not([hidden]) input[type=file]")
    chooser.set_input_files({"name": "sketch.png", "mimeType": "image/png", "buffer": photographed()})
    clean = page.get_by_role("button", name="Clean up a photographed sketch")
    clean.click()
    expect(clean).to_be_enabled()
    unit = unit_of(drawn(page, house))
    assert min(near(ink(unit), triangle(), 3), near(triangle(), ink(unit), 3)) > 0.95, "the paper is gone"
    page.locator(".guide-canvas:not([hidden]) [data-tool=eraser]").click()
    page.get_by_label("Size, px").fill("60")
    page.get_by_label("Size, px").blur()
    drag(page, spot(page, 60, 70), spot(page, 196, 70))
    assert not ink(unit_of(drawn(page, house)))[66:74].any()


def test_nothing_drawn_yet_is_said_and_nothing_is_sent(page: Page, house: House) -> None:
    easel(page)
    before = len(house.engine.drawn)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert").filter(has_text="Nothing is drawn on guide 1 yet")).to_be_visible()
    source(page, "Picture")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert").filter(has_text="There is no picture on guide 1 yet")).to_be_visible()
    assert len(house.engine.drawn) == before


def test_a_wrist_is_dragged_mirrored_and_brought_back(page: Page, house: House) -> None:
    source(page, "Pose")
    expect(joint(page)).to_have_count(1)
    before = wrist(unit_of(drawn(page, house)))
    box = page.locator(".pose-drawing").bounding_box()
    assert box is not None
    scale = box["width"] / SIDE
    x, y = middle(joint(page).locator(".pose-dot"))
    drag(page, (x, y), (x - 30 * scale, y - 80 * scale))
    unit = unit_of(drawn(page, house))
    assert unit.pose is not None
    assert (unit.annotator, unit.model, unit.image) == ("none", unit.model, None)
    assert wrist(unit) == pytest.approx((before[0] - 30, before[1] - 80), abs=1.5)
    page.get_by_role("button", name="Mirror this person").click()
    mirrored = unit_of(drawn(page, house))
    assert mirrored.pose is not None
    left = mirrored.pose.people[0].body[pose.BODY.index("left wrist")]
    assert left is not None
    assert left[0] > SIDE / 2 > before[0]
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert wrist(unit_of(drawn(page, house))) == pytest.approx(before, abs=0.01)
    seen(page)
    assert faults(page) == []


def test_a_pose_is_made_with_the_keyboard_alone(page: Page, house: House) -> None:
    page.get_by_role("group", name="What is followed").get_by_role("button", name="Draw", exact=True).focus()
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(joint(page)).to_have_count(1)
    before = wrist(unit_of(drawn(page, house)))
    name = "document.activeElement.getAttribute('aria-label') ?? ''"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(name) == WRIST:
            break
    assert page.evaluate(name) == WRIST
    for _ in range(3):
        page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("ArrowLeft")
    assert wrist(unit_of(drawn(page, house))) == pytest.approx((before[0] - 2, before[1] - 30), abs=0.01)
    joint(page).focus()
    page.keyboard.press("h")
    expect(joint(page)).to_have_attribute("aria-label", f"{WRIST}, hidden")
    hidden = unit_of(drawn(page, house)).pose
    assert hidden is not None
    assert hidden.people[0].body[pose.BODY.index(WRIST)] is None


def test_poses_are_picked_opened_and_saved(page: Page, house: House, tmp_path: Path) -> None:
    source(page, "Pose")
    page.get_by_role("button", name="Poses", exact=True).click()
    page.get_by_role("button", name="Two, talking").click()
    page.get_by_role("button", name="Another person").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save", exact=True).click()
    file = tmp_path / "pose.json"
    download.value.save_as(file)
    saved = pose.read_openpose(file.read_bytes())
    assert len(saved.people) == 3
    assert unit_of(drawn(page, house)).pose == saved
    opener = page.get_by_label("OpenPose JSON file")
    for content, sentence in ((b"{", "not a JSON file"), (b'{"people": [{"pose_keypoints_2d": [1]}]}', "54 or 75")):
        opener.set_input_files({"name": "pose.json", "mimeType": "application/json", "buffer": content})
        expect(page.get_by_role("alert").filter(has_text=sentence)).to_be_visible()
    assert unit_of(drawn(page, house)).pose == saved, "what was refused has changed nothing"
    page.get_by_role("button", name="Remove this person").click()
    opener.set_input_files(file)
    eventually(lambda: unit_of(drawn(page, house)).pose == saved)


def test_a_result_is_followed_and_its_guides_come_back_with_its_settings(page: Page, house: House) -> None:
    strokes(page)
    page.get_by_label("Until, number").fill("0.5")
    page.get_by_label("Until, number").blur()
    pictures = page.locator(".strip .thumb:not(.live)")
    earlier = pictures.count()  # of the tests before this one
    first = unit_of(drawn(page, house))
    expect(pictures).to_have_count(earlier + 1)
    page.get_by_role("button", name="To guide").click()
    expect(page.locator(".guide-tab")).to_have_count(2)
    expect(page.locator(".guide-canvas:not([hidden]) .canvas-empty")).to_be_hidden()
    second = drawn(page, house)
    assert [unit.annotator for unit in second.controls] == ["scribble", "canny"]
    assert second.controls[1].image is not None
    expect(pictures).to_have_count(earlier + 2)
    for place in (2, 1):
        page.get_by_role("button", name=f"Remove guide {place}").click()
    pictures.nth(1).click()
    page.get_by_role("button", name="Reuse settings").click()
    expect(page.locator(".guide-tab")).to_have_text(re.compile("1 Picture"))
    expect(page.get_by_label("Until, number")).to_have_value("0.5")
    expect(page.locator(".guide-canvas:not([hidden]) .canvas-empty")).to_be_hidden()
    again = unit_of(drawn(page, house))
    assert (again.annotator, again.end) == (first.annotator, 0.5)
    assert (ink(again) == ink(first)).all()


@pytest.fixture
def phone(chromium: Browser, house: House) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    yield entered(context, house)
    context.close()


def fingers(page: Page) -> Callable[..., None]:
    session = page.context.new_cdp_session(page)

    def touch(*points: tuple[float, float]) -> None:
        """One finger along these points."""
        steps = [("touchStart", points[0]), *(("touchMove", point) for point in points[1:])]
        for kind, (x, y) in steps:
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    return touch


def test_a_phone_draws_and_poses_by_touch(phone: Page, house: House) -> None:
    touch = fingers(phone)
    easel(phone).scroll_into_view_if_needed()
    touch(spot(phone, 60, 128), spot(phone, 120, 128), spot(phone, 200, 128))
    lines = ink(unit_of(drawn(phone, house)))
    assert lines[126:130, 70:190].all()
    phone.get_by_role("button", name="Canvas", exact=True).click()
    source(phone, "Pose")
    place = joint(phone)
    place.scroll_into_view_if_needed()
    box = place.locator(".pose-target").bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 43.9
    before = wrist(unit_of(drawn(phone, house)))
    phone.get_by_role("button", name="Canvas", exact=True).click()
    place.scroll_into_view_if_needed()
    x, y = middle(place.locator(".pose-dot"))
    touch((x + 10, y), (x - 10, y - 20), (x - 30, y - 40))
    after = wrist(unit_of(drawn(phone, house)))
    assert (after[0] < before[0] - 10, after[1] < before[1] - 10) == (True, True)
    phone.get_by_role("button", name="Canvas", exact=True).click()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    for button in phone.locator("#guide-surface button:visible").all():
        size = button.bounding_box()
        assert size is not None
        assert size["height"] >= 43.9, button.inner_text()
