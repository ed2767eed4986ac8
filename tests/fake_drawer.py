"""An engine without torch for the tests of what surrounds engines: it does what the prompt says."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Generator

from studio.engine import EngineOptions, Event, Failed, Finished, Held, Memory, Preview, Progress, State, Status
from studio.errors import BadRequest, ModelError
from studio.pose import Pose
from studio.request import ControlUnit, GenerationResult, ResolvedRequest


class FakeDrawer:
    """`device="none"` cannot be built, `device="doomed"` dies while it is built."""

    def __init__(self, options: EngineOptions) -> None:
        if options.device == "none":
            raise ModelError("PyTorch finds no none device here.")
        if options.device == "doomed":
            os._exit(3)

        self._models: dict[str, Held] = {}

    @property
    def status(self) -> Status:
        models = tuple(self._models.values())
        return Status(State.READY, "Ready.", "pretended", "Fake", "whole", Memory(host_budget=10**9, models=models))

    def prepare(self, model: str | None) -> None:
        if model == "broken":
            raise RuntimeError("broken on purpose")
        if model is not None:
            self._models.setdefault(model, Held(model, model.title(), "idle"))

    def unload(self, model: str) -> None:
        self._models.pop(model, None)

    def pin(self, model: str, on: bool) -> None:
        self._models[model] = Held(model, model.title(), "idle", pinned=on)

    def run_in(self, model: str, mode: str) -> None:
        self._models[model] = Held(model, model.title(), "idle", mode)

    def trace(self, unit: ControlUnit, width: int, height: int) -> bytes:
        """Its size, in words; an annotator of another name breaks."""
        if unit.annotator == "slow":
            time.sleep(0.5)
        if unit.annotator == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if unit.annotator == "refused":
            raise BadRequest("not like this")
        assert unit.annotator in ("none", "slow"), "broken on purpose"
        return f"{width}x{height}".encode()

    def find_people(self, picture: bytes) -> Pose:
        """Nobody, on a page as wide as the picture has bytes."""
        if not picture:
            raise BadRequest("nobody there")
        return Pose(people=(), width=len(picture), height=64)

    def warm(self) -> None: ...

    def generate(self, request: ResolvedRequest, stop: threading.Event | None = None) -> Generator[Event]:
        stop = stop or threading.Event()
        match request.prompt:
            case "die":
                os._exit(1)
            case "freeze":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "break":
                raise RuntimeError("broken on purpose")
            case "refuse":
                yield Failed("Not this one.")
                return
        for step in range(request.steps):
            yield Progress("Drawing", step, request.steps)
            while request.prompt == "stall" and not stop.is_set():
                time.sleep(0.05)
                yield Progress("Drawing", step, request.steps)
            if stop.is_set():
                return
            time.sleep(0.02)
            yield Preview(step + 1, b"jpeg")
        yield Finished(
            GenerationResult(
                request=request,
                width=request.width,
                height=request.height,
                rgb=bytes([request.seed % 251]) * (request.width * request.height * 3),
                seconds=0.02 * request.steps,
                model_digest="0123456789",
                device=f"pid {os.getpid()}",
            )
        )
