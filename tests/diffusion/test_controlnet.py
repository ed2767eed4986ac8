"""Guides at work in the engine: which steps they guide, what they take of memory, and what becomes of bad ones."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import ControlNetModel, UNet2DConditionModel
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from torch import nn

from studio import canvas, image
from studio.diffusion import conditions, controlnet, steering
from studio.diffusion.load import Model
from studio.diffusion.local import LocalEngine
from studio.diffusion.residency import Storage
from studio.engine import EngineOptions, Finished, Progress
from studio.errors import ModelError
from studio.pose import Person, Pose
from studio.request import ControlUnit, ModelSpec, Picture
from studio.specs import ControlNetSpec
from tests.families import nets, original
from tests.resolved import drawn, failed, resolved

ONE, TWO = "controlnet/one", "controlnet/two"


def drawing(*points: tuple[int, int], side: int = 64) -> Picture:
    page = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(page).line(points, fill="black", width=4)
    return Picture.from_bytes(image.png(page))


CROSS = drawing((8, 8), (56, 56), (8, 56), (56, 8))


def unit(net: str = ONE, **changes: Any) -> ControlUnit:
    usual: dict[str, object] = {"image": CROSS, "model": net, "annotator": "scribble"}
    return ControlUnit.model_validate(usual | changes)


def net_for(folder: Path, **changes: Any) -> ControlNetModel:
    """A ControlNet for the model in `folder`, whose VAE shrinks by four."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 64), **changes)


