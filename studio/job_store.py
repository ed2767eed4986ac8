"""The durable side of the queue: one SQLite file that knows every accepted job, whatever happens to the process."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from studio.errors import DiskFull, NotFound, ReadOnly, StudioError
from studio.request import Picture, ResolvedRequest

log = logging.getLogger(__name__)

#: Finished jobs whose rows are kept; their pictures belong to the gallery and stay in any case.
KEPT_JOBS: Final = 500
#: How many of them a page is told.
RECENT: Final = 8


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE: Final = (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A job as its owner sees it.

    Attributes:
        number: Counts accepted jobs; the order of the queue, whatever the clock says.
        request: As resolved, with its input pictures left out: they are named in `inputs` (field → SHA-256), and
            `Jobs.request` puts them back. None when the job was written by another version and cannot be read.
        pictures: Ids of the pictures kept so far, in drawing order.
        attempts: How often drawing the picture it stands at has ended in a crash.
        created, started, finished: UTC, ISO 8601; empty when not yet.
        position: Jobs that come before this one, the running one included; None when it is not waiting.
        urgency: Who has more is drawn first; the studio's owner gives it.
        unsaved: A finished picture could not be written and waits in memory for `Jobs.retry_save`.
    """

    number: int
    id: str
    owner: str
    state: JobState
    request: ResolvedRequest | None
    inputs: dict[str, str]
    reason: str
    pictures: tuple[str, ...]
    created: str
    started: str
    finished: str
    attempts: int
    position: int | None = None
    unsaved: bool = False
    urgency: int = 0

    @property
    def count(self) -> int:
        return self.request.count if self.request else 1


def _first_tables(db: sqlite3.Connection) -> None:
    db.execute("""
        CREATE TABLE job (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            state TEXT NOT NULL,
            request TEXT NOT NULL,
            inputs TEXT NOT NULL,
            reason TEXT NOT NULL DEFAULT '',
            attempts INTEGER NOT NULL DEFAULT 0,
            created TEXT NOT NULL,
            started TEXT NOT NULL DEFAULT '',
            finished TEXT NOT NULL DEFAULT '',
            ended INTEGER
        )""")
    db.execute("CREATE INDEX job_by_state ON job (state)")
    db.execute("CREATE INDEX job_by_end ON job (ended)")
    db.execute("CREATE INDEX job_by_owner ON job (owner, ended)")
    db.execute("""
        CREATE TABLE job_picture (
            job TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
            place INTEGER NOT NULL,
            picture TEXT NOT NULL,
            PRIMARY KEY (job, place)
        ) WITHOUT ROWID""")
    db.execute("CREATE TABLE input (sha256 TEXT PRIMARY KEY, png BLOB NOT NULL)")


