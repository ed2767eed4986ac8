"""The samplers and schedule types artists know, and the diffusers schedulers that draw them. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from studio.errors import BadRequest

AUTOMATIC: Final = "Automatic"

#: Schedule type → what a diffusers scheduler must be told. `SGM Uniform` is diffusers' "trailing" spacing, `Uniform`
#: its "linspace" and `DDIM` its "leading"; the last two are noise levels that `diffusion.levels` works out.
SCHEDULES: Final[dict[str, dict[str, object]]] = {
    AUTOMATIC: {},
    "Uniform": {"timestep_spacing": "linspace"},
    "SGM Uniform": {"timestep_spacing": "trailing"},
    "DDIM": {"timestep_spacing": "leading", "steps_offset": 1},
    "Karras": {"use_karras_sigmas": True},
    "Exponential": {"use_exponential_sigmas": True},
    "Beta": {"use_beta_sigmas": True},
    "Align Your Steps": {},
    "KL Optimal": {},
}
#: Schedules for which diffusers has no setting: their noise levels are handed to it.
LEVELS: Final = ("Align Your Steps", "KL Optimal")
_SPACINGS = (AUTOMATIC, "Uniform", "SGM Uniform", "DDIM")
_SIGMAS = (AUTOMATIC, "Karras", "Exponential", "Beta")
_ALL = (*_SPACINGS, *_SIGMAS[1:])
_EVERY = (*_ALL, *LEVELS)


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
    "DPM++ 2M": Sampler(_DPM, {"algorithm_type": "dpmsolver++", "solver_order": 2}, _EVERY),
    "DPM++ 2M SDE": Sampler(_DPM, {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}, _EVERY),
    "DPM++ 2M SDE Heun": Sampler(
        _DPM, {"algorithm_type": "sde-dpmsolver++", "solver_order": 2, "solver_type": "heun"}, _EVERY
    ),
    "DPM++ 3M": Sampler(_DPM, {"algorithm_type": "dpmsolver++", "solver_order": 3}, _EVERY),
    "DPM++ 3M SDE": Sampler(_DPM, {"algorithm_type": "sde-dpmsolver++", "solver_order": 3}, _EVERY),
    # Single-step SDE-DPM-Solver++: DPMSolverSDEScheduler would need torchsde, unmaintained since 2023.
    "DPM++ SDE": Sampler(_SINGLE, {"algorithm_type": "sde-dpmsolver++"}, (*_SIGMAS, *LEVELS)),
    "DPM++ 2S": Sampler(_SINGLE, {"algorithm_type": "dpmsolver++"}, (*_SIGMAS, *LEVELS)),
    "Euler": Sampler("EulerDiscreteScheduler", {}, _EVERY),
    "Euler a": Sampler("EulerAncestralDiscreteScheduler", {}, _SPACINGS),
    "Heun": Sampler("HeunDiscreteScheduler", {}, _EVERY, order=2),
    "DPM2": Sampler("KDPM2DiscreteScheduler", order=2),
    "DPM2 a": Sampler("KDPM2AncestralDiscreteScheduler", order=2),
    "LMS": Sampler("LMSDiscreteScheduler"),
    "UniPC": Sampler("UniPCMultistepScheduler"),
    "DEIS": Sampler("DEISMultistepScheduler"),
    "DDIM": Sampler("DDIMScheduler", {"clip_sample": False}, _SPACINGS),
    # The same sampler as Euler a, parametrised by alphas instead of sigmas.
    "DDPM": Sampler("DDPMScheduler", {"clip_sample": False}, _SPACINGS),
    "PNDM": Sampler("PNDMScheduler", {"skip_prk_steps": True}, _SPACINGS),
    # For models and LoRAs distilled to a few steps. Its own 50 levels would not go round for more steps than that.
    "LCM": Sampler("LCMScheduler", {"clip_sample": False, "original_inference_steps": 200}, (AUTOMATIC,)),
}

_FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "final_sigmas_type": "zero"}
#: The samplers of flow-matching models. Their noise levels are the model's own, shifted for the size of the picture;
#: `Uniform`, `SGM Uniform` and `DDIM` would all be the same there.
FLOW: Final[dict[str, Sampler]] = {
    "Euler": Sampler("FlowMatchEulerDiscreteScheduler", {}, _SIGMAS),
    "Heun": Sampler("FlowMatchHeunDiscreteScheduler", {}, _SIGMAS, order=2),
    "DPM++ 2M": Sampler(_DPM, _FLOW | {"algorithm_type": "dpmsolver++", "solver_order": 2}, _SIGMAS),
    "DPM++ 2M SDE": Sampler(_DPM, _FLOW | {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}, _SIGMAS),
    "DPM++ 3M": Sampler(_DPM, _FLOW | {"algorithm_type": "dpmsolver++", "solver_order": 3}, _SIGMAS),
    "UniPC": Sampler("UniPCMultistepScheduler", _FLOW, _SIGMAS),
    "LCM": Sampler("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}, _SIGMAS),
}

#: What other programs call a sampler or schedule type → ours. The same mathematics …
SAME: Final[dict[str, str]] = {
    "PLMS": "PNDM",
    "DPM++ 2M Heun": "DPM++ 2M",
    "k_euler": "Euler",
    "k_euler_a": "Euler a",
    "Normal": "Uniform",
    "Simple": "SGM Uniform",
    "Turbo": "SGM Uniform",
    "Polyexponential": "Exponential",
    "Align Your Steps 11": "Align Your Steps",
    "Align Your Steps 32": "Align Your Steps",
    "Align Your Steps GITS": "Align Your Steps",
}
#: … or, where nobody maintains it for diffusers, the nearest.
NEAREST: Final[dict[str, str]] = {
    "DPM++ 2S a": "DPM++ SDE",
    "DPM fast": "DPM++ 2S",
    "DPM adaptive": "DPM++ 3M",
    "Restart": "Heun",
    "DDIM CFG++": "DDIM",
}
_BY_NAME: Final = {
    name.casefold(): ours
    for table in (NEAREST, SAME, {name: name for name in (*SAMPLERS, *SCHEDULES)})
    for name, ours in table.items()
}


def ours(name: str) -> str:
    """Our name for a sampler or schedule type as other programs call it; what nobody knows stays as it is."""
    return _BY_NAME.get(name.strip().casefold(), name)


def table(*, flow: bool) -> dict[str, Sampler]:
    """The samplers that draw with a model of the one kind or the other."""
    return FLOW if flow else SAMPLERS


def check_own(sampler: str, schedule: str) -> None:
    """For a model that draws with a sampler of its own, which the page calls Euler.

    Raises:
        BadRequest: another one is asked for.
    """
    if (sampler, schedule) != ("Euler", AUTOMATIC):
        raise BadRequest("This model has a sampler of its own: choose Euler with the Automatic schedule.")


def check(sampler: str, schedule: str, *, flow: bool = False) -> None:
    """`flow`: for a flow-matching model.

    Raises:
        BadRequest: no such sampler or schedule type, the sampler cannot follow it, or the model does not take it.
    """
    if sampler not in SAMPLERS:
        raise BadRequest(f"There is no sampler “{sampler[:80]}”; choose one of {', '.join(SAMPLERS)}.")
    if schedule not in SCHEDULES:
        raise BadRequest(f"There is no schedule type “{schedule[:80]}”; choose one of {', '.join(SCHEDULES)}.")
    rows = table(flow=flow)
    if sampler not in rows:
        raise BadRequest(f"{sampler} does not suit this model, which follows a flow; choose one of {', '.join(rows)}.")
    allowed = rows[sampler].schedules
    if schedule not in allowed:
        raise BadRequest(f"{sampler} cannot follow the {schedule} schedule; it takes {', '.join(allowed)}.")
