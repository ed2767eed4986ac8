from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from studio.catalog import Catalog
from studio.diffusion import load, sample, schedulers
from studio.diffusion.load import Model
from studio.engine import Event
from studio.errors import Cancelled, ModelError
from studio.request import GenerationResult
from tests.resolved import resolved

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


def loaded(folder: Path, dtype: torch.dtype) -> Model:
    load.quiet()
    return load.load(Catalog(folder).find(None), torch.device("cpu"), dtype, "0123456789")


@pytest.fixture
def model(tiny: Path) -> Model:
    """Its own copy: these tests damage it."""
    return loaded(tiny, torch.float32)


def draw(model: Model, stop: threading.Event | None = None, **changes: object) -> GenerationResult:
    told: list[Event] = []
    return sample.draw(
        model,
        resolved(**{"steps": 2, **changes}),  # type: ignore[arg-type]
        told.append,
        stop or threading.Event(),
        preview_every=1,
        max_pixels=10_000,
        device="CPU",
    )


def test_it_is_bit_for_bit_what_the_stock_pipeline_gives(model: Model) -> None:
    ours = draw(model, steps=5)
    pipe = model.view(schedulers.own(model.pipe.scheduler, "DPM++ 2M", "Karras"), "text")
    request = ours.request
    bare = pipe(
        request.full_prompt,
        negative_prompt="",
        width=64,
        height=64,
        num_inference_steps=5,
        guidance_scale=request.guidance,
        generator=torch.Generator("cpu").manual_seed(request.seed),
    ).images[0]
    assert ours.rgb == bare.tobytes()


def test_nothing_a_job_sets_stays_on_the_model(model: Model) -> None:
    before = model.pipe.scheduler, dict(model.pipe.scheduler.config), set(vars(model.pipe.scheduler))
    draw(model, sampler="Euler a", scheduler="SGM Uniform")
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        draw(model, stop)
    after = model.pipe.scheduler, dict(model.pipe.scheduler.config), set(vars(model.pipe.scheduler))
    assert after == before
    assert not getattr(model.pipe, "_interrupt", False)


def test_every_part_is_loaded_in_the_precision_asked_for(tiny: Path) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        pipe = loaded(tiny, dtype).pipe
        assert {pipe.unet.dtype, pipe.vae.dtype, pipe.text_encoder.dtype} == {dtype}


def test_a_denoiser_that_loses_its_numbers_gives_a_sentence_and_no_black_picture(model: Model) -> None:
    with torch.no_grad():
        model.pipe.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="lost its numbers and gave no picture"):
        draw(model)


def test_an_entirely_black_picture_is_no_picture(model: Model) -> None:
    with torch.no_grad():
        model.pipe.vae.decoder.conv_out.weight.zero_()
        model.pipe.vae.decoder.conv_out.bias.fill_(-3.0)
    with pytest.raises(ModelError, match="entirely black"):
        draw(model)


def test_a_vae_that_overflows_in_half_precision_decodes_once_more_in_full(tiny: Path) -> None:
    model = loaded(tiny, torch.float16)
    with torch.no_grad():  # as some SDXL VAEs do: beyond 65504 after the first convolution, normalised right after
        model.pipe.vae.decoder.conv_in.weight.mul_(1e5).clamp_(-6e4, 6e4)
    weights = {name: tensor.clone() for name, tensor in model.pipe.vae.state_dict().items()}
    result = draw(model)
    assert len(set(result.rgb)) > 20
    assert model.pipe.vae.dtype == torch.float16
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.pipe.vae.state_dict().items())
