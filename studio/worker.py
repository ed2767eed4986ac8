"""The engine in a process of its own, watched, and started anew when it dies or hangs. No torch on this side."""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from queue import Empty, SimpleQueue
from typing import Final

from studio import worker_child
from studio.engine import EngineOptions, Event, Failed, Finished, Progress, State, Status
from studio.errors import EngineDied, StudioError
from studio.pose import Pose
from studio.request import ControlUnit, ResolvedRequest
from studio.worker_child import (
    Alive,
    Broken,
    Cancel,
    Draw,
    FindPeople,
    Message,
    Order,
    Over,
    Pin,
    Prepare,
    RunIn,
    Said,
    Trace,
    Traced,
    Unload,
)

#: Seconds of silence after which the last progress is told again.
REPEAT: Final = 0.2
#: Seconds without a sign of life before a working engine counts as hung …
SILENCE: Final = 8.0
#: … and one that imports PyTorch or reads weights, which may keep Python busy for long.
LOADING_SILENCE: Final = 120.0
#: Seconds somebody waits for a map or a pose: fetching an annotator’s weights takes long, and goes on without them.
_MAP_WITHIN: Final = 600.0
#: Seconds a new engine has to live, or pictures it has to make (one), to count as started well.
PROBATION: Final = 5.0
#: Seconds; with them even an engine that keeps dying is back within ten.
_LONGEST_PAUSE: Final = 8.0
#: Processes in a row that died before they were ready, after which pictures are refused instead of waiting.
_HOPELESS: Final = 3
_TICK: Final = 0.2

log = logging.getLogger(__name__)
#: What is made of pictures beside drawing: a map, or the people in one.
_Made = bytes | Pose


