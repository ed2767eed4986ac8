"""One resolved request → calls of stock pipelines, one for each round, with their progress told while they run."""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image

from studio import families
from studio.canvas import Canvas, read
from studio.diffusion import conditioning, conditions, controlnet, preview, schedulers
from studio.diffusion.conditions import Map, Trace
from studio.diffusion.load import Model
from studio.diffusion.repaint import Repaint, blank
from studio.diffusion.watch import FRAMES, Round, Watch
from studio.engine import Event
from studio.errors import ModelError
from studio.family import Task
from studio.geometry import Size
from studio.request import ControlUnit, GenerationResult, ResolvedRequest

_HALF: Final = (torch.float16, torch.bfloat16)


def untraced(unit: ControlUnit, size: Size) -> Image.Image:
    raise AssertionError("guides need somebody who makes maps of them")


def draw(
    model: Model,
    request: ResolvedRequest,
    tell: Callable[[Event], None],
    stop: threading.Event,
    *,
    preview_every: int,
    max_pixels: int,
    device: str,
    embeddings: Mapping[str, Path] | None = None,
    trace: Trace = untraced,
) -> GenerationResult:
    """Draw one picture. `tell` hears of every step; `preview_every` steps it is given a preview (0: never).
    `embeddings`: the files of textual inversions by the word that calls them; `trace` makes the maps of guides.

    Raises:
        Cancelled: `stop` was set; noticed after every evaluation of the denoiser.
        BadRequest, TooLarge, UnreadablePicture: the sampler, an input picture, or what this model cannot follow.
        ModelError: the model gave no picture.
    """
    began = time.perf_counter()
    canvas = read(request, max_pixels)
    if canvas is not None and (request.strength == 0 or canvas.untouched):
        return _result(model, request, canvas.picture, time.perf_counter() - began, device, [], ())
    # On the CPU whatever the device, so that a seed means the same noise everywhere. PyTorch's generator there reads
    # the lower 32 bits of a seed, as it does in every other program of this field.
    generator = torch.Generator("cpu").manual_seed(request.seed)
    edits = canvas is not None and _task(model, canvas, request.strength) == "edit"
    followed = conditions.maps(model, request, canvas, trace)
    with controlnet.attached(model):
        for turn, strength in _rounds(request, edits):
            picture, noisy, notes = _round(
                model, request, canvas, followed, turn, strength, generator, tell, stop, preview_every, embeddings
            )
            canvas = canvas and canvas.after(picture)
    return _result(model, request, picture, time.perf_counter() - began, device, noisy, notes)


def _rounds(request: ResolvedRequest, edits: bool) -> list[tuple[Round, float]]:
    """Each round and its denoising strength; none is left without a step, and what edits takes all of them."""
    if request.init is None:
        return [(Round(0, 1, request.steps, 0, request.steps), 1.0)]
    strengths = [1.0 if edits else request.strength * request.loop_decay**number for number in range(request.loops)]
    steps = [max(min(int(request.steps * strength), request.steps), 1) for strength in strengths]
    total = sum(steps)
    return [
        (Round(number, request.loops, steps[number], sum(steps[:number]), total), strengths[number])
        for number in range(request.loops)
    ]


