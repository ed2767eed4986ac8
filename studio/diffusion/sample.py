"""One resolved request → one call of a stock pipeline, with its progress told while it runs."""

from __future__ import annotations

import functools
import inspect
import math
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import torch
from PIL import Image, ImageOps

from studio import image
from studio.diffusion import preview, schedulers
from studio.diffusion.load import Model
from studio.engine import Event, Preview, Progress
from studio.errors import Cancelled, ModelError
from studio.request import GenerationResult, ResolvedRequest

FRAMES: Final = 8
_HALF: Final = (torch.float16, torch.bfloat16)


def draw(
    model: Model,
    request: ResolvedRequest,
    tell: Callable[[Event], None],
    stop: threading.Event,
    *,
    preview_every: int,
    max_pixels: int,
    device: str,
) -> GenerationResult:
    """Draw one picture. `tell` hears of every step; `preview_every` steps it is given a preview (0: never).

    Raises:
        Cancelled: `stop` was set; noticed after every evaluation of the denoiser.
        BadRequest, TooLarge, UnreadablePicture: the sampler or the input picture.
        ModelError: the model gave no picture.
    """
    began = time.perf_counter()
    source = None if request.init is None else image.decode(request.init.data, max_pixels)
    if source is not None:
        source = ImageOps.fit(source, (request.width, request.height), Image.Resampling.LANCZOS)
        if request.strength == 0:
            return _result(model, request, source, time.perf_counter() - began, device, [])
    scheduler = schedulers.own(model.pipe.scheduler, request.sampler, request.scheduler)
    pipe = model.view(scheduler, from_picture=source is not None)
    watch = _Watch(model, request, pipe, tell, stop, preview_every)
    vae = getattr(pipe, "vae", None)
    kept = None if vae is None else vae.dtype
    try:
        output = pipe(**_arguments(pipe, request, source), callback_on_step_end=watch.on_step_end)
        pixels = _checked(output, pipe, watch)
    finally:
        if vae is not None and vae.dtype != kept:  # SDXL decodes in float32 and leaves the VAE so when it fails
            vae.to(kept)
    picture = Image.frombytes("RGB", (pixels.shape[1], pixels.shape[0]), pixels.numpy().tobytes())
    return _result(model, request, picture, time.perf_counter() - began, device, watch.noisy())


def _arguments(pipe: Any, request: ResolvedRequest, source: Image.Image | None) -> dict[str, object]:
    given: dict[str, object] = {
        "prompt": request.full_prompt,
        "negative_prompt": request.full_negative,
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance,
        "width": request.width,
        "height": request.height,
        # On the CPU whatever the device, so that a seed means the same noise everywhere. PyTorch's generator there
        # reads the lower 32 bits of a seed, as it does in every other program of this field.
        "generator": torch.Generator("cpu").manual_seed(request.seed),
        "output_type": "pt",
    }
    if source is not None:
        # diffusers refuses a strength that leaves no step to take; the least one can ask for is one.
        least = (1 + 1e-6) / request.steps
        given |= {"image": source, "strength": min(max(request.strength, least), 1.0)}
    known = inspect.signature(pipe.__call__).parameters
    return {name: value for name, value in given.items() if name in known}


