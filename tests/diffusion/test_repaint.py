from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, FluxInpaintPipeline, UNet2DModel
from PIL import Image

from studio import canvas, image
from studio.catalog import Catalog
from studio.diffusion import load, schedulers
from studio.diffusion.local import LocalEngine
from studio.diffusion.repaint import Repaint, blank, free
from studio.engine import EngineOptions, Event, Failed, Finished, Preview, Progress
from studio.errors import BadRequest, ModelError
from studio.request import GenerationResult, Picture, ResolvedRequest
from studio.samplers import SAMPLERS
from tests import tiny_models
from tests.resolved import resolved

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def nine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nine-channel inpainting checkpoint with random weights."""
    return tiny_models.stable_diffusion(tmp_path_factory.mktemp("models") / "nine", channels=9)


@pytest.fixture(scope="module")
def engine(tiny: Path, nine: Path) -> Iterator[LocalEngine]:
    engine = LocalEngine(EngineOptions(tiny, (nine.parent,), device="cpu", threads=1))
    yield engine
    engine.close()


def scene(width: int = 64, height: int = 64, seed: int = 0) -> Image.Image:
    """Bands of sky and ground with grain."""
    grain = np.random.default_rng(seed).integers(0, 30, (height, width, 3))
    bands = np.linspace(60, 190, height)[:, None, None] * [0.6, 0.8, 1.0]
    return Image.fromarray((bands + grain).astype(np.uint8))


def spots(size: tuple[int, int], *boxes: tuple[int, int, int, int], level: int = 255) -> Image.Image:
    mask = Image.new("L", size)
    for box in boxes:
        mask.paste(level, box)
    return mask


def given(picture: Image.Image) -> Picture:
    return Picture.from_bytes(image.png(picture))


def pixels(result: GenerationResult) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.frombuffer(result.rgb, np.uint8).reshape(result.height, result.width, 3)


def events_of(engine: LocalEngine, request: ResolvedRequest) -> list[Event]:
    return list(engine.generate(request))


def drawn(engine: LocalEngine, request: ResolvedRequest) -> GenerationResult:
    last = events_of(engine, request)[-1]
    assert isinstance(last, Finished), last
    return last.result


def repaint(picture: Image.Image, mask: Image.Image | None = None, **changes: object) -> ResolvedRequest:
    usual: dict[str, object] = {"init": given(picture), "resize": "keep", "steps": 2}
    if mask is not None:
        usual["mask"] = given(mask)
    return resolved(**(usual | changes))  # type: ignore[arg-type]


COMBINATIONS = list(
    itertools.product(["original", "blur", "noise", "nothing"], ["whole", "masked"], [False, True], [False, True])
)


@pytest.mark.parametrize(("start", "area", "soft", "invert"), COMBINATIONS)
@pytest.mark.parametrize("model", ["mini", "nine"])
def test_outside_the_feathered_mask_every_pixel_stays(
    engine: LocalEngine, model: str, start: str, area: str, soft: bool, invert: bool
) -> None:
    source = scene(75, 93)  # no multiples of anything
    mask = spots(source.size, (10, 30, 50, 80))
    mask.paste(120, (55, 5, 65, 15))
    inpaint = {"start": start, "area": area, "soft": soft, "invert": invert, "mask_blur": 3, "padding": 8}
    told = repaint(source, mask, model=model, inpaint=inpaint | {"match_colour": soft == invert}, strength=0.8)
    laid = canvas.read(told, 100_000)
    assert laid is not None
    result = pixels(drawn(engine, told))
    changed = (result != np.asarray(source)).any(axis=2)
    outside = np.asarray(laid.opacity) == 0
    assert outside.sum() > 100
    assert not changed[outside].any()
    inside = np.asarray(mask) == (0 if invert else 255)
    assert changed[inside].mean() > 0.5, "something was drawn"


@pytest.mark.parametrize("area", ["whole", "masked"])
@pytest.mark.parametrize("model", ["mini", "nine"])
def test_outpainting_keeps_the_picture_and_adds_its_margins(engine: LocalEngine, model: str, area: str) -> None:
    source = scene(70, 61)
    told = repaint(
        source, model=model, outpaint={"left": 13, "top": 0, "right": 40, "bottom": 7}, inpaint={"area": area}
    )
    result = pixels(drawn(engine, told))
    assert result.shape == (68, 123, 3)
    assert np.array_equal(result[:61, 13:83], np.asarray(source))
    before = canvas.read(told, 100_000)
    assert before is not None
    assert (result != np.asarray(before.picture)).any(axis=2)[:, :13].mean() > 0.5
    again = repaint(Image.fromarray(result), model=model, outpaint={"top": 32}, inpaint={"area": area})
    assert np.array_equal(pixels(drawn(engine, again))[32:], result), "as often as one likes"


def test_strength_zero_gives_back_the_source_in_every_way_to_work_on_it(engine: LocalEngine) -> None:
    source, mask = scene(80, 72), spots((80, 72), (10, 10, 30, 30))
    for changes in ({}, {"loops": 3}, {"model": "nine"}):
        for painted in (None, mask):
            assert drawn(engine, repaint(source, painted, strength=0.0, **changes)).rgb == source.tobytes()


def test_strength_one_forgets_the_source(engine: LocalEngine) -> None:
    told = resolved(init=given(scene()), strength=1.0, steps=3)
    assert drawn(engine, told).rgb == drawn(engine, resolved(steps=3)).rgb
    other = resolved(init=given(scene(seed=1)), strength=0.99, steps=3)
    assert drawn(engine, other).rgb != drawn(engine, told).rgb


def test_an_empty_mask_changes_nothing(engine: LocalEngine) -> None:
    source = scene(72, 80)
    assert drawn(engine, repaint(source, Image.new("L", source.size))).rgb == source.tobytes()


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("model", ["mini", "nine"])
def test_every_sampler_repaints_softly_and_hard(engine: LocalEngine, model: str, sampler: str) -> None:
    mask = spots((64, 64), (10, 10, 40, 40), level=180)
    for soft in (False, True):
        told = repaint(
            scene(), mask, model=model, sampler=sampler, scheduler="Automatic", steps=4, inpaint={"soft": soft}
        )
        drawn(engine, told)


def test_the_same_seed_gives_the_same_picture_and_another_one_another(engine: LocalEngine) -> None:
    mask = spots((64, 64), (10, 10, 40, 40))
    for more in ({"inpaint": {"start": "noise", "soft": True}}, {"loops": 2}, {"outpaint": {"right": 20}}):
        one, two, other = (drawn(engine, repaint(scene(), mask, seed=seed, **more)).rgb for seed in (5, 5, 6))
        assert one == two != other


def test_starts_differ(engine: LocalEngine) -> None:
    mask = spots((64, 64), (10, 10, 40, 40))
    starts = ("original", "blur", "noise", "nothing")
    for model in ("mini", "nine"):
        told = [repaint(scene(), mask, model=model, strength=0.6, inpaint={"start": start}) for start in starts]
        assert len({drawn(engine, one).rgb for one in told}) == len(starts)


def test_the_mask_reaches_a_nine_channel_denoiser_and_covers_everything_without_one(engine: LocalEngine) -> None:
    drawn(engine, resolved(model="nine", steps=1))
    nine = engine.manager.peek("nine")
    assert nine is not None
    seen: list[torch.Tensor] = []
    unet = nine.pipe.unet
    handle = unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        drawn(
            engine, repaint(scene(), spots((64, 64), (8, 16, 9, 17)), model="nine", inpaint={"mask_blur": 0}, steps=1)
        )
        drawn(engine, resolved(model="nine", init=given(scene()), steps=1))
        drawn(engine, resolved(model="nine", steps=1))
    finally:
        handle.remove()
    masks = [latents[0, 4] for latents in seen]
    expected = torch.zeros(16, 16)
    expected[4, 2] = 1
    assert torch.equal(masks[0].float(), expected), "one painted pixel is one latent"
    assert masks[1].min() == masks[2].min() == 1
    assert seen[0].shape[1] == 9


def test_grey_is_the_share_of_the_steps_in_which_a_pixel_is_free() -> None:
    grey = torch.tensor([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
    for total in (1, 4, 20):
        shares = torch.stack([free(grey, evaluation, total) for evaluation in range(total)]).float()
        assert torch.all(shares.diff(dim=0) >= 0) if total > 1 else True, "once free, always free"
        assert shares[-1].tolist() == [0, 1, 1, 1, 1, 1]
        assert (shares.mean(dim=0) - grey).abs().max() <= 1 / total


@pytest.mark.parametrize("model", ["mini", "nine"])
def test_what_a_soft_mask_holds_back_is_the_source_on_its_way(engine: LocalEngine, model: str) -> None:
    """With a mask that is barely grey the latents are the source's until the last step."""
    drawn(engine, resolved(model=model, steps=1))
    held = engine.manager.peek(model)
    assert held is not None
    vae = held.pipe.vae
    source = scene()
    told = repaint(
        source,
        Image.new("L", (64, 64), 3),
        model=model,
        steps=8,
        strength=1.0,
        sampler="Euler",
        scheduler="Automatic",
        inpaint={"soft": True, "mask_blur": 0},
    )
    seen: list[torch.Tensor] = []
    handle = vae.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        drawn(engine, told)
        drawn(engine, told.model_copy(update={"mask": given(Image.new("L", (64, 64), 255))}))
    finally:
        handle.remove()
    with torch.no_grad():
        levels = torch.from_numpy(np.asarray(source).copy()).permute(2, 0, 1)[None] / 127.5 - 1
        latents = vae.encode(levels.to(vae.dtype)).latent_dist.mode()
        latents = vae.post_quant_conv(latents)
    held, let_go = ((one - latents).abs().mean() for one in seen[:2])
    assert held < 0.6 * let_go


