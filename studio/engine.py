"""What draws, seen from outside: a request goes in, an iterator of events comes out, closing it cancels."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from studio.pose import Pose
from studio.request import ControlUnit, GenerationResult, ResolvedRequest


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
class Held:
    """A model in memory, or on its way there. Bytes; what models share is counted with each of them.

    `mode` is how it was run last, `whole` being the fastest; `card`: what of it lies on the device.
    """

    key: str
    title: str
    state: Literal["loading", "idle", "busy"]
    mode: str = ""
    card: int = 0
    host: int = 0
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What models take, and may take, in bytes: of the device's own memory (budget 0: it has none), of main memory.

    `host_locked` is the share of `host` that the device reads by itself (pinned memory). `models`: last used first.
    `modes`: the ways to run a model on this machine, the roomiest first; `missing`: what it lacks for others, by their
    names, in a sentence each.
    """

    card: int = 0
    card_budget: int = 0
    host: int = 0
    host_budget: int = 0
    host_locked: int = 0
    models: tuple[Held, ...] = ()
    modes: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """One line of plain language about the engine, for the page. `mode` is how `model` is run."""

    state: State
    detail: str = ""
    device: str = ""
    model: str = ""
    mode: str = ""
    memory: Memory = Memory()


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine is told when it is made; it is pickled into the worker process.

    `data_dir`: where the catalogue keeps what it knows of `models_dir`; None: nowhere.
    `safety`: the folder of the safety checker; None: there is none.
    `threads`: 0 leaves it to PyTorch. `preview_every`: steps between previews, 0 for none. `hang_after`: seconds a
    drawing engine may stay silent. `max_pixels`: the largest input picture. `memory`: gigabytes of main memory for
    models, `card_memory` of the device's own; 0: what is free. `mode`: how models are run, `auto` as they fit.
    """

    embedded: Path
    models_dir: tuple[Path, ...] = ()
    data_dir: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    preview_every: int = 2
    hang_after: float = 300.0
    max_pixels: int = 40_000_000
    memory: float = 0.0
    card_memory: float = 0.0
    mode: str = "auto"
    safety: Path | None = None


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


class Keeper(Protocol):
    """The side of an engine that keeps models in memory; `Status.memory` tells what it keeps. All return at once."""

    @property
    def status(self) -> Status: ...

    def prepare(self, model: str | None) -> None:
        """Load a model in advance, instead of the one asked for before; None stops that."""
        ...

    def unload(self, model: str) -> None:
        """Let a model go; one that draws, when the picture is done."""
        ...

    def pin(self, model: str, on: bool) -> None:
        """Never let it go by itself, or do."""
        ...

    def run_in(self, model: str, mode: str) -> None:
        """From its next picture on, run it in one of `Memory.modes`, or as the room allows (`auto`)."""
        ...


class Tracer(Protocol):
    """The side of an engine that reads pictures for guides, beside whatever it draws."""

    def trace(self, unit: ControlUnit, width: int, height: int) -> bytes:
        """The map that a drawing of that size would follow, as a PNG.

        Raises:
            StudioError: there can be none.
        """
        ...

    def find_people(self, picture: bytes) -> Pose:
        """The people in a picture, PNG, JPEG or WebP, with hands and faces as far as they are seen.

        Raises:
            StudioError: there are none, or nothing here finds them.
        """
        ...
