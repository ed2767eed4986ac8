"""Every family of the table loads from a folder in its real format and does what the table says it can."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers.utils import dummy_torch_and_transformers_and_sentencepiece_objects as stand_ins
from PIL import Image, ImageDraw

from studio import families
from studio.diffusion import load
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions, Preview
from studio.errors import ModelError
from studio.request import ModelSpec, Picture
from tests.families import builders
from tests.resolved import drawn, failed, resolved

#: One of each architecture; the rest differ from these in their parts.
QUICK = ("sd15", "sdxl", "sd3", "flux-kontext", "flux2-klein", "z-image", "qwen-image", "sana")
KEYS = [pytest.param(key, marks=() if key in QUICK else pytest.mark.slow) for key in builders.BUILDERS]
SIDE = 64


def png(colour: str, mask: bool = False) -> Picture:
    """A disc on plain ground; of a mask, the left half."""
    image = Image.new("L" if mask else "RGB", (SIDE, SIDE), "black" if mask else colour)
    pen = ImageDraw.Draw(image)
    if mask:
        pen.rectangle((0, 0, SIDE // 2 - 1, SIDE), fill="white")
    else:
        pen.ellipse((16, 16, 48, 48), fill="orange")
    out = io.BytesIO()
    image.save(out, "PNG")
    return Picture.from_bytes(out.getvalue())


def test_a_family_that_needs_another_package_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # what diffusers puts in the place of the pipeline where sentencepiece is not installed
    monkeypatch.setattr(diffusers, "KolorsPipeline", stand_ins.KolorsPipeline)
    index = {"_class_name": "KolorsPipeline", "vae": ["diffusers", "AutoencoderKL"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    kolors = ModelSpec("k", "Kolors", tmp_path, "kolors", 0, "", "", families.FAMILIES["kolors"].defaults)
    with pytest.raises(ModelError, match="Kolors needs the Python package sentencepiece"):
        load.load(kolors, torch.device("cpu"), torch.float32, "")


class Studio:
    """An engine with one model of a family, and pictures of it as arrays of height × width × 3."""

    def __init__(self, key: str, folder: Path) -> None:
        self.family = families.FAMILIES[key]
        self.engine = LocalEngine(EngineOptions(folder, device="cpu", threads=1, preview_every=1))

    def draw(self, **changes: object) -> np.ndarray:
        own = self.family.defaults
        usual: dict[str, object] = {"sampler": own.sampler, "scheduler": own.scheduler, "steps": 2, "guidance": 4.0}
        prompt = str(changes.pop("prompt", "a red boat"))
        result = drawn(self.engine, resolved(prompt, **(usual | changes)))
        assert (result.width, result.height) == (SIDE, SIDE)
        return np.frombuffer(result.rgb, np.uint8).reshape(SIDE, SIDE, 3)


@pytest.fixture(scope="module", params=KEYS)
def studio(request: pytest.FixtureRequest, family_folder: Callable[[str], Path]) -> Iterator[Studio]:
    studio = Studio(request.param, family_folder(request.param))
    yield studio
    studio.engine.close()


def differ(first: np.ndarray, second: np.ndarray) -> bool:
    return not np.array_equal(first, second)


def test_a_prompt_is_not_taken_for_the_address_of_a_picture(family_folder: Callable[[str], Path]) -> None:
    """The words of FLUX.2 go through a processor, which fetches pictures."""
    asked: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    studio = Studio("flux2", family_folder("flux2"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            one, other = (studio.draw(prompt=f"http://127.0.0.1:{server.server_port}/{name}.png") for name in "ab")
        finally:
            server.shutdown()
            studio.engine.close()
    assert asked == []
    assert (one != other).any()


def test_it_draws_what_seed_prompt_and_negative_prompt_decide(studio: Studio) -> None:
    if "text" not in studio.family.pipelines:
        pytest.skip("it needs a picture")
    first = studio.draw()
    assert len(np.unique(first)) > 8
    assert np.array_equal(first, studio.draw())
    assert differ(first, studio.draw(seed=2))
    assert differ(first, studio.draw(full_prompt="0123456789"))
    assert differ(first, studio.draw(full_negative="0123456789")) == studio.family.negative


def test_it_starts_from_a_picture_or_edits_one(studio: Studio) -> None:
    if studio.family.key == "flux-fill":
        pytest.skip("it takes a picture without a mask for one to be filled entirely")
    if not (studio.family.picture or studio.family.edit):
        usual = resolved(init=png("navy"), sampler="Euler", scheduler="Automatic")
        assert "cannot start from a picture" in failed(studio.engine, usual).reason
        return
    steps = 2 if studio.family.edit else 4
    blue, green = (studio.draw(init=png(colour), strength=0.6, steps=steps) for colour in ("navy", "lime"))
    assert differ(blue, green)
    assert differ(blue, studio.draw(init=png("navy"), strength=0.6, steps=steps, seed=2))


def test_it_repaints_the_masked_part_alone(studio: Studio) -> None:
    if not studio.family.inpaint:
        pytest.skip("it cannot repaint")
    asked = {"init": png("navy"), "mask": png("", mask=True), "strength": 0.9}
    whole = np.asarray(Image.open(io.BytesIO(png("navy").data)))
    picture = studio.draw(**asked, inpaint={"mask_blur": 0, "match_colour": False})
    assert np.array_equal(picture[:, SIDE // 2 :], whole[:, SIDE // 2 :])
    assert differ(picture[:, : SIDE // 2], whole[:, : SIDE // 2])
    again = studio.draw(**asked, seed=2, inpaint={"mask_blur": 0, "match_colour": False})
    assert differ(picture, again)


def test_it_shows_the_picture_forming(studio: Studio) -> None:
    if "text" not in studio.family.pipelines:
        pytest.skip("it needs a picture")
    own = studio.family.defaults
    asked = resolved("a red boat", sampler=own.sampler, scheduler=own.scheduler, steps=3)
    previews = [event for event in studio.engine.generate(asked) if isinstance(event, Preview)]
    # Ideogram's latents lie in an order and scale of their own.
    assert bool(previews) == (studio.family.key != "ideogram4")
    for told in previews:
        with Image.open(io.BytesIO(told.jpeg)) as shown:
            assert shown.size == (SIDE, SIDE)
            assert len(np.unique(np.asarray(shown))) > 8


def test_its_folder_is_recognised(studio: Studio, family_folder: Callable[[str], Path]) -> None:
    folder = family_folder(studio.family.key)
    name = json.loads((folder / "model_index.json").read_text("utf-8"))["_class_name"]
    configs = [folder / part / "config.json" for part in ("unet", "transformer")]
    told = [json.loads(config.read_text("utf-8")) for config in configs if config.exists()]
    assert families.of_pipeline(name, *told) is studio.family


def test_the_table_names_classes_that_diffusers_has() -> None:
    for family in families.FAMILIES.values():
        for name in (*family.pipelines.values(), *([family.denoiser] if family.denoiser else [])):
            assert hasattr(diffusers, name), (family.key, name)


def test_every_family_of_the_table_is_built_here() -> None:
    assert {*builders.BUILDERS, "unknown", "mini", "mini-flow"} == set(families.FAMILIES)  # the embedded ones are there
