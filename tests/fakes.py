"""Stand-ins that follow the same contracts as the real rooms, and do on demand what real ones do on bad days."""

from __future__ import annotations

import io
import resource
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from studio import canvas, image
from studio.engine import Event, Failed, Finished, Preview, Progress, State, Status
from studio.errors import ModelError
from studio.job_store import JobState
from studio.pose import Person, Pose
from studio.request import ControlUnit, GenerationRequest, GenerationResult, ResolvedRequest

ENDED = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)
#: What an engine may be told to do with a picture instead of drawing it.
Script = Callable[[ResolvedRequest, int], str]


def gradient(seed: int, width: int, height: int) -> bytes:
    """A picture that only this seed gives: height × width × 3 bytes of a slanted two-colour gradient."""
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, 256, (2, 3))
    slope = rng.uniform(0.1, 0.9)
    across = slope * np.linspace(0, 1, width)[None, :, None] + (1 - slope) * np.linspace(0, 1, height)[:, None, None]
    return bytes(np.round(one + across * (other - one)).astype(np.uint8))


@dataclass
class FakeEngine:
    """Draws gradients in `steps` steps (the request's own number when None) of `step_seconds` each.

    `script(request, n)` says what becomes of the n-th picture asked for, counted from 1: "draw", "fail" (the picture's
    fault), "crash" (the engine's fault), "raise" (a bug), "silence" (ends without a result) or "hang" (no progress
    until cancelled). While `gate` is clear every step waits. `drawn` and `cancelled` list the requests that ended so.
    """

    steps: int | None = None
    step_seconds: float = 0.0
    script: Script = lambda request, n: "draw"
    gate: threading.Event = field(default_factory=threading.Event)
    drawn: list[ResolvedRequest] = field(default_factory=list)
    cancelled: list[ResolvedRequest] = field(default_factory=list)
    asked: int = 0
    preview_every: int = 2
    state: State = State.READY
    #: What was wished for about its memory, in order.
    wishes: list[tuple[object, ...]] = field(default_factory=list)
    #: Why it finds no people in pictures.
    blind: str = ""

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def status(self) -> Status:
        return Status(self.state, device="cpu", model="fake")

    def close(self) -> None:
        self.state = State.STOPPED

    def prepare(self, model: str | None) -> None:
        self.wishes.append(("prepare", model))

    def unload(self, model: str) -> None:
        self.wishes.append(("unload", model))

    def pin(self, model: str, on: bool) -> None:
        self.wishes.append(("pin", model, on))

    def run_in(self, model: str, mode: str) -> None:
        self.wishes.append(("run_in", model, mode))

    def trace(self, unit: ControlUnit, width: int, height: int) -> bytes:
        return image.png(Image.new("RGB", (width, height)))

    def find_people(self, picture: bytes) -> Pose:
        """Somebody whose joints lie on the diagonal, with a face; nobody where `blind` says why."""
        if self.blind:
            raise ModelError(self.blind)
        width, height = image.decode(picture, 2**24).size
        slope = [(width * i / 20, height * i / 20) for i in range(1, 19)]
        face = tuple((width * (0.4 + i / 1000), height * 0.1) for i in range(70))
        return Pose(people=(Person(body=tuple(slope), face=face),), width=width, height=height)

    def generate(self, request: ResolvedRequest) -> Generator[Event]:
        assert request.count == 1, "an engine draws one picture at a time"
        self.asked += 1
        began = time.monotonic()
        steps = self.steps or request.steps
        fate = self.script(request, self.asked)
        laid = canvas.read(request, 2**28)
        width, height = (request.width, request.height) if laid is None else laid.picture.size
        rgb = gradient(request.seed, width, height)
        try:
            yield Progress("loading")
            for step in range(1, steps + 1):
                while not self.gate.wait(0.02) or (fate == "hang" and step > 1):
                    yield Progress("drawing", step - 1, steps)
                    time.sleep(0.01)
                time.sleep(self.step_seconds)
                yield Progress("drawing", step, steps)
                if self.preview_every and step % self.preview_every == 0:
                    yield Preview(step, _jpeg(rgb, width, height))
                if step > steps // 2 and fate != "draw":
                    if fate == "raise":
                        raise ZeroDivisionError("a bug in the engine")
                    if fate == "silence":
                        return
                    yield Failed(f"The engine was told to {fate}.", crashed=fate == "crash")
                    return
            self.drawn.append(request)
            seconds = time.monotonic() - began
            yield Finished(GenerationResult(request, width, height, rgb, seconds, "0123456789", "cpu", ()))
        except GeneratorExit:
            self.cancelled.append(request)
            raise


def _jpeg(rgb: bytes, width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (width, height), rgb).save(file, "JPEG")
    return file.getvalue()


def ask(prompt: str = "a heron", **parts: object) -> GenerationRequest:
    return GenerationRequest.model_validate({"prompt": prompt, **parts})


def resolve(request: GenerationRequest) -> ResolvedRequest:
    """As `plan.resolve` would, with a small picture and few steps."""
    settled: dict[str, object] = {
        "model": "mini",
        "sampler": "Euler",
        "scheduler": "Automatic",
        "steps": request.steps or 4,
        "guidance": 7.0,
        "width": request.width or 64,
        "height": request.height or 64,
        "seed": request.seed or 0,
        "strength": 0.6 if request.strength is None else request.strength,
        "resize": request.resize or "crop",
        "full_prompt": request.prompt,
        "full_negative": "",
    }
    return ResolvedRequest.model_validate({**dict(request), **settled})


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


@contextmanager
def no_room() -> Iterator[None]:
    """Every file this process writes may have one byte, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