def _round(
    model: Model,
    request: ResolvedRequest,
    canvas: Canvas | None,
    followed: Sequence[Map],
    turn: Round,
    strength: float,
    generator: torch.Generator,
    tell: Callable[[Event], None],
    stop: threading.Event,
    preview_every: int,
    embeddings: Mapping[str, Path] | None,
) -> tuple[Image.Image, list[Image.Image], tuple[str, ...]]:
    """The picture after this round, the frames of its film, and what could not be followed."""
    task = _task(model, canvas, strength)
    xl = model.family.key.startswith("sdxl")
    strange = model.family is families.UNKNOWN
    scheduler = schedulers.own(
        model.pipe.scheduler, request.sampler, request.scheduler, generator=generator, xl=xl, strange=strange
    )
    pipe = model.view(scheduler, task)
    if model.family.key == "hidream":  # it scales every size to this one squared
        width, height = (request.width, request.height) if canvas is None else canvas.size
        pipe.default_sample_size = math.sqrt(width * height) * (1 + 1e-9) / pipe.vae_scale_factor
    repaint: Repaint | None = None
    vae = getattr(pipe, "vae", None)
    kept = None if vae is None else vae.dtype
    try:
        # What joins several prompts goes around the guides, so that they hear each of them.
        guided = conditions.steer(pipe, followed, canvas) if followed else None
        told = conditioning.prepare(model, pipe, request, task, turn, embeddings)
        given = _arguments(model, request, canvas, generator) | told.arguments
        if task in ("picture", "mask"):
            # diffusers refuses a strength that leaves no step to take; the least one can ask for is one.
            given["strength"] = min(max(strength, (1 + 1e-6) / request.steps), 1.0)
        if task in ("picture", "edit"):
            assert canvas is not None
            given["image"] = canvas.part()
        elif task == "mask":
            start = request.inpaint.start if turn.number == 0 else "original"
            laid = canvas or blank(request.width, request.height)
            repaint = Repaint(model, pipe, laid, start, request.inpaint.soft, turn.steps, generator)
            given |= repaint.arguments
        shown, size = _shown(canvas, request)
        drawn_size = (request.width, request.height) if canvas is None else canvas.size
        watch = Watch(model, pipe, turn, shown, size, drawn_size, tell, stop, preview_every)

        def on_step_end(view: Any, evaluation: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            watch.on_step_end(view, evaluation, timestep, tensors)
            if guided is not None:
                guided.evaluation = evaluation + 1
            changed = told.on_step_end(evaluation)
            return changed if repaint is None else changed | repaint.on_step_end(evaluation, tensors)

        known = inspect.signature(pipe.__call__).parameters
        if "callback_on_step_end" in known:
            given["callback_on_step_end"] = on_step_end
        else:  # PixArt still has the older callback, which can only look
            given["callback"] = lambda step, timestep, latents: on_step_end(pipe, step, timestep, {"latents": latents})
        output = pipe(**{name: value for name, value in given.items() if name in known})
        pixels = _checked(output, pipe, watch)
    finally:
        if vae is not None and vae.dtype != kept:  # SDXL decodes in float32 and leaves the VAE so when it fails
            vae.to(kept)
    drawn = Image.frombytes("RGB", (pixels.shape[1], pixels.shape[0]), pixels.numpy().tobytes())
    if canvas is None:
        return drawn, watch.noisy(), told.notes
    return canvas.composed(drawn, match_colour=request.inpaint.match_colour), watch.noisy(), told.notes


def _task(model: Model, canvas: Canvas | None, strength: float) -> Task:
    if model.repaints or (canvas is not None and canvas.change is not None):
        return "mask"
    if canvas is not None and model.family.edit and not model.family.picture:
        return "edit"  # the picture is read, and never drawn upon: a strength means nothing to it
    # Even the noisiest step of a schedule lets some of the picture through; a strength of 1 is to forget it.
    return "text" if canvas is None or strength == 1 else "picture"


def _shown(
    canvas: Canvas | None, request: ResolvedRequest
) -> tuple[Callable[[Image.Image], Image.Image], tuple[int, int]]:
    """What makes a preview of the whole picture, and the size of the result."""
    if canvas is None:
        return lambda forming: forming, (request.width, request.height)
    return canvas.small(preview.LONGEST).composed, canvas.picture.size


def _arguments(
    model: Model, request: ResolvedRequest, canvas: Canvas | None, generator: torch.Generator
) -> dict[str, object]:
    """What any pipeline may be told; each is given those it knows."""
    width, height = (request.width, request.height) if canvas is None else canvas.size
    return {
        "num_inference_steps": request.steps,
        model.family.scale: request.guidance,
        "guidance_schedule": None,  # Ideogram takes a scale for every step, or one for all
        "width": width,
        "height": height,
        "generator": generator,
        "output_type": "pt",
        # Some pipelines know better what size one wants: they draw at one of theirs and scale the result.
        "use_resolution_binning": False,
        "max_area": width * height,
        "_auto_resize": False,
        "intermediate_timesteps": 1.3 if request.steps == 2 else None,  # what Sana Sprint wants for two steps alone
    }


def _checked(output: Any, pipe: Any, watch: Watch) -> torch.Tensor:
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
    seen = latents is not None and latents.ndim == 4 and bool(torch.isfinite(latents).all())
    if seen and latents is not None and vae is not None and vae.dtype in _HALF and hasattr(pipe, "unet"):
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
    notes: tuple[str, ...],
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
        notes=notes,
    )
