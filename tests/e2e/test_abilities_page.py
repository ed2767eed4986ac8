"""The page shows what the chosen model can do, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.conftest import House, eventually, open_studio, serving
from tests.e2e.test_manners import faults
from tests.test_catalog_files import FLUX, SDXL
from tests.weight_files import Shapes, write

pytestmark = pytest.mark.browser

LUMINA: Shapes = {"cap_embedder.0.weight": (2304,), "layers.0.attention.qkv.weight": (3840, 2304)}


@pytest.fixture(scope="module")
def studio(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("models")
    for name, shapes in (("xl", SDXL), ("flux1-dev", FLUX), ("flux1-schnell", FLUX), ("lumina", LUMINA)):
        write(folder / f"{name}.safetensors", shapes)
    with serving(tmp_path_factory.mktemp("studio") / "data", folder) as house:
        yield house


@pytest.fixture
def page(studio: House, context: BrowserContext) -> Page:
    page = context.new_page()
    open_studio(page, studio.address)
    return page


def choose(page: Page, wanted: str, name: str = "model") -> None:
    page.locator(f"#{name} input").click()
    page.get_by_role("option", name=wanted, exact=True).click()
    expect(page.locator(f"#{name} input")).to_have_value(wanted)
    expect(page.get_by_role("option")).to_have_count(0)


def menu(page: Page, name: str) -> list[str]:
    page.locator(f"#{name} input").click()
    page.get_by_role("option").first.wait_for()
    offered = [text.strip().removeprefix("✓").strip() for text in page.get_by_role("option").all_inner_texts()]
    page.keyboard.press("Escape")
    expect(page.get_by_role("option")).to_have_count(0)
    return offered


def test_controls_come_and_go_with_the_model_and_lose_nothing(page: Page, studio: House) -> None:
    for fold in ("negative", "sampling"):
        page.locator(f"#fold-{fold} button").first.click()
    choose(page, "xl")
    page.locator("#negative textarea").fill("fog")
    page.locator("#guidance input[type=number]").fill("9")
    page.get_by_role("button", name="4:3").click()
    expect(page.locator("#width input")).to_have_value("1152")  # 1152 × 896, which it was trained on
    expect(page.locator("#height input")).to_have_value("896")

    choose(page, "flux1-dev")
    expect(page.locator("#negative")).to_be_hidden()
    expect(page.locator("#guidance")).to_contain_text("Guidance, distilled")
    assert menu(page, "sampler")[:3] == ["Euler", "Heun", "DPM++ 2M"]
    assert "Uniform" not in menu(page, "scheduler")
    choose(page, "Heun", "sampler")
    assert menu(page, "scheduler") == ["Automatic", "Karras", "Exponential", "Beta"]

    choose(page, "flux1-schnell")
    expect(page.locator("#guidance")).to_be_hidden()
    expect(page.locator("#fold-sampling .fold-summary")).to_have_text("Heun Automatic · 4 steps")
    page.locator("#generate").click()
    eventually(lambda: bool(studio.engine.drawn))
    asked = studio.engine.drawn[-1]
    assert (asked.model, asked.sampler) == ("flux1-schnell.safetensors", "Heun")
    assert (asked.negative, asked.guidance) == ("", 0.0)

    choose(page, "xl")
    expect(page.locator("#negative textarea")).to_have_value("fog")
    expect(page.locator("#guidance input[type=number]")).to_have_value("9")


def test_a_room_the_model_is_not_made_for_says_so(page: Page) -> None:
    choose(page, "lumina")
    expect(page.locator(".tabs a[data-unable]")).to_have_text(["Image", "Inpaint", "Guide"])
    expect(page.locator("#generate")).to_be_enabled()
    page.get_by_role("link", name="Image", exact=True).click()
    expect(page.locator("#able")).to_have_text("This model cannot start from a picture; choose another one.")
    expect(page.locator("#generate")).to_be_disabled()
    assert faults(page) == []
    choose(page, "xl")
    expect(page.locator("#able")).to_be_hidden()
    expect(page.locator("#generate")).to_be_enabled()
