from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
import torch

from studio.diffusion import schedulers
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions, Finished
from studio.errors import BadRequest
from studio.samplers import AUTOMATIC, SAMPLERS, SCHEDULES
from tests import tiny_models
from tests.resolved import resolved

PAIRS = [(sampler, schedule) for sampler, row in SAMPLERS.items() for schedule in row.schedules]
TRAINED = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "steps_offset": 1,
}
# numpy's deprecations inside diffusers; the engine silences them while it draws.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@pytest.mark.parametrize(("sampler", "schedule"), PAIRS)
def test_every_scheduler_keeps_what_training_fixed(sampler: str, schedule: str) -> None:
    model = diffusers.DPMSolverMultistepScheduler(**TRAINED)
    own = schedulers.own(model, sampler, schedule)
    assert own is not model
    assert own.config.prediction_type == "v_prediction"
    assert torch.equal(own.betas, model.betas)
    for name, value in SCHEDULES[schedule].items():
        assert own.config[name] == value
    if "timestep_spacing" in own.config and "timestep_spacing" not in SCHEDULES[schedule]:
        assert own.config.timestep_spacing == "trailing"


def test_a_schedule_replaces_the_one_the_model_prefers() -> None:
    model = diffusers.EulerDiscreteScheduler(**TRAINED, use_karras_sigmas=True)
    assert schedulers.own(model, "DPM++ 2M", AUTOMATIC).config.use_karras_sigmas
    exponential = schedulers.own(model, "DPM++ 2M", "Exponential").config
    assert (exponential.use_karras_sigmas, exponential.use_exponential_sigmas) == (False, True)


def test_a_flow_model_keeps_its_own_scheduler_and_says_so() -> None:
    model = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    own = schedulers.own(model, "Euler", AUTOMATIC)
    assert own is not model
    assert own.config.shift == 3.0
    with pytest.raises(BadRequest, match="choose the sampler Euler"):
        schedulers.own(model, "DPM++ 2M", "Karras")


@pytest.mark.parametrize(("sampler", "schedule"), [("Magic", "Karras"), ("Euler", "Magic"), ("DDIM", "Karras")])
def test_what_does_not_exist_is_refused(sampler: str, schedule: str) -> None:
    with pytest.raises(BadRequest):
        schedulers.own(diffusers.DDIMScheduler(), sampler, schedule)


@pytest.mark.slow
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_every_sampler_draws_on_every_schedule_and_each_pair_differently(tmp_path: Path, prediction: str) -> None:
    tiny_models.stable_diffusion(tmp_path / "mini", prediction=prediction)
    engine = LocalEngine(EngineOptions(tmp_path / "mini", device="cpu", threads=1, preview_every=0))
    drawn: dict[bytes, list[tuple[str, str]]] = {}
    try:
        for sampler, schedule in PAIRS:
            request = resolved(sampler=sampler, scheduler=schedule, steps=4)
            last = list(engine.generate(request))[-1]
            assert isinstance(last, Finished), (sampler, schedule, last)
            assert len(set(last.result.rgb)) > 20, (sampler, schedule)
            drawn.setdefault(last.result.rgb, []).append((sampler, schedule))
    finally:
        engine.close()
    same = [tuple(sampler for sampler, _ in pairs) for pairs in drawn.values() if len(pairs) > 1]
    # With four steps diffusers never reaches the third order: it ends in lower ones below 15 steps.
    # Ancestral Euler and DDPM are the same sampler in two parametrisations; only rounding tells them apart.
    assert set(same) <= {("DPM++ 2M", "DPM++ 3M"), ("Euler a", "DDPM")}


@pytest.mark.slow
def test_the_third_order_differs_from_the_second_as_soon_as_it_can(tiny: Path) -> None:
    engine = LocalEngine(EngineOptions(tiny, device="cpu", threads=1, preview_every=0))
    try:
        pictures = []
        for sampler in ("DPM++ 2M", "DPM++ 3M"):
            last = list(engine.generate(resolved(sampler=sampler, steps=16)))[-1]
            assert isinstance(last, Finished)
            pictures.append(last.result.rgb)
    finally:
        engine.close()
    assert pictures[0] != pictures[1]
