"""The gallery's database as a file: opened, migrated, written whole or not at all, read even when damaged."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from studio.errors import DiskFull, ReadOnly, StudioError
from studio.gallery_db import MIGRATIONS, SELECT, Row, insert

Answer = TypeVar("Answer")


class Database:
    """One connection behind one lock. Where it cannot be written or is damaged, a view of it that can be read.

    `trouble` is empty, or the sentence that says why nothing can be written.
    """

    def __init__(self, file: Path) -> None:
        self._lock = threading.RLock()
        self.file = file
        self.trouble = ""
        self.damaged = False
        try:
            self._db = _open(file)
        except sqlite3.Error as fault:
            self._db, self.damaged = _fallback(file, fault)
            self.trouble = str(_sentence(file, fault))
        except _Newer:
            self._db = _read_only(file)
            self.trouble = f"The gallery's database {file} was written by a newer Pochade; update this one."

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def read(self, ask: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Ask the database; when it turns out to be damaged, ask what can be saved of it."""
        with self._lock:
            try:
                return ask(self._db)
            except sqlite3.Error as fault:
                if not _is_damage(fault) or self.damaged:
                    raise _sentence(self.file, fault) from fault
                self._give_up()
                return ask(self._db)

    def write(self, change: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Make `change` whole or not at all; it is on the disk when this returns.

        Raises:
            DiskFull, ReadOnly: nothing was changed.
        """
        with self._lock:
            if not self.revive():
                raise ReadOnly(self.trouble)
            try:
                with _transaction(self._db) as db:
                    return change(db)
            except sqlite3.Error as fault:
                if _is_damage(fault):
                    self._give_up()
                raise _sentence(self.file, fault) from fault

    def _give_up(self) -> None:
        broken = self._db
        self._db, self.trouble, self.damaged = _view(salvage(broken)), _damage(self.file), True
        broken.close()

    def revive(self) -> bool:
        """Try once more whether it can be written: a disk that was full or not there may be back."""
        with self._lock:
            if self.damaged or not self.trouble:
                return not self.trouble
            try:
                opened = _open(self.file)
            except (sqlite3.Error, _Newer):
                return False
            self._db.close()
            self._db, self.trouble = opened, ""
            return True

    def salvage(self) -> list[Row]:
        with self._lock:
            return salvage(self._db)


def salvage(db: sqlite3.Connection) -> list[Row]:
    """Every row that can still be read, halving the range around what cannot."""
    rows: list[Row] = []
    ranges = [(0, _last_serial(db))]
    while ranges:
        low, high = ranges.pop()
        try:
            found = db.execute(f"{SELECT} WHERE serial BETWEEN ? AND ?", (low, high)).fetchall()
        except sqlite3.Error:
            if low < high:
                middle = (low + high) // 2
                ranges += [(low, middle), (middle + 1, high)]
            continue
        rows += map(dict, found)
    return rows


def _last_serial(db: sqlite3.Connection) -> int:
    # The end of the table may be what is broken; an index knows it too.
    for query in ("SELECT max(serial) FROM pictures", "SELECT max(serial) FROM pictures INDEXED BY pictures_known"):
        with suppress(sqlite3.Error):
            return int(db.execute(query).fetchone()[0] or 0)
    return -1


def _damage(file: Path) -> str:
    return f"The gallery's database {file.name} is damaged; rebuild it from the pictures, which are all still there."


class _Newer(Exception):
    pass


def _open(file: Path) -> sqlite3.Connection:
    db = _connection(str(file))
    try:
        if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise sqlite3.OperationalError("this file system cannot keep a write-ahead log")
        db.execute("PRAGMA synchronous = FULL")
        _migrate(db)
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise _as_damage()
    except (sqlite3.Error, _Newer):
        db.close()
        raise
    return db


def _connection(name: str, *, uri: bool = False) -> sqlite3.Connection:
    db = sqlite3.connect(name, timeout=10, isolation_level=None, check_same_thread=False, uri=uri)
    db.row_factory = sqlite3.Row
    db.text_factory = lambda raw: raw.decode(errors="replace")  # a damaged text must not hide its neighbours
    return db


def _migrate(db: sqlite3.Connection) -> None:
    with _transaction(db):
        db.execute("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, applied TEXT NOT NULL)")
        # SQLite says that a file is read-only at its first change, not at BEGIN IMMEDIATE.
        db.execute("DELETE FROM migrations WHERE number < 0")
        done = {row[0] for row in db.execute("SELECT number FROM migrations")}
        if done and max(done) > len(MIGRATIONS):
            raise _Newer
        for number, statements in enumerate(MIGRATIONS, 1):
            if number not in done:
                for statement in statements:
                    db.execute(statement)
                db.execute("INSERT INTO migrations VALUES (?, ?)", (number, datetime.now(UTC).isoformat()))


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _fallback(file: Path, fault: sqlite3.Error) -> tuple[sqlite3.Connection, bool]:
    """What can be read instead, and whether it is only what was saved of a damaged file."""
    if not _is_damage(fault):
        return _read_only(file), False
    try:
        with closing(_connection(file.absolute().as_uri() + "?mode=ro", uri=True)) as broken:
            return _view(salvage(broken)), True
    except sqlite3.Error:
        return _view([]), True


def _read_only(file: Path) -> sqlite3.Connection:
    """The file as it is, or, where even reading is refused, an empty gallery."""
    log = file.with_name(f"{file.name}-wal")
    # Beside a log it must be honoured; without one the file alone is the whole truth and no -shm file is needed.
    mode = "mode=ro" if _has_content(log) else "immutable=1"
    try:
        db = _connection(f"{file.absolute().as_uri()}?{mode}", uri=True)
        db.execute(f"{SELECT} LIMIT 1").fetchall()
    except sqlite3.Error:
        return _view([])
    return db


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def _view(rows: list[Row]) -> sqlite3.Connection:
    db = _connection(":memory:")
    _migrate(db)
    with _transaction(db):
        for row in rows:
            with suppress(sqlite3.Error):
                insert(db, row)
    return db


def _as_damage() -> sqlite3.DatabaseError:
    fault = sqlite3.DatabaseError("quick_check found damage")
    fault.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return fault


def _code(fault: sqlite3.Error) -> int:
    return getattr(fault, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _is_damage(fault: sqlite3.Error) -> bool:
    return _code(fault) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _sentence(file: Path, fault: sqlite3.Error) -> StudioError:
    match _code(fault):
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            # SQLite says "I/O error" for every quota and size limit but a full disk.
            return DiskFull(f"The gallery's database in {file.parent} could not be written; free some space there.")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return ReadOnly(f"Another program keeps the gallery's database {file} locked; close it, then save again.")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return ReadOnly(_damage(file))
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return ReadOnly(f"The gallery's database in {file.parent} cannot be written; check that folder.")
        case _:
            return StudioError(f"The gallery's database {file} refused ({fault}).")