@pytest.fixture(scope="module")
def shelf(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets")
    for number, name in enumerate((ONE, TWO)):
        nets.folder(net_for(tiny), folder / name, seed=number)
    return folder


@pytest.fixture(scope="module")
def steered(tiny: Path, shelf: Path) -> Iterator[LocalEngine]:
    engine = LocalEngine(EngineOptions(tiny, (shelf,), device="cpu", threads=1, preview_every=1))
    yield engine
    engine.close()


def draw(engine: LocalEngine, **changes: Any) -> bytes:
    return drawn(engine, resolved(**{"steps": 4, **changes})).rgb


@pytest.fixture
def heard(steered: LocalEngine) -> Callable[..., list[float]]:
    """The noise levels at which the ControlNet was asked while a picture was drawn."""

    def asked(**changes: object) -> list[float]:
        levels: list[float] = []
        draw(steered, **changes)
        model = steered.manager.peek("mini")
        assert model is not None
        hook = model.controls[ONE].register_forward_pre_hook(lambda _net, given: levels.append(float(given[1])))
        draw(steered, **changes)
        hook.remove()
        return levels

    return asked


def test_start_and_end_choose_the_steps_that_are_guided(heard: Callable[..., list[float]]) -> None:
    everything = heard(controls=(unit(),))
    assert len(everything) == 4
    assert everything == sorted(everything, reverse=True)
    assert heard(controls=(unit(start=0.5),)) == everything[2:]
    assert heard(controls=(unit(end=0.5),)) == everything[:2]
    assert heard(controls=(unit(start=0.25, end=0.75),)) == everything[1:3]


def test_until_it_starts_the_picture_forms_as_without(steered: LocalEngine) -> None:
    def previews(**changes: Any) -> list[bytes]:
        asked = resolved(steps=4, **changes)
        return [getattr(event, "jpeg", b"") for event in steered.generate(asked) if hasattr(event, "jpeg")]

    plain, late = previews(), previews(controls=(unit(start=0.5),))
    assert plain[:2] == late[:2]
    assert plain[2] != late[2]


@pytest.mark.parametrize("nothing", [{"weight": 0}, {"end": 0}, {"start": 1}, {"start": 0.6, "end": 0.4}])
def test_a_guide_of_no_weight_or_time_is_none_at_all(steered: LocalEngine, nothing: dict[str, Any]) -> None:
    assert draw(steered, controls=(unit(**nothing),)) == draw(steered)


def test_weight_and_mode_are_heard(steered: LocalEngine) -> None:
    pictures = [
        draw(steered, controls=(unit(weight=weight, mode=mode),))
        for weight, mode in ((0.3, "balanced"), (1, "balanced"), (1, "prompt"), (1, "control"))
    ]
    assert len({draw(steered), *pictures}) == 5


def test_without_a_negative_side_control_is_only_softer(steered: LocalEngine) -> None:
    soft, alone = (draw(steered, guidance=1.0, controls=(unit(mode=mode),)) for mode in ("prompt", "control"))
    assert soft == alone


def test_soft_weights_are_those_of_a1111() -> None:
    factors = steering._softened(13)
    assert factors == pytest.approx([0.825 ** (12 - place) for place in range(13)])
    assert steering._softened(1) == [1.0]


def test_several_prompts_joined_are_guided_each(steered: LocalEngine) -> None:
    joined = "a red boat AND a blue house :0.5"
    guided = draw(steered, full_prompt=joined, controls=(unit(),))
    assert guided != draw(steered, full_prompt=joined)
    assert guided != draw(steered, full_prompt=joined, controls=(unit(mode="control"),))


def test_every_round_of_a_loop_is_guided(heard: Callable[..., list[float]]) -> None:
    init = drawing((0, 32), (64, 32))
    asked = heard(init=init, loops=2, strength=1.0, steps=2, controls=(unit(),))
    assert len(asked) == 4


def test_a_guide_covers_the_whole_picture_and_its_part_is_drawn(steered: LocalEngine) -> None:
    big = Image.new("RGB", (128, 128), "navy")
    mask = Image.new("L", (128, 128))
    mask.paste(255, (70, 70, 110, 110))
    request = resolved(
        init=Picture.from_bytes(image.png(big)),
        mask=Picture.from_bytes(image.png(mask)),
        resize="keep",
        inpaint={"area": "masked", "padding": 4, "mask_blur": 0},
        controls=(unit(image=drawing((0, 0), (127, 127), side=128), annotator="none"),),
    )
    laid = canvas.read(request, 2**24)
    assert laid is not None
    draw(steered, controls=(unit(),))
    model = steered.manager.peek("mini")
    assert model is not None
    whole: list[tuple[int, int]] = []

    def trace(one: ControlUnit, size: tuple[int, int]) -> Image.Image:
        whole.append(size)
        assert one.image is not None
        return image.decode(one.image.data, 2**24)

    (followed,) = conditions.maps(model, request, laid, trace)
    assert whole == [(128, 128)]
    assert followed.made.size == laid.size
    expected = trace(followed.unit, (128, 128)).crop(laid.box).resize(laid.size, Image.Resampling.BILINEAR)
    assert np.array_equal(np.asarray(followed.made), np.asarray(expected))
    outside = np.ones((128, 128), bool)
    outside[laid.box[1] : laid.box[3], laid.box[0] : laid.box[2]] = False
    result = drawn(steered, request)
    picture = np.frombuffer(result.rgb, np.uint8).reshape(128, 128, 3)
    assert (picture[outside] == np.asarray(big)[0, 0]).all()
    assert result.rgb != drawn(steered, request.model_copy(update={"controls": ()})).rgb


def test_outpainting_follows_a_guide(steered: LocalEngine) -> None:
    asked = {"init": CROSS, "resize": "keep", "outpaint": {"right": 32}, "strength": 0.9, "width": 96}
    assert draw(steered, **asked, controls=(unit(),)) != draw(steered, **asked)


def test_a_pose_is_followed(steered: LocalEngine) -> None:
    def posed(wrist: tuple[float, float]) -> Pose:
        body = [None, (32.0, 10.0), (24.0, 12.0), (20.0, 24.0), wrist, *([None] * 13)]
        return Pose(people=(Person.model_validate({"body": body}),), width=64, height=64)

    up, down = (
        draw(steered, controls=(unit(image=None, pose=posed(wrist), annotator="none"),))
        for wrist in ((10.0, 6.0), (18.0, 50.0))
    )
    assert up != down


def test_the_map_one_looks_at_is_the_map_that_is_followed(steered: LocalEngine) -> None:
    asked = unit(annotator="canny", parameters={"low_threshold": 40, "high_threshold": 90})
    shown = image.decode(steered.trace(asked, 64, 64), 2**24)
    guided = draw(steered, controls=(asked,))
    ready = Picture.from_bytes(image.png(shown))
    assert guided == draw(steered, controls=(unit(image=ready, annotator="none"),))


def test_progress_and_the_result_tell_of_it(steered: LocalEngine) -> None:
    events = list(steered.generate(resolved(steps=2, controls=(unit(),))))
    assert isinstance(events[-1], Finished)
    assert events[-1].result.request.controls == (unit(),)
    assert any(isinstance(event, Progress) and event.step == 2 for event in events)


# ── In memory ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_changing_guides_reads_nothing_twice(tiny: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    kept = controlnet.read

    def reading(spec: ControlNetSpec, model: Model) -> nn.Module:
        read.append(spec.key)
        return kept(spec, model)

    monkeypatch.setattr(controlnet, "read", reading)
    engine = LocalEngine(EngineOptions(tiny, (shelf,), device="cpu", threads=1))
    whole = engine._read

    def reading_whole(spec: ModelSpec, storage: Storage) -> Model:
        read.append(spec.key)
        return whole(spec, storage)

    monkeypatch.setattr(engine.manager, "_read", reading_whole)
    try:
        first = draw(engine, controls=(unit(),))
        without = engine.manager.report().host
        for controls in ((), (unit(TWO),), (unit(), unit(TWO)), ()):
            draw(engine, controls=controls)
        assert draw(engine, controls=(unit(),)) == first
        assert read == ["mini", ONE, TWO]
        grown = engine.manager.report().host - without
        parameters = sum(weight.nbytes for weight in net_for(tiny).parameters())
        assert parameters <= grown <= 1.2 * parameters, "what they share counts once"
        assert any("with one and two" in held.title for held in engine.manager.report().models)
        engine.unload("mini")
        assert engine.manager.report().host == 0
    finally:
        engine.close()


def test_a_damaged_one_is_told_and_the_next_picture_is_drawn(tiny: Path, shelf: Path, tmp_path: Path) -> None:
    for name in ("cut", "other"):
        (tmp_path / "controlnet").mkdir(exist_ok=True)
        nets.folder(net_for(tiny), tmp_path / "controlnet" / name)
    engine = LocalEngine(EngineOptions(tiny, (tmp_path,), device="cpu", threads=1))
    try:
        before = draw(engine)
        assert engine._catalog.controlnet("controlnet/cut")
        file = tmp_path / "controlnet" / "cut" / "diffusion_pytorch_model.safetensors"
        file.write_bytes(file.read_bytes()[:-4000])
        reason = failed(engine, resolved(steps=2, controls=(unit("controlnet/cut"),))).reason
        assert "The ControlNet “cut” is damaged" in reason
        assert draw(engine) == before
        assert draw(engine, controls=(unit("controlnet/other"),)) != before
    finally:
        engine.close()


def test_one_for_a_larger_model_is_refused_in_a_sentence(steered: LocalEngine, tiny: Path, tmp_path: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(tiny / "unet")
    wider = UNet2DConditionModel.from_config(dict(unet.config) | {"cross_attention_dim": 48})
    nets.folder(ControlNetModel.from_unet(wider), tmp_path / "wide")
    draw(steered)
    model = steered.manager.peek("mini")
    assert model is not None
    spec = steered._catalog.controlnet(ONE)
    with pytest.raises(ModelError, match="built for another size of model than"):
        controlnet.read(replace(spec, path=tmp_path / "wide", title="wide"), model)


def test_an_original_file_steers_as_its_folder_does(tiny: Path, tmp_path: Path) -> None:
    """In one file, under the names lllyasviel published theirs with."""
    unet = UNet2DConditionModel.from_pretrained(tiny / "unet")
    net = ControlNetModel.from_unet(unet)
    nets.folder(net, tmp_path / ONE)
    save_file(original.controlnet(net.state_dict(), 1), tmp_path / "controlnet" / "published.safetensors")
    engine = LocalEngine(EngineOptions(tiny, (tmp_path,), device="cpu", threads=1))
    try:
        guided = draw(engine, controls=(unit("controlnet/published"),))
        assert guided == draw(engine, controls=(unit(),))
        assert guided != draw(engine)
    finally:
        engine.close()


def test_a_map_is_a_png_of_the_size_asked_for(steered: LocalEngine) -> None:
    made = steered.trace(unit(annotator="none"), 96, 64)
    with Image.open(io.BytesIO(made)) as shown:
        assert (shown.format, shown.size) == ("PNG", (96, 64))
