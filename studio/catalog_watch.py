"""Follows the model folders while the studio runs, and hashes their files while nobody minds."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from studio import hashes
from studio.catalog import Catalog
from studio.catalog_index import written
from studio.errors import ModelError
from studio.request import ModelSpec
from studio.specs import LoraSpec, PartSpec

#: Seconds between two looks at the dates of all folders (about 10 ms for ten thousand files).
EVERY: Final = 2.0
#: Seconds after which hashes found meanwhile are shown.
_SHOWN_AFTER: Final = 10.0
#: Of the time that reading a block took, how much is rested after it.
_REST: Final = 1.0
_NICE: Final = 10
log = logging.getLogger(__name__)


class Watch:
    """Two quiet threads, until `close`."""

    def __init__(self, catalog: Catalog, every: float = EVERY) -> None:
        self._catalog = catalog
        self._every = every
        self._ended = threading.Event()
        self._news = threading.Event()
        self._news.set()
        self._hashed_since = 0.0
        self._given_up: set[tuple[str, int, int]] = set()
        self._threads = [
            threading.Thread(target=work, name=f"models-{name}", daemon=True)
            for name, work in (("watch", self._watch), ("hash", self._hash))
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._ended.set()
        self._news.set()
        for thread in self._threads:
            thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            hashed = self._hashed_since and time.monotonic() - self._hashed_since > min(_SHOWN_AFTER, 5 * self._every)
            try:
                if hashed or self._catalog.changed():
                    self._hashed_since = 0.0
                    self._catalog.refresh()
                    self._news.set()
            except OSError:  # a disk that went away in mid-scan; the next look finds out
                log.exception("The model folders could not be looked at")

    def _hash(self) -> None:
        _be_nice()
        while not self._ended.is_set():
            self._news.wait()
            self._news.clear()
            for path, size, date, kind in self._missing():
                if self._ended.is_set():
                    return
                try:
                    value = hashes.of(path, kind, self._pause)
                    stat = path.stat()
                except (ModelError, OSError):
                    value = ""
                if self._ended.is_set():
                    return
                if value and (stat.st_size, stat.st_mtime_ns) == (size, date):
                    self._catalog.index.keep_hash(path, size, date, kind, value)
                    self._hashed_since = self._hashed_since or time.monotonic()
                else:  # unreadable or just being written; a new date is a new chance
                    self._given_up.add((kind + written(path), size, date))

    def _pause(self, seconds: float) -> bool:
        return self._ended.wait(_REST * seconds)

    def _missing(self) -> Iterator[tuple[Path, int, int, str]]:
        """What has no hash yet: first LoRAs, whose hash goes into every picture's text, then small before large."""
        files = [
            (entry.place, kind)
            for entry in self._catalog.entries()
            if isinstance(entry.spec, ModelSpec | PartSpec) and entry.place.kind == "file" and entry.place.size
            for kind in ((hashes.TENSORS, hashes.SHA256) if isinstance(entry.spec, LoraSpec) else (hashes.SHA256,))
        ]
        known = {kind: self._catalog.index.hashes(kind) for kind in (hashes.TENSORS, hashes.SHA256)}
        for place, kind in sorted(files, key=lambda row: (row[1] != hashes.TENSORS, row[0].size)):
            stamp = (written(place.path), place.size, place.mtime_ns)
            if stamp not in known[kind] and (kind + stamp[0], *stamp[1:]) not in self._given_up:
                yield place.path, place.size, place.mtime_ns, kind


def _be_nice() -> None:
    """On Linux a priority is a thread's own; elsewhere the rests between blocks must do."""
    with contextlib.suppress(OSError, AttributeError):
        if os.uname().sysname == "Linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
