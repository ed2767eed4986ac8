"""Sharing as it happens: the owner invites, a guest comes in another browser, both draw, the owner shows the door."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.conftest import PATIENCE, eventually, open_studio
from tests.private import PrivateStudio, private_studio
from tests.proxy import proxied

pytestmark = pytest.mark.browser
XSS = "<img src=x onerror=window.hacked=1>"


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PrivateStudio, str]]:
    """A private studio below a path of a reverse proxy, and where its public address is."""
    with private_studio(tmp_path_factory.mktemp("sharing"), root_path="/pochade") as studio:
        studio.engine.step_seconds = 0.02
        with proxied(studio.address, "/pochade") as address:
            yield studio, address


@pytest.fixture
def contexts(chromium: Browser) -> Iterator[list[BrowserContext]]:
    opened = [chromium.new_context(viewport={"width": 1280, "height": 900}) for _ in range(2)]
    for context in opened:
        context.set_default_timeout(PATIENCE)
    yield opened
    for context in opened:
        context.close()


def come_in(page: Page, link: str, address: str) -> None:
    page.goto(link)
    expect(page.get_by_role("heading", name="A private studio")).to_be_visible()
    page.get_by_role("button", name="Come in").click()
    page.wait_for_url(f"{address}/")
    open_studio(page, f"{address}/")
    assert "key=" not in page.url


def draw(page: Page, prompt: str) -> None:
    page.get_by_role("textbox", name="Prompt", exact=True).fill(prompt)
    page.locator("#generate").click()
    page.locator(".film img, .stage img, .easel img").first.wait_for()


def gallery_of(page: Page) -> list[str]:
    """Prompts in the gallery of this page's person."""
    found: list[str] = page.evaluate(
        """async () => {
            const answer = await fetch(`${window.gradio_config.root}/studio/pictures`);
            return (await answer.json()).items.map((item) => item.prompt);
        }"""
    )
    return found


def test_an_owner_invites_a_guest_and_shows_them_the_door(
    private: tuple[PrivateStudio, str], contexts: list[BrowserContext]
) -> None:
    studio, address = private
    mine, theirs = contexts[0].new_page(), contexts[1].new_page()
    come_in(mine, f"{address}/?key={studio.people.terminal_keys()[0]}", address)

    mine.get_by_role("button", name="Share the studio").click()
    sheet = mine.get_by_role("dialog", name="Share")
    sheet.get_by_label("Name").fill(XSS)
    sheet.get_by_role("button", name="Make a link").click()
    link = sheet.get_by_label("Link", exact=True)
    expect(link).to_be_visible()
    expect(sheet.get_by_alt_text("The link as a code for a phone's camera")).to_be_visible()
    invited = link.input_value()
    assert invited.startswith(f"{address}/?key=")
    come_in(theirs, invited, address)
    expect(sheet.get_by_text("signed in").first).to_be_visible()
    expect(sheet.get_by_text(XSS).first).to_be_visible()
    assert mine.evaluate("window.hacked") is None
    expect(theirs.get_by_role("button", name="Signed in as")).to_be_visible()
    sheet.get_by_role("button", name="Close", exact=True).click()

    draw(mine, "mine alone")
    draw(theirs, "theirs alone")
    eventually(lambda: gallery_of(mine) == ["mine alone"])
    eventually(lambda: gallery_of(theirs) == ["theirs alone"])

    mine.get_by_role("button", name="Share the studio").click()
    sheet.get_by_role("button", name="Revoke <img", exact=False).click()
    expect(theirs.get_by_role("heading", name="A private studio")).to_be_visible()
    theirs.goto(invited)
    theirs.get_by_role("button", name="Come in").click()
    expect(theirs.get_by_text("not valid any more")).to_be_visible()
    assert gallery_of(mine) == ["mine alone"]
