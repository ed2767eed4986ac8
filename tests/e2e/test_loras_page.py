"""LoRAs chosen on the page, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from studio.request import LoraUse
from tests.e2e.conftest import House, eventually, open_studio, serving
from tests.e2e.test_abilities_page import choose
from tests.e2e.test_manners import faults
from tests.test_catalog_files import FLUX, LORA, SDXL
from tests.test_ui_worn import FLUX_LORA
from tests.weight_files import write

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=document.title='taken'>"


@pytest.fixture(scope="module")
def studio(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("models")
    for name, shapes in (("xl", SDXL), ("flux1-dev", FLUX)):
        write(folder / f"{name}.safetensors", shapes)
    write(folder / "styles" / "ink.safetensors", LORA, {"modelspec.trigger_phrase": "inkwash, brush"})
    write(folder / "grain.safetensors", LORA, {"modelspec.trigger_phrase": HOSTILE})
    write(folder / "sheen.safetensors", FLUX_LORA)
    Image.new("RGB", (300, 400), (30, 90, 160)).save(folder / "styles" / "ink.png")
    with serving(tmp_path_factory.mktemp("studio") / "data", folder) as house:
        yield house


@pytest.fixture
def page(studio: House, context: BrowserContext) -> Page:
    page = context.new_page()
    open_studio(page, studio.address)
    choose(page, "xl")
    page.locator("#fold-loras button").first.click()
    return page


def worn(page: Page, name: str) -> Locator:
    return page.locator(f'.lora[data-name="{name}"]')


def add(page: Page, title: str) -> None:
    page.get_by_role("button", name="Add a LoRA").click()
    sheet = page.get_by_role("dialog", name="LoRAs")
    sheet.get_by_role("button", name=title).click()
    expect(sheet.get_by_role("button", name=title)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()


def test_a_lora_is_chosen_weighed_drawn_with_kept_and_reused(page: Page, studio: House) -> None:
    page.get_by_role("button", name="Add a LoRA").click()
    sheet = page.get_by_role("dialog", name="LoRAs")
    expect(sheet.locator(".model-title")).to_have_text(["grain", "ink"])  # not those for FLUX.1
    sheet.get_by_label("Search").fill("brush")
    expect(sheet.locator(".model-title")).to_have_text(["ink"])
    assert faults(page) == []
    sheet.get_by_role("button", name="Close").click()
    expect(page.get_by_role("button", name="Add a LoRA")).to_be_focused()

    add(page, "ink")
    expect(page.locator("#prompt textarea")).to_have_value("a red sailboat on the sea at sunset, watercolor, inkwash")
    worn(page, "styles/ink").get_by_role("button", name="brush").click()
    expect(page.locator("#prompt textarea")).to_have_value(
        "a red sailboat on the sea at sunset, watercolor, inkwash, brush"
    )
    number = worn(page, "styles/ink").get_by_role("spinbutton")
    number.fill("0.45")
    number.blur()
    expect(worn(page, "styles/ink").get_by_role("slider")).to_have_value("0.45")
    expect(page.locator("#fold-loras .fold-summary")).to_have_text("ink 0.45")
    assert faults(page) == []

    before = len(studio.engine.drawn)
    page.locator("#generate").click()
    eventually(lambda: len(studio.engine.drawn) > before)
    assert studio.engine.drawn[-1].full_loras == (LoraUse(name="styles/ink", weight=0.45),)

    page.reload()
    expect(worn(page, "styles/ink").get_by_role("spinbutton")).to_have_value("0.45")
    worn(page, "styles/ink").get_by_role("button", name="Remove ink").click()
    expect(page.locator(".lora")).to_have_count(0)
    page.get_by_role("button", name="Reuse settings").click()
    expect(worn(page, "styles/ink").get_by_role("spinbutton")).to_have_value("0.45")


def test_one_for_another_family_stays_and_says_it_is_left_out(page: Page, studio: House) -> None:
    add(page, "grain")
    choose(page, "flux1-dev")
    expect(worn(page, "grain").locator(".lora-note")).to_have_text(
        "Made for Stable Diffusion XL: left out with this model."
    )
    before = len(studio.engine.drawn)
    page.locator("#generate").click()
    eventually(lambda: len(studio.engine.drawn) > before)
    assert studio.engine.drawn[-1].full_loras == ()
    choose(page, "xl")
    expect(worn(page, "grain").locator(".lora-note")).to_be_hidden()
    # What is made of a file's own words is text.
    expect(worn(page, "grain").locator(".chip")).to_have_text(HOSTILE)
    assert page.title() != "taken"


def test_a_phone_shows_it_all(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator(".settings-toggle").click()
    add(page, "ink")
    row = worn(page, "styles/ink")
    expect(row.get_by_role("slider")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for part in (row.get_by_role("spinbutton"), row.get_by_role("button", name="Remove ink")):
        box = part.bounding_box()
        assert box is not None
        assert box["height"] >= 44
