"""Downloads from the hub that outlive broken connections and restarts: one after the other, complete or not there.

Files arrive in a hidden folder beside the models and move into place together, once every byte is checked.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter

from studio.errors import BadRequest, Cancelled, DiskFull, Forbidden, NotFound, ReadOnly, StudioError, Unreachable
from studio.hub import Hub, Offer, RemoteFile
from studio.known import Known

#: Beside the models, on the same disk; a scan leaves hidden folders out.
INCOMING: Final = ".incoming"
_OFFER: Final = "offer.json"
#: Bytes that stay free on the disk.
RESERVE: Final = 2**30
#: Attempts without a single new byte, and the seconds between them.
_WAITS: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
_SPEED_OVER: Final = 5.0
log = logging.getLogger(__name__)

State = Literal["waiting", "running", "paused", "done", "failed"]
_OFFERS: Final = TypeAdapter(Offer)


@dataclass(frozen=True, slots=True)
class Download:
    """A look at one download. `speed` in bytes per second; `reason` says why it is paused or failed."""

    id: str
    offer: Offer
    state: State
    done_bytes: int = 0
    speed: float = 0.0
    reason: str = ""

    @property
    def seconds_left(self) -> float | None:
        left = self.offer.size_bytes - self.done_bytes
        return left / self.speed if self.state == "running" and self.speed > 0 else None


@dataclass(slots=True)
class _Held:
    shown: Download
    stop: threading.Event = field(default_factory=threading.Event)
    marks: deque[tuple[float, int]] = field(default_factory=deque)


class Downloads:
    """`folder` receives the models. `arrived` is told after each, from the downloading thread."""

    def __init__(
        self,
        hub: Hub,
        folder: Path,
        known: Mapping[str, Known],
        arrived: Callable[[], None] = lambda: None,
        *,
        waits: tuple[float, ...] = _WAITS,
        free: Callable[[Path], int] = lambda place: shutil.disk_usage(place).free,
    ) -> None:
        self._hub = hub
        self._folder = folder
        self._known = known
        self._arrived = arrived
        self._waits = waits
        self._free = free
        self._lock = threading.Condition()
        self._held: dict[str, _Held] = {}
        self._closing = False
        for left in sorted(folder.glob(f"{INCOMING}/*/{_OFFER}")):
            self._pick_up(left)
        self._thread = threading.Thread(target=self._work, name="downloads", daemon=True)
        self._thread.start()

    def all(self) -> tuple[Download, ...]:
        """In the order they were asked for."""
        with self._lock:
            return tuple(held.shown for held in self._held.values())

    def start(self, offer: Offer) -> Download:
        """Starts, or goes on where the same download stopped.

        Raises:
            Forbidden: its licence has not been accepted.
            BadRequest: it is there already.
            DiskFull, ReadOnly: there is no place for it.
        """
        if offer.locked:
            raise Forbidden(offer.locked)
        if self._target(offer).exists():
            raise BadRequest(f"{self._target(offer).name} is there already; move it to the trash to download it again.")
        name = _id(offer)
        with self._lock:
            held = self._held.get(name)
            if held is not None and held.shown.state in ("waiting", "running"):
                return held.shown
        place = self._folder / INCOMING / name
        try:
            place.mkdir(parents=True, exist_ok=True)
            note = place / _OFFER
            if note.is_file() and _OFFERS.validate_json(note.read_bytes()).revision != offer.revision:
                shutil.rmtree(place)  # the model has changed since; its old parts would not fit
                place.mkdir()
            there = _size_of(place)
            self._check_room(offer.size_bytes - there)
            note.write_bytes(_OFFERS.dump_json(offer))
        except (OSError, ValueError) as denied:
            raise ReadOnly(f"The folder {self._folder} cannot be written; choose another --download-dir.") from denied
        with self._lock:
            self._held[name] = _Held(Download(name, offer, "waiting", there))
            self._lock.notify_all()
            return self._held[name].shown

    def resume(self, name: str) -> Download:
        """Raises:
        NotFound: there is no such download; and what `start` raises.
        """
        return self.start(self._of(name).shown.offer)

    def cancel(self, name: str) -> None:
        """Stops it and deletes what has arrived. At once, wherever it stands.

        Raises:
            NotFound: there is no such download.
        """
        held = self._of(name)
        held.stop.set()
        with self._lock:
            running = held.shown.state == "running"
            del self._held[name]
        if not running:
            shutil.rmtree(self._folder / INCOMING / name, ignore_errors=True)

    def close(self) -> None:
        """What has arrived stays, to go on from."""
        with self._lock:
            self._closing = True
            for held in self._held.values():
                held.stop.set()
            self._lock.notify_all()
        self._thread.join(timeout=2)  # it may wait for a silent server; nothing is lost if it ends with the process

    def _of(self, name: str) -> _Held:
        with self._lock:
            if name not in self._held:
                raise NotFound("There is no such download.")
            return self._held[name]

    def _pick_up(self, note: Path) -> None:
        try:
            offer = _OFFERS.validate_json(note.read_bytes())
        except (OSError, ValueError):
            log.warning("%s is not understood; its download is left out.", note)
            return
        there = _size_of(note.parent)
        shown = Download(note.parent.name, offer, "paused", there, reason="Interrupted; it can go on where it stopped.")
        self._held[note.parent.name] = _Held(shown)

    def _target(self, offer: Offer) -> Path:
        return self._folder / (offer.file.rpartition("/")[2] or offer.repo)

    def _check_room(self, wanted: int) -> None:
        free = self._free(self._folder)
        if wanted + RESERVE > free:
            raise DiskFull(
                f"This download needs {wanted / 1e9:.1f} GB and one to spare; {free / 1e9:.1f} GB are free. "
                "Make room, or choose another --download-dir."
            )

    # ── In the downloading thread ──────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        while True:
            with self._lock:
                name = next((name for name, held in self._held.items() if held.shown.state == "waiting"), None)
                while name is None and not self._closing:
                    self._lock.wait()
                    name = next((name for name, held in self._held.items() if held.shown.state == "waiting"), None)
                if self._closing or name is None:
                    return
                held = self._held[name]
                held.shown = replace(held.shown, state="running")
            try:
                self._fetch(held)
                self._show(held, state="done", done_bytes=held.shown.offer.size_bytes, speed=0.0, reason="")
                self._arrived()
            except Cancelled:
                with self._lock:
                    gone = not self._closing and name not in self._held
                if gone:
                    shutil.rmtree(self._folder / INCOMING / name, ignore_errors=True)
            except StudioError as reason:
                self._show(held, state="failed", speed=0.0, reason=str(reason))
            except OSError as broken:
                full = broken.errno in (28, 122)  # ENOSPC, EDQUOT
                why = (
                    "The disk is full; make room and go on."
                    if full
                    else f"It could not be written ({broken.strerror})."
                )
                self._show(held, state="failed", speed=0.0, reason=why)

    def _show(self, held: _Held, **changes: object) -> None:
        with self._lock:
            held.shown = replace(held.shown, **changes)  # type: ignore[arg-type]

    def _fetch(self, held: _Held) -> None:
        offer = held.shown.offer
        place = self._folder / INCOMING / held.shown.id
        for file in offer.files:
            if not self._is_complete(place, file):
                self._fetch_file(held, place, file)
        target = self._target(offer)
        target.parent.mkdir(parents=True, exist_ok=True)
        if offer.file:
            (place / "files" / offer.file).rename(target)
        else:
            self._leave_card(place / "files", offer)
            (place / "files").rename(target)
        shutil.rmtree(place, ignore_errors=True)

    def _leave_card(self, folder: Path, offer: Offer) -> None:
        """What a well-known model likes, where the catalogue reads it."""
        known = self._known.get(offer.repo)
        likes = {} if known is None else known.like.model_dump(exclude_none=True)
        if likes and not (folder / "pochade.json").exists():
            (folder / "pochade.json").write_bytes(TypeAdapter(dict[str, float]).dump_json(likes))

    @staticmethod
    def _is_complete(place: Path, file: RemoteFile) -> bool:
        """Only whole, checked files bear their name."""
        there = place / "files" / file.name
        return there.is_file() and there.stat().st_size == file.size

    def _fetch_file(self, held: _Held, place: Path, file: RemoteFile) -> None:
        """Raises:
        Cancelled: somebody stopped it; StudioError: the hub gives it no more, or it is not what was announced.
        """
        whole = place / "files" / file.name
        part = whole.with_name(whole.name + ".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        failures = 0
        while True:
            had = part.stat().st_size if part.exists() else 0
            if had > file.size:
                part.unlink()
                had = 0
            if had < file.size or file.size == 0:
                try:
                    self._receive(held, place, file, part, had)
                except ConnectionError as broken:
                    failures = 0 if part.exists() and part.stat().st_size > had else failures + 1
                    if failures >= len(self._waits):
                        raise Unreachable("The connection keeps breaking; go on later where it stopped.") from broken
                    if held.stop.wait(self._waits[failures]):
                        raise Cancelled("This download was stopped.") from broken
                    continue
            if file.sha256 and _sha256(part, held.stop) != file.sha256:
                part.unlink()
                raise Unreachable(f"“{file.name}” arrived damaged; start again to get it anew.")
            part.rename(whole)
            return

    def _receive(self, held: _Held, place: Path, file: RemoteFile, part: Path, had: int) -> None:
        with self._hub.opened(held.shown.offer, file, had) as (begin, blocks), part.open("r+b" if had else "wb") as out:
            out.truncate(begin)
            out.seek(begin)
            before = _size_of(place) - part.stat().st_size
            written = begin
            for block in blocks:
                if held.stop.is_set():
                    raise Cancelled("This download was stopped.")
                out.write(block)
                written += len(block)
                if written > file.size:
                    raise Unreachable(f"“{file.name}” is longer than announced; start again to get it anew.")
                self._mark(held, before + written)
            if written < file.size:
                out.flush()
                raise ConnectionError("the connection ended early")

    def _mark(self, held: _Held, done: int) -> None:
        now = time.monotonic()
        held.marks.append((now, done))
        while len(held.marks) > 2 and now - held.marks[0][0] > _SPEED_OVER:
            held.marks.popleft()
        since, had = held.marks[0]
        elapsed = now - since
        self._show(held, done_bytes=done, speed=max(done - had, 0) / elapsed if elapsed > 0 else 0.0)


def _id(offer: Offer) -> str:
    """One download per model or file; also the name of its folder."""
    return f"{offer.repo}/{offer.file}".strip("/").replace("/", "--")


def _size_of(place: Path) -> int:
    files = place / "files"
    return sum(file.stat().st_size for file in files.rglob("*") if file.is_file()) if files.is_dir() else 0


def _sha256(file: Path, stop: threading.Event) -> str:
    """Raises:
    Cancelled: `stop` was set meanwhile.
    """
    total = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(2**22):
            if stop.is_set():
                raise Cancelled("This download was stopped.")
            total.update(block)
    return total.hexdigest()
