"""The Models tab in a real browser: what lies in the folders, what one can do with it, and downloads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from studio.catalog import Catalog
from studio.engine import Memory, State, Status
from studio.hub import Hub
from studio.settings import EMBEDDED
from tests import fake_hub
from tests.e2e.conftest import House, eventually, open_studio, serving
from tests.e2e.test_manners import faults
from tests.fake_hub import FakeHub
from tests.test_catalog_files import LORA, SDXL, VAE
from tests.weight_files import write

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=document.title='taken'>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write(folder / "checkpoints" / "paint.safetensors", SDXL, {"modelspec.license": "openrail++"})
    write(folder / "loras" / "ink.safetensors", LORA, {"modelspec.trigger_phrase": "inkwash"})
    write(
        folder / "loras" / "brush.safetensors", LORA, {"modelspec.trigger_phrase": HOSTILE, "ss_output_name": HOSTILE}
    )
    Image.new("RGB", (400, 300), (20, 160, 90)).save(folder / "loras" / "ink.png")
    (folder / "checkpoints" / "old.ckpt").write_bytes(b"PK")
    return folder


@pytest.fixture(scope="module")
def hub(folder: Path) -> Iterator[FakeHub]:
    data = (folder / "checkpoints" / "paint.safetensors").read_bytes()
    with fake_hub.running(org__name={"fresh.safetensors": data}) as hub:
        hub.licences["org/name"] = {"license": "apache-2.0"}
        yield hub


@pytest.fixture(scope="module")
def studio(chromium: Browser, folder: Path, hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    # The browser first: Gradio makes event loops where there is none yet, and closes none of them.
    here = Hub(hub.endpoint, token=False)
    with patch("studio.hub.Hub", lambda: here), serving(tmp_path_factory.mktemp("studio") / "data", folder) as house:
        yield house


@pytest.fixture
def models(studio: House, context: BrowserContext) -> Page:
    page = context.new_page()
    open_studio(page, studio.address)
    page.get_by_role("link", name="Models").click()
    expect(card(page, "paint")).to_be_visible()
    return page


def card(page: Page, title: str) -> Locator:
    return page.locator(".model-card", has=page.get_by_text(title, exact=True))


def open_card(page: Page, title: str) -> None:
    page.locator(".model-card", has=page.get_by_text(title, exact=True)).locator(".model-open").click()
    page.locator("dialog.model-sheet").wait_for()


def test_cards_are_found_opened_noted_and_used(models: Page, folder: Path, studio: House) -> None:
    brought = len(Catalog(EMBEDDED).entries())
    expect(models.locator(".model-card")).to_have_count(4 + brought)
    expect(models.locator(".model-card[data-refused]")).to_contain_text("pickle file, which can run programs")
    picture = card(models, "ink").locator("img")
    eventually(lambda: picture.evaluate("image => image.naturalWidth") == 400)
    models.get_by_label("Search names and trigger words").fill("inkw")
    expect(models.locator(".model-card")).to_have_count(1)
    open_card(models, "ink")
    models.get_by_label("Notes").fill("for <b>skies</b>")
    models.get_by_label("Notes").blur()
    expect(models.get_by_text("Kept.")).to_be_visible()
    models.get_by_role("button", name="Use it").click()  # as the form's own list of LoRAs does it
    expect(models.locator("#prompt textarea")).to_have_value(re.compile("[^,], inkwash$"))
    expect(models.locator("#fold-loras .fold-summary")).to_have_text("ink 1")

    models.get_by_role("link", name="Models").click()
    models.get_by_label("Search names and trigger words").fill("")
    expect(models.locator(".model-note")).to_have_text("for <b>skies</b>")
    open_card(models, "paint")
    expect(models.locator(".model-sheet")).to_contain_text("Stable Diffusion XL")
    models.get_by_role("button", name="Draw with it").click()
    expect(models.locator("#model input")).to_have_value("paint")
    expect(models.locator("#width input")).to_have_attribute("placeholder", "1024")
    eventually(lambda: ("prepare", "checkpoints/paint.safetensors") in studio.engine.wishes)  # before Generate

    # What is made of a file's own words is text, wherever it stands.
    models.get_by_role("link", name="Models").click()
    open_card(models, "brush")
    expect(models.locator(".model-sheet .chip")).to_have_text(HOSTILE)
    assert models.locator(".model-sheet img").count() == 0
    assert models.title() != "taken"
    models.keyboard.press("Escape")
    expect(models.locator(".model-open:focus")).to_have_count(1)

    # Within seconds, without a reload: in the list, and in the form's.
    write(folder / "checkpoints" / "newest.safetensors", SDXL)
    write(folder / "vae" / "sharper.safetensors", VAE)
    expect(models.get_by_text("newest", exact=True)).to_be_visible()
    expect(models.get_by_text("sharper", exact=True)).to_be_visible()
    models.get_by_role("link", name="Text").click()
    models.locator("#model input").click()
    expect(models.get_by_role("option", name="newest")).to_be_visible()
    models.keyboard.press("Escape")
    models.locator("#fold-sampling button").first.click()
    models.locator("#vae input").click()
    models.get_by_role("option", name="sharper").click()
    expect(models.locator("#vae input")).to_have_value("sharper")


def test_what_goes_into_the_trash_comes_back_and_a_phone_shows_it_all(models: Page, folder: Path) -> None:
    models.set_viewport_size({"width": 390, "height": 844})
    assert models.evaluate("document.documentElement.scrollWidth") <= 390
    open_card(models, "ink")
    assert models.locator("dialog.model-sheet").evaluate("sheet => sheet.scrollWidth <= sheet.clientWidth")
    models.get_by_role("button", name="Move to the trash").click()
    expect(models.get_by_text("Moved to the trash.")).to_be_visible()
    expect(models.locator(".model-open", has=models.get_by_text("ink", exact=True))).to_have_count(0)
    assert not (folder / "loras" / "ink.safetensors").exists()
    models.get_by_role("button", name="Undo").click()
    expect(models.locator(".model-open", has=models.get_by_text("ink", exact=True))).to_have_count(1)
    assert (folder / "loras" / "ink.png").exists()


def test_what_is_in_memory_is_shown(models: Page) -> None:
    held = {
        "key": "mini",
        "title": "Mini",
        "state": "idle",
        "mode": "whole",
        "card": 0,
        "host": 4 * 10**7,
        "pinned": True,
    }
    memory = {
        "card": 0,
        "card_budget": 0,
        "host": 4 * 10**7,
        "host_budget": 8 * 10**9,
        "host_locked": 0,
        "models": [held],
    }
    told = json.dumps({"state": "ready", "device": "CPU", "model": "Mini", "memory": memory})

    def answer(route: Route) -> None:
        route.fulfill(content_type="application/json", body=told)

    models.route("**/studio/engine", answer)
    meter = models.get_by_role("meter", name="Main memory")
    expect(meter).to_have_attribute("aria-valuetext", "40 MB of 8.0 GB")
    expect(models.get_by_role("button", name="Keep Mini in memory")).to_have_attribute("aria-pressed", "true")


def test_how_a_model_is_run_is_chosen_on_its_card_and_what_a_mode_lacks_is_told(models: Page, studio: House) -> None:
    lacks = "The mode “torchao” needs the Python package torchao; install it and start the studio anew."
    memory = Memory(host_budget=10**9, modes=("whole", "tiled", "compiled"), missing=(("torchao", lacks),))
    status = Status(State.READY, "Ready.", "CPU", "", "", memory)
    with patch.object(type(studio.engine), "status", status):
        open_card(models, "paint")
        select = models.get_by_label("How it is run")
        expect(select).to_have_value("auto")
        assert select.locator("option:disabled").all_text_contents() == [lacks]
        assert faults(models) == []
        select.select_option(label="Compiled: a slow first picture, then faster ones")
        eventually(lambda: ("run_in", "checkpoints/paint.safetensors", "compiled") in studio.engine.wishes)
        models.keyboard.press("Escape")
        open_card(models, "paint")
        expect(select).to_have_value("compiled")
        select.select_option("auto")
        eventually(lambda: studio.engine.wishes[-1] == ("run_in", "checkpoints/paint.safetensors", "auto"))


def test_a_model_is_looked_at_then_downloaded_with_progress(models: Page, hub: FakeHub) -> None:
    hub.flowing.clear()
    models.get_by_role("button", name="Download", exact=True).click()
    expect(models.locator(".hub-model").first).to_be_visible()
    field = models.get_by_label("From the Hugging Face hub")
    field.fill("org/nothing")
    field.press("Enter")
    expect(models.locator(".hub .notice-text")).to_contain_text("no model org/nothing")
    field.fill("org/name")
    field.press("Enter")
    expect(models.locator(".hub-offer")).to_contain_text("apache-2.0. Commercial use is allowed.")
    models.locator(".hub-offer .primary").click()
    expect(models.get_by_role("progressbar", name="Download of org/name")).to_be_visible()
    hub.flowing.set()
    expect(models.locator(".downloads")).to_contain_text("arrived")
    expect(models.get_by_text("fresh", exact=True)).to_be_visible()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_no_serious_fault(models: Page, theme: str) -> None:
    models.evaluate("theme => (document.documentElement.dataset.theme = theme)", theme)
    assert faults(models) == []
    open_card(models, "ink")
    assert faults(models) == []
    models.keyboard.press("Escape")
    models.get_by_role("button", name="Download", exact=True).click()
    models.locator(".hub-model").first.wait_for()
    assert faults(models) == []


def test_a_guest_sees_models_and_no_levers(studio: House, chromium: Browser) -> None:
    """The gate is open on this machine, so the answer is told as a guest would get it."""
    context = chromium.new_context()
    page = context.new_page()

    def as_guest(route: Route) -> None:
        route.fulfill(json=route.fetch().json() | {"owner": False})

    page.route("**/studio/models?*", as_guest)
    open_studio(page, studio.address)
    page.get_by_role("link", name="Models").click()
    page.locator(".model-card").first.wait_for()
    assert page.get_by_role("button", name="Download", exact=True).count() == 0
    open_card(page, "paint")
    expect(page.get_by_role("button", name="Draw with it")).to_be_visible()
    assert page.get_by_role("button", name="Move to the trash").count() == 0
    assert page.get_by_label("Notes").count() == 0
    context.close()
