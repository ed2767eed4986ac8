"""Photograph the studio for the README: `python -m tools.screenshots` draws with the embedded model in a real browser.

Every picture of `assets/screenshots/` is made anew from a fresh studio in a temporary folder; with names of scenes
(`wide`, `rooms`, `guides`, `light`, `phone`, `models`) only theirs.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tools.browser import find_or_install

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "assets" / "screenshots"
PATIENCE: Final = 240_000  # milliseconds
PROMPTS: Final = (
    "a white lighthouse on the beach on a stormy day, oil painting",
    "a yellow house in the hills with northern lights, oil painting",
    "a teal robot in the city in the fog, pixel art",
    "a purple butterfly in the garden on a sunny day, paper cut",
    "a white owl in the forest at night, ink drawing",
    "a pink hot air balloon over the mountains at sunset, watercolor",
)
EXAMPLE: Final = "a red sailboat on the sea at sunset, watercolor"


@contextmanager
def studio(folder: Path) -> Iterator[str]:
    """A studio of its own; gives its address."""
    command = [sys.executable, "app.py", "--port", "0", "--data-dir", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, "the studio did not start"
        try:
            yield found[0]
        finally:
            process.terminate()


class Camera:
    """One browser window. `shoot` saves what it shows as `<name>-<theme>.png`."""

    def __init__(self, browser: Browser, address: str, *, theme: str = "dark", phone: bool = False) -> None:
        self.theme = theme
        size = {"width": 390, "height": 844} if phone else {"width": 1440, "height": 900}
        self.context = browser.new_context(viewport=size, has_touch=phone, is_mobile=phone)  # type: ignore[arg-type]
        self.context.set_default_timeout(PATIENCE)
        self.context.add_init_script(f"localStorage.setItem('pochade.theme', '{theme}')")
        self.page: Page = self.context.new_page()
        self.page.goto(address)
        self.page.locator(".fold-summary", has_text="steps").wait_for(state="attached")
        self.page.wait_for_timeout(1000)

    def shoot(self, name: str) -> None:
        file = FOLDER / f"{name}-{self.theme}.png"
        self.page.wait_for_timeout(400)
        self.page.screenshot(path=file)
        with Image.open(file) as picture:
            # 256 dithered colours are a third of the bytes.
            shot = picture.convert("RGB")
            shot.quantize(palette=shot.quantize(256), dither=Image.Dither.FLOYDSTEINBERG).save(file, optimize=True)
        print(f"{file.relative_to(ROOT)}  {file.stat().st_size // 1024} KB", flush=True)

    def draw(self, prompt: str, count: int = 1) -> None:
        before = self.finished()
        self.start(prompt, count)
        expect(self.page.locator(".strip .thumb:not(.live)")).to_have_count(before + count, timeout=PATIENCE)
        self.page.locator(".status:not([data-busy])").wait_for(state="attached")

    def start(self, prompt: str, count: int = 1) -> None:
        area = self.page.locator("#prompt textarea")
        area.fill(prompt)
        area.evaluate("area => area.scrollIntoView({block: 'center'})")
        if count > 1:  # on a phone it is folded away
            self.page.locator("#count input[type=number]").fill(str(count))
        self.page.keyboard.press("Control+Enter")

    def stroke(self, room: str, points: list[tuple[float, float]]) -> None:
        """Draw with the chosen tool through points in shares of the canvas's place."""
        holder = ".guide-canvas:not([hidden])" if room == "guide" else f"#canvas-{room}"
        box = self.page.locator(f"{holder} .canvas-easel").bounding_box()
        assert box is not None
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=6)
        self.page.mouse.up()

    def finished(self) -> int:
        return self.page.locator(".strip .thumb:not(.live)").count()


