"""Sampler and schedule type, as artists name them → a diffusers scheduler that belongs to one job alone."""

from __future__ import annotations

import inspect
from typing import Any, Final

import diffusers
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SchedulerMixin

from studio import samplers
from studio.diffusion import levels
from studio.samplers import AUTOMATIC, FLOW, SAMPLERS, SCHEDULES

#: What training fixed: it belongs to the model, whichever sampler draws.
_TRAINED: Final = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
    "set_alpha_to_one",
    "timestep_spacing",
    "steps_offset",
)
#: What the model's maker prefers: kept by the schedule type `Automatic` only.
_PREFERRED: Final = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
#: The noise levels of a flow, and how they move with the size of the picture.
_MOVED: Final = (
    *("num_train_timesteps", "shift", "use_dynamic_shifting", "base_shift", "max_shift", "base_image_seq_len"),
    *("max_image_seq_len", "invert_sigmas", "shift_terminal", "time_shift_type"),
)
#: Below the whole noise, where the signal that solvers divide by is nothing.
_MOST: Final = 1 - 1e-5


def is_flow(model: SchedulerMixin) -> bool:
    return "Flow" in type(model).__name__ or model.config.get("prediction_type") == "flow_prediction"


def own(
    model: SchedulerMixin,
    sampler: str,
    schedule: str,
    *,
    generator: torch.Generator | None = None,
    xl: bool = False,
    strange: bool = False,
) -> SchedulerMixin:
    """A new scheduler with what training fixed of the model's, that draws as `sampler` on `schedule`.

    `generator` is where samplers that add noise take it from when the pipeline gives them none. `xl`: the model is of
    the XL kind, which has steps of its own to align. `strange`: its pipeline is none that the table of families
    describes, and may understand its own scheduler alone.

    Raises:
        BadRequest: no such sampler, no such schedule type, or this model cannot follow it.
    """
    if isinstance(model, diffusers.SCMScheduler) or (strange and not is_flow(model) and not model._compatibles):
        samplers.check_own(sampler, schedule)
        return type(model).from_config(model.config)
    if is_flow(model):
        return _flow(model, sampler, schedule, generator)
    samplers.check(sampler, schedule)
    config: dict[str, Any] = dict(model.config)
    row = SAMPLERS[sampler]
    kind = getattr(diffusers, row.scheduler)
    names = (*_TRAINED, *_PREFERRED) if schedule == AUTOMATIC else _TRAINED
    told = {name: config[name] for name in names if name in config} | row.options | SCHEDULES[schedule]
    known = inspect.signature(kind.__init__).parameters
    settings = {name: value for name, value in told.items() if name in known}
    if schedule in samplers.LEVELS:
        return _on_levels(kind, schedule, xl)(**settings)
    return kind(**settings)


def _on_levels(kind: type[SchedulerMixin], schedule: str, xl: bool) -> type[SchedulerMixin]:
    """`kind`, with the noise levels of a schedule that it does not know."""

    class OnLevels(kind):  # type: ignore[misc]
        def set_timesteps(self, num_inference_steps: int, device: Any = None, *rest: Any, **more: Any) -> None:
            if rest:  # Heun's scheduler sets all steps of training while it is made
                super().set_timesteps(num_inference_steps, device, *rest)
                return
            noise = ((1 - self.alphas_cumprod) / self.alphas_cumprod).sqrt()
            if schedule == "Align Your Steps":
                sigmas = levels.align_your_steps(num_inference_steps, xl=xl)
            else:
                sigmas = levels.kl_optimal(num_inference_steps, float(noise.min()), float(noise.max()))
            steps = levels.timesteps(sigmas, self.alphas_cumprod)
            super().set_timesteps(timesteps=steps, device=device)

    return OnLevels


def _flow(
    model: SchedulerMixin, sampler: str, schedule: str, generator: torch.Generator | None
) -> FlowMatchEulerDiscreteScheduler:
    samplers.check(sampler, schedule, flow=True)
    config: dict[str, Any] = dict(model.config)
    row = FLOW[sampler]
    kind = getattr(diffusers, row.scheduler)
    native = isinstance(model, FlowMatchEulerDiscreteScheduler)
    if schedule == AUTOMATIC and not row.options.get("stochastic_sampling") and type(model) is kind:
        return type(model).from_config(config | row.options)
    shift = {} if native else {"shift": config.get("flow_shift", 1.0)}
    told = {name: config[name] for name in _MOVED if name in config} | shift | SCHEDULES[schedule]
    if native and schedule == AUTOMATIC:
        told |= {name: config[name] for name in _PREFERRED if name in config}
    if kind is FlowMatchEulerDiscreteScheduler:
        return _seeded(kind, generator)(**told, **row.options)
    known = inspect.signature(kind.__init__).parameters
    settings = {"num_train_timesteps": config["num_train_timesteps"]} | row.options
    flow = FlowMatchEulerDiscreteScheduler(**told)
    return _on_flow(kind, flow, generator)(**{name: value for name, value in settings.items() if name in known})


def _seeded(kind: type[SchedulerMixin], generator: torch.Generator | None) -> type[SchedulerMixin]:
    """`kind`, whose noise comes from the job: the pipelines of flow models hand their generator to no scheduler."""
    if "generator" not in inspect.signature(kind.step).parameters:
        return kind  # it adds none

    class Seeded(kind):  # type: ignore[misc]
        def step(self, *args: Any, **more: Any) -> Any:
            return super().step(*args, **({"generator": generator} | more))

    return Seeded


def _on_flow(
    kind: type[SchedulerMixin], flow: FlowMatchEulerDiscreteScheduler, generator: torch.Generator | None
) -> type[SchedulerMixin]:
    """`kind`, at the noise levels of `flow` and called as the pipelines of flow models call a scheduler."""

    class OnFlow(_seeded(kind, generator)):  # type: ignore[misc]
        def set_timesteps(self, num_inference_steps: int | None = None, device: Any = None, **more: Any) -> None:
            flow.set_timesteps(num_inference_steps, device=device, **more)
            sigmas, steps = flow.sigmas.clamp(max=_MOST).float(), flow.timesteps
            super().set_timesteps(len(steps), device=device)
            if self.order == 2:  # every level but the first is come to twice
                sigmas = torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2), sigmas[-1:]])
                steps = torch.cat([steps[:1], steps[1:].repeat_interleave(2)])
            self.sigmas, self.timesteps = sigmas.cpu(), steps

        def scale_noise(self, sample: torch.Tensor, timestep: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            """The latents of a picture with as much noise as they have at `timestep`: (1 − σ) x₀ + σ ε."""
            sigma = (timestep.float() / self.config.num_train_timesteps).to(sample.device, sample.dtype)
            sigma = sigma.reshape(-1, *(1 for _ in range(sample.ndim - 1)))
            noisy: torch.Tensor = sigma * noise + (1 - sigma) * sample
            return noisy

    return OnFlow
