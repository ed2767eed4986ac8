"""Text to image in a real browser: the main path, and what happens on bad days."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, Route, expect

from studio.catalog import Catalog
from studio.settings import EMBEDDED
from tests.e2e.conftest import House, eventually, open_studio

pytestmark = pytest.mark.browser
STEPS = Catalog(EMBEDDED).find(None).defaults.steps


def prompt(page: Page, text: str) -> None:
    page.get_by_label("Prompt", exact=True).fill(text)


def draw(page: Page, text: str) -> None:
    """Type, press the key, and wait for the finished picture."""
    before = page.locator(".strip .thumb:not(.live)").count()
    prompt(page, text)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".strip .thumb:not(.live)")).to_have_count(before + 1)
    expect(page.locator(".easel img")).to_have_attribute("alt", text)


def field(page: Page, name: str) -> str:
    return page.locator(f"#{name} input, #{name} textarea").first.input_value()


def test_a_first_visit_finds_an_example_and_the_cursor_in_the_prompt(page: Page) -> None:
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a red sailboat on the sea at sunset, watercolor")
    expect(page.locator(".examples button")).to_have_count(3)
    page.locator(".examples button").first.click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a white owl in the forest at night, ink drawing")
    expect(page.get_by_text("Your picture appears here")).to_be_visible()


def test_one_field_and_one_key_make_a_picture_that_forms_before_the_eyes(page: Page, house: House) -> None:
    house.engine.step_seconds = 0.1
    prompt(page, "a heron in the rain")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_alt_text("The picture while it forms")).to_be_visible()
    expect(page.locator(".status-text")).to_contain_text(" of ")
    bar = page.get_by_role("progressbar", name="Drawing")
    eventually(lambda: 0 < int(bar.get_attribute("aria-valuenow") or 0) < 100)
    expect(page.get_by_alt_text("a heron in the rain").first).to_be_visible()
    expect(page.locator(".caption-facts")).to_contain_text(f"seed {house.engine.drawn[0].seed}")
    page.get_by_role("link", name="Gallery").click()
    expect(page.locator(".grid .tile")).to_have_count(1)
    expect(page.locator(".grid img")).to_have_attribute("alt", "a heron in the rain")


def test_settings_survive_a_reload(page: Page, house: House) -> None:
    prompt(page, "ein Reiher — مالك الحزين 🪶")
    page.locator("#fold-negative button").first.click()
    page.locator("#negative textarea").fill("fog")
    page.locator("#seed input").fill("18446744073709551615")
    page.locator("#count input[type=number]").fill("3")
    page.locator(".aspect", has_text="3:4").click()
    page.locator("#styles input").click()
    page.get_by_role("option").first.click()
    page.locator("#styles input").blur()  # the list stays open for more of them
    page.locator("#fold-sampling button").first.click()
    page.locator("#steps input[type=number]").fill("12")
    page.locator("#steps input[type=number]").blur()
    eventually(lambda: '"steps":12' in page.evaluate("localStorage['pochade.settings']"))
    kept = json.loads(page.evaluate("localStorage['pochade.settings']"))
    open_studio(page, house.address)
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("ein Reiher — مالك الحزين 🪶")
    assert field(page, "seed") == "18446744073709551615"
    assert (field(page, "width"), field(page, "height")) == ("224", "296")
    expect(page.locator("#fold-sampling-head")).to_contain_text("12 steps")
    eventually(lambda: json.loads(page.evaluate("localStorage['pochade.settings']")) == kept)
    page.locator("#generate").click()
    eventually(lambda: len(house.engine.drawn) == 3)
    first = house.engine.drawn[0]
    assert (first.negative, first.steps, first.seed, first.width, first.height) == ("fog", 12, 2**64 - 1, 224, 296)
    assert [drawn.seed for drawn in house.engine.drawn] == [2**64 - 1, 0, 1]
    assert len(first.styles) == 1


def test_generate_pressed_before_the_form_is_filled_waits_for_it(page: Page, house: House) -> None:
    held: list[Route] = []
    prompt(page, "a heron that came early")
    page.wait_for_function("Object.values(localStorage).some((kept) => kept.includes('came early'))")
    page.route("**/gradio_api/run/**", lambda route: held.append(route), times=1)
    page.reload()
    eventually(lambda: bool(page.evaluate("true") and held))
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(1000)
    assert house.engine.drawn == []
    held[0].continue_()
    eventually(lambda: bool(page.evaluate("true") and house.engine.drawn))
    assert [request.prompt for request in house.engine.drawn] == ["a heron that came early"]


def test_memory_that_makes_no_sense_gives_way_to_defaults(page: Page, house: House) -> None:
    for nonsense in ("{", '{"steps": 1e400}', '{"steps": 9999, "model": "gone", "styles": ["gone"], "seed": "NaN"}'):
        page.evaluate("text => localStorage.setItem('pochade.settings', text)", nonsense)
        open_studio(page, house.address)
        assert field(page, "width") == "256"
        assert field(page, "seed") == ""


def test_a_reload_in_mid_generation_finds_the_job_and_its_progress(page: Page, house: House) -> None:
    house.engine.step_seconds = 0.1
    prompt(page, "a heron")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".status-text")).to_contain_text("Step 1")
    house.engine.gate.clear()
    open_studio(page, house.address)
    expect(page.locator(".status-text")).to_contain_text(f" of {STEPS}")
    expect(page.get_by_alt_text("The picture while it forms")).to_be_visible()
    house.engine.gate.set()
    expect(page.get_by_alt_text("a heron").first).to_be_visible()
    assert len(house.engine.drawn) == 1


def test_a_picture_may_be_finished_before_its_job_is_told_of(page: Page) -> None:
    late = """() => {
        const { answer } = window.pochade;
        window.pochade.answer = async (told) => {
            const drawn = () => document.querySelector(".easel img")?.alt === "a heron";
            while (!drawn()) await new Promise((go) => setTimeout(go, 20));
            answer(told);
            document.documentElement.dataset.late = "told";
        };
    }"""
    page.evaluate(late)
    prompt(page, "a heron")
    page.keyboard.press("Control+Enter")
    page.locator("[data-late=told]").wait_for(state="attached")
    assert page.locator(".status-text").inner_text() == ""
    assert page.locator(".easel img").get_attribute("alt") == "a heron"


def test_a_cancelled_picture_leaves_nothing_and_the_next_one_is_right(page: Page, house: House) -> None:
    house.engine.step_seconds = 0.1
    page.locator("#seed input").fill("7")
    prompt(page, "a heron")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_alt_text("The picture while it forms")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert")).to_contain_text("Stopped.")
    eventually(lambda: len(house.engine.cancelled) == 1)
    expect(page.locator(".strip .thumb")).to_have_count(0)
    house.engine.step_seconds = 0.0
    draw(page, "an owl")
    assert [(drawn.prompt, drawn.seed) for drawn in house.engine.drawn] == [("an owl", 7)]


def test_waiting_jobs_say_their_place_and_can_be_taken_out(page: Page, house: House) -> None:
    house.engine.gate.clear()
    for number in range(1, 4):
        page.keyboard.press("Control+Enter")
        expect(page.locator(".strip .waiting-tile")).to_have_count(max(0, number - 1))
        expect(page.locator(".strip .live")).to_be_visible()
    expect(page.locator("#engine-status")).to_contain_text("2 waiting")
    page.get_by_role("button", name="Take waiting job 2 out of the queue").click()
    expect(page.locator(".strip .waiting-tile")).to_have_count(1)
    house.engine.gate.set()
    eventually(lambda: len(house.engine.drawn) == 2)


@pytest.mark.parametrize(
    ("where", "what", "complaint"),
    [
        ("#prompt textarea", "  ", "The prompt is empty"),
        ("#seed input", "NaN", "“NaN” cannot be a seed"),
        ("#seed input", "99999999999999999999999", "cannot be a seed"),
        ("#seed input", "1e5", "“1e5” cannot be a seed"),
        ("#width input", "100000", "Width must be at most 4096"),
        ("#width input", "-8", "Width must be at least 64"),
        ("#height input", "257", "Height must be a multiple of 8"),
        ("#height input", "256.5", "Height must be a whole number"),
    ],
)
def test_bad_input_becomes_one_sentence_and_nothing_is_lost(
    page: Page, house: House, where: str, what: str, complaint: str
) -> None:
    page.locator(where).fill(what)
    page.locator("#generate").click()
    expect(page.get_by_role("alert")).to_contain_text(complaint)
    assert page.locator(where).input_value() == what
    assert "Traceback" not in page.content()
    assert house.engine.asked == 0


def test_too_long_a_prompt_is_refused_in_a_sentence(page: Page, house: House) -> None:
    prompt(page, "x" * 20_001)
    page.locator("#generate").click()
    expect(page.get_by_role("alert")).to_contain_text("Prompt may have at most 20000 characters")
    prompt(page, "a heron")
    page.get_by_label("Prompt", exact=True).evaluate("""area => {
        const clipboardData = new DataTransfer();
        clipboardData.setData("text", "x".repeat(10_000_000));
        area.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
    }""")
    expect(page.get_by_role("alert")).to_contain_text("has 10,000,000 characters and was not pasted")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a heron")
    assert house.engine.asked == 0


def test_prompts_are_text_whatever_they_hold(page: Page, house: House) -> None:
    strange = "🪶 مالك <img src=x onerror=boom()> {{a}} ${b}"
    area = page.get_by_label("Prompt", exact=True)
    area.evaluate(
        "(area, text) => { area.value = text; area.dispatchEvent(new Event('input')); }", f"{strange}\0\ud800"
    )
    page.locator("#generate").click()
    expect(page.locator(".caption-prompt")).to_have_text(strange)
    assert page.locator("img[src=x]").count() == 0
    assert house.engine.drawn[0].prompt == strange


def test_a_failed_picture_says_why_and_the_next_one_succeeds(page: Page, house: House) -> None:
    house.engine.script = lambda request, n: "fail" if n == 1 else "draw"
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("The engine was told to fail.")
    draw(page, "an owl")
    expect(page.get_by_role("alert")).to_have_text("")


def test_settings_of_a_picture_can_be_used_again(page: Page, house: House) -> None:
    page.locator("#seed input").fill("12345678901234567890")
    page.locator(".aspect", has_text="16:9").click()
    draw(page, "a heron")
    page.locator("#seed input").fill("")
    page.locator(".aspect", has_text="1:1").click()
    draw(page, "an owl")
    page.locator(".strip .thumb").nth(1).click()
    page.get_by_role("button", name="Reuse settings").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a heron")
    expect(page.locator("#seed input")).to_have_value("12345678901234567890")
    page.keyboard.press("Control+Enter")
    eventually(lambda: len(house.engine.drawn) == 3)
    assert house.engine.drawn[2] == house.engine.drawn[0]


def test_the_dice_the_last_seed_and_the_swap_fill_the_form(page: Page, house: House) -> None:
    draw(page, "a heron")
    page.get_by_role("button", name="Reuse the last seed").click()
    expect(page.locator("#seed input")).to_have_value(str(house.engine.drawn[0].seed))
    page.get_by_role("button", name="Throw the dice").click()
    expect(page.locator("#seed input")).not_to_have_value(str(house.engine.drawn[0].seed))
    page.get_by_role("button", name="Random again").click()
    expect(page.locator("#seed input")).to_have_value("")
    page.locator(".aspect", has_text="3:2").click()
    wide = field(page, "width"), field(page, "height")
    page.locator(".stage").click(position={"x": 5, "y": 5})
    page.keyboard.press("x")
    assert (field(page, "height"), field(page, "width")) == wide
    page.locator("#width label, #width [data-testid=block-info]").first.dblclick()
    expect(page.locator("#width input")).to_have_value("")
    expect(page.locator("#width input")).to_have_attribute("placeholder", "256")


def test_another_model_brings_its_own_settings_but_leaves_what_was_touched(page: Page, house: House) -> None:
    page.locator("#width input").fill("320")
    page.locator("#model input").click()
    page.get_by_role("option", name="Large").click()
    expect(page.locator("#height input")).to_have_value("384")
    expect(page.locator("#width input")).to_have_value("320")
    expect(page.locator("#width input")).to_have_attribute("placeholder", "512")
    expect(page.locator("#fold-sampling-head")).to_contain_text("Euler a Automatic · 40 steps")
    draw(page, "a heron")
    drawn = house.engine.drawn[0]
    assert (drawn.model, drawn.sampler, drawn.steps, drawn.width, drawn.height) == ("large", "Euler a", 40, 320, 384)
    page.locator("#model input").click()
    page.get_by_role("option", name="Mini", exact=True).click()
    expect(page.locator("#height input")).to_have_value("256")
    expect(page.locator("#fold-sampling-head")).to_contain_text(f"DPM++ 2M Automatic · {STEPS} steps")


def test_a_sampler_offers_only_the_schedules_it_can_follow(page: Page, house: House) -> None:
    page.locator("#fold-sampling button").first.click()
    page.locator("#sampler input").click()
    page.get_by_role("option", name="Euler a", exact=True).click()
    expect(page.locator("#scheduler input")).to_have_value("Automatic")
    draw(page, "a heron")
    assert (house.engine.drawn[0].sampler, house.engine.drawn[0].scheduler) == ("Euler a", "Automatic")


def test_any_two_pictures_can_be_compared(page: Page) -> None:
    for name in ("a heron", "an owl"):
        draw(page, name)
    page.get_by_role("button", name="Compare with another picture").click()
    expect(page.locator(".stage").get_by_text("Choose the picture to compare with.")).to_be_visible()
    page.locator(".strip .thumb").nth(1).click()
    sheet = page.get_by_role("dialog", name="Compare two pictures")
    expect(sheet.get_by_alt_text("Left: an owl")).to_be_visible()
    expect(sheet.get_by_alt_text("Right: a heron")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(sheet.get_by_role("slider")).to_have_value("49.5")
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()


def test_the_film_shows_how_a_picture_formed_and_can_be_saved(page: Page) -> None:
    draw(page, "a heron")
    page.get_by_role("button", name="How it formed").click()
    sheet = page.get_by_role("dialog", name="How it formed")
    expect(sheet.get_by_text("8 of 8")).to_be_visible()
    page.keyboard.press("Home")
    expect(sheet.get_by_text("1 of 8")).to_be_visible()
    with page.expect_download() as saved:
        sheet.get_by_role("link", name="Save the strip").click()
    assert saved.value.path().read_bytes().startswith(b"\xff\xd8\xff")


def test_a_picture_can_be_downloaded_copied_and_marked(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    draw(page, "a heron")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download").click()
    assert b"a heron" in saved.value.path().read_bytes()
    page.get_by_role("button", name="Copy to the clipboard").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    kinds = page.evaluate("navigator.clipboard.read().then(items => items.flatMap(item => item.types))")
    assert kinds == ["image/png"]
    star = page.locator(".stage").get_by_role("button", name="Favourite")
    star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    page.get_by_role("link", name="Gallery").click()
    page.get_by_role("button", name="Favourites").click()
    expect(page.locator(".grid .tile")).to_have_count(1)
