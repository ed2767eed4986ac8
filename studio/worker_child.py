"""What runs inside the engine's process, and the messages that cross its pipe."""

from __future__ import annotations

import gc
import logging
import os
import pkgutil
import signal
import threading
from collections.abc import Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Final, NoReturn, Protocol

from studio.engine import EngineOptions, Event, Failed, State, Status
from studio.errors import ModelError, StudioError
from studio.pose import Pose
from studio.request import ControlUnit, ResolvedRequest

#: Seconds between two signs of life.
BEAT: Final = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Draw:
    number: int
    request: ResolvedRequest


@dataclass(frozen=True, slots=True)
class Cancel:
    number: int


@dataclass(frozen=True, slots=True)
class Prepare:
    model: str | None


@dataclass(frozen=True, slots=True)
class Unload:
    model: str


@dataclass(frozen=True, slots=True)
class Pin:
    model: str
    on: bool


@dataclass(frozen=True, slots=True)
class RunIn:
    model: str
    mode: str


@dataclass(frozen=True, slots=True)
class Trace:
    number: int
    unit: ControlUnit
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class FindPeople:
    number: int
    picture: bytes


@dataclass(frozen=True, slots=True)
class Alive:
    """A sign of life. `ready`: the engine is built, and jobs are taken."""

    status: Status
    ready: bool


@dataclass(frozen=True, slots=True)
class Said:
    """An event of job `number`; never the same progress twice in a row."""

    number: int
    event: Event


@dataclass(frozen=True, slots=True)
class Over:
    """Job `number` has left the engine, cancelled or not."""

    number: int


@dataclass(frozen=True, slots=True)
class Traced:
    """The map or the people asked for as `number`, or why there are none."""

    number: int
    made: bytes | Pose | StudioError


@dataclass(frozen=True, slots=True)
class Broken:
    """The engine cannot be built; the process ends."""

    reason: str


Order = Draw | Cancel | Prepare | Unload | Pin | RunIn | Trace | FindPeople
Message = Alive | Said | Over | Traced | Broken


class Drawer(Protocol):
    """The engine inside, which may also be stopped from another thread."""

    @property
    def status(self) -> Status: ...

    def warm(self) -> None: ...

    def generate(self, request: ResolvedRequest, stop: threading.Event | None = None) -> Generator[Event]: ...

    def prepare(self, model: str | None) -> None: ...

    def unload(self, model: str) -> None: ...

    def pin(self, model: str, on: bool) -> None: ...

    def run_in(self, model: str, mode: str) -> None: ...

    def trace(self, unit: ControlUnit, width: int, height: int) -> bytes: ...

    def find_people(self, picture: bytes) -> Pose: ...


class Child:
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()
        self._jobs: SimpleQueue[Draw] = SimpleQueue()
        self._wishes: SimpleQueue[Prepare | Unload | Pin | RunIn] = SimpleQueue()
        self._traces: SimpleQueue[Trace | FindPeople] = SimpleQueue()
        self._stops: dict[int, threading.Event] = {}
        self._engine: Drawer | None = None
        self._ready = False
        self._told: Alive | None = None

    def run(self, options: EngineOptions, build: str) -> NoReturn:
        for task in (self._listen, self._beat):
            threading.Thread(target=task, name=task.__name__, daemon=True).start()
        try:
            engine: Drawer = pkgutil.resolve_name(build)(options)
            self._engine = engine
        except StudioError as reason:
            self._give_up(str(reason))
        except Exception as error:
            log.exception("The engine cannot be built")
            self._give_up(f"The engine cannot start ({type(error).__name__}: {error}).")
        gc.collect()
        gc.freeze()  # what the libraries made stays anyway; looking through it would halt all threads at every unload
        try:
            engine.warm()
        except StudioError as reason:  # this model is of no use; others may be
            log.warning("The default model was not loaded: %s", reason)
        self._ready = True
        self._show()
        for side in (self._grant, self._trace):
            threading.Thread(target=side, args=(engine,), name=side.__name__, daemon=True).start()
        while True:
            self._work(engine, self._jobs.get())

    def _work(self, engine: Drawer, job: Draw) -> None:
        stop = self._stops[job.number]
        last: Event | None = None
        if not stop.is_set():
            try:
                for event in engine.generate(job.request, stop):
                    if event != last:
                        self._send(Said(job.number, event))
                    last = event
                    self._show()
            except Exception as error:
                log.exception("The engine broke")
                last = Failed(f"The engine broke while drawing ({type(error).__name__}); it restarts.", crashed=True)
                self._send(Said(job.number, last))
        del self._stops[job.number]
        self._send(Over(job.number))
        self._show()
        if isinstance(last, Failed) and last.crashed:
            os._exit(1)  # a device or an engine in an unknown state is best left with its process

    def _listen(self) -> None:
        """Orders from the parent; when it is gone, however it went, there is nobody left to draw for."""
        try:
            while True:
                order: Order = self._pipe.recv()
                if isinstance(order, Draw):
                    self._stops[order.number] = threading.Event()
                    self._jobs.put(order)
                elif isinstance(order, Trace | FindPeople):
                    self._traces.put(order)
                elif not isinstance(order, Cancel):
                    self._wishes.put(order)
                elif (stop := self._stops.get(order.number)) is not None:
                    stop.set()
        except (EOFError, OSError):
            os._exit(0)

    def _grant(self, engine: Drawer) -> None:
        """Wishes about models in memory, one after the other; none of them delays an order to stop."""
        while True:
            try:
                match self._wishes.get():
                    case Prepare(model):
                        engine.prepare(model)
                    case Unload(model):
                        engine.unload(model)
                    case Pin(model, on):
                        engine.pin(model, on)
                    case RunIn(model, mode):
                        engine.run_in(model, mode)
            # Nobody waits for an answer, and a picture may be on its way.
            except Exception:
                log.exception("A wish about a model could not be granted")
            self._show()

    def _trace(self, engine: Drawer) -> None:
        """Maps of guides and poses in pictures, one after the other, beside a picture that may be drawn."""
        while True:
            asked = self._traces.get()
            made: bytes | Pose | StudioError
            try:
                if isinstance(asked, Trace):
                    made = engine.trace(asked.unit, asked.width, asked.height)
                else:
                    made = engine.find_people(asked.picture)
            except StudioError as reason:
                made = reason
            # A map is never worth a picture that is being drawn beside it.
            except Exception as error:
                log.exception("A map could not be made")
                what = "map could be made of" if isinstance(asked, Trace) else "pose could be found in"
                made = ModelError(f"No {what} this ({type(error).__name__}); the log says more.")
            self._send(Traced(asked.number, made))
            self._show()

    def _beat(self) -> None:
        pause = threading.Event()
        while not pause.wait(BEAT):
            self._send(Alive(self._status(), self._ready))

    def _show(self) -> None:
        """Tell at once what has changed, rather than with the next beat."""
        alive = Alive(self._status(), self._ready)
        if alive != self._told:
            self._told = alive
            self._send(alive)

    def _status(self) -> Status:
        if self._engine is None:
            return Status(State.STARTING, "Loading PyTorch.")
        return self._engine.status

    def _give_up(self, reason: str) -> NoReturn:
        self._send(Broken(reason))
        os._exit(1)

    def _send(self, message: Message) -> None:
        try:
            with self._sending:
                self._pipe.send(message)
        except OSError:
            os._exit(0)


def run(pipe: Connection, options: EngineOptions, build: str) -> None:
    """The process's own main function; never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in the terminal is for the studio, which ends us
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    Child(pipe).run(options, build)
