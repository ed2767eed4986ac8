from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
import torch

from studio import samplers
from studio.diffusion import schedulers
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions, Finished
from studio.errors import BadRequest
from studio.samplers import AUTOMATIC, FLOW, SAMPLERS, SCHEDULES
from tests import tiny_models
from tests.resolved import resolved

PAIRS = [(sampler, schedule) for sampler, row in SAMPLERS.items() for schedule in row.schedules]
FLOW_PAIRS = [(sampler, schedule) for sampler, row in FLOW.items() for schedule in row.schedules]
#: As `modules/sd_samplers*.py` and `modules/sd_schedulers.py` of A1111 v1.10 list them.
A1111_SAMPLERS = (
    *("DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE", "Euler a", "Euler"),
    *(
        "LMS",
        "Heun",
        "DPM2",
        "DPM2 a",
        "DPM fast",
        "DPM adaptive",
        "Restart",
        "DDIM",
        "DDIM CFG++",
        "PLMS",
        "UniPC",
        "LCM",
    ),
)
A1111_SCHEDULES = (
    *("Automatic", "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal"),
    *("Align Your Steps", "Simple", "Normal", "DDIM", "Beta", "Turbo"),
)
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


def test_every_name_that_a1111_gives_a_sampler_or_a_schedule_is_known() -> None:
    assert {samplers.ours(name) for name in A1111_SAMPLERS} <= set(SAMPLERS)
    assert {samplers.ours(name) for name in A1111_SCHEDULES} <= set(SCHEDULES)
    assert samplers.ours("dpm++ 2m") == "DPM++ 2M"
    assert samplers.ours("Magic") == "Magic"


def flow_model(**settings: object) -> diffusers.FlowMatchEulerDiscreteScheduler:
    return diffusers.FlowMatchEulerDiscreteScheduler(**({"shift": 3.0} | settings))


def test_a_flow_model_keeps_its_own_scheduler() -> None:
    own = schedulers.own(flow_model(), "Euler", AUTOMATIC)
    assert type(own) is diffusers.FlowMatchEulerDiscreteScheduler
    assert own.config.shift == 3.0
    with pytest.raises(BadRequest, match="follows a flow; choose one of Euler, Heun"):
        schedulers.own(flow_model(), "Euler a", AUTOMATIC)
    with pytest.raises(BadRequest, match="cannot follow the SGM Uniform schedule"):
        schedulers.own(flow_model(), "Euler", "SGM Uniform")


def drawn_to(own: diffusers.SchedulerMixin, steps: int, share: int = 100) -> tuple[torch.Tensor, int]:
    """Where a scheduler comes from noise in a `share` of its steps (%) when there is but one picture, a point."""
    target = torch.full((1, 4, 2, 2), 2.0)
    own.set_timesteps(steps)
    own.set_begin_index(0)
    latents = torch.randn((1, 4, 2, 2), generator=torch.Generator().manual_seed(3))
    for step in own.timesteps[: len(own.timesteps) * share // 100]:
        sigma = float(step) / 1000
        # what a denoiser says that knows the picture up to a bend, so that solvers of other orders differ
        velocity = (latents - target * (1 + 0.3 * sigma * sigma)) / max(sigma, 1e-3)
        latents = own.step(velocity, step, latents, return_dict=False)[0]
    return latents, len(own.timesteps)


@pytest.mark.parametrize(("sampler", "schedule"), FLOW_PAIRS)
def test_every_sampler_of_a_flow_comes_to_the_picture(sampler: str, schedule: str) -> None:
    own = schedulers.own(flow_model(), sampler, schedule, generator=torch.Generator().manual_seed(0))
    latents, evaluations = drawn_to(own, 12)
    assert torch.isfinite(latents).all()
    assert torch.allclose(latents, torch.tensor(2.0), atol=0.15)
    assert evaluations == (12 * 2 - 1 if FLOW[sampler].order == 2 else 12)


def test_the_samplers_and_schedules_of_a_flow_all_differ() -> None:
    ends: dict[bytes, list[tuple[str, str]]] = {}
    for sampler, schedule in FLOW_PAIRS:
        own = schedulers.own(flow_model(), sampler, schedule, generator=torch.Generator().manual_seed(0))
        latents, _ = drawn_to(own, 20, share=60)
        ends.setdefault(latents.numpy().tobytes(), []).append((sampler, schedule))
    assert [pairs for pairs in ends.values() if len(pairs) > 1] == []


def test_every_sampler_of_a_flow_is_shifted_for_the_size_of_the_picture() -> None:
    model = flow_model(use_dynamic_shifting=True, shift=1.0)
    for sampler in FLOW:
        own = schedulers.own(model, sampler, AUTOMATIC)
        own.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25], mu=0.5)
        small = own.sigmas.clone()
        own.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25], mu=1.15)
        assert (own.sigmas[1:-1] > small[1:-1]).all(), sampler
        assert own.sigmas[-1] == 0


