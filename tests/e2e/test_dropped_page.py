"""A picture of ours dropped on the page brings all of its request back: source, mask, guides and pose."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, PngImagePlugin
from playwright.sync_api import BrowserContext, Page, expect

from studio import image
from studio.request import Picture, ResolvedRequest
from tests.e2e.conftest import House, eventually
from tests.e2e.test_guide_page import entered, house
from tests.e2e.test_prompt_page import drop, png

pytestmark = pytest.mark.browser
__all__ = ["house"]
SIZE = (256, 192)


def photo() -> Image.Image:
    ramp = Image.linear_gradient("L").resize(SIZE)
    return Image.merge("RGB", (ramp, ramp.rotate(180), ramp.point(lambda level: 90)))


def shape(*box: int) -> Image.Image:
    page = Image.new("L", SIZE)
    ImageDraw.Draw(page).rectangle(box, fill=255)
    return page


def sent(picture: Image.Image) -> str:
    return Picture.from_bytes(image.png(picture)).root


def pixels(picture: Picture | None) -> NDArray[np.uint8]:
    assert picture is not None
    return np.asarray(image.decode(picture.data, 10**7).convert("RGB"))


POSE = {"width": 256, "height": 192, "people": [{"body": [[100.0, 40.0], [100.0, 70.0], *[None] * 16]}]}
ASKED = {
    "prompt": "a heron",
    "model": "guided",
    "seed": 77,
    "steps": 7,
    "strength": 0.7,
    "init": sent(photo()),
    "mask": sent(shape(40, 30, 120, 140)),
    "inpaint": {"mask_blur": 9, "start": "noise", "soft": True},
    "controls": [
        {
            "image": sent(photo()),
            "annotator": "canny",
            "parameters": {"low_threshold": 60, "high_threshold": 120},
            "weight": 0.8,
        },
        {"image": sent(shape(10, 20, 60, 150)), "annotator": "none", "model": "controlnet/scribble", "end": 0.5},
        {"pose": POSE, "start": 0.1, "weight": 1.3},
    ],
}


def drawn(page: Page, house: House, asked: dict[str, object]) -> tuple[ResolvedRequest, bytes]:
    """What the engine is asked for when a program asks for `asked`, and the file of the picture."""
    answer = page.request.post(f"{house.address}/studio/jobs", data=asked)
    assert answer.status == 202, answer.text()
    job = answer.json()["id"]
    ticket: dict[str, Any] = {}

    def done() -> bool:
        ticket.update(page.request.get(f"{house.address}/studio/jobs/{job}").json())
        return bool(ticket["state"] == "done")

    eventually(done)
    (name,) = ticket["pictures"]
    return house.engine.drawn[-1], page.request.get(f"{house.address}/studio/pictures/{name}/file").body()


def test_a_dropped_picture_brings_its_mask_and_its_guides_along(context: BrowserContext, house: House) -> None:
    page = entered(context, house, "create")
    first, made = drawn(page, house, ASKED)
    drop(page, "#stage", made)
    page.get_by_role("dialog").get_by_role("button", name="Use all settings").click()
    eventually(lambda: page.evaluate("location.hash") == "#inpaint")
    expect(page.locator("#canvas-inpaint .canvas-empty")).to_be_hidden()
    expect(page.locator("#fold-guides .fold-summary")).to_have_text("Picture, picture, pose")
    expect(page.locator("#prompt textarea")).to_have_value("a heron")
    second = first

    def again() -> bool:
        """What is still being loaded is told of in a sentence, or missing from the request."""
        nonlocal second
        before = len(house.engine.drawn)
        page.keyboard.press("Control+Enter")
        eventually(lambda: len(house.engine.drawn) > before or page.get_by_role("alert").is_visible())
        second = house.engine.drawn[-1]
        return second is not first and second.mask is not None and len(second.controls) == len(first.controls)

    eventually(again)
    for name in ("full_prompt", "seed", "steps", "strength", "inpaint", "sampler", "guidance", "model"):
        assert getattr(second, name) == getattr(first, name), name
    assert (pixels(second.init) == pixels(first.init)).all()
    assert (pixels(second.mask) == pixels(first.mask)).all()
    bare = [[unit.model_copy(update={"image": None}) for unit in asked.controls] for asked in (first, second)]
    assert bare[0] == bare[1]
    for one, other in zip(first.controls[:2], second.controls[:2], strict=True):
        assert (pixels(one.image) == pixels(other.image)).all()


def test_one_that_is_in_no_gallery_here_brings_what_it_says_itself(context: BrowserContext, house: House) -> None:
    page = entered(context, house, "create")
    _, made = drawn(page, house, ASKED)
    with Image.open(io.BytesIO(made)) as opened:
        texts, out = PngImagePlugin.PngInfo(), io.BytesIO()
        origin = json.loads(opened.info["pochade"])
        texts.add_itxt("pochade", json.dumps(origin | {"id": "0" * 26}))
        opened.save(out, "PNG", pnginfo=texts)
    drop(page, "#stage", out.getvalue())
    sheet = page.get_by_role("dialog", name="How this picture was made")
    expect(sheet).to_contain_text("a pose")
    sheet.locator("summary").click()
    expect(sheet.locator("details")).to_contain_text("a picture kept in its gallery")
    sheet.get_by_role("button", name="Use all settings").click()
    expect(page.locator("#fold-guides .fold-summary")).to_have_text("Pose")
    expect(page.locator("#prompt textarea")).to_have_value("a heron")
    drop(page, "#stage", png(parameters="a boat\nNegative prompt: \nSteps: 9, Sampler: Euler, CFG scale: 7, Seed: 1"))
    sheet.get_by_role("button", name="Use all settings").click()
    expect(page.locator("#prompt textarea")).to_have_value("a boat")
    expect(page.locator("#fold-guides .fold-summary")).to_have_text("off")