def test_rounds_go_on_from_each_other_with_less_strength(engine: LocalEngine) -> None:
    told = resolved(init=given(scene()), steps=10, strength=0.8, loops=3, loop_decay=0.5)
    happened = events_of(engine, told)
    progress = [event for event in happened if isinstance(event, Progress) and event.steps]
    assert progress[-1] == Progress("Developing", 8 + 4 + 2, 14)
    assert [event.stage for event in progress if event.step in (1, 9, 13)][:1] == ["Drawing round 1 of 3"]
    assert {event.stage for event in progress} >= {f"Drawing round {number} of 3" for number in (1, 2, 3)}
    assert [event.step for event in progress] == sorted(event.step for event in progress)
    previews = [event.step for event in happened if isinstance(event, Preview)]
    assert previews == sorted(set(previews))
    assert isinstance(happened[-1], Finished)
    assert len(happened[-1].result.film) == 8
    assert happened[-1].result.rgb != drawn(engine, told.model_copy(update={"loops": 1})).rgb
    masked = repaint(scene(), spots((64, 64), (30, 30, 50, 50)), loops=3, inpaint={"start": "noise"})
    assert np.array_equal(pixels(drawn(engine, masked))[:14], np.asarray(scene())[:14])


def test_a_preview_shows_the_whole_picture_while_only_the_mask_is_drawn(engine: LocalEngine) -> None:
    source = scene(640, 320)
    told = repaint(source, spots(source.size, (500, 200, 560, 260)), steps=6, inpaint={"area": "masked"})
    happened = events_of(engine, told)
    previews = [Image.open(io.BytesIO(event.jpeg)) for event in happened if isinstance(event, Preview)]
    assert previews
    assert isinstance(happened[-1], Finished)
    shown = [*previews, *(Image.open(io.BytesIO(frame)) for frame in happened[-1].result.film)]
    assert {picture.size for picture in previews} == {(512, 256)}
    for picture in shown:
        small = np.asarray(source.resize(picture.size, Image.Resampling.BOX)).astype(int)
        left = slice(0, picture.width // 2)
        assert np.abs(np.asarray(picture).astype(int) - small)[:, left].mean() < 6


def test_cancelled_midway_the_next_picture_is_as_ever(engine: LocalEngine) -> None:
    mask = spots((64, 64), (10, 10, 40, 40), level=200)
    for model, told in itertools.product(("mini", "nine"), ({"soft": True, "start": "noise"}, {"area": "masked"})):
        request = repaint(scene(), mask, model=model, steps=8, inpaint=told)
        plain = resolved(model=model)
        expected = drawn(engine, request).rgb, drawn(engine, plain).rgb
        for stopped in (1, 3, 6):
            happening = engine.generate(request)
            for event in happening:
                if isinstance(event, Progress) and event.step >= stopped:
                    break
            happening.close()
            assert drawn(engine, plain).rgb == expected[1]
            assert drawn(engine, request).rgb == expected[0]


@pytest.mark.parametrize("start", ["original", "blur", "noise", "nothing"])
def test_half_precision_repaints_too(tiny: Path, nine: Path, start: str) -> None:
    engine = LocalEngine(EngineOptions(tiny, (nine.parent,), device="cpu", dtype="bfloat16", threads=1))
    mask = spots((64, 64), (10, 10, 40, 40), level=180)
    try:
        for model, soft in itertools.product(("mini", "nine"), (False, True)):
            told = repaint(scene(), mask, model=model, inpaint={"soft": soft, "start": start})
            assert np.array_equal(pixels(drawn(engine, told))[-8:], np.asarray(scene())[-8:])
    finally:
        engine.close()


def test_a_family_that_cannot_repaint_says_so() -> None:
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8,),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    )
    spec = Catalog(ROOT / "assets" / "mini").find(None)
    model = load.Model(spec, DDPMPipeline(unet, DDPMScheduler()), None, "", torch.device("cpu"))
    scheduler = schedulers.own(DDPMScheduler(), "Euler", "Automatic")
    with pytest.raises(ModelError, match="Mini cannot repaint part of a picture; remove the mask and the margins"):
        model.view(scheduler, "mask")
    with pytest.raises(ModelError, match="Mini cannot start from a picture"):
        model.view(scheduler, "picture")


