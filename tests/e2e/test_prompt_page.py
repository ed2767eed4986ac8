"""Writing a prompt in a real browser: counts, weights, completions, the builder; pictures that tell their settings."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from studio.settings import ASSETS
from tests.e2e.conftest import House, eventually, open_studio

pytestmark = pytest.mark.browser
GOLDEN = Path(__file__).parent.parent / "golden"


def area(page: Page) -> Locator:
    return page.locator("#prompt textarea")


def value(page: Page, name: str) -> str:
    return page.locator(f"#{name} input, #{name} textarea").first.input_value()


def select(page: Page, words: str) -> None:
    page.evaluate(
        "words => { const area = document.querySelector('#prompt textarea'); area.focus();"
        " const at = area.value.indexOf(words); area.setSelectionRange(at, at + words.length); }",
        words,
    )


@pytest.fixture
def scripts(context: BrowserContext) -> Page:
    """A page with nothing on it but our scripts, for those that need no studio."""
    page = context.new_page()
    page.route("http://studio/**", serve)
    page.goto("http://studio/")
    page.evaluate("window.pochade = { scripts: '' }")
    return page


def serve(route: Route) -> None:
    file = ASSETS / "js" / route.request.url.rpartition("/")[2]
    if file.is_file():
        route.fulfill(content_type="text/javascript", path=file)
    else:
        route.fulfill(content_type="text/html", body="<!doctype html><title>Scripts</title>")


def script(page: Page, name: str, call: str, *given: object) -> Any:
    """`call` with the module `name` of ours as `m` and `given` as `g`."""
    return page.evaluate(
        f"async g => {{ const m = await import(`${{window.pochade.scripts}}/{name}.js`); return {call}; }}", list(given)
    )


def test_the_line_below_counts_tokens_and_says_what_is_wrong(page: Page) -> None:
    count = page.locator("#prompt-tools .tokens")
    area(page).fill("a red boat")
    expect(count).to_have_text("3 tokens")
    area(page).fill(", ".join(["a red boat"] * 25))
    expect(count).to_have_text("99 tokens in 2 parts")
    area(page).fill("a boat in __nowhere__")
    expect(page.locator("#prompt-tools .tokens-cut")).to_contain_text("There is no wildcard __nowhere__")
    area(page).fill("a boat")
    expect(page.locator("#prompt-tools .tokens-cut")).to_have_count(0)
    expect(count).to_have_text("2 tokens")


WEIGHED = (
    ("a red boat", 3, 3, 1, "a (red:1.1) boat"),
    ("a red boat", 3, 3, -1, "a (red:0.9) boat"),
    ("a (red:1.1) boat", 4, 4, -1, "a red boat"),
    ("a (red:1.1) boat", 4, 4, 1, "a (red:1.2) boat"),
    ("a (red) boat", 4, 4, 1, "a (red:1.2) boat"),
    ("a red boat", 0, 10, 1, "(a red boat:1.1)"),
    ("(a red boat:1.2)", 3, 6, 1, "(a (red:1.1) boat:1.2)"),
    ("(a red boat:1.2)", 0, 16, 1, "(a red boat:1.3)"),
    ("(a red boat:1.2)", 1, 11, -1, "(a red boat:1.1)"),
    ("((a red boat:1.2), sea:0.5)", 4, 4, 1, "((a red boat:1.3), sea:0.5)"),
    ("(boat:0.05)", 2, 2, -1, "(boat:0)"),
    ("(boat:5)", 2, 2, 1, "(boat:5)"),
    (r"a \(red\) boat", 4, 4, 1, r"a (\(red\):1.1) boat"),
    ("ink <lora:wash:0.8> sea", 8, 8, 1, "ink <lora:wash:0.85> sea"),
    ("ink <lora:wash> sea", 8, 8, -1, "ink <lora:wash:0.95> sea"),
    (" , ", 1, 1, 1, None),
    ("red) boat", 0, 9, 1, None),
)


def test_weights_change_as_one_expects(scripts: Page) -> None:
    for text, start, end, direction, becomes in WEIGHED:
        change = script(scripts, "prompt-weights", "m.weighed(...g)", text, start, end, direction)
        made = change and text[: change["start"]] + change["text"] + text[change["end"] :]
        assert made == becomes, text


def test_ctrl_and_arrows_weigh_what_is_selected_and_can_be_undone(page: Page) -> None:
    area(page).fill("a red boat at sea")
    select(page, "red boat")
    page.keyboard.press("Control+ArrowUp")
    page.keyboard.press("Control+ArrowUp")
    expect(area(page)).to_have_value("a (red boat:1.2) at sea")
    for _ in range(2):
        page.keyboard.press("Control+ArrowDown")
    expect(area(page)).to_have_value("a red boat at sea")
    page.keyboard.press("Control+ArrowDown")
    expect(area(page)).to_have_value("a (red boat:0.9) at sea")
    page.keyboard.press("Control+z")
    expect(area(page)).to_have_value("a red boat at sea")


def test_words_complete_at_the_keyboard(page: Page) -> None:
    area(page).fill("")
    area(page).press_sequentially("an otter, cand")
    offered = page.get_by_role("listbox", name="Completions")
    expect(offered.get_by_role("option").first).to_have_text("candlelight")
    expect(area(page)).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowDown")
    expect(offered.get_by_role("option").first).to_have_attribute("aria-selected", "true")
    expect(area(page)).to_have_attribute("aria-activedescendant", "complete-0")
    page.keyboard.press("Enter")
    expect(area(page)).to_have_value("an otter, candlelight")
    expect(offered).to_be_hidden()
    area(page).press_sequentially(", __colo")
    expect(offered.get_by_role("option").first).to_contain_text("colours")
    page.keyboard.press("Escape")
    expect(offered).to_be_hidden()
    area(page).press_sequentially("u")
    offered.get_by_role("option").first.click()
    expect(area(page)).to_have_value("an otter, candlelight, __colours__")
    expect(area(page)).not_to_have_attribute("aria-expanded", "true")


@pytest.fixture
def held(context: BrowserContext) -> list[Route]:
    """The first request for words, which waits; the page asks as soon as its prompt has focus."""
    routes: list[Route] = []
    context.route("**/studio/words", lambda route: route.continue_() if routes else routes.append(route))
    return routes


def test_words_that_arrive_late_do_not_open_over_what_one_went_on_to(held: list[Route], page: Page) -> None:
    area(page).press_sequentially("an otter, cand")
    eventually(lambda: bool(page.evaluate("true") and held))
    page.get_by_role("button", name="Build the prompt from words").focus()
    held[0].continue_()
    page.evaluate("import(`${window.pochade.scripts}/api.js`).then((api) => api.words())")  # after the first answer
    expect(page.get_by_role("listbox", name="Completions")).to_be_hidden()
    area(page).press_sequentially("l")
    expect(page.get_by_role("listbox", name="Completions").get_by_role("option").first).to_have_text("candlelight")


def test_what_stands_there_already_is_not_offered(page: Page) -> None:
    offered = page.get_by_role("listbox", name="Completions").get_by_role("option")
    area(page).fill("")
    area(page).press_sequentially("an otter, oil paintin")
    expect(offered.get_by_text("oil painting", exact=True)).to_be_visible()
    area(page).press_sequentially("g")
    expect(offered.get_by_text("oil painting", exact=True)).to_be_hidden()
    area(page).press("Backspace")
    expect(offered.get_by_text("oil painting", exact=True)).to_be_visible()


def test_nothing_is_offered_over_what_was_sent(page: Page) -> None:
    offered = page.get_by_role("listbox", name="Completions")
    area(page).fill("")
    area(page).press_sequentially("an otter, cand")
    expect(offered).to_be_visible()
    area(page).press("Control+Enter")
    expect(offered).to_be_hidden()
    expect(area(page)).to_be_focused()
    expect(area(page)).to_have_value("an otter, cand")
    expect(page.locator(".strip .thumb:not(.live)")).to_have_count(1)
    expect(offered).to_be_hidden()
    area(page).press_sequentially("l")
    expect(offered.get_by_role("option").first).to_have_text("candlelight")


def test_words_that_arrive_after_sending_are_not_offered(held: list[Route], page: Page) -> None:
    area(page).press_sequentially("an otter, cand")
    eventually(lambda: bool(page.evaluate("true") and held))
    area(page).press("Control+Enter")
    held[0].continue_()
    page.evaluate("import(`${window.pochade.scripts}/api.js`).then((api) => api.words())")  # after the first answer
    expect(page.get_by_role("listbox", name="Completions")).to_be_hidden()


def test_a_hundred_thousand_words_take_few_comparisons(scripts: Page) -> None:
    told = script(
        scripts,
        "prefix",
        """(() => {
            const entries = Array.from({ length: 100_000 }, (_, i) => ({ text: `tag ${i.toString(36)} of light` }));
            const index = m.indexed(entries);
            return ["ta", "tag", "tag 1", "tag zz of", "zz of light", "ligh", "no such thing"].map((typed) => {
                const { found, compared } = m.search(index, typed, 8);
                const right = found.every(({ text }) => text.startsWith(typed) || text.includes(` ${typed}`));
                return [found.length, compared, right];
            });
        })()""",
    )
    assert [found for found, _, _ in told] == [8, 8, 8, 1, 1, 8, 0]
    assert all(compared <= 420 and right for _, compared, right in told)


def test_the_builder_puts_words_in_and_takes_them_out(page: Page) -> None:
    area(page).fill("by the sea")
    page.get_by_role("button", name="Build the prompt from words").click()
    panel = page.get_by_role("group", name="Prompt builder")
    panel.get_by_role("button", name="heron", exact=True).click()
    panel.get_by_role("button", name="Lighting").click()
    panel.get_by_role("button", name="backlit", exact=True).click()
    expect(area(page)).to_have_value("heron, by the sea, backlit")
    expect(panel.get_by_role("button", name="backlit", exact=True)).to_have_attribute("aria-pressed", "true")
    panel.get_by_label("Search words").fill("macro")
    panel.get_by_role("button", name="macro photograph").click()
    expect(area(page)).to_have_value("heron, by the sea, backlit, macro photograph")
    panel.get_by_label("Search words").fill("heron")
    panel.get_by_role("button", name="heron", exact=True).click()
    expect(area(page)).to_have_value("by the sea, backlit, macro photograph")


def test_a_surprise_is_a_whole_prompt_that_can_be_undone(page: Page, house: House) -> None:
    before = area(page).input_value()
    page.get_by_role("button", name="Surprise me").click()
    expect(area(page)).not_to_have_value(before)
    assert "_" not in area(page).input_value()
    page.keyboard.press("Control+z")
    expect(area(page)).to_have_value(before)


def test_what_is_often_unwanted_goes_into_the_negative_prompt(page: Page) -> None:
    page.locator("#fold-negative button").first.click()
    page.locator("#negatives").get_by_role("button", name="night", exact=True).click()
    assert value(page, "negative") == "night"
    page.locator("#negatives").get_by_role("button", name="storm", exact=True).click()
    assert value(page, "negative") == "night, storm"
    expect(page.locator("#negative-tokens")).to_contain_text("3 tokens")


def png(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text)
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(file, "PNG", pnginfo=info)
    return file.getvalue()


def drop(page: Page, selector: str, data: bytes, name: str = "picture.png") -> None:
    page.evaluate(
        """([selector, data, name]) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type: "image/png" }));
            for (const kind of ["dragover", "drop"]) {
                const event = new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: transfer });
                document.querySelector(selector).dispatchEvent(event);
            }
        }""",
        [selector, base64.b64encode(data).decode(), name],
    )


def test_a_dropped_picture_tells_its_settings_and_restores_them(page: Page) -> None:
    drop(page, "#prompt textarea", png(parameters=(GOLDEN / "a1111.txt").read_text("utf-8")))
    sheet = page.get_by_role("dialog", name="How this picture was made")
    expect(sheet).to_contain_text("By AUTOMATIC1111")
    expect(sheet.get_by_role("list", name="Not here")).to_contain_text("The LoRA “ink wash” is not here")
    expect(sheet.locator("summary")).to_contain_text("Also said")
    sheet.locator("summary").click()
    expect(sheet.locator("details")).to_contain_text("Hires upscaler")
    sheet.get_by_role("button", name="Use all settings").click()
    expect(sheet).to_have_count(0)
    expect(page.locator("#fold-sampling-head")).to_contain_text("28 steps")
    assert "ink wash" in value(page, "prompt")
    assert value(page, "negative") != ""
    assert value(page, "seed") != ""


def test_a_picture_of_ours_brings_its_source_and_mask_along(page: Page, house: House) -> None:
    area(page).fill("a heron")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".strip .thumb:not(.live)")).to_have_count(1)
    page.get_by_role("toolbar", name="This picture").get_by_role("button", name="To image").click()
    expect(page.locator("#canvas-image canvas").first).to_be_visible()
    area(page).fill("a heron in snow")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".strip .thumb:not(.live)")).to_have_count(2)
    newest = page.request.get(f"{house.address}/studio/pictures").json()["items"][0]["id"]
    made = page.request.get(f"{house.address}/studio/pictures/{newest}/file").body()
    page.goto(f"{house.address}/#create")
    open_studio(page, house.address)
    area(page).fill("something else")
    drop(page, "#stage", made)
    page.get_by_role("dialog").get_by_role("button", name="Use all settings").click()
    expect(area(page)).to_have_value("a heron in snow")
    eventually(lambda: page.evaluate("location.hash") == "#image")
    expect(page.locator("#canvas-image")).to_be_visible()


def test_hostile_texts_of_a_picture_stay_text(page: Page) -> None:
    evil = '<img src=x onerror="window.hacked=1"> \u202e<script>window.hacked=2</script>'
    text = (
        f"{evil}\nNegative prompt: {evil}\nSteps: 9, Sampler: Euler, CFG scale: 7, Seed: 1, Model: {evil}, Odd: {evil}"
    )
    drop(page, "#create", png(parameters=text), name="<b>evil</b>.png")
    sheet = page.get_by_role("dialog", name="How this picture was made")
    expect(sheet).to_contain_text("<script>window.hacked=2</script>")
    expect(sheet).to_contain_text("<b>evil</b>.png")
    assert sheet.locator("script, b, dd img").count() == 0
    sheet.get_by_role("button", name="Only the prompt").click()
    expect(area(page)).to_have_value(evil.replace("\u202e", ""))  # what turns text around is taken out
    assert page.evaluate("window.hacked") is None


def test_a_picture_that_says_nothing_is_told_so(page: Page) -> None:
    drop(page, "#create", png())
    expect(page.locator(".notice-text").first).to_contain_text("does not say how it was made")