class ProcessEngine:
    """See `studio.engine.Engine`. The process starts at once and loads the default model.

    `build` names what draws inside, called with the options. `silence`: seconds without a sign of life that a
    working engine may take.
    """

    def __init__(
        self,
        options: EngineOptions,
        *,
        build: str = "studio.diffusion.local:LocalEngine",
        silence: float = SILENCE,
    ) -> None:
        self._options = options
        self._build = build
        self._silence = silence
        self._changed = threading.Condition()
        self._child: _Child | None = None
        self._job: _Job | None = None
        self._trouble = ""
        self._status = Status(State.STARTING, "The engine is starting.")
        self._closing = threading.Event()
        self._turn = threading.Lock()
        self._numbers = itertools.count(1)
        self._pinned: set[str] = set()
        self._traces: dict[int, SimpleQueue[_Made | StudioError]] = {}
        self._keeper = threading.Thread(target=self._keep, name="engine keeper", daemon=True)
        self._keeper.start()

    @property
    def status(self) -> Status:
        return self._status

    @property
    def pid(self) -> int | None:
        """Of the engine's process, while there is one."""
        child = self._child
        return None if child is None else child.process.pid

    def generate(self, request: ResolvedRequest) -> Generator[Event]:
        """See `studio.engine.Engine`. Says something at least every 0.2 s, so that it can be closed promptly."""
        assert request.count == 1, "plan.expand makes requests of one picture each"
        assert self._turn.acquire(blocking=False), "this engine draws one picture at a time"
        job = _Job(next(self._numbers))
        child: _Child | None = None
        try:
            while (child := self._enlist(job)) is None:
                if self._trouble:
                    yield Failed(self._trouble)
                    return
                yield Progress("Waiting for the engine")
            # Should the pipe be broken, the keeper finds the process dead and fails the job.
            child.send(Draw(job.number, request))
            last = Progress("Starting")
            while True:
                try:
                    event = job.inbox.get(timeout=REPEAT)
                except Empty:
                    event = last
                if isinstance(event, Finished | Failed):
                    child = None
                    yield event
                    return
                if isinstance(event, Progress):
                    last = event
                yield event
        finally:
            with self._changed:
                self._job = None
            if child is not None:
                child.send(Cancel(job.number))
            self._turn.release()

    def prepare(self, model: str | None) -> None:
        """See `studio.engine.Keeper`. An engine that is only starting has better things to do."""
        self._wish(Prepare(model))

    def unload(self, model: str) -> None:
        self._pinned.discard(model)
        self._wish(Unload(model))

    def pin(self, model: str, on: bool) -> None:
        """Also for the engines that may have to follow this one."""
        (self._pinned.add if on else self._pinned.discard)(model)
        self._wish(Pin(model, on))

    def run_in(self, model: str, mode: str) -> None:
        """An engine that follows this one finds it among the owner's choices."""
        self._wish(RunIn(model, mode))

    def trace(self, unit: ControlUnit, width: int, height: int) -> bytes:
        """See `studio.engine.Tracer`."""
        made = self._ask(lambda number: Trace(number, unit, width, height))
        assert isinstance(made, bytes)
        return made

    def find_people(self, picture: bytes) -> Pose:
        """See `studio.engine.Tracer`."""
        made = self._ask(lambda number: FindPeople(number, picture))
        assert isinstance(made, Pose)
        return made

    def _ask(self, order: Callable[[int], Order]) -> _Made:
        """What the engine answers beside drawing.

        Raises:
            StudioError: its own, or it does not answer.
        """
        number, answer = next(self._numbers), SimpleQueue[_Made | StudioError]()
        with self._changed:
            self._changed.wait_for(lambda: self._trouble or (self._child and self._child.ready), _MAP_WITHIN)
            child = self._child
            if child is None or not child.ready:
                raise EngineDied(self._trouble or "The engine is still starting; try again in a moment.")
            self._traces[number] = answer
        child.send(order(number))
        try:
            made = answer.get(timeout=_MAP_WITHIN)
        except Empty:
            made = EngineDied("This is not ready yet; ask for it again in a while.")
        finally:
            with self._changed:
                del self._traces[number]
        if isinstance(made, StudioError):
            raise made
        return made

    def close(self) -> None:
        """End the process; a picture being drawn is lost."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._keeper.join()

    def _wish(self, order: Order) -> None:
        with self._changed:
            child = self._child
        if child is not None and child.ready:
            child.send(order)

    def _enlist(self, job: _Job) -> _Child | None:
        """Hand the job to the engine's process; waits a moment for it and returns None if it is not ready."""
        with self._changed:
            child = self._child
            if child is None or not child.ready:
                self._changed.wait(REPEAT)
                return None
            self._job = job
            child.open[job.number] = time.monotonic()
            return child

    def _keep(self) -> None:
        """The keeper thread: starts a process, watches it, buries it, and starts the next."""
        if hasattr(signal, "pthread_sigmask"):
            # Inherited by the process: until it ignores Ctrl+C itself, it must not print a traceback for it.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        failures = stillborn = 0
        while not self._closing.is_set():
            reason = "The engine’s process could not be started."
            lived = was_ready = False
            try:
                child = self._start()
            except OSError:
                log.exception("The engine’s process could not be started")
            else:
                reason = self._watch(child)
                lived = child.drawn > 0 or (child.ready and time.monotonic() - child.ready_since > PROBATION)
                was_ready = child.ready
                self._bury(child, reason)
            failures = 0 if lived else failures + 1
            stillborn = 0 if was_ready else stillborn + 1
            if stillborn >= _HOPELESS:
                self._trouble = reason
            self._pause(failures, reason)
        with self._changed:
            self._status = Status(State.STOPPED, "The engine is stopped.")
            self._trouble = "The studio is shutting down."
            self._changed.notify_all()

    def _start(self) -> _Child:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=True)
        process = context.Process(
            target=worker_child.run, args=(theirs, self._options, self._build), name="engine", daemon=True
        )
        try:
            process.start()
        finally:
            theirs.close()  # or its end would never read as closed
        child = _Child(process, ours)
        child.reader = threading.Thread(target=self._listen, args=(child,), name="engine reader", daemon=True)
        with self._changed:
            self._child = child
        child.reader.start()
        return child

    def _watch(self, child: _Child) -> str:
        """Returns when the process is dead or has to be, with the reason in a sentence."""
        looked = time.monotonic()
        while not self._closing.is_set():
            if wait([child.process.sentinel], timeout=_TICK):
                child.reader.join(1.0)  # it may have had a last word
                return child.reason or "The engine stopped unexpectedly."
            now = time.monotonic()
            if now - looked > 10 * _TICK:  # this process was asleep itself, and blames nobody
                with self._changed:
                    child.heard = now
                    child.open = dict.fromkeys(child.open, now)
            looked = now
            working = child.ready and child.state is not State.LOADING
            if now - child.heard > (self._silence if working else max(LOADING_SILENCE, self._silence)):
                return "The engine stopped answering."
            with self._changed:
                slowest = min(child.open.values(), default=now)
            if now - slowest > self._options.hang_after:
                return f"The engine made no progress for {self._options.hang_after:g} seconds."
        return "The studio is shutting down."

    def _bury(self, child: _Child, reason: str) -> None:
        child.process.kill()
        child.process.join()
        child.reader.join()
        with child.sending:
            child.pipe.close()
        child.process.close()
        with self._changed:
            self._child = None
            for answer in self._traces.values():
                answer.put(EngineDied(f"{reason} Ask for it again."))
            if self._job is not None:
                log.warning("%s The picture it was drawing is lost.", reason)
                self._job.inbox.put(Failed(reason, crashed=not self._closing.is_set()))

    def _pause(self, failures: int, reason: str) -> None:
        """Before the next start: at once after an engine that worked, longer and longer after ones that never did."""
        pause = 0.0 if failures < 2 else min(2.0 ** (failures - 2), _LONGEST_PAUSE)
        again = f"Starting it again in {pause:g} s." if pause else "Starting it again."
        with self._changed:
            self._status = Status(State.RESTARTING, f"{reason} {again}", self._status.device, self._status.model)
            self._changed.notify_all()
        self._closing.wait(pause)

    def _listen(self, child: _Child) -> None:
        """The reader thread of one process."""
        with contextlib.suppress(EOFError, OSError):  # it is dead, or about to be buried
            while True:
                message: Message = child.pipe.recv()
                child.heard = time.monotonic()
                with self._changed:
                    self._hear(child, message)
                    self._changed.notify_all()

    def _hear(self, child: _Child, message: Message) -> None:
        match message:
            case Alive(status, ready):
                if ready and not child.ready:
                    child.ready_since = child.heard
                    child.ready = True
                    self._trouble = ""
                    for model in sorted(self._pinned):
                        child.send(Pin(model, True))
                child.state = status.state
                if self._status.state is not State.RESTARTING or ready:
                    self._status = status if ready else Status(_arriving(status), status.detail, status.device)
            case Said(number, event):
                child.open[number] = child.heard
                if isinstance(event, Finished):
                    child.drawn += 1
                if self._job is not None and self._job.number == number:
                    self._job.inbox.put(event)
            case Over(number):
                child.open.pop(number, None)
            case Traced(number, made):
                if number in self._traces:
                    self._traces[number].put(made)
            case Broken(reason):
                child.reason = reason
                self._trouble = reason


def _arriving(status: Status) -> State:
    """An engine that loads its first model is not ready, whatever it says between two steps of that."""
    return State.LOADING if status.state is State.READY else status.state


@dataclass(frozen=True, slots=True)
class _Job:
    number: int
    inbox: SimpleQueue[Event] = field(default_factory=SimpleQueue)


@dataclass(slots=True, eq=False)
class _Child:
    process: SpawnProcess
    pipe: Connection
    reader: threading.Thread = field(default_factory=threading.Thread)
    ready: bool = False
    ready_since: float = 0.0
    state: State = State.STARTING
    heard: float = field(default_factory=time.monotonic)
    reason: str = ""
    drawn: int = 0
    #: When each job in the process was last heard of; a cancelled one stays until it has left.
    open: dict[int, float] = field(default_factory=dict)
    sending: threading.Lock = field(default_factory=threading.Lock)

    def send(self, order: Order) -> None:
        with self.sending, contextlib.suppress(OSError):
            self.pipe.send(order)
