"""A language model on this machine that helps with prompts, in a process of its own. No torch on this side.

The process starts when somebody asks for help, and ends after a while in which nobody does, or when it takes too long:
neither pictures nor the page wait for it, and its memory is there for them again.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing
import os
import pkgutil
import queue
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final, NoReturn, Protocol

from studio import prompt_help
from studio.catalog_places import PICKLES, read_json
from studio.errors import Cancelled, ModelError, StudioError
from studio.headers import read_header
from studio.prompt_help import UNWANTED, HelpFailed
from studio.request import ModelSpec

#: Seconds that loading may take …
LOADING: Final = 300.0
#: … and writing, …
WRITING: Final = 60.0
#: … and without a question after which the memory is given back.
IDLE: Final = 600.0
#: Seconds that the process may take longer than it was told to.
_GRACE: Final = 10.0
_TICK: Final = 0.1
_WRITES: Final = re.compile(r"(?:CausalLM|LMHeadModel)$")

log = logging.getLogger(__name__)


class Written(Protocol):
    """See `studio.diffusion.writer.Written`."""

    @property
    def text(self) -> str: ...

    @property
    def ended(self) -> bool: ...

    @property
    def goes_on(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Asked:
    task: str
    text: str
    turn: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Ready:
    """The model is loaded."""


@dataclass(frozen=True, slots=True)
class _Stop:
    """Nobody waits for the answer any more; one comes all the same."""


def find(named: str) -> Path:
    """The folder of a language model: a folder, or what the hub's cache holds under that name. Nothing is fetched.

    Raises:
        ModelError: there is none, or none that can be used.
    """
    folder = Path(named).expanduser()
    if not folder.is_dir():
        cached = _cached(named)
        if cached is None:
            raise ModelError(
                f"--prompt-help: “{named}” is neither an address nor a folder, nor a model of the hub that was "
                "downloaded before."
            )
        folder = cached
    _check(folder)
    return folder


def _cached(named: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(named, "config.json")
    except HFValidationError:
        return None
    return Path(config).parent if isinstance(config, str) else None


def _check(folder: Path) -> None:
    """Raises:
    ModelError: it is no language model of safetensors files alone.
    """
    config = read_json(folder / "config.json") or {}
    kinds = config.get("architectures")
    if not isinstance(kinds, list) or not any(isinstance(kind, str) and _WRITES.search(kind) for kind in kinds):
        what = "an adapter" if (folder / "adapter_config.json").is_file() else "no language model for transformers"
        raise ModelError(f"--prompt-help: {folder} holds {what}; it takes a folder with config.json of a …ForCausalLM.")
    if (folder / "adapter_config.json").is_file():
        raise ModelError(f"--prompt-help: {folder} holds an adapter beside its model; take the one or the other away.")
    for file in _weights(folder):
        try:
            read_header(file)
        except OSError as gone:
            raise ModelError(f"--prompt-help: {file} cannot be read; download the model again.") from gone


def _weights(folder: Path) -> Iterator[Path]:
    index = read_json(folder / "model.safetensors.index.json") or {}
    shards = index.get("weight_map")
    if isinstance(shards, dict) and not (folder / "model.safetensors").is_file():
        for name in sorted({str(shard) for shard in shards.values()}):
            if Path(name).name != name or not name.endswith(".safetensors"):
                raise ModelError(f"--prompt-help: the index of {folder} names weights elsewhere; download it again.")
            yield folder / name
        return
    if not (folder / "model.safetensors").is_file() and any(file.suffix in PICKLES for file in folder.iterdir()):
        raise ModelError(
            f"--prompt-help: {folder} comes as pickle files, which can run programs; get its .safetensors files."
        )
    yield folder / "model.safetensors"


class Local:
    """See `studio.prompt_help.Helper`. One prompt at a time; others wait their turn.

    `build` names what writes inside, called with the folder and the number of threads. Times are seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        threads: int = 0,
        build: str = "studio.diffusion.writer:Writer",
        loading: float = LOADING,
        writing: float = WRITING,
        idle: float = IDLE,
    ) -> None:
        self.title = _title(folder)
        self._started_with = (folder, threads, idle, build)
        self._loading = loading
        self._writing = writing
        self._turn = threading.Lock()
        self._child: _Child | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        child = self._child
        return child.process.pid if child is not None and child.process.is_alive() else None

    def rewrite(self, text: str, model: ModelSpec, turn: int, stop: threading.Event | None = None) -> str:
        stop = stop or threading.Event()
        bare = prompt_help.without_loras(text)
        while not self._turn.acquire(timeout=_TICK):
            if stop.is_set():
                raise Cancelled(UNWANTED)
        try:
            told = self._ask(_Asked(prompt_help.task(model), bare, turn, self._writing), stop)
        finally:
            self._turn.release()
        return prompt_help.with_loras(_prompt_in(told, bare), text)

    def close(self) -> None:
        """Ends the process; whoever waits for it is told."""
        child = self._child
        if child is not None:
            child.process.kill()

    def _ask(self, asked: _Asked, stop: threading.Event) -> Written:
        for again in itertools.count():
            child = self._enlist()
            try:
                child.pipe.send(asked)
                return self._answer(child, stop)
            except (EOFError, OSError) as gone:
                was_ready = child.ready
                self._bury(child)
                if again or not was_ready:  # one that had ended by itself is started anew
                    raise HelpFailed("The language model’s process ended unexpectedly; the log may say why.") from gone
        raise AssertionError

    def _answer(self, child: _Child, stop: threading.Event) -> Written:
        """Raises:
        Cancelled, HelpFailed, StudioError: `stop` was set; too slow; what the model says itself.
        EOFError, OSError: the process is gone.
        """
        until = time.monotonic() + (self._writing if child.ready else self._loading) + _GRACE
        stopping = False
        while True:
            if stop.is_set() and not stopping:
                stopping = True
                if not child.ready:  # loading cannot be stopped otherwise
                    self._bury(child)
                    raise Cancelled(UNWANTED)
                child.pipe.send(_Stop())
                until = min(until, time.monotonic() + _GRACE)
            if time.monotonic() > until:
                self._bury(child)
                raise HelpFailed("The language model took too long and was ended; a smaller one may be quick enough.")
            if not child.pipe.poll(_TICK):
                continue
            told: _Ready | Written | StudioError = child.pipe.recv()
            if isinstance(told, _Ready):
                child.ready = True
                until = time.monotonic() + self._writing + _GRACE
            elif isinstance(told, StudioError):
                if not child.ready:
                    self._bury(child)
                raise told
            else:
                return told

    def _enlist(self) -> _Child:
        if self._child is not None and not self._child.process.is_alive():
            self._bury(self._child)
        if self._child is None:
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe(duplex=True)
            process = context.Process(target=run, args=(theirs, *self._started_with), name="writer", daemon=True)
            try:
                process.start()
            except OSError as full:
                raise HelpFailed("The language model’s process could not be started; try again in a while.") from full
            finally:
                theirs.close()  # or its end would never read as closed
            self._child = _Child(process, ours)
        return self._child

    def _bury(self, child: _Child) -> None:
        self._child = None
        child.process.kill()
        child.process.join()
        child.pipe.close()


