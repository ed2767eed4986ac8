"""What is seen of a drawing while it runs: progress, previews, and the frames of its film."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from PIL import Image

from studio.diffusion import latents, preview
from studio.diffusion.load import Model
from studio.engine import Event, Preview, Progress
from studio.errors import Cancelled

FRAMES: Final = 8


@dataclass(frozen=True, slots=True)
class Round:
    """One of `rounds` rounds, counted from 0: it takes `steps` steps after `before` steps, of `total` in all."""

    number: int
    rounds: int
    steps: int
    before: int
    total: int

    @property
    def stage(self) -> str:
        return "Drawing" if self.rounds == 1 else f"Drawing round {self.number + 1} of {self.rounds}"

    @property
    def is_last(self) -> bool:
        return self.number + 1 == self.rounds


class Watch:
    """Sees every evaluation of one round's denoiser, through the scheduler that belongs to this round alone.

    `shown` makes the whole picture, as it is previewed, of what the denoiser works on, which is `drawn` pixels wide and
    high; `size` is that of the result.
    """

    def __init__(
        self,
        model: Model,
        pipe: Any,
        turn: Round,
        shown: Callable[[Image.Image], Image.Image],
        size: tuple[int, int],
        drawn: tuple[int, int],
        tell: Callable[[Event], None],
        stop: threading.Event,
        preview_every: int,
    ) -> None:
        self._preview = model.preview
        self._pipe = pipe
        self._turn = turn
        self._shown = shown
        self._size = size
        self._drawn = drawn
        self._tell = tell
        self._stop = stop
        self._every = preview_every if model.preview is not None else 0
        self._evaluation = 0
        self._step = 0
        self._clean: torch.Tensor | None = None
        self._noisy: dict[int, torch.Tensor] = {}
        self.latents: torch.Tensor | None = None
        self._steps = turn.steps
        scheduler = pipe.scheduler
        step = scheduler.step

        @functools.wraps(step)  # the pipelines look at its signature
        def watched(model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, *args: Any, **more: Any) -> Any:
            self._see(scheduler, model_output, timestep, sample)
            return step(model_output, timestep, sample, *args, **more)

        scheduler.step = watched
        tell(Progress(turn.stage, turn.before, turn.total))

    def on_step_end(self, _pipe: Any, evaluation: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if self._stop.is_set():
            raise Cancelled("This picture was cancelled.")
        self.latents = tensors.get("latents")
        step = self._done(evaluation + 1)
        if step > self._step:
            self._step = step
            told = self._turn.before + step
            ended = step == self._steps and self._turn.is_last
            self._tell(Progress("Developing" if ended else self._turn.stage, told, self._turn.total))
            if self._preview is not None and self._clean is not None:
                forming = self._shown(self._preview.picture(self._clean))
                self._tell(Preview(told, preview.jpeg(forming, *self._size, preview.LONGEST)))
        return {}

    def noisy(self) -> list[Image.Image]:
        """Seven pictures of the latents on their way, evenly spaced, from pure noise on."""
        if self._preview is None or not self._noisy:
            return []
        return [self._shown(self._preview.picture(self._noisy[index])) for index in self._wanted()]

    def _done(self, evaluations: int) -> int:
        """Full steps after so many evaluations; some samplers take two for a step, PNDM one more than its steps."""
        return evaluations * self._steps // self._total

    @property
    def _total(self) -> int:
        counted = getattr(self._pipe, "num_timesteps", None)
        return max(len(self._pipe.scheduler.timesteps) if counted is None else int(counted), 1)

    def _wanted(self) -> list[int]:
        return [k * self._total // (FRAMES - 1) for k in range(FRAMES - 1)]

    def _see(self, scheduler: Any, predicted: torch.Tensor, timestep: Any, sample: torch.Tensor) -> None:
        number = self._evaluation
        self._evaluation += 1
        self._clean = None
        if self._preview is None:
            return
        framed = number in self._wanted()
        step = self._done(number + 1)
        due = self._every > 0 and step > self._step and step % self._every == 0 and step < self._steps
        if not framed and not due:
            return
        # Variance-exploding samplers (Euler and its kin) hold latents of any size; the denoiser's input is normalised.
        scale = getattr(scheduler, "scale_model_input", None)
        noisy = sample if scale is None else scale(sample, timestep)
        channels = len(self._preview.matrix)
        if framed and (seen := latents.plane(noisy, channels, self._drawn)) is not None:
            self._noisy[number] = seen.clone()
        if due and predicted.shape == noisy.shape:
            self._clean = latents.plane(_clean(scheduler, predicted, timestep, noisy), channels, self._drawn)


def _clean(scheduler: Any, predicted: torch.Tensor, timestep: Any, noisy: torch.Tensor) -> torch.Tensor:
    """The picture the denoiser expects at the end: x₀ from xₜ, eq. 15 of https://arxiv.org/abs/2006.11239.

    A preview of it is clear long before the latents themselves are.
    """
    cumulative: torch.Tensor | None = getattr(scheduler, "alphas_cumprod", None)
    flow = scheduler.config.get("prediction_type") == "flow_prediction"
    if cumulative is None or flow:  # flow matching: xₜ = (1 − σ) x₀ + σ ε, and the denoiser predicts ε − x₀
        sigma = float(timestep) / int(scheduler.config.num_train_timesteps)
        return noisy - sigma * predicted
    kept = max(float(cumulative[min(max(round(float(timestep)), 0), len(cumulative) - 1)]), 1e-4)
    signal, noise = math.sqrt(kept), math.sqrt(1 - kept)
    match scheduler.config.prediction_type:
        case "sample":
            return predicted
        case "v_prediction":
            return signal * noisy - noise * predicted
        case _:
            return (noisy - noise * predicted) / signal