def wide(browser: Browser, address: str) -> None:
    camera = Camera(browser, address)
    page = camera.page
    camera.shoot("empty")
    page.locator("#seed input").fill("3")
    camera.start(EXAMPLE)
    page.get_by_alt_text("The picture while it forms").wait_for()
    page.wait_for_function("document.querySelector('.progress').ariaValueNow >= 55")
    camera.shoot("generating")
    page.locator(".status:not([data-busy])").wait_for(state="attached")
    for prompt in PROMPTS:
        camera.draw(prompt)
    camera.shoot("done")
    camera.start(EXAMPLE, count=4)
    page.get_by_text("Picture 3 of 4").wait_for()
    page.wait_for_timeout(1500)
    camera.shoot("batch")
    page.locator("#count input[type=number]").fill("1")
    page.locator("#seed input").fill("8")
    camera.start(PROMPTS[0])
    camera.start(PROMPTS[1])
    page.locator(".waiting-tile").nth(1).wait_for()
    camera.shoot("queue")
    page.locator(".status:not([data-busy])").wait_for(state="attached")
    page.get_by_role("button", name="How it formed").click()
    page.get_by_text("8 of 8").wait_for()
    camera.shoot("film")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Compare with another picture").click()
    page.locator(".strip .thumb").nth(6).click()
    page.get_by_role("dialog").wait_for()
    camera.shoot("compare")
    page.keyboard.press("Escape")
    page.locator("#width input").fill("100")
    page.keyboard.press("Control+Enter")
    page.locator(".notice[data-kind=error]").wait_for()
    camera.shoot("error")
    page.get_by_role("link", name="Gallery").click()
    page.locator(".tile").nth(3).hover()
    page.locator(".tile-star").nth(3).click()
    camera.shoot("gallery")
    page.locator(".tile").nth(4).click()
    page.get_by_role("dialog").get_by_text("Copy all as text").wait_for()
    camera.shoot("picture")
    page.get_by_role("button", name="Move to the trash").click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Trash", exact=True).click()
    page.locator(".tile").first.wait_for()
    camera.shoot("trash")
    camera.context.close()


def rooms(browser: Browser, address: str) -> None:
    """Image and Inpaint, each with its canvas, its result, and one over the other."""
    camera = Camera(browser, address)
    page = camera.page
    page.locator("#seed input").fill("3")
    camera.draw("a yellow house in the hills on a sunny day, oil painting")
    page.get_by_role("link", name="Image", exact=True).click()
    page.locator("#canvas-image .canvas").wait_for()
    camera.shoot("image-empty")
    page.get_by_role("link", name="Text", exact=True).click()
    page.keyboard.press("Escape")
    page.locator(".stage").get_by_role("button", name="To image").click()
    page.locator("#canvas-image .canvas-empty").wait_for(state="hidden")
    camera.stroke(
        "image", [(0.5, 0.5), (0.4, 0.62), (0.6, 0.62), (0.6, 0.72), (0.41, 0.72), (0.41, 0.84), (0.59, 0.84)]
    )
    camera.shoot("image")
    camera.draw("a red house in the hills on a sunny day, oil painting")
    page.locator("#view-switch").get_by_role("button", name="Compare").click()
    page.locator(".comparison img").first.wait_for()
    camera.shoot("image-compare")
    page.locator(".stage").get_by_role("button", name="To inpaint").click()
    page.locator("#canvas-inpaint .canvas-empty").wait_for(state="hidden")
    repainted = "a purple castle in the hills on a sunny day, oil painting"
    rows = ((0.5, 0.44, 0.56), (0.59, 0.36, 0.64), (0.68, 0.36, 0.64), (0.77, 0.36, 0.64), (0.86, 0.36, 0.64))
    camera.stroke("inpaint", [point for y, left, right in rows for point in ((left, y), (right, y))])
    page.locator("#start").get_by_text("Noise").click()
    page.locator("#fold-mask button").first.click()
    page.locator("#prompt textarea").fill(repainted)
    page.locator("#prompt textarea").blur()
    camera.shoot("inpaint")
    camera.draw(repainted)
    page.get_by_role("button", name="Go on", exact=True).click()
    camera.shoot("inpaint-result")
    page.keyboard.press("Escape")
    page.locator(".stage").get_by_role("button", name="Use as source").click()
    page.locator("#fold-mask button").first.click()
    page.locator("#start").get_by_text("Original").click()
    page.locator("#fold-outpaint button").first.click()
    page.get_by_role("button", name="Extend to 16:9").click()
    camera.shoot("outpaint")
    camera.draw("the hills on a sunny day, oil painting")
    page.get_by_text("A new picture is on the canvas.").wait_for(state="hidden")
    camera.shoot("outpaint-result")
    camera.context.close()
    camera = Camera(browser, address, theme="light", phone=True)
    page = camera.page
    page.get_by_role("link", name="Gallery").click()
    page.locator(".tile").first.click()
    page.get_by_role("dialog").get_by_role("button", name="To inpaint").click()
    page.locator("#canvas-inpaint .canvas-empty").wait_for(state="hidden")
    camera.shoot("phone-inpaint")
    camera.context.close()


