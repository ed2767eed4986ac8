"""What scans found out, kept between starts: facts by file and date, hashes of large files.

It is a memory, not a source: lost or damaged, it is made anew. Two processes may share it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from studio.catalog_facts import VERSION, Facts

FILE: Final = "models.sqlite3"
#: Seconds to wait for the other process.
_PATIENCE: Final = 10.0
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS facts (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, facts TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS hashes (
        path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, kind TEXT NOT NULL, hash TEXT NOT NULL,
        PRIMARY KEY (path, kind)) WITHOUT ROWID""",
)
log = logging.getLogger(__name__)

#: Path → its stamp (`Place.stamp`) and what it was then.
Known = Mapping[str, tuple[str, Facts]]


class Index:
    """`folder`: where its file lies; None keeps it in memory alone."""

    def __init__(self, folder: Path | None) -> None:
        self._lock = threading.Lock()
        self._db = self._open(folder)

    def known(self) -> Known:
        """All of it at once; what cannot be read is left out."""
        found: dict[str, tuple[str, Facts]] = {}
        for path, stamp, text in self._rows("SELECT path, stamp, facts FROM facts"):
            try:
                found[str(path)] = (str(stamp), Facts.of_text(str(text)))
            except ValueError:
                log.warning("The index of models holds nonsense about %s; it is looked at again.", path)
        return found

    def keep(self, found: Known) -> None:
        rows = [(path, stamp, facts.text()) for path, (stamp, facts) in found.items()]
        if rows:
            self._write("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", rows)

    def hash(self, path: Path, size: int, mtime_ns: int, kind: str) -> str:
        """ "" when it was not computed for this very file."""
        rows = self._rows(
            "SELECT hash FROM hashes WHERE path = ? AND size = ? AND mtime_ns = ? AND kind = ?",
            (written(path), size, mtime_ns, kind),
        )
        return str(rows[0][0]) if rows else ""

    def hashes(self, kind: str) -> Mapping[tuple[str, int, int], str]:
        """(path, size, mtime_ns) → hash."""
        rows = self._rows("SELECT path, size, mtime_ns, hash FROM hashes WHERE kind = ?", (kind,))
        return {(str(path), int(str(size)), int(str(mtime))): str(value) for path, size, mtime, value in rows}

    def keep_hash(self, path: Path, size: int, mtime_ns: int, kind: str, value: str) -> None:
        row = (written(path), size, mtime_ns, kind, value)
        self._write("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)", [row])

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except sqlite3.Error as broken:
            log.warning("The index of models cannot be read (%s).", broken)
            return []

    def _write(self, query: str, rows: Sequence[tuple[object, ...]]) -> None:
        try:
            with self._lock, self._db:
                self._db.executemany(query, rows)
        except sqlite3.Error as broken:  # a full or read-only disk: the next start looks again
            log.warning("The index of models cannot be written (%s).", broken)

    @staticmethod
    def _open(folder: Path | None) -> sqlite3.Connection:
        if folder is None:
            return _prepared(":memory:")
        file = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return _prepared(str(file))
        except (OSError, sqlite3.OperationalError) as denied:
            log.warning("The index of models cannot be kept in %s (%s).", folder, denied)
            return _prepared(":memory:")
        except sqlite3.DatabaseError as damaged:
            log.warning("The index of models is damaged (%s); it is made anew.", damaged)
        try:
            for leftover in (file, *folder.glob(f"{FILE}-*")):
                leftover.unlink(missing_ok=True)
            return _prepared(str(file))
        except (OSError, sqlite3.Error):
            return _prepared(":memory:")


def _prepared(place: str) -> sqlite3.Connection:
    db = sqlite3.connect(place, timeout=_PATIENCE, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("damaged")
        outdated = db.execute("PRAGMA user_version").fetchone()[0] != VERSION
        with db:
            if outdated:
                db.execute("DROP TABLE IF EXISTS facts")
            for table in _TABLES:
                db.execute(table)
            db.execute(f"PRAGMA user_version = {VERSION}")
    except sqlite3.Error:
        db.close()
        raise
    return db


def written(path: Path) -> str:
    """Names that are no UTF-8 have a way to be written down, too."""
    return str(path).encode("utf-8", "backslashreplace").decode()
