"""Settings and checks in a browser: pictures verified, rules that stay, what is shown to whom; text stays text."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image, PngImagePlugin
from playwright.sync_api import Browser, BrowserContext, Page, expect

from studio import image
from studio.access import Scope
from studio.credentials import Claim, Credentials
from tests.e2e.conftest import PATIENCE, eventually, open_studio
from tests.private import PrivateStudio, private_studio

pytestmark = pytest.mark.browser
XSS = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateStudio]:
    models = tmp_path_factory.mktemp("models")
    hostile(models / "ink.safetensors")
    with private_studio(tmp_path_factory.mktemp("settings"), models_dir=(models,)) as studio:
        yield studio


def hostile(file: Path) -> None:
    """A LoRA whose every text is markup."""
    about = {"ss_output_name": XSS, "ss_tag_frequency": json.dumps({XSS: {XSS: 3}}), "modelspec.title": XSS}
    about |= {
        "ss_base_model_version": "sd_v1",
        "modelspec.author": XSS,
        "modelspec.license": XSS,
        "ss_network_module": XSS,
    }
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight"
    tensors = {name: {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}
    header = json.dumps({"__metadata__": about, **tensors}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


@pytest.fixture
def owner(private: PrivateStudio, chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    yield entered(context, private, private.people.terminal_keys()[0])
    context.close()


def entered(context: BrowserContext, studio: PrivateStudio, key: str) -> Page:
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(f"{studio.address}/?key={key}")
    page.get_by_role("button", name="Come in").click()
    page.wait_for_url(f"{studio.address}/")
    open_studio(page, f"{studio.address}/")
    return page


def picture(folder: Path, *, signed: bool, **texts: str) -> Path:
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    file = folder / "<b>name.png"
    Image.new("RGB", (96, 96), "teal").save(file, pnginfo=info)
    if signed:
        file.write_bytes(Credentials(folder / "key").sign(file.read_bytes(), Claim(XSS, licence=XSS)))
    return file


def settings(page: Page) -> None:
    page.get_by_role("button", name="Settings and checks").click()
    expect(page.get_by_role("heading", name="Room on the disk")).to_be_visible()


def photograph(page: Page, name: str) -> None:
    if folder := os.environ.get("POCHADE_PHOTOGRAPHS"):
        page.screenshot(path=f"{folder}/{name}.png")


def test_a_dropped_picture_says_where_it_comes_from_and_markup_stays_text(owner: Page, tmp_path: Path) -> None:
    parameters = f"{XSS}\nNegative prompt: {XSS}\nSteps: 4, Sampler: Euler, Seed: 7, Size: 96x96, Model: {XSS[:20]}"
    settings(owner)
    photograph(owner, "settings")
    chosen = owner.locator("dialog.settings-sheet input[type=file]")
    chosen.set_input_files(picture(tmp_path, signed=True, parameters=parameters))
    result = owner.locator(".verify-result")
    expect(result).to_contain_text("signed by somebody this studio does not know")
    expect(result).to_contain_text("Drawn by a model")
    expect(result).to_contain_text("Not found. That proves nothing")
    assert result.get_by_text(XSS).count() >= 2, "as text, letter for letter"
    photograph(owner, "verified")
    changed = tmp_path / "changed.png"
    changed.write_bytes((tmp_path / "<b>name.png").read_bytes() + b"and more")
    chosen.set_input_files(changed)
    expect(result).to_contain_text("was changed after signing")
    (tmp_path / "none.png").write_bytes(b"no picture")
    chosen.set_input_files(tmp_path / "none.png")
    expect(result).to_contain_text("cannot be read as a picture")
    assert owner.evaluate("window.hacked") is None


def test_texts_of_models_prompts_and_file_names_stay_text_everywhere(owner: Page) -> None:
    owner.get_by_role("textbox", name="Prompt", exact=True).fill(XSS)
    owner.locator("#generate").click()
    owner.locator(".film img, .stage img, .easel img").first.wait_for()
    owner.goto(f"{owner.url.split('#')[0]}#gallery")
    owner.locator("#gallery .tile").first.click()
    view = owner.get_by_role("dialog", name="Picture", exact=True)
    expect(view).to_contain_text(XSS)
    view.get_by_role("button", name="Close", exact=True).click()
    owner.goto(f"{owner.url.split('#')[0]}#models")
    expect(owner.locator("#models")).to_contain_text("<img src=x")
    assert owner.locator("img[src=x]").count() == 0
    assert owner.evaluate("window.hacked") is None


def test_what_the_owner_decides_stays_and_guests_only_read_it(
    private: PrivateStudio, owner: Page, chromium: Browser
) -> None:
    settings(owner)
    sheet = owner.get_by_role("dialog", name="Settings and checks")
    expect(sheet).to_contain_text("No safety checker is installed, so nothing is checked.")
    sheet.get_by_label("Guests' pictures go to the trash").select_option("after a month")
    sheet.get_by_label("Invisible watermark").uncheck()
    eventually(lambda: not rules(owner)["watermark"] and rules(owner)["guest_days"] == 30)
    owner.reload()
    settings(owner)
    expect(sheet.get_by_label("Invisible watermark")).not_to_be_checked()
    sheet.get_by_label("Invisible watermark").check()
    eventually(lambda: bool(rules(owner)["watermark"]))

    context = chromium.new_context(viewport={"width": 390, "height": 844})
    _, key = private.people.invite("Ann", Scope.GENERATE)
    guest = entered(context, private, key)
    guest.get_by_role("button", name="Settings and checks").click()
    theirs = guest.get_by_role("dialog", name="Settings and checks")
    expect(theirs).to_contain_text("after 30 days, unless they are favourites")
    expect(theirs.get_by_label("Invisible watermark")).to_be_disabled()
    expect(theirs.get_by_text("Room on the disk")).to_have_count(0)
    photograph(guest, "settings-phone")
    context.close()


def rules(page: Page) -> dict[str, object]:
    found: dict[str, object] = page.evaluate("fetch('/studio/rules').then((answer) => answer.json())")
    return found


def test_the_owner_shows_a_picture_and_the_guest_sees_it_without_its_prompt(
    private: PrivateStudio, owner: Page, chromium: Browser, tmp_path: Path
) -> None:
    owner.get_by_role("textbox", name="Prompt", exact=True).fill("a secret heron")
    owner.locator("#generate").click()
    owner.locator(".film img, .stage img, .easel img").first.wait_for()
    owner.goto(f"{owner.url.split('#')[0]}#gallery")
    owner.locator("#gallery .tile[title='a secret heron']").first.click()
    owner.get_by_role("button", name="Show to others").click()
    sheet = owner.get_by_role("dialog", name="Show this picture")
    expect(sheet.get_by_label("Everyone who comes in")).not_to_be_checked()
    photograph(owner, "showing")
    sheet.get_by_label("Everyone who comes in").check()
    expect(sheet.get_by_label("with its prompt").first).to_be_enabled()
    expect(sheet).to_contain_text("Licence of its model:")
    sheet.get_by_label("Format").select_option("JPEG")
    with owner.expect_download() as saved:
        sheet.get_by_role("link", name="Download a copy").click()
    copy = tmp_path / saved.value.suggested_filename
    saved.value.save_as(copy)
    assert (copy.suffix, image.texts(copy.read_bytes())) == (".jpg", {})
    sheet.get_by_role("button", name="Close", exact=True).click()
    owner.get_by_role("dialog", name="Picture", exact=True).get_by_role("button", name="Close", exact=True).click()
    settings(owner)
    owner.locator("dialog.settings-sheet input[type=file]").set_input_files(copy)
    result = owner.locator(".verify-result")
    expect(result).to_contain_text("signed by this studio")
    expect(result).to_contain_text("Drawn by a model")
    expect(result).to_contain_text("It does not say how it was made.")

    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    _, key = private.people.invite("Bob", Scope.GENERATE)
    guest = entered(context, private, key)
    guest.goto(f"{private.address}/#gallery")
    guest.get_by_role("button", name="Shown to me").click()
    guest.locator("#gallery .tile").first.click()
    view = guest.get_by_role("dialog", name="Picture", exact=True)
    expect(view.locator("img.picture")).to_be_visible()
    expect(view).not_to_contain_text("heron")
    photograph(guest, "shown")
    assert "heron" not in guest.content()
    context.close()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_sheet_is_clean_to_axe(owner: Page, theme: str) -> None:
    owner.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    settings(owner)
    photograph(owner, f"settings-{theme}")
    found = Axe().run(owner, context="dialog.settings-sheet")
    assert found.violations_count == 0, found.generate_report()
