"""A model being read, on a thread of its own, which leaves between two tensors when it is told to."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from torch.overrides import TorchFunctionMode

from studio.errors import StudioError
from studio.request import ModelSpec

T = TypeVar("T")
#: Bytes read ahead at a time.
_CHUNK: Final = 2**22

log = logging.getLogger(__name__)


class Stopped(BaseException):
    """Unwinds a load. No `Exception`, or the libraries on the way would tell it as a broken file."""


class Load(Generic[T]):
    """`work` running on its own thread. Who waits may leave at any time; the thread is then told to, and follows.

    Afterwards exactly one of `value` and `error` is there, or neither if it was stopped.
    """

    def __init__(self, work: Callable[[], T], ended: Callable[[Load[T]], None]) -> None:
        self.value: T | None = None
        self.error: BaseException | None = None
        self._work = work
        self._ended = ended
        self._stop = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        self._stop.set()

    def wait(self, seconds: float | None = None) -> bool:
        return self._done.wait(seconds)

    def check(self) -> None:
        """Raises:
        Stopped: somebody said so.
        """
        if self._stop.is_set():
            raise Stopped

    def _run(self) -> None:
        try:
            with warnings.catch_warnings(), _Stoppable(self.check):
                warnings.simplefilter("ignore")
                self.value = self._work()
        except Stopped:
            pass
        # Raised again where it is waited for.
        except BaseException as error:  # noqa: BLE001
            self.error = error
        finally:
            self._ended(self)
            self._done.set()


class _Stoppable(TorchFunctionMode):
    """Asks before every operation of PyTorch on this thread, of which reading a tensor takes at least one."""

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__()
        self._check = check

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        self._check()
        return func(*args, **(kwargs or {}))


class Ahead:
    """A model asked for in advance: its files are read at once, it is loaded when `begin` finds the time.

    `begin` returns the load it started, or None to be asked again after `lull` seconds; it sets `over` when there is
    nothing left to do.
    """

    def __init__(
        self, spec: ModelSpec, files: Iterable[Path], begin: Callable[[Ahead], Load[Any] | None], lull: float
    ) -> None:
        self.spec = spec
        self.over = threading.Event()
        self._files = files
        self._begin = begin
        self._lull = lull

    def start(self) -> None:
        threading.Thread(target=self._fetch, name="reading ahead", daemon=True).start()

    def _fetch(self) -> None:
        try:
            read_ahead(self._files, self.over)
            while not self.over.wait(self._lull):
                load = self._begin(self)
                if load is not None:
                    load.wait()
                    if load.error is not None:
                        raise load.error
        except (StudioError, OSError) as reason:  # told to whoever draws with it
            log.info("%s was not read in advance: %s", self.spec.title, reason)


def read_ahead(files: Iterable[Path], stop: threading.Event) -> None:
    """Have the system keep these files in memory it does not need otherwise. Takes no memory and no PyTorch."""
    buffer = bytearray(_CHUNK)
    for file in files:
        try:
            with file.open("rb", buffering=0) as opened:
                while not stop.is_set() and opened.readinto(buffer):
                    time.sleep(0)
        except OSError:
            continue  # whoever loads it will say what is wrong
