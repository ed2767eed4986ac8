"""The main path as a new artist walks it: `python app.py`, the embedded model, nothing replaced."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from tests.diffusion.test_poses_followed import figure
from tests.e2e import test_guide_page as guide
from tests.e2e.conftest import open_studio
from tests.e2e.test_rooms_page import enter, put, rectangle
from tests.running import Studio, running
from tools.mini.control_grade import edges

pytestmark = pytest.mark.browser
MINUTES = 180_000  # milliseconds; a busy machine draws slowly
#: The picture on the stage is a finished one of this prompt, and another than `last`.
NEXT = """([prompt, last]) => {
  const image = document.querySelector(".easel img");
  return image?.alt === prompt && image.src.includes("/studio/pictures/") && image.getAttribute("src") !== last;
}"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with running(tmp_path_factory.mktemp("data")) as studio:
        yield studio


@pytest.fixture
def page(studio: Studio, context: BrowserContext) -> Page:
    page = context.new_page()
    open_studio(page, studio.address)
    return page


def pixels(png: bytes) -> str:
    with Image.open(io.BytesIO(png)) as picture:
        return hashlib.sha256(picture.tobytes()).hexdigest()


def shown(page: Page, studio: Studio) -> bytes:
    """The large picture of the stage, as the server keeps it; until it comes, its preview is shown."""
    expect(page.locator(".easel img")).to_have_attribute("src", re.compile("/studio/pictures/"), timeout=MINUTES)
    source = page.locator(".easel img").get_attribute("src") or ""
    found = re.search(r"/studio/pictures/([^/]+)/", source)
    assert found, source[:200]
    return studio.picture(found[1])