@dataclass(slots=True)
class _Child:
    process: SpawnProcess
    pipe: Connection
    ready: bool = False


def _title(folder: Path) -> str:
    """`org/name` for a folder of the hub's cache (`models--org--name/snapshots/…`), else the folder's name."""
    for part in reversed(folder.parts):
        if part.startswith("models--"):
            return "/".join(part.split("--")[1:])
    return folder.resolve().name


def _prompt_in(told: Written, asked: str) -> str:
    """Raises:
    HelpFailed: the model rambled on until it was stopped.
    """
    said = told.text.lstrip("\r\n").split("\n", 1)[0] if told.goes_on else told.text
    if not told.ended and said.strip() and told.text.endswith(said):  # cut short: the last whole phrase is the end
        end = max(said.rfind(pause) for pause in ",.;!?")
        if end < 0 and not told.goes_on:
            raise HelpFailed("The language model came to no end; try once more, or give --prompt-help another one.")
        said = said[:end] if end >= 0 else said
    found = prompt_help.taken(said)
    if not told.goes_on or not found:
        return found
    return f"{asked}{' ' if said[0].isspace() else ''}{found}"


def run(pipe: Connection, folder: Path, threads: int, idle: float, build: str) -> NoReturn:
    """The process's own main function; never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in the terminal is for the studio, which ends us
    os.environ["HF_HUB_OFFLINE"] = "1"
    orders: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(pipe, orders, stop), daemon=True).start()
    with contextlib.suppress(OSError):  # the studio is gone
        try:
            writer = pkgutil.resolve_name(build)(folder, threads)
            pipe.send(_Ready())
            while True:
                asked = orders.get(timeout=idle)
                try:
                    pipe.send(writer.write(asked.task, asked.text, asked.turn, stop, asked.seconds))
                except StudioError as reason:
                    pipe.send(reason)
        except queue.Empty:
            pass
        except StudioError as reason:
            pipe.send(reason)
        # Files of anybody's making are at work here, in a library that raises what it likes.
        except Exception as error:
            log.exception("The language model broke")
            pipe.send(HelpFailed(f"The language model broke ({type(error).__name__}); the log says more."))
    os._exit(0)


def _listen(pipe: Connection, orders: queue.SimpleQueue[_Asked], stop: threading.Event) -> None:
    try:
        while True:
            order: _Asked | _Stop = pipe.recv()
            if isinstance(order, _Stop):
                stop.set()
            else:
                stop.clear()
                orders.put(order)
    except (EOFError, OSError):
        os._exit(0)