class _Watch:
    """Sees every evaluation of one job's denoiser, through the scheduler that belongs to this job alone."""

    def __init__(
        self,
        model: Model,
        request: ResolvedRequest,
        pipe: Any,
        tell: Callable[[Event], None],
        stop: threading.Event,
        preview_every: int,
    ) -> None:
        self._preview = model.preview
        self._request = request
        self._pipe = pipe
        self._tell = tell
        self._stop = stop
        self._every = preview_every if model.preview is not None else 0
        self._evaluation = 0
        self._step = 0
        self._clean: torch.Tensor | None = None
        self._noisy: dict[int, torch.Tensor] = {}
        self.latents: torch.Tensor | None = None
        steps = request.steps
        self._steps = steps if request.init is None else max(min(int(steps * request.strength), steps), 1)
        scheduler = pipe.scheduler
        step = scheduler.step

        @functools.wraps(step)  # the pipelines look at its signature
        def watched(model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, *args: Any, **more: Any) -> Any:
            self._see(scheduler, model_output, timestep, sample)
            return step(model_output, timestep, sample, *args, **more)

        scheduler.step = watched
        tell(Progress("Drawing", 0, self._steps))

    def on_step_end(self, _pipe: Any, evaluation: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if self._stop.is_set():
            raise Cancelled("This picture was cancelled.")
        self.latents = tensors.get("latents")
        step = self._done(evaluation + 1)
        if step > self._step:
            self._step = step
            self._tell(Progress("Drawing" if step < self._steps else "Developing", step, self._steps))
            if self._preview is not None and self._clean is not None:
                jpeg = self._preview.jpeg(self._clean, self._request.width, self._request.height)
                self._tell(Preview(step, jpeg))
        return {}

    def noisy(self) -> list[Image.Image]:
        """Seven pictures of the latents on their way, evenly spaced, from pure noise on."""
        if self._preview is None or not self._noisy:
            return []
        return [self._preview.picture(self._noisy[index]) for index in self._wanted()]

    def _done(self, evaluations: int) -> int:
        """Full steps after so many evaluations; some samplers take two for a step, PNDM one more than its steps."""
        return evaluations * self._steps // self._total

    @property
    def _total(self) -> int:
        return max(int(self._pipe.num_timesteps), 1)

    def _wanted(self) -> list[int]:
        return [k * self._total // (FRAMES - 1) for k in range(FRAMES - 1)]

    def _see(self, scheduler: Any, predicted: torch.Tensor, timestep: Any, sample: torch.Tensor) -> None:
        number = self._evaluation
        self._evaluation += 1
        self._clean = None
        if self._preview is None or sample.ndim != 4:
            return
        framed = number in self._wanted()
        step = self._done(number + 1)
        due = self._every > 0 and step > self._step and step % self._every == 0 and step < self._steps
        if not framed and not due:
            return
        # Variance-exploding samplers (Euler and its kin) hold latents of any size; the denoiser's input is normalised.
        noisy = scheduler.scale_model_input(sample, timestep)
        if framed:
            self._noisy[number] = noisy.clone()
        if due:
            self._clean = _clean(scheduler, predicted, timestep, noisy)


def _clean(scheduler: Any, predicted: torch.Tensor, timestep: Any, noisy: torch.Tensor) -> torch.Tensor:
    """The picture the denoiser expects at the end: x₀ from xₜ, eq. 15 of https://arxiv.org/abs/2006.11239.

    A preview of it is clear long before the latents themselves are.
    """
    cumulative: torch.Tensor | None = getattr(scheduler, "alphas_cumprod", None)
    if cumulative is None:  # flow matching: xₜ = (1 − σ) x₀ + σ ε, and the denoiser predicts ε − x₀
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


def _checked(output: Any, pipe: Any, watch: _Watch) -> torch.Tensor:
    """Height × width × 3 levels of 0…255.

    Raises:
        ModelError: there is no picture in it.
    """
    if any(getattr(output, "nsfw_content_detected", None) or ()):
        raise ModelError("The model’s safety checker withheld this picture; change the prompt or the seed.")
    shown: torch.Tensor = output.images[0].float().cpu()
    if not bool(torch.isfinite(shown).all()):
        shown = _decoded_in_full(pipe, watch.latents)
    levels = (shown.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    if int(levels.max()) == 0:
        raise ModelError(
            "The picture came out entirely black; try another seed or sampler, or start with --dtype float32."
        )
    return levels


@torch.no_grad()
def _decoded_in_full(pipe: Any, latents: torch.Tensor | None) -> torch.Tensor:
    """Half precision overflows in some VAEs: decode once more in float32. `draw` puts the precision back."""
    vae = getattr(pipe, "vae", None)
    if vae is not None and vae.dtype in _HALF and latents is not None and bool(torch.isfinite(latents).all()):
        vae.to(torch.float32)
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        decoded = vae.decode(latents.float() / vae.config.scaling_factor + shift, return_dict=False)[0]
        shown: torch.Tensor = (decoded[0].float().cpu() / 2 + 0.5).clamp(0, 1)
        if bool(torch.isfinite(shown).all()):
            return shown
    raise ModelError(
        "The model lost its numbers and gave no picture; lower the guidance, try another sampler or more steps."
    )


def _result(
    model: Model,
    request: ResolvedRequest,
    picture: Image.Image,
    seconds: float,
    device: str,
    noisy: list[Image.Image],
) -> GenerationResult:
    width, height = picture.size
    frames = [*(noisy or [picture] * (FRAMES - 1)), picture]
    return GenerationResult(
        request=request,
        width=width,
        height=height,
        rgb=picture.tobytes(),
        seconds=seconds,
        model_digest=model.digest,
        device=device,
        film=tuple(preview.jpeg(frame, width, height, preview.FRAME) for frame in frames),
    )