def _order_and_settings(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE job ADD COLUMN urgency INTEGER NOT NULL DEFAULT 0")
    db.execute("CREATE INDEX job_by_time ON job (owner, created)")
    db.execute("CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL)")


#: Applied once each, in this order; `user_version` counts those applied.
MIGRATIONS: Final[tuple[Callable[[sqlite3.Connection], None], ...]] = (_first_tables, _order_and_settings)


class JobStore:
    """Every change is on the disk when its method returns. Not thread-safe: `Jobs` calls it under its lock.

    Raises:
        DiskFull, ReadOnly: from every method that writes, except `end`; it then has changed nothing.
    """

    def __init__(self, path: Path) -> None:
        """Opens or creates the file. One that is no longer a sound database is set aside, never deleted."""
        self._late: dict[str, Ticket] = {}  # ended while nothing could be written
        self._recent: dict[str, tuple[Ticket, ...]] = {}  # read at every step of a drawing, changed far less often
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = _open(path)
        except OSError as denied:
            raise ReadOnly(f"The job list {path} cannot be written ({denied.strerror}).") from denied
        try:
            with self._changes() as db:
                (done,) = db.execute("PRAGMA user_version").fetchone()
                if done > len(MIGRATIONS):
                    raise ReadOnly(f"{path} was written by a newer Pochade; update this one, or move the file away.")
                for number, migrate in enumerate(MIGRATIONS[done:], start=done + 1):
                    migrate(db)
                    db.execute(f"PRAGMA user_version = {number}")
                self._prune(db)
        except StudioError:
            self._db.close()
            raise

    def close(self) -> None:
        self._db.close()

    def add(self, job: str, owner: str, request: ResolvedRequest) -> Ticket:
        pictures = request.pictures
        with self._changes() as db:
            for picture in pictures.values():
                # Most jobs of a session start from the same picture: it is stored once.
                db.execute("INSERT OR IGNORE INTO input VALUES (?, ?)", (picture.sha256, picture.data))
            db.execute(
                "INSERT INTO job (id, owner, state, request, inputs, created) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    job,
                    owner,
                    JobState.QUEUED,
                    request.with_pictures(dict.fromkeys(pictures)).model_dump_json(),
                    json.dumps({name: picture.sha256 for name, picture in pictures.items()}),
                    _now(),
                ),
            )
        return self.ticket(job)

    def start(self, job: str) -> None:
        with self._changes() as db:
            db.execute(
                "UPDATE job SET state = ?, started = coalesce(nullif(started, ''), ?) WHERE id = ?",
                (JobState.RUNNING, _now(), job),
            )

    def kept(self, job: str, index: int, picture: str) -> None:
        """Record a saved picture. The job has got further, so earlier crashes no longer count against it."""
        with self._changes() as db:
            db.execute("INSERT OR REPLACE INTO job_picture VALUES (?, ?, ?)", (job, index, picture))
            db.execute("UPDATE job SET attempts = 0 WHERE id = ?", (job,))

    def requeue(self, job: str, attempts: int) -> None:
        self._late.pop(job, None)
        with self._changes() as db:
            db.execute(
                "UPDATE job SET state = ?, attempts = ?, reason = '', finished = '', ended = NULL WHERE id = ?",
                (JobState.QUEUED, attempts, job),
            )

    def end(self, ticket: Ticket, state: JobState, reason: str = "") -> None:
        """Never fails: an end that cannot be written down is remembered for `write_late`."""
        self._late[ticket.id] = replace(ticket, state=state, reason=reason)
        self._recent.pop(ticket.owner, None)
        self.write_late()

    def write_late(self) -> bool:
        """Write down the ends that could not be; whether there are none left."""
        for job, ticket in tuple(self._late.items()):
            try:
                with self._changes() as db:
                    db.execute(
                        "UPDATE job SET state = ?, reason = ?, finished = ?, "
                        "ended = (SELECT coalesce(max(ended), 0) + 1 FROM job) WHERE id = ?",
                        (ticket.state, ticket.reason, _now(), job),
                    )
            except StudioError as unwritable:
                log.warning("The end of job %s could not be written down: %s", job, unwritable)
                return False
            del self._late[job]
        return True

    def ticket(self, job: str) -> Ticket:
        """Raises:
        NotFound: no such job.
        """
        if job in self._late:
            return self._late[job]
        for ticket in self._tickets("WHERE id = ?", (job,)):
            return ticket
        raise NotFound("There is no such job.")

    def active(self) -> tuple[Ticket, ...]:
        """Queued and running jobs, in the order they were accepted."""
        return tuple(self._tickets("WHERE state IN (?, ?) ORDER BY number", ACTIVE))

    def recent(self, owner: str) -> tuple[Ticket, ...]:
        """The owner's last jobs that have ended, newest first."""
        if owner not in self._recent:
            late = [ticket for ticket in reversed(self._late.values()) if ticket.owner == owner]
            known = self._tickets("WHERE owner = ? AND ended IS NOT NULL ORDER BY ended DESC LIMIT ?", (owner, RECENT))
            self._recent[owner] = (*late, *(ticket for ticket in known if ticket.id not in self._late))[:RECENT]
        return self._recent[owner]

    def request(self, job: str) -> ResolvedRequest:
        """The complete request, input pictures included.

        Raises:
            NotFound: no such job.
            ValidationError: it was written by another version and means nothing to this one.
        """
        rows = self._rows("SELECT request, inputs FROM job WHERE id = ?", (job,))
        if not rows:
            raise NotFound("There is no such job.")
        request, inputs = rows[0]
        pictures = {}
        for name, sha256 in json.loads(inputs).items():
            stored = self._rows("SELECT png FROM input WHERE sha256 = ?", (sha256,))
            if not stored:
                raise NotFound("The input picture of this job is gone; start it again.")
            pictures[name] = Picture.from_bytes(stored[0][0])
        return ResolvedRequest.model_validate_json(request).with_pictures(pictures)

    def lately(self, owner: str, since: datetime) -> tuple[tuple[datetime, int], ...]:
        """When the owner's jobs of late were accepted, oldest first, and how many pictures each has drawn or will."""
        rows = self._rows(
            """
            SELECT created, CASE WHEN ended IS NULL THEN coalesce(json_extract(request, '$.count'), 1)
                ELSE max(started != '', (SELECT count(*) FROM job_picture WHERE job = job.id)) END
            FROM job WHERE owner = ? AND created > ? ORDER BY created""",
            (owner, _iso(since)),
        )
        return tuple((datetime.fromisoformat(created), int(pictures)) for created, pictures in rows)

    def usage(self) -> dict[str, tuple[int, int, str]]:
        """Of every owner: jobs and pictures among those still remembered, and when the last job came."""
        rows = self._rows(
            "SELECT owner, count(DISTINCT job.id), count(picture), max(created) "
            "FROM job LEFT JOIN job_picture ON job_picture.job = job.id GROUP BY owner",
            (),
        )
        return {owner: (jobs, pictures, last) for owner, jobs, pictures, last in rows}

    def reorder(self, urgency: Mapping[str, int]) -> None:
        with self._changes() as db:
            db.execute("UPDATE job SET urgency = 0 WHERE urgency != 0 AND ended IS NULL")
            db.executemany("UPDATE job SET urgency = ? WHERE id = ?", [(more, job) for job, more in urgency.items()])

    def setting(self, name: str) -> str:
        rows = self._rows("SELECT value FROM setting WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else ""

    def set_setting(self, name: str, value: str) -> None:
        with self._changes() as db:
            db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))

    def places(self, job: str) -> frozenset[int]:
        """Which of the job's pictures are kept already, counted from 0."""
        return frozenset(place for (place,) in self._rows("SELECT place FROM job_picture WHERE job = ?", (job,)))

    def _tickets(self, where: str, values: Iterable[object]) -> Iterator[Ticket]:
        columns = "number, id, owner, state, request, inputs, reason, created, started, finished, attempts, urgency"
        rows = self._rows(f"SELECT {columns} FROM job {where}", values)
        for number, job, owner, state, request, inputs, reason, created, started, finished, attempts, urgency in rows:
            pictures = self._rows("SELECT picture FROM job_picture WHERE job = ? ORDER BY place", (job,))
            yield Ticket(
                number=number,
                id=job,
                owner=owner,
                state=JobState(state),
                request=_read(request),
                inputs=json.loads(inputs),
                reason=reason,
                pictures=tuple(picture for (picture,) in pictures),
                created=created,
                started=started,
                finished=finished,
                attempts=attempts,
                urgency=urgency,
            )

    def _rows(self, query: str, values: Iterable[object]) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(query, tuple(values)).fetchall()
        except sqlite3.Error as unreadable:
            raise _in_plain_words(unreadable) from unreadable

    @contextmanager
    def _changes(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on the disk when the block is left."""
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
            self._recent.clear()
        except BaseException as failed:
            if db.in_transaction:
                db.execute("ROLLBACK")
            if isinstance(failed, sqlite3.Error):
                raise _in_plain_words(failed) from failed
            raise

    @staticmethod
    def _prune(db: sqlite3.Connection) -> None:
        db.execute(
            "DELETE FROM job WHERE ended IS NOT NULL AND ended <= (SELECT max(ended) FROM job) - ?", (KEPT_JOBS,)
        )
        db.execute("DELETE FROM input WHERE sha256 NOT IN (SELECT value FROM job, json_each(job.inputs))")


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
    try:
        if not _is_sound(db):
            db.close()
            aside = _set_aside(path)
            log.warning("%s is damaged and was moved to %s; starting with an empty queue.", path, aside)
            return _open(path)
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # NORMAL could lose the last accepted jobs in a power cut
    except sqlite3.Error as denied:
        db.close()
        raise _in_plain_words(denied) from denied
    return db


def _is_sound(db: sqlite3.Connection) -> bool:
    try:
        return bool(db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError as broken:
        if broken.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return False
        raise


def _set_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _in_plain_words(error: sqlite3.Error) -> StudioError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # errors of the Python module itself have none
    if code == sqlite3.SQLITE_FULL:
        return DiskFull("The disk is full: the job list cannot be written. Make room, then try again.")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return ReadOnly("The job list cannot be written; check that the data folder is writable.")
    if code == sqlite3.SQLITE_IOERR:
        return ReadOnly("The disk with the job list reports an error; check that it has room and is connected.")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return ReadOnly("The job list is in use by another program; try again in a moment.")
    return StudioError(f"The job list could not be used ({error}); restart the studio.")


def _read(request: str) -> ResolvedRequest | None:
    try:
        return ResolvedRequest.model_validate_json(request)
    except ValidationError:
        return None


def _now() -> str:
    return _iso(datetime.now(UTC))


def _iso(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds")
