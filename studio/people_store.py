"""The durable side of invitations, people and sessions. Of keys and passwords it holds hashes only."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from studio.access import Person, Scope
from studio.errors import DiskFull, ReadOnly, StudioError


@dataclass(frozen=True, slots=True)
class Invitation:
    """A key that lets `browsers` browsers in (None: any number), until `expires` (Unix seconds; None: never).

    With a `person` every browser is that one's; without, each becomes a person of its own.
    """

    id: str
    name: str
    scope: Scope
    person: str | None
    browsers: int | None
    used: int
    created: float
    expires: float | None
    revoked: bool


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser. It ends at `expires` unless it is seen before, and at `ends` in any case."""

    id: str
    person: Person
    invitation: str | None
    browser: str
    created: float
    seen: float
    expires: float
    ends: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A browser that has just come in: `token` goes into its cookie and is nowhere else."""

    token: str
    session: Session


def _first_tables(db: sqlite3.Connection) -> None:
    db.execute("""
        CREATE TABLE invitation (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            scope TEXT NOT NULL,
            key_hash TEXT NOT NULL UNIQUE,
            person TEXT,
            browsers INTEGER,
            used INTEGER NOT NULL DEFAULT 0,
            created REAL NOT NULL,
            expires REAL,
            revoked INTEGER NOT NULL DEFAULT 0,
            terminal INTEGER NOT NULL DEFAULT 0
        )""")
    db.execute("""
        CREATE TABLE person (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            scope TEXT NOT NULL,
            invitation TEXT REFERENCES invitation (id),
            created REAL NOT NULL,
            revoked INTEGER NOT NULL DEFAULT 0
        )""")
    db.execute("""
        CREATE TABLE account (
            login TEXT PRIMARY KEY,
            person TEXT NOT NULL REFERENCES person (id),
            password TEXT NOT NULL
        )""")
    db.execute("""
        CREATE TABLE session (
            id TEXT PRIMARY KEY,
            token_hash TEXT NOT NULL UNIQUE,
            person TEXT NOT NULL REFERENCES person (id),
            invitation TEXT,
            browser TEXT NOT NULL,
            created REAL NOT NULL,
            seen REAL NOT NULL,
            expires REAL NOT NULL,
            ends REAL NOT NULL
        )""")
    db.execute("CREATE INDEX session_of ON session (person)")
    db.execute("""
        CREATE TABLE shown (
            picture TEXT NOT NULL,
            person TEXT NOT NULL,
            at REAL NOT NULL,
            PRIMARY KEY (picture, person)
        ) WITHOUT ROWID""")


def _prompts_of_what_is_shown(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE shown ADD COLUMN prompt INTEGER NOT NULL DEFAULT 0")


#: Applied once each, in this order; `user_version` counts those applied.
MIGRATIONS: Final[tuple[Callable[[sqlite3.Connection], None], ...]] = (_first_tables, _prompts_of_what_is_shown)


class PeopleStore:
    """Every change is on the disk when its method returns. Not thread-safe.

    Raises:
        DiskFull, ReadOnly: it cannot be written; nothing has changed then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
        except sqlite3.Error as denied:
            raise self._in_plain_words(denied) from denied
        try:
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            if self._db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("quick_check found damage")
            with self.changes() as db:
                (done,) = db.execute("PRAGMA user_version").fetchone()
                if done > len(MIGRATIONS):
                    raise ReadOnly(f"{path} was written by a newer Pochade; update this one, or move the file away.")
                for number, migrate in enumerate(MIGRATIONS[done:], start=done + 1):
                    migrate(db)
                    db.execute(f"PRAGMA user_version = {number}")
        except (sqlite3.Error, OSError) as failed:
            self._db.close()
            raise self._in_plain_words(failed) from failed
        except StudioError:
            self._db.close()
            raise

    def close(self) -> None:
        self._db.close()

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as unreadable:
            raise self._in_plain_words(unreadable) from unreadable

    def change(self, statement: str, *values: object) -> int:
        """How many rows it touched."""
        with self.changes() as db:
            return db.execute(statement, values).rowcount

    def insert(self, table: str, **values: Any) -> None:
        with self.changes() as db:
            insert(db, table, **values)

    @contextmanager
    def changes(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on the disk when the block is left."""
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        except BaseException as failed:
            if db.in_transaction:
                db.execute("ROLLBACK")
            if isinstance(failed, sqlite3.Error):
                raise self._in_plain_words(failed) from failed
            raise

    def _in_plain_words(self, error: sqlite3.Error | OSError) -> StudioError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return DiskFull("The disk is full: the list of people cannot be written. Make room, then try again.")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return ReadOnly("The list of people is in use by another program; try again in a moment.")
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR):
            return ReadOnly("The list of people cannot be written; check that the data folder is writable.")
        return ReadOnly(
            f"The list of people {self._path.name} is damaged; restore a backup, or move it away and invite anew."
        )


def insert(db: sqlite3.Connection, table: str, **values: Any) -> None:
    names = ", ".join(values)
    db.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(values))})", tuple(values.values()))


def as_person(row: sqlite3.Row) -> Person:
    return Person(row["id"], row["name"], Scope(row["scope"]))


def as_invitation(row: sqlite3.Row) -> Invitation:
    return Invitation(
        id=row["id"],
        name=row["name"],
        scope=Scope(row["scope"]),
        person=row["person"],
        browsers=row["browsers"],
        used=row["used"],
        created=row["created"],
        expires=row["expires"],
        revoked=bool(row["revoked"]),
    )


def as_session(row: sqlite3.Row, person: Person) -> Session:
    return Session(
        id=row["id"],
        person=person,
        invitation=row["invitation"],
        browser=row["browser"],
        created=row["created"],
        seen=row["seen"],
        expires=row["expires"],
        ends=row["ends"],
    )
