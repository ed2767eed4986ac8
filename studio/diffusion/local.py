"""The engine in this very process: one model at a time, one picture at a time."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final

import torch

from studio.catalog import Catalog, denoiser_weights
from studio.diffusion import load, sample
from studio.diffusion.load import Model
from studio.engine import EngineOptions, Event, Failed, Finished, Progress, State, Status
from studio.errors import Cancelled, NotFound, OutOfMemory, StudioError
from studio.request import ModelSpec, ResolvedRequest

#: Seconds of silence after which the last progress is told again, so that a consumer may stop promptly.
REPEAT: Final = 0.2

log = logging.getLogger(__name__)


class LocalEngine:
    """Draws with the models of `options`.

    The same request gives the same picture bit for bit, whatever was drawn, cancelled or failed before, on one kind of
    machine with one number of threads.

    Raises:
        ModelError: this machine lacks the device asked for.
    """

    def __init__(self, options: EngineOptions) -> None:
        load.quiet()
        self._options = options
        self._catalog = Catalog(options.embedded, options.models_dir)
        self._device = load.device(options.device)
        self._name = load.named(self._device)
        if options.threads:
            torch.set_num_threads(options.threads)
        # cuDNN would otherwise be free to choose another algorithm next time.
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        self._held: _Held | None = None
        self._turn = threading.Lock()
        self._status = Status(State.READY, "Ready.", self._name)
        # One thread for good: OpenMP keeps its helpers per thread, and loading never meets drawing.
        self._studio = ThreadPoolExecutor(1, thread_name_prefix="studio")

    @property
    def status(self) -> Status:
        return self._status

    def warm(self) -> None:
        """Load the default model, so that the first picture need not wait for it.

        Raises:
            StudioError: it cannot be loaded; others still may.
        """

        def lease() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._lease(None, lambda event: None)

        self._studio.submit(lease).result()

    def generate(self, request: ResolvedRequest, stop: threading.Event | None = None) -> Generator[Event]:
        """See `studio.engine.Engine`. Setting `stop`, from any thread, cancels as closing does; no last event then."""
        assert request.count == 1, "plan.expand makes requests of one picture each"
        assert self._turn.acquire(blocking=False), "this engine draws one picture at a time"
        stop = stop or threading.Event()
        events: SimpleQueue[Event | None] = SimpleQueue()
        drawing = self._studio.submit(self._work, request, events, stop)
        last = Progress("Starting")
        try:
            while True:
                try:
                    event = events.get(timeout=REPEAT)
                except Empty:
                    if drawing.done() and events.empty():
                        drawing.result()  # only a bug of ours ends without a last event
                    event = last
                if event is None:
                    return
                if isinstance(event, Progress):
                    last = event
                yield event
                if isinstance(event, Finished | Failed):
                    return
        finally:
            stop.set()
            drawing.result()
            self._turn.release()

    def close(self) -> None:
        self._studio.shutdown()
        self._held = None
        load.free()
        self._status = Status(State.STOPPED, "Stopped.", self._name)

    def _work(self, request: ResolvedRequest, events: SimpleQueue[Event | None], stop: threading.Event) -> None:
        with warnings.catch_warnings():
            # The libraries below warn their own developers: numpy's deprecations, outdated configurations.
            warnings.simplefilter("ignore")
            self._draw(request, events, stop)

    def _draw(self, request: ResolvedRequest, events: SimpleQueue[Event | None], stop: threading.Event) -> None:
        """Always ends with `Finished`, `Failed` or, cancelled, with None."""
        last: Event | None = None
        try:
            model = self._lease(request.model, events.put)
            if stop.is_set():
                raise Cancelled("This picture was cancelled.")
            self._status = Status(State.BUSY, "Drawing.", self._name, model.spec.title)
            drawn = sample.draw(
                model,
                request,
                events.put,
                stop,
                preview_every=self._options.preview_every,
                max_pixels=self._options.max_pixels,
                device=self._name,
            )
            last = Finished(drawn)
        except Cancelled:
            last = None
        except StudioError as reason:
            last = Failed(str(reason))
        except torch.OutOfMemoryError:
            last = Failed(str(_too_much(request)))
        except torch.AcceleratorError:
            log.exception("The device failed")
            last = Failed(f"{self._name} failed while drawing; the engine restarts.", crashed=True)
        # Whatever a pipeline raises must become a sentence; what it was stands in the log.
        except Exception as error:
            log.exception("Drawing failed")
            last = Failed(str(_too_much(request)) if _is_memory(error) else _unforeseen(error))
        if isinstance(last, Failed):
            load.free()
        title = "" if self._held is None else self._held.model.spec.title
        self._status = Status(State.READY, "Ready.", self._name, title)
        events.put(last)

    def _lease(self, key: str | None, tell: Callable[[Event], None]) -> Model:
        spec = self._spec(key)
        stamp = _stamp(spec)
        if self._held is not None and self._held.stamp == stamp:
            return self._held.model
        self._held = None
        load.free()
        self._status = Status(State.LOADING, f"Loading {spec.title}.", self._name, spec.title)
        tell(Progress(f"Loading {spec.title}"))
        try:
            dtype = load.precision(self._options.dtype, self._device, spec.family)
            model = load.load(spec, self._device, dtype, self._catalog.digest(spec))
        except (torch.OutOfMemoryError, MemoryError) as full:
            raise OutOfMemory(f"{spec.title} does not fit into the memory of {self._name}.") from full
        finally:
            self._status = Status(State.READY, "Ready.", self._name)
        self._held = _Held(stamp, model)
        self._status = Status(State.READY, "Ready.", self._name, spec.title)
        return model

    def _spec(self, key: str | None) -> ModelSpec:
        try:
            return self._catalog.find(key)
        except NotFound:  # it may have been added since the last scan
            self._catalog.refresh()
            return self._catalog.find(key)


@dataclass(frozen=True, slots=True)
class _Held:
    stamp: tuple[object, ...]
    model: Model


def _stamp(spec: ModelSpec) -> tuple[object, ...]:
    """Changes when the model is replaced on disk."""
    stats = [file.stat() for file in denoiser_weights(spec.path)]
    return spec.key, spec.path, *((stat.st_size, stat.st_mtime_ns) for stat in stats)


def _too_much(request: ResolvedRequest) -> OutOfMemory:
    return OutOfMemory(
        f"A picture of {request.width} × {request.height} needs more memory than there is; choose a smaller size."
    )


def _is_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def _unforeseen(error: Exception) -> str:
    return f"The model could not draw this ({type(error).__name__}); the log says more. Try other settings."
