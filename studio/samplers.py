"""The samplers and schedule types artists know, and the diffusers schedulers that draw them. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from studio.errors import BadRequest

AUTOMATIC: Final = "Automatic"

#: Schedule type → what a diffusers scheduler must be told. `SGM Uniform` is diffusers' "trailing" spacing.
SCHEDULES: Final[dict[str, dict[str, object]]] = {
    AUTOMATIC: {},
    "Uniform": {"timestep_spacing": "leading", "steps_offset": 1},
    "SGM Uniform": {"timestep_spacing": "trailing"},
    "Karras": {"use_karras_sigmas": True},
    "Exponential": {"use_exponential_sigmas": True},
    "Beta": {"use_beta_sigmas": True},
}
_SPACINGS = (AUTOMATIC, "Uniform", "SGM Uniform")
_SIGMAS = (AUTOMATIC, "Karras", "Exponential", "Beta")
_ALL = tuple(SCHEDULES)


@dataclass(frozen=True, slots=True)
class Sampler:
    """One row of the table. `order` counts the denoiser's evaluations per step (Heun and DPM2 take two)."""

    scheduler: str
    options: dict[str, object] = field(default_factory=dict)
    schedules: tuple[str, ...] = _ALL
    order: int = 1


_DPM = "DPMSolverMultistepScheduler"
_SINGLE = "DPMSolverSinglestepScheduler"

SAMPLERS: Final[dict[str, Sampler]] = {
    "DPM++ 2M": Sampler(_DPM, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "DPM++ 2M SDE": Sampler(_DPM, {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}),
    "DPM++ 3M": Sampler(_DPM, {"algorithm_type": "dpmsolver++", "solver_order": 3}),
    # Single-step SDE-DPM-Solver++: DPMSolverSDEScheduler would need torchsde, unmaintained since 2023.
    "DPM++ SDE": Sampler(_SINGLE, {"algorithm_type": "sde-dpmsolver++"}, _SIGMAS),
    "DPM++ 2S": Sampler(_SINGLE, {"algorithm_type": "dpmsolver++"}, _SIGMAS),
    "Euler": Sampler("EulerDiscreteScheduler"),
    "Euler a": Sampler("EulerAncestralDiscreteScheduler", {}, _SPACINGS),
    "Heun": Sampler("HeunDiscreteScheduler", order=2),
    "DPM2": Sampler("KDPM2DiscreteScheduler", order=2),
    "DPM2 a": Sampler("KDPM2AncestralDiscreteScheduler", order=2),
    "LMS": Sampler("LMSDiscreteScheduler"),
    "UniPC": Sampler("UniPCMultistepScheduler"),
    "DEIS": Sampler("DEISMultistepScheduler"),
    "DDIM": Sampler("DDIMScheduler", {"clip_sample": False}, _SPACINGS),
    # The same sampler as Euler a, parametrised by alphas instead of sigmas.
    "DDPM": Sampler("DDPMScheduler", {"clip_sample": False}, _SPACINGS),
    "PNDM": Sampler("PNDMScheduler", {"skip_prk_steps": True}, _SPACINGS),
}


def check(sampler: str, schedule: str) -> None:
    """Raises:
    BadRequest: no such sampler or schedule type, or the sampler cannot follow it.
    """
    if sampler not in SAMPLERS:
        raise BadRequest(f"There is no sampler “{sampler[:80]}”; choose one of {', '.join(SAMPLERS)}.")
    if schedule not in SCHEDULES:
        raise BadRequest(f"There is no schedule type “{schedule[:80]}”; choose one of {', '.join(SCHEDULES)}.")
    allowed = SAMPLERS[sampler].schedules
    if schedule not in allowed:
        raise BadRequest(f"{sampler} cannot follow the {schedule} schedule; it takes {', '.join(allowed)}.")