def test_a_family_without_latent_starts_or_soft_masks_says_so(tiny: Path) -> None:
    model = load.load(Catalog(tiny).find(None), torch.device("cpu"), torch.float32, "")
    flux = SimpleNamespace(_callback_tensor_inputs=FluxInpaintPipeline._callback_tensor_inputs, vae_scale_factor=8)
    for start, soft, said in (("noise", False, "cannot start from latent noise"), ("blur", True, "soft masks off")):
        with pytest.raises(BadRequest, match=said):
            Repaint(model, flux, blank(64, 64), start, soft, 4, torch.Generator())  # type: ignore[arg-type]


def test_what_a_model_cannot_follow_reaches_the_artist_as_a_sentence(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(engine, resolved(steps=1))
    from diffusers import StableDiffusionInpaintPipeline

    monkeypatch.setattr(StableDiffusionInpaintPipeline, "_callback_tensor_inputs", ["latents"])
    told = repaint(scene(), spots((64, 64), (0, 0, 9, 9)), inpaint={"soft": True})
    last = events_of(engine, told)[-1]
    assert isinstance(last, Failed)
    assert last.reason == "Mini cannot follow a soft mask; turn soft masks off."


PEAK = """
import resource, sys
from pathlib import Path
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions
from tests.diffusion.test_repaint import repaint, scene, spots, drawn
engine = LocalEngine(EngineOptions(Path(sys.argv[1]), device="cpu", threads=1))
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
for side in (256, 2048):
    told = repaint(scene(side, side), spots((side, side), (side // 2, side // 3, side // 2 + 150, side // 3 + 150)),
        width=256, height=256, inpaint={"area": "masked"})
    result = drawn(engine, told)
    assert (result.width, result.height) == (side, side)
    print(peak())
"""


@pytest.mark.slow
def test_only_the_mask_of_a_large_picture_costs_little_memory(tiny: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, str(tiny)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    small, large = (int(line) for line in ran.stdout.split())
    assert large - small < 300, f"peaks of {small} MB at 256² and {large} MB at 2048², whose pixels take 12.6 MB"
