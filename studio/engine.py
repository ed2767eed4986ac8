"""What draws, seen from outside: a request goes in, an iterator of events comes out, closing it cancels."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from studio.request import GenerationResult, ResolvedRequest


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the picture stands: `step` of `steps` denoising steps are done. May repeat while nothing new happened."""

    stage: str
    step: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Preview:
    """The forming picture after `step` steps as a JPEG of at most 512 px on its longer side."""

    step: int
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    result: GenerationResult


@dataclass(frozen=True, slots=True)
class Failed:
    """The last event of a picture that was not drawn. `crashed`: the engine's fault, so trying once more is fair."""

    reason: str
    crashed: bool = False


Event = Progress | Preview | Finished | Failed


class State(StrEnum):
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Status:
    """One line of plain language about the engine, for the page."""

    state: State
    detail: str = ""
    device: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine is told when it is made; it is pickled into the worker process.

    `threads`: 0 leaves it to PyTorch. `preview_every`: steps between previews, 0 for none. `hang_after`: seconds a
    drawing engine may stay silent. `max_pixels`: the largest input picture.
    """

    embedded: Path
    models_dir: tuple[Path, ...] = ()
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    preview_every: int = 2
    hang_after: float = 300.0
    max_pixels: int = 40_000_000


class Engine(Protocol):
    def generate(self, request: ResolvedRequest) -> Generator[Event]:
        """Draw one picture (`request.count` is 1).

        The last event is `Finished` or `Failed`. Closing the generator cancels: the engine stops within one denoising
        step and is left as if the job had never been.
        """
        ...

    @property
    def status(self) -> Status: ...

    def close(self) -> None: ...
