"""ControlNets of every family on tiny models: against diffusers' own ControlNet pipelines, and by what they change."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image, ImageDraw

from studio import families, image
from studio.canvas import read
from studio.diffusion import conditioning, load, sample, schedulers
from studio.diffusion.local import LocalEngine
from studio.diffusion.repaint import Repaint
from studio.diffusion.watch import Round
from studio.engine import EngineOptions
from studio.family import Task
from studio.request import ControlUnit, Picture, ResolvedRequest
from tests.families import builders, nets
from tests.families.test_tasks import SIDE, differ, png
from tests.resolved import drawn, failed, resolved

KEYS = ("sd15", "sdxl", "sd3", "flux", "qwen-image", "z-image", "sana")


def lines(*points: tuple[int, int]) -> Picture:
    drawing = Image.new("RGB", (SIDE, SIDE))
    ImageDraw.Draw(drawing).line(points, fill="white", width=4)
    return Picture.from_bytes(image.png(drawing))


DRAWING = lines((8, 8), (56, 40), (20, 60))
OTHER = lines((60, 4), (4, 60))


class Studio:
    """An engine with one model of a family, and with ControlNets `one` and `two` for it, and more by `special`."""

    def __init__(self, key: str, model: Path, folder: Path) -> None:
        self.family = families.FAMILIES[key]
        pipe = builders.pipeline(key)
        nets.folder(nets.NETS[key](pipe), folder / "controlnet" / "one", seed=1)
        nets.folder(nets.NETS[key](pipe), folder / "controlnet" / "two", seed=2)
        for name, build in SPECIAL.get(key, {}).items():
            nets.folder(build(pipe), folder / "controlnet" / name, seed=3)
        self.engine = LocalEngine(EngineOptions(model, (folder,), device="cpu", threads=1, preview_every=1))

    def asked(self, **changes: object) -> ResolvedRequest:
        own = self.family.defaults
        usual: dict[str, object] = {"sampler": own.sampler, "scheduler": own.scheduler, "steps": 2, "guidance": 4.0}
        return resolved("a red boat", **(usual | changes))

    def draw(self, **changes: object) -> np.ndarray:
        result = drawn(self.engine, self.asked(**changes))
        return np.frombuffer(result.rgb, np.uint8).reshape(result.height, result.width, 3)

    def stock(self, task: Task, used: tuple[str, ...], **changes: object) -> np.ndarray:
        """As diffusers' pipeline of the same task draws it with the same parts."""
        request = self.asked(**changes)
        nets_used = tuple(self.engine._catalog.controlnet(name) for name in used)
        with self.engine.manager.lease(self.engine._spec(None), controls=nets_used) as model, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind = getattr(diffusers, self.family.pipelines[task])
            if UNION in used:
                kind = diffusers.StableDiffusionXLControlNetUnionPipeline
            steering = [model.controls[net.key] for net in nets_used]
            generator = torch.Generator("cpu").manual_seed(request.seed)
            taught, xl = model.pipe.scheduler, self.family.key == "sdxl"
            own = schedulers.own(taught, request.sampler, request.scheduler, generator=generator, xl=xl)
            one = steering[0] if len(steering) == 1 else steering
            pipe: Any = _with_net(kind, model.pipe, own, one)
            pipe.set_progress_bar_config(disable=True)
            canvas = read(request, 2**24)
            told = conditioning.prepare(model, pipe, request, "text", Round(0, 1, request.steps, 0, request.steps))
            given = sample._arguments(model, request, canvas, generator) | told.arguments
            maps = [_map(unit) for unit in request.controls]
            told_of_units: dict[str, Any] = {
                "control_image": maps if len(maps) > 1 else maps[0],
                "controlnet_conditioning_scale": [unit.weight for unit in request.controls],
                "control_guidance_start": [unit.start for unit in request.controls],
                "control_guidance_end": [unit.end for unit in request.controls],
            }
            if len(maps) == 1:
                told_of_units = {
                    name: value[0] if isinstance(value, list) else value for name, value in told_of_units.items()
                }
            given |= told_of_units
            if task != "control":
                given["strength"] = request.strength
            if task == "control-picture":
                given["image"] = canvas and canvas.part()
            elif task == "control-mask":
                assert canvas is not None
                given |= Repaint(model, pipe, canvas, "original", False, request.steps, generator).arguments
            elif self.family.key in ("sd15", "sdxl") and UNION not in used:
                given["image"] = given.pop("control_image")
            if UNION in used:
                given["control_mode"] = 3
            known = pipe.__call__.__func__.__wrapped__.__code__.co_varnames
            pixels = pipe(**{name: value for name, value in given.items() if name in known}).images[0]
            drawn_so: np.ndarray = (pixels.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            return drawn_so


def _with_net(kind: Any, pipe: Any, scheduler: Any, net: Any) -> Any:
    class Bare:
        """`pipe` with a ControlNet among its parts."""

        components = pipe.components | {"controlnet": net}
        config = pipe.config

    return load._assembled(kind, Bare, scheduler)


def _map(unit: ControlUnit) -> Image.Image:
    assert unit.image is not None
    return image.decode(unit.image.data, 2**24)


SPECIAL: dict[str, dict[str, Callable[[Any], Any]]] = {
    "sd15": {"adapter": nets.adapter},
    "sdxl": {"union": nets.union_xl, "adapter": nets.adapter},
    "sd3": {"repainting": nets.sd3_repainting},
    "flux": {"union": nets.union_flux, "hint": nets.hint_flux},
    "z-image": {"repainting": nets.repainting_z_image},
}


@pytest.fixture(scope="module", params=KEYS)
def studio(
    request: pytest.FixtureRequest, family_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Studio]:
    studio = Studio(request.param, family_folder(request.param), tmp_path_factory.mktemp("nets"))
    yield studio
    studio.engine.close()


@pytest.fixture(autouse=True)
def _no_chance_in_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers rolls dice for the latents of a map; here nobody does, so that both can be compared."""
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())


UNION = "controlnet/union"


def unit(net: str = "controlnet/one", drawing: Picture = DRAWING, **changes: object) -> ControlUnit:
    return ControlUnit.model_validate({"image": drawing, "model": net, "annotator": "none", **changes})


def test_it_follows_one_guide_as_diffusers_does(studio: Studio) -> None:
    controls = (unit(weight=0.8),)
    ours = studio.draw(controls=controls)
    stock = studio.stock("control", ("controlnet/one",), controls=controls)
    # Sana's encodes its map twice over, which rounds otherwise.
    assert np.abs(ours.astype(int) - stock).max() <= (studio.family.key == "sana")
    plain = studio.draw()
    assert differ(ours, plain)
    assert differ(ours, studio.draw(controls=(unit(drawing=OTHER, weight=0.8),)))
    assert np.array_equal(plain, studio.draw(controls=(unit(weight=0),)))
    assert np.array_equal(plain, studio.draw(controls=(unit(end=0),)))


def test_it_follows_two_guides_at_once(studio: Studio) -> None:
    first, second = unit(weight=0.5), unit("controlnet/two", OTHER)
    both = studio.draw(controls=(first, second))
    assert differ(both, studio.draw(controls=(first,)))
    assert differ(both, studio.draw(controls=(second,)))
    if studio.family.key not in ("qwen-image", "z-image", "sana"):  # theirs take one alone
        nets_used = ("controlnet/one", "controlnet/two")
        stock = studio.stock("control", nets_used, controls=(first, second))
        assert np.abs(both.astype(int) - stock).max() <= 1


@pytest.mark.parametrize("mode", ["prompt", "control"])
def test_what_matters_more_changes_the_picture(studio: Studio, mode: str) -> None:
    assert differ(studio.draw(controls=(unit(mode=mode),)), studio.draw(controls=(unit(),)))


def test_a_guide_is_followed_from_a_picture(studio: Studio) -> None:
    if not studio.family.picture:
        pytest.skip("it cannot start from a picture")
    asked = {"init": png("navy"), "strength": 0.6, "steps": 4}
    ours = studio.draw(**asked, controls=(unit(),))
    assert differ(ours, studio.draw(**asked))
    if "control-picture" in studio.family.pipelines:
        stock = studio.stock("control-picture", ("controlnet/one",), **asked, controls=(unit(),))
        assert np.array_equal(ours, stock)


def test_a_guide_is_followed_while_repainting(studio: Studio) -> None:
    if not studio.family.inpaint:
        pytest.skip("it cannot repaint")
    asked = {"init": png("navy"), "mask": png("", mask=True), "strength": 0.9}
    asked["inpaint"] = {"mask_blur": 0, "match_colour": False}
    ours = studio.draw(**asked, controls=(unit(),))
    before = image.decode(png("navy").data, 2**24)
    assert np.array_equal(ours[:, SIDE // 2 :], np.asarray(before)[:, SIDE // 2 :])
    assert differ(ours, studio.draw(**asked))
    if studio.family.key in ("sd15", "sdxl", "flux"):
        stock = studio.stock("control-mask", ("controlnet/one",), **asked, controls=(unit(),))
        assert np.array_equal(ours[:, : SIDE // 2], stock[:, : SIDE // 2])


def test_ones_for_every_kind_of_map_are_told_which(studio: Studio) -> None:
    if "union" not in SPECIAL.get(studio.family.key, {}):
        pytest.skip("it has no such ControlNet")
    edges = unit(UNION)  # lines on black, as they come, are edges
    tile = unit(UNION, annotator="tile")  # the same map, said to be something else
    guided = studio.draw(controls=(edges,))
    assert differ(guided, studio.draw())
    assert differ(guided, studio.draw(controls=(tile,)))
    assert differ(guided, studio.draw(controls=(edges, unit())))
    if studio.family.key == "sdxl":
        stock = studio.stock("control", (UNION,), controls=(edges,))
        assert np.array_equal(guided, stock)


def test_other_kinds_of_guides_are_followed(studio: Studio) -> None:
    for name in SPECIAL.get(studio.family.key, {}):
        if name in ("adapter", "hint"):
            plain = studio.draw()
            guided = studio.draw(controls=(unit(f"controlnet/{name}"),))
            assert differ(guided, plain)
            assert differ(guided, studio.draw(controls=(unit(f"controlnet/{name}", OTHER),)))
            assert differ(guided, studio.draw(controls=(unit(f"controlnet/{name}"), unit())))


def test_ones_made_to_repaint_read_the_mask(studio: Studio) -> None:
    if "repainting" not in SPECIAL.get(studio.family.key, {}):
        pytest.skip("it has no such ControlNet")
    guide = unit("controlnet/repainting")
    asked = {"init": png("navy"), "mask": png("", mask=True), "strength": 0.9}
    assert differ(studio.draw(**asked, controls=(guide,)), studio.draw(**asked))
    if studio.family.key == "sd3":
        assert "add a picture and a mask" in failed(studio.engine, studio.asked(controls=(guide,))).reason
    else:
        assert differ(studio.draw(controls=(guide,)), studio.draw())


def test_a_single_file_steers_as_its_folder_does(studio: Studio, tmp_path: Path) -> None:
    if studio.family.key == "sana":
        pytest.skip("nobody ships them so")
    folder = studio.engine._catalog.controlnet("controlnet/one").path
    net = getattr(diffusers, type(nets.NETS[studio.family.key](builders.pipeline(studio.family.key))).__name__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nets.single_file(net.from_pretrained(folder), folder.parent / "alone.safetensors")
    studio.engine._catalog.refresh()
    assert np.array_equal(
        studio.draw(controls=(unit("controlnet/alone"),)), studio.draw(controls=(unit("controlnet/one"),))
    )


def test_after_a_guide_everything_is_as_before(studio: Studio) -> None:
    before = studio.draw(seed=9)
    studio.draw(controls=(unit(mode="control"),))
    assert np.array_equal(before, studio.draw(seed=9))