def rgb(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def scene(width: int, height: int) -> Image.Image:
    """A dark sky that pales towards a green ground, with grain."""
    grain = np.random.default_rng(3).normal(0, 3, (height, width, 3))
    levels = np.linspace((20, 24, 60), (120, 90, 110), height)[:, None, :] + grain
    levels[height * 3 // 4 :] = grain[height * 3 // 4 :] + np.array((40, 90, 50))
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def set_seed(page: Page, seed: int) -> None:
    page.locator("#seed input").fill(str(seed))
    page.locator("#seed input").blur()


def test_a_prompt_becomes_a_picture_in_the_gallery_and_the_settings_stay(page: Page) -> None:
    page.get_by_label("Prompt", exact=True).fill("a red house in the mountains at night")
    page.keyboard.press("Control+Enter")
    forming = page.get_by_alt_text("The picture while it forms")
    expect(forming).to_be_visible(timeout=MINUTES)
    first = forming.get_attribute("src")
    page.wait_for_function(
        "(first) => { const i = document.querySelector('.easel img'); return i && i.src !== first; }", arg=first
    )
    picture = page.locator(".easel").get_by_alt_text("a red house in the mountains at night")
    expect(picture).to_be_visible(timeout=MINUTES)
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 256
    page.get_by_role("link", name="Gallery").click()
    expect(page.locator(".grid .tile")).to_have_count(1)
    page.reload()
    page.get_by_role("link", name="Text").first.click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a red house in the mountains at night")


def test_after_a_cancel_the_next_picture_is_the_one_it_would_have_been(page: Page, studio: Studio) -> None:
    def draw(seed: int, prompt: str) -> None:
        set_seed(page, seed)
        page.get_by_label("Prompt", exact=True).fill(prompt)
        page.keyboard.press("Control+Enter")

    draw(11, "a blue car in the city")
    expect(page.locator(".easel").get_by_alt_text("a blue car in the city")).to_be_visible(timeout=MINUTES)
    before = pixels(shown(page, studio))
    draw(12, "a yellow star, never finished")
    expect(page.get_by_alt_text("The picture while it forms")).to_be_visible(timeout=MINUTES)
    page.keyboard.press("Escape")
    expect(page.get_by_alt_text("The picture while it forms")).to_be_hidden(timeout=MINUTES)
    draw(11, "a blue car in the city")
    expect(page.locator(".strip .thumb:not(.live)")).to_have_count(3, timeout=MINUTES)
    assert pixels(shown(page, studio)) == before


def test_a_reload_in_the_middle_finds_the_job_and_its_progress(page: Page, studio: Studio) -> None:
    page.get_by_label("Prompt", exact=True).fill("three green fish in the sea")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_alt_text("The picture while it forms")).to_be_visible(timeout=MINUTES)
    page.reload()
    expect(page.get_by_role("progressbar", name="Drawing")).to_be_visible(timeout=MINUTES)
    expect(page.locator(".easel").get_by_alt_text("three green fish in the sea")).to_be_visible(timeout=MINUTES)


def test_a_repaint_leaves_the_rest_bit_for_bit_and_grows_beyond_its_edges(page: Page, studio: Studio) -> None:
    enter(page, "inpaint")
    source = scene(128, 128)
    put(page, "inpaint", png(source))
    rectangle(page, 40, 24, 104, 72, size=source.size)
    page.locator("#fold-sampling button").first.click()
    page.locator("#steps input[type=number]").fill("6")
    page.locator("#steps input[type=number]").blur()
    page.get_by_label("Prompt", exact=True).fill("a yellow moon at night")
    page.keyboard.press("Control+Enter")
    repainted = page.locator(".easel").get_by_alt_text("a yellow moon at night")
    expect(repainted).to_be_visible(timeout=MINUTES)
    before, after = np.asarray(source), rgb(shown(page, studio))
    outside = np.ones(before.shape[:2], bool)
    outside[8:88, 24:120] = False  # the feather reaches so far beyond what was painted
    assert np.array_equal(after[outside], before[outside])
    assert np.abs(after[32:64, 48:96].astype(int) - before[32:64, 48:96]).mean() > 10
    page.locator("#generate").focus()
    page.keyboard.press("d")
    expect(page.locator(".comparison").get_by_role("slider")).to_be_visible()
    page.keyboard.press("d")
    page.locator(".stage").get_by_role("button", name="Go on").click()
    page.get_by_role("menuitem", name="Zoom out 1.5×").click()
    expect(page.locator(".caption-facts")).to_contain_text("192 × 192", timeout=MINUTES)
    assert np.array_equal(rgb(shown(page, studio))[32:160, 32:160], after)


def guided_page(studio: Studio, context: BrowserContext, prompt: str) -> Page:
    """The Guide tab with few steps and a seed."""
    settings = json.dumps({"prompt": prompt, "steps": 8, "seed": 5})
    context.add_init_script(f"if (location.host) localStorage['pochade.settings'] ??= {json.dumps(settings)}")
    page = context.new_page()
    open_studio(page, f"{studio.address}/#guide")
    return page


def next_picture(page: Page, studio: Studio, prompt: str) -> NDArray[np.uint8]:
    """Press Generate and wait for another picture than the one in front."""
    last = page.locator(".easel img").get_attribute("src") if page.locator(".easel img").count() else ""
    page.keyboard.press("Control+Enter")
    page.wait_for_function(NEXT, arg=[prompt, last], timeout=MINUTES)
    return rgb(shown(page, studio))


def test_where_three_strokes_of_the_mouse_lie_the_picture_has_edges(studio: Studio, context: BrowserContext) -> None:
    """And the same seed without the guide has them elsewhere."""
    page = guided_page(studio, context, "a red heart")
    guide.strokes(page)
    expect(page.get_by_alt_text("The map that is followed")).to_be_visible(timeout=MINUTES)
    wanted, near = guide.triangle(), []
    for on in (True, False):
        page.get_by_label("Follow guide 1").set_checked(on)
        near.append(guide.near(wanted, edges(next_picture(page, studio, "a red heart")), 4))
    guided, free = near
    assert guided > 0.85, near
    assert guided > free + 0.1, near


def test_where_a_wrist_is_dragged_the_picture_has_a_hand(studio: Studio, context: BrowserContext) -> None:
    prompt = "a person in red on a white background"
    page = guided_page(studio, context, prompt)
    guide.source(page, "Pose")
    expect(guide.joint(page)).to_have_count(1)
    box = page.locator(".pose-drawing").bounding_box()
    assert box is not None
    scale = box["width"] / guide.SIDE
    x, y = guide.middle(guide.joint(page).locator(".pose-dot"))
    there = (x - 40 * scale, y - 42 * scale)  # level with the elbow
    across, down = (round((place - start) / scale) for place, start in zip(there, (box["x"], box["y"]), strict=True))
    hands = []
    for dragged in (False, True):
        if dragged:
            guide.drag(page, (x, y), there)
        somebody = figure(next_picture(page, studio, prompt))
        hands.append(float(somebody[down - 7 : down + 8, across - 7 : across + 8].mean()))
    before, after = hands
    assert after > before + 0.4, hands


def test_everything_the_page_loads_comes_from_the_studio(studio: Studio, context: BrowserContext) -> None:
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    open_studio(page, studio.address)
    page.get_by_role("link", name="Gallery").click()
    page.wait_for_timeout(1000)
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((studio.address, "data:", "blob:"))] == []


def test_stopping_the_studio_under_an_open_page_is_quiet_and_the_page_finds_the_next_one(
    context: BrowserContext, tmp_path: Path
) -> None:
    studio = Studio(tmp_path)
    page = context.new_page()
    open_studio(page, studio.address)
    page.get_by_label("Prompt", exact=True).fill("a red house")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_alt_text("The picture while it forms")).to_be_visible(timeout=MINUTES)
    assert studio.stop() == (0, "")
    expect(page.locator(".engine-text")).not_to_contain_text("Ready")
    with running(tmp_path, "--port", studio.address.rpartition(":")[2]):
        expect(page.locator(".easel").get_by_alt_text("a red house")).to_be_visible(timeout=MINUTES)
