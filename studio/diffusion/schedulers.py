"""Sampler and schedule type, as artists name them → a diffusers scheduler that belongs to one job alone."""

from __future__ import annotations

import inspect
from typing import Any, Final

import diffusers
from diffusers import SchedulerMixin

from studio import samplers
from studio.errors import BadRequest
from studio.samplers import AUTOMATIC, SAMPLERS, SCHEDULES

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


def own(model: SchedulerMixin, sampler: str, schedule: str) -> SchedulerMixin:
    """A new scheduler with the model's betas and prediction type that draws as `sampler` on `schedule`.

    Raises:
        BadRequest: no such sampler, no such schedule type, or this model cannot follow it.
    """
    samplers.check(sampler, schedule)
    config: dict[str, Any] = dict(model.config)
    if "Flow" in type(model).__name__ or config.get("prediction_type") == "flow_prediction":
        if (sampler, schedule) != ("Euler", AUTOMATIC):
            raise BadRequest("This model follows its own flow: choose the sampler Euler with the Automatic schedule.")
        return type(model).from_config(model.config)
    row = SAMPLERS[sampler]
    kind = getattr(diffusers, row.scheduler)
    names = (*_TRAINED, *_PREFERRED) if schedule == AUTOMATIC else _TRAINED
    told = {name: config[name] for name in names if name in config} | row.options | SCHEDULES[schedule]
    known = inspect.signature(kind.__init__).parameters
    return kind(**{name: value for name, value in told.items() if name in known})