def guides(browser: Browser, address: str) -> None:
    """A drawing and a pose to follow, and the sheet of poses."""
    camera = Camera(browser, address)
    page = camera.page
    page.get_by_role("link", name="Guide", exact=True).click()
    page.locator(".guide-canvas:not([hidden]) .canvas-easel").wait_for()
    hull = [(0.2, 0.62), (0.8, 0.62), (0.7, 0.74), (0.3, 0.74), (0.2, 0.62)]
    for stroke in (
        hull,
        [(0.5, 0.62), (0.5, 0.25)],
        [(0.5, 0.27), (0.72, 0.58), (0.5, 0.58)],
        [(0.5, 0.3), (0.32, 0.56), (0.5, 0.56)],
    ):
        camera.stroke("guide", stroke)
    page.locator("#seed input").fill("3")
    camera.draw(EXAMPLE)
    camera.shoot("guide")
    posed(page)
    camera.draw("a person in yellow clothes in the meadow on a sunny day, watercolor")
    camera.shoot("guide-pose")
    page.get_by_role("button", name="Poses", exact=True).click()
    page.wait_for_timeout(1500)
    camera.shoot("guide-poses")
    camera.context.close()
    camera = Camera(browser, address, theme="light", phone=True)
    camera.page.get_by_role("link", name="Guide", exact=True).click()
    posed(camera.page)
    camera.page.locator(".pose-place").scroll_into_view_if_needed()
    camera.shoot("phone-guide")
    camera.context.close()


def posed(page: Page) -> None:
    page.get_by_role("group", name="What is followed").get_by_role("button", name="Pose", exact=True).click()
    page.get_by_role("button", name="Poses", exact=True).click()
    page.get_by_role("button", name="Dancing", exact=True).click()
    page.locator(".guide-map img").wait_for()


def light(browser: Browser, address: str) -> None:
    camera = Camera(browser, address, theme="light")
    camera.draw(PROMPTS[3])
    camera.shoot("done")
    camera.page.get_by_role("link", name="Gallery").click()
    camera.page.locator(".tile").first.wait_for()
    camera.shoot("gallery")
    camera.context.close()


def phone(browser: Browser, address: str) -> None:
    camera = Camera(browser, address, phone=True)
    camera.draw(EXAMPLE)
    camera.page.evaluate("scrollTo(0, 0)")
    camera.shoot("phone")
    camera.page.get_by_role("button", name="Settings", exact=True).click()
    camera.page.evaluate("scrollTo(0, 1e6)")
    camera.shoot("phone-settings")
    camera.page.get_by_role("link", name="Gallery").click()
    camera.page.evaluate("scrollTo(0, 0)")
    camera.page.locator(".tile").first.wait_for()
    camera.shoot("phone-gallery")
    camera.context.close()


def models(browser: Browser, address: str) -> None:
    camera = Camera(browser, address)
    camera.page.get_by_role("link", name="Models").click()
    camera.page.locator(".model-card").first.wait_for()
    camera.page.get_by_role("button", name="Download", exact=True).click()
    camera.page.locator(".hub-model").first.wait_for()
    camera.shoot("models-download")
    camera.context.close()


SCENES: Final = {"wide": wide, "rooms": rooms, "guides": guides, "light": light, "phone": phone, "models": models}


def main(names: list[str]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, studio(Path(folder)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_or_install(playwright), args=["--no-sandbox"])
        for scene in [SCENES[name] for name in names] or SCENES.values():
            scene(browser, address)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
