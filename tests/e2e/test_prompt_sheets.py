"""The sheets that help with a prompt, in a real browser: styles, presets, another wording, the X-ray, the receipt."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Generator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from studio.engine import Event, Finished
from studio.request import ResolvedRequest
from tests.e2e.conftest import House, eventually
from tests.e2e.test_prompt_page import area, script, scripts, value
from tests.fakes import gradient

pytestmark = pytest.mark.browser
__all__ = ["scripts"]


def test_styles_are_chosen_by_sight_and_brought_in_from_a_file(page: Page, tmp_path: Path) -> None:
    page.get_by_role("button", name="Browse styles").click()
    sheet = page.get_by_role("dialog", name="Styles")
    expect(sheet.locator(".style-card")).to_have_count(129)
    sheet.get_by_label("Search styles").fill("watercolor")
    card = sheet.get_by_role("button", name="Watercolor wash")
    expect(card.locator("img")).to_be_visible()
    assert card.locator("img").evaluate("async img => { await img.decode(); return img.naturalWidth; }") == 160
    card.click()
    expect(card).to_have_attribute("aria-pressed", "true")
    file = tmp_path / "mine.json"
    file.write_text(json.dumps([{"name": "<i>Mine</i>", "prompt": "{prompt}, mine"}, {"prompt": "nameless"}]), "utf-8")
    sheet.get_by_label("File of styles").set_input_files(file)
    mine = sheet.get_by_role("button", name="<i>Mine</i>")
    expect(mine).to_contain_text("mine")
    mine.click()
    sheet.get_by_role("button", name="Use these 2").click()
    eventually(
        lambda: (
            json.loads(page.evaluate("localStorage['pochade.settings']"))["styles"]
            == ["Watercolor wash", "<i>Mine</i>"]
        )
    )
    expect(page.locator("#style-preview")).to_contain_text("…, mine")


def test_presets_are_kept_used_renamed_shared_and_removed(page: Page, tmp_path: Path) -> None:
    area(page).fill("a heron at dawn")
    page.locator("#fold-sampling button").first.click()
    page.locator("#quality").get_by_role("button", name="Fine").click()
    expect(page.locator("#quality").get_by_role("button", name="Fine")).to_have_attribute("aria-pressed", "true")
    steps = value(page, "steps")
    page.get_by_role("button", name="Presets of your own").click()
    sheet = page.get_by_role("dialog", name="Presets")
    sheet.get_by_label("Name of the new preset").fill("Herons <b>")
    sheet.get_by_label("Negative prompt").uncheck()
    page.keyboard.press("Enter")
    sheet.get_by_role("button", name="Keep", exact=True).click()
    row = sheet.get_by_role("list", name="Your presets").get_by_role("listitem")
    expect(row).to_contain_text("Herons <b>")
    expect(row).not_to_contain_text("Negative prompt")
    with page.expect_download() as saved:
        row.get_by_role("button", name="as a file").click()
    file = tmp_path / "shared.json"
    saved.value.save_as(file)
    row.get_by_role("button", name="Rename").click()
    row.get_by_label("New name").fill("Birds")
    page.keyboard.press("Enter")
    expect(row).to_contain_text("Birds")
    sheet.get_by_label("Preset file").set_input_files(file)
    expect(row).to_have_count(2)
    row.filter(has_text="Birds").get_by_role("button", name="Remove").click()
    expect(row).to_have_count(1)
    sheet.get_by_role("button", name="Close").click()
    area(page).fill("something else")
    page.locator("#quality").get_by_role("button", name="Draft").click()
    expect(page.locator("#quality").get_by_role("button", name="Draft")).to_have_attribute("aria-pressed", "true")
    assert value(page, "steps") != steps
    page.get_by_role("button", name="Presets of your own").click()
    row.locator(".own-preset").click()
    expect(area(page)).to_have_value("a heron at dawn")
    assert value(page, "steps") == steps


def test_help_shows_what_would_change_and_changes_nothing_by_itself(page: Page) -> None:
    area(page).fill("a red boat")
    page.get_by_role("button", name="Improve the prompt").click()
    sheet = page.get_by_role("dialog", name="Improve the prompt")
    expect(sheet.locator("ins")).to_contain_text(",")
    expect(sheet.locator(".help-diff span")).to_have_text("a red boat")
    expect(sheet).to_contain_text("Proposed by the vocabulary")
    first = sheet.locator("ins").inner_text()
    sheet.get_by_role("button", name="Another one").click()
    expect(sheet.locator("ins")).not_to_have_text(first)
    sheet.get_by_role("button", name="Keep mine").click()
    expect(area(page)).to_have_value("a red boat")
    page.get_by_role("button", name="Improve the prompt").click()
    sheet.get_by_role("button", name="Use it").click()
    expect(area(page)).to_have_value(f"a red boat{first}")
    page.keyboard.press("Control+z")
    expect(area(page)).to_have_value("a red boat")


def test_differences_are_told_word_by_word(scripts: Page) -> None:
    def told(before: str, after: str) -> list[tuple[str, str]]:
        return [(piece["kind"], piece["text"]) for piece in script(scripts, "diff", "m.diff(...g)", before, after)]

    assert told("a red boat", "a blue boat, at sea") == [
        ("same", "a "),
        ("gone", "red"),
        ("new", "blue"),
        ("same", " boat"),
        ("new", ", at sea"),
    ]
    assert told("same", "same") == [("same", "same")]
    assert told("", "new") == [("new", "new")]
    long = "word " * 2000
    assert told(long, "x") == [("gone", long), ("new", "x")]


@pytest.fixture
def wordy(house: House) -> House:
    """Its engine draws what the prompt says, as far as a fake can: another gradient for other words."""
    draw = house.engine.generate

    def generate(request: ResolvedRequest) -> Generator[Event]:
        for event in draw(request):
            if isinstance(event, Finished):
                result, seed = event.result, 1000 if "red" in request.full_prompt else 2000
                yield Finished(dataclasses.replace(result, rgb=gradient(seed, result.width, result.height)))
            else:
                yield event

    house.engine.generate = generate  # type: ignore[method-assign]
    return house


def test_the_x_ray_finds_the_word_that_works_and_leaves_no_litter(wordy: House, page: Page) -> None:
    area(page).fill("a red boat, at sea")
    page.get_by_role("button", name="X-ray").click()
    sheet = page.get_by_role("dialog", name="Which words work")
    expect(sheet.locator(".xray-tiles img")).to_have_count(3)
    expect(sheet.locator("mark").nth(0)).to_have_attribute("style", "--heat: 100%;")
    expect(sheet.locator("mark").nth(1)).to_have_attribute("style", "--heat: 0%;")
    expect(sheet.locator(".xray-share")).to_have_text(["", "100 %", "0 %"])
    assert {request.steps for request in wordy.engine.drawn} == {8}
    assert len({request.seed for request in wordy.engine.drawn}) == 1
    sheet.get_by_role("button", name="Close").last.click()
    eventually(lambda: page.request.get(f"{wordy.address}/studio/pictures").json()["items"] == [])
    assert page.locator(".strip .thumb:not(.live)").count() == 0


def test_an_x_ray_can_be_stopped(page: Page, house: House) -> None:
    house.engine.step_seconds = 0.3
    area(page).fill("a red boat, at sea, in fog")
    page.get_by_role("button", name="X-ray").click()
    sheet = page.get_by_role("dialog", name="Which words work")
    expect(sheet).to_contain_text("of 4…")
    sheet.get_by_role("button", name="Stop").click()
    eventually(lambda: page.locator(".status[data-busy]").count() == 0)
    assert len(house.engine.drawn) < 4


def test_a_picture_made_again_brings_its_receipt(page: Page) -> None:
    area(page).fill("a heron")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".strip .thumb:not(.live)")).to_have_count(1)
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("menuitem", name="Make it again").click()
    expect(page.locator(".notice-text").first).to_contain_text("identical, to the last bit")
    page.get_by_role("button", name="Receipt").click()
    sheet = page.get_by_role("dialog", name="Receipt")
    expect(sheet.get_by_role("img")).to_have_count(2)
    expect(sheet).to_contain_text("as they were")