def test_noise_of_a_sampler_of_a_flow_is_the_jobs() -> None:
    for sampler in ("DPM++ 2M SDE", "LCM"):
        ends = []
        for seed in (1, 1, 2):
            own = schedulers.own(flow_model(), sampler, AUTOMATIC, generator=torch.Generator().manual_seed(seed))
            own.set_timesteps(4)
            own.set_begin_index(0)
            latents = torch.ones(1, 4, 2, 2)
            for step in own.timesteps[:2]:
                latents = own.step(latents, step, latents, return_dict=False)[0]
            ends.append(latents)
        assert torch.equal(ends[0], ends[1]), sampler
        assert not torch.equal(ends[0], ends[2]), sampler


def test_a_sana_like_model_follows_its_flow_with_any_sampler() -> None:
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    model = diffusers.DPMSolverMultistepScheduler(**flow)
    assert schedulers.own(model, "DPM++ 2M", AUTOMATIC).config == {**model.config, **FLOW["DPM++ 2M"].options}
    assert schedulers.own(model, "Euler", "Karras").config.shift == 3.0


@pytest.mark.parametrize("schedule", samplers.LEVELS)
@pytest.mark.parametrize("steps", [1, 4, 10, 30, 150])
def test_levels_of_our_own_fall_from_noise_to_nearly_none(schedule: str, steps: int) -> None:
    model = diffusers.DPMSolverMultistepScheduler(**TRAINED)
    for sampler in [name for name, row in SAMPLERS.items() if schedule in row.schedules]:
        own = schedulers.own(model, sampler, schedule)
        own.set_timesteps(steps)
        assert int(own.timesteps[0]) == 999
        assert (own.timesteps.diff() <= 0).all()
        assert len(own.timesteps) == (2 * steps - 1 if SAMPLERS[sampler].order == 2 else steps)


def test_ten_aligned_steps_are_those_of_the_paper() -> None:
    model = diffusers.EulerDiscreteScheduler(**TRAINED)
    own = schedulers.own(model, "Euler", "Align Your Steps")
    own.set_timesteps(10)
    assert own.timesteps.tolist() == pytest.approx([999, 850, 736, 645, 545, 455, 343, 233, 124, 24], abs=2)
    large = schedulers.own(model, "Euler", "Align Your Steps", xl=True)
    large.set_timesteps(10)
    assert large.timesteps.tolist() == pytest.approx([999, 845, 730, 587, 443, 310, 193, 116, 53, 13], abs=2)


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
    # This model's own spacing, which Automatic keeps, is the uniform one.
    named = [tuple(sampler for sampler, schedule in pairs if schedule != "Uniform") for pairs in drawn.values()]
    assert all(named)
    same = [samplers for samplers in named if len(samplers) > 1]
    # With four steps diffusers never reaches the third order: it ends in lower ones below 15 steps.
    # Euler and DDIM are the same sampler in two parametrisations, and so are ancestral Euler and DDPM; only rounding
    # tells them apart.
    twins = {("DPM++ 2M", "DPM++ 3M"), ("DPM++ 2M SDE", "DPM++ 3M SDE"), ("Euler", "DDIM"), ("Euler a", "DDPM")}
    assert set(same) <= twins


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
