"""The engine in this very process: many models in memory, one picture at a time."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import warnings
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Final

import torch
from PIL import Image

from studio import abilities, image, prompt_chunks
from studio.catalog import Catalog
from studio.diffusion import card, load, memory, modes, optional, residency, sample
from studio.diffusion.annotate import Annotators
from studio.diffusion.guides import Shelf
from studio.diffusion.load import Model
from studio.diffusion.lora import RESIDENT, Loras
from studio.diffusion.manager import PipelineManager
from studio.diffusion.residency import GB, Mode, Storage
from studio.diffusion.safety import Checker
from studio.engine import EngineOptions, Event, Failed, Finished, Progress, State, Status
from studio.errors import BadRequest, Cancelled, NotFound, OutOfMemory, StudioError
from studio.geometry import Size
from studio.pose import Pose
from studio.request import ControlUnit, GenerationResult, ModelSpec, ResolvedRequest

#: Seconds of silence after which the last progress is told again, so that a consumer may stop promptly.
REPEAT: Final = 0.2

log = logging.getLogger(__name__)

Tell = Callable[[Event], None]


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
        self._catalog = Catalog(options.embedded, options.models_dir, options.data_dir)
        self._device = load.device(options.device)
        self._name = load.named(self._device)
        if options.threads:
            torch.set_num_threads(options.threads)
        # cuDNN would otherwise be free to choose another algorithm next time.
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        budget = _bytes(options.memory)
        self.loras = Loras() if budget is None else Loras(min(RESIDENT, budget // 8))
        self.manager = PipelineManager(
            self._read,
            card.of(self._device, _bytes(options.card_memory)),
            itemsize=lambda spec: self._dtype(spec).itemsize,
            budget=budget,
            wanted=options.mode,
            moving=self.loras.rest,
            beside=lambda: self.loras.nbytes,
        )
        for key, mode in self._catalog.choices.modes.items():
            with contextlib.suppress(BadRequest):  # chosen on another machine
                self.manager.run_in(key, mode)
        self._annotators = Annotators(options.models_dir, self._device, options.max_pixels)
        self._checker = None if options.safety is None else Checker(options.safety)
        self._fetching = ""
        self._turn = threading.Lock()
        self._status = Status(State.READY, "Ready.", self._name)
        # One thread for good: OpenMP keeps its helpers per thread.
        self._studio = ThreadPoolExecutor(1, thread_name_prefix="studio")

    @property
    def status(self) -> Status:
        status, kept = self._status, self.manager.report()
        ahead = next((held.title for held in kept.models if held.state == "loading"), "")
        if self._fetching and status.state is State.READY:
            status = replace(status, detail=self._fetching)
        if ahead and status.state is State.READY:  # reading keeps Python busy: nobody is to think the engine hangs
            status = replace(status, state=State.LOADING, detail=f"Loading {ahead} in advance.")
        return replace(status, memory=kept)

    def warm(self) -> None:
        """Load the default model, so that the first picture need not wait for it.

        Raises:
            StudioError: it cannot be loaded; others still may.
        """
        spec = self._spec(None)
        try:
            with self.manager.lease(spec, loading=lambda: self._loading(spec, lambda event: None)):
                pass
        finally:
            self._ready(spec)

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

    def prepare(self, model: str | None) -> None:
        """See `studio.engine.Keeper`. One that is not there is told to whoever draws with it."""
        try:
            self.manager.prepare(None if model is None else self._spec(model))
        except (StudioError, OSError) as reason:
            log.info("Not read in advance: %s", reason)

    def unload(self, model: str) -> None:
        self.manager.unload(model)

    def pin(self, model: str, on: bool) -> None:
        self.manager.pin(model, on)

    def run_in(self, model: str, mode: str) -> None:
        self.manager.run_in(model, mode)

    def trace(self, unit: ControlUnit, width: int, height: int) -> bytes:
        """See `studio.engine.Tracer`. A detector is loaded between two pictures, and then works beside them."""
        with self._fetches() as told:
            return image.png(self._annotators.map(unit, (width, height), told, self._between))

    def find_people(self, picture: bytes) -> Pose:
        """See `studio.engine.Tracer`."""
        with self._fetches() as told:
            return self._annotators.people(picture, told, self._between)

    @contextlib.contextmanager
    def _fetches(self) -> Iterator[Callable[[str, int, int], bool]]:
        """What is fetched meanwhile stands in the status line."""

        def told(file: str, done: int, size: int) -> bool:
            self._fetching = f"Fetching {file}: {done / 1e6:.1f} of {size / 1e6:.1f} MB."
            return True

        try:
            yield told
        finally:
            self._fetching = ""

    def _between(self, work: Callable[[], object]) -> object:
        """Between two pictures, on the thread that draws them."""
        return self._studio.submit(work).result()

    def close(self) -> None:
        self._studio.shutdown()
        self.manager.close()
        self._status = Status(State.STOPPED, "Stopped.", self._name)

    def _work(self, request: ResolvedRequest, events: SimpleQueue[Event | None], stop: threading.Event) -> None:
        """Always ends with `Finished`, `Failed` or, cancelled, with None."""
        last: Event | None = None
        spec: ModelSpec | None = None
        try:
            spec = self._spec(request.model)
            last = Finished(self._checked(self._picture(spec, request, events.put, stop)))
        except Cancelled:
            last = None
        except StudioError as reason:
            last = Failed(str(reason))
        except torch.AcceleratorError:
            log.exception("The device failed")
            last = Failed(f"{self._name} failed while drawing; the engine restarts.", crashed=True)
        # Whatever a pipeline raises must become a sentence; what it was stands in the log.
        except Exception as error:
            log.exception("Drawing failed")
            last = Failed(_unforeseen(error))
        if isinstance(last, Failed):
            load.free()
        self._ready(spec)
        events.put(last)

    def _checked(self, result: GenerationResult) -> GenerationResult:
        return result if self._checker is None else replace(result, verdict=self._checker.verdict(result))

    def _picture(
        self, spec: ModelSpec, request: ResolvedRequest, tell: Tell, stop: threading.Event
    ) -> GenerationResult:
        """Should memory not suffice, once more with everything else gone and in the next leaner mode.

        Raises:
            OutOfMemory: that was not enough either.
        """
        mode: Mode | None = None
        while True:
            try:
                return self._draw(spec, request, mode, tell, stop)
            except Exception as error:
                if not memory.tried(error):
                    raise
                log.warning("%s ran out of memory: %s", spec.title, error)
            # What the failed attempt held has gone with its traceback.
            failed_in, mode = mode, self.manager.leaner(spec)
            need, room = self.manager.lacked(spec)
            self.manager.make_room(spec)
            if failed_in is not None or mode is None:
                remedies = [] if mode is None else [f"the mode “{mode.name}”"]
                raise OutOfMemory(residency.too_much(request.width, request.height, need, room, remedies))
            tell(Progress(f"Short of memory, trying again: {mode.name}"))

    def _draw(
        self, spec: ModelSpec, request: ResolvedRequest, mode: Mode | None, tell: Tell, stop: threading.Event
    ) -> GenerationResult:
        nets = tuple(self._catalog.controlnet(unit.model) for unit in request.controls if unit.model and not unit.idle)
        worn = [(use, self._catalog.lora(use.name).path) for use in request.full_loras]
        self.loras.keep_for(spec.key)
        with self.manager.lease(
            spec,
            vae=None if request.vae is None else self._catalog.vae(request.vae),
            controls=nets,
            pixels=request.width * request.height,
            mode=mode,
            stop=stop,
            loading=lambda: self._loading(spec, tell),
            dressed=lambda model: self.loras.applied(model, worn),
        ) as model:
            if stop.is_set():
                raise Cancelled("This picture was cancelled.")
            denoiser = modes.denoiser_of(model)
            if denoiser is not None and optional.will_compile(denoiser):
                tell(Progress(f"Compiling {spec.title}, once"))
            loras = self.loras.reports
            for lora in loras:
                tell(Progress(f"LoRA {lora.name}: {lora.found}"))
            self._status = self._told(State.BUSY, "Drawing.", spec)
            # Not around loading, which does the same on a thread of its own: the filters are those of the process.
            with warnings.catch_warnings():
                # The libraries below warn their own developers: numpy's deprecations, outdated configurations.
                warnings.simplefilter("ignore")
                drawn = sample.draw(
                    model,
                    request,
                    tell,
                    stop,
                    preview_every=self._options.preview_every,
                    max_pixels=self._options.max_pixels,
                    device=self._name,
                    embeddings={found.title: found.path for found in self._catalog.embeddings()},
                    trace=lambda unit, size: self._map(unit, size, tell, stop),
                )
            skipped = [f"Of the LoRA {lora.name} were left out: {what}." for lora in loras for what in lora.skipped]
            notes = (*drawn.notes, *skipped)
            return replace(drawn, loras=loras, notes=notes, embeddings=self._called(request, spec, notes))

    def _called(self, request: ResolvedRequest, spec: ModelSpec, notes: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """The textual inversions in the prompts, by name and hash, without those of which `notes` say that they were
        read as words."""
        there = {found.title.lower(): found for found in self._catalog.embeddings()}
        if not there or not abilities.of(spec).clip_skip:
            return ()
        names = prompt_chunks.named(f"{request.full_prompt}\n{request.full_negative}", there)
        return tuple(
            (there[name].title, hashlib.sha256(there[name].path.read_bytes()).hexdigest()[:12])
            for name in names
            if not any(f"The embedding {name} " in note for note in notes)
        )

    def _map(self, unit: ControlUnit, size: Size, tell: Tell, stop: threading.Event) -> Image.Image:
        """On the thread that draws."""

        def told(file: str, done: int, whole: int) -> bool:
            tell(Progress(f"Fetching {file}: {done / 1e6:.1f} of {whole / 1e6:.1f} MB"))
            return not stop.is_set()

        return self._annotators.map(unit, size, told, lambda work: work())

    def _read(self, spec: ModelSpec, storage: Storage) -> Model:
        """On the loader's thread, into main memory."""
        dtype = self._dtype(spec)
        stored = modes.STORED[storage] if storage == "float16" else dtype
        host = torch.device("cpu")
        try:
            shelf = Shelf(self._options.models_dir, self._catalog.vaes(), self._catalog.encoders())
            model = load.load(spec, host, stored, self._catalog.digest(spec), shelf)
            if storage:
                modes.shrink(model, storage, dtype)
        except (torch.OutOfMemoryError, MemoryError) as full:
            raise OutOfMemory(f"{spec.title} does not fit into the memory of this machine.") from full
        return model

    def _dtype(self, spec: ModelSpec) -> torch.dtype:
        return load.precision(self._options.dtype, self._device, spec.family)

    def _loading(self, spec: ModelSpec, tell: Tell) -> None:
        self._status = Status(State.LOADING, f"Loading {spec.title}.", self._name, spec.title)
        tell(Progress(f"Loading {spec.title}"))

    def _ready(self, spec: ModelSpec | None) -> None:
        self._status = self._told(State.READY, "Ready.", spec)

    def _told(self, state: State, detail: str, spec: ModelSpec | None) -> Status:
        mode = "" if spec is None else self.manager.mode(spec.key)
        return Status(state, detail, self._name, spec.title if spec is not None and mode else "", mode)

    def _spec(self, key: str | None) -> ModelSpec:
        try:
            return self._catalog.find(key)
        except NotFound:  # it may have been added since the last scan
            self._catalog.refresh()
            return self._catalog.find(key)


def _bytes(gigabytes: float) -> int | None:
    """0 is no limit of one's own."""
    return int(gigabytes * GB) or None


def _unforeseen(error: Exception) -> str:
    return f"The model could not draw this ({type(error).__name__}); the log says more. Try other settings."
