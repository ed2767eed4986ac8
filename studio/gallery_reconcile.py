"""Files and rows compared, in both directions: what has no row is adopted, what has no file is marked, all is kept."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from studio import gallery_origin, image
from studio.errors import ReadOnly, UnreadablePicture
from studio.gallery_db import Row, insert
from studio.gallery_files import free_name, sentences
from studio.gallery_store import Database

PICTURES: Final = "pictures"
TRASH: Final = "trash"
_BATCH: Final = 200
_MOVE: Final = "UPDATE pictures SET path = ?, trashed = ?, missing = 0 WHERE path = ?"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What start-up found. Counts pictures.

    Attributes:
        adopted: Files that had no row and have one now.
        moved: Rows whose file lay in another place.
        found: Rows whose missing file is back.
        missing: Rows whose file is gone; they are kept.
        unreadable: Files that are no whole PNG, relative to the gallery's folder; they are left alone.
        leftovers: Temporary files of interrupted writes; they are left alone.
        refused: Why nothing was compared, or empty.
    """

    adopted: int = 0
    moved: int = 0
    found: int = 0
    missing: int = 0
    unreadable: tuple[str, ...] = ()
    leftovers: int = 0
    refused: str = ""


def reconcile(database: Database, folder: Path, kept: Mapping[str, Row] | None = None) -> Reconciliation:
    """One walk of the folder against one select; only files without a row are opened.

    `kept`: rows of a database given up, by path, whose favourites and ids live on.
    """
    with sentences(folder):
        files, leftovers = _walk(folder)
    known = database.read(_missing_by_path)
    lost = known.keys() - files
    moved = _moves(files - known.keys(), lost)
    lost -= moved.keys()
    database.write(lambda db: db.executemany(_MOVE, [(new, _trashed(new), old) for old, new in moved.items()]))
    orphans = sorted(files - known.keys() - set(moved.values()))
    unreadable: list[str] = []
    rehomed: list[str] = []
    for start in range(0, len(orphans), _BATCH):
        rows: list[Row] = []
        for path in orphans[start : start + _BATCH]:
            try:
                rows.append(_row(folder, path, (kept or {}).get(path)))
            except (UnreadablePicture, OSError):
                unreadable.append(path)
        rehomed += database.write(partial(_adopt_all, rows=rows, lost=lost))
    lost -= set(rehomed)
    marks = [(1, path) for path in lost if not known[path]]
    marks += [(0, path) for path in known.keys() & files if known[path]]
    database.write(lambda db: db.executemany("UPDATE pictures SET missing = ? WHERE path = ?", marks))
    missing = sum(mark for mark, _ in marks)
    return Reconciliation(
        adopted=len(orphans) - len(unreadable) - len(rehomed),
        moved=len(moved) + len(rehomed),
        found=len(marks) - missing,
        missing=missing,
        unreadable=tuple(unreadable),
        leftovers=leftovers,
    )


def rebuild(old: Database, folder: Path) -> tuple[Database, Reconciliation]:
    """A database made anew from the files takes the place of `old`, which is closed and set aside.

    Favourites, and the ids of other programs' pictures, are kept where `old` can still be read.
    """
    file = old.file
    kept = {str(row["path"]): row for row in old.salvage()}
    with sentences(folder):
        fresh = file.with_name(f"{file.name}.new")
        for leftover in _with_logs(fresh):
            leftover.unlink(missing_ok=True)
        building = Database(fresh)
        try:
            if building.trouble:
                raise ReadOnly(building.trouble)
            outcome = reconcile(building, folder, kept)
        finally:
            building.close()
        old.close()
        aside = free_name(file.with_name(f"{file.name}.broken-{datetime.now().astimezone():%Y%m%d-%H%M%S}"))
        _swap(fresh, file, aside)
    return Database(file), outcome


def _swap(fresh: Path, file: Path, aside: Path) -> None:
    """`fresh` takes the name `file` in one stroke; what had it is `aside`. On a fault nothing has changed."""
    logs = [pair for pair in zip(_with_logs(file)[1:], _with_logs(aside)[1:], strict=True) if pair[0].exists()]
    moved: list[tuple[Path, Path]] = []
    if file.exists():
        try:
            os.link(file, aside)
        except OSError:
            shutil.copy2(file, aside)
    try:
        # A log beside a database it does not belong to would be played into it.
        for log, name in logs:
            log.rename(name)
            moved.append((log, name))
        fresh.replace(file)
    except OSError:
        for log, name in moved:
            name.rename(log)
        aside.unlink(missing_ok=True)
        raise


def _with_logs(file: Path) -> list[Path]:
    return [file.with_name(file.name + suffix) for suffix in ("", "-wal", "-shm")]


def _missing_by_path(db: sqlite3.Connection) -> dict[str, bool]:
    return {path: bool(missing) for path, missing in db.execute("SELECT path, missing FROM pictures")}


def _walk(folder: Path) -> tuple[set[str], int]:
    """PNG files below pictures/ and trash/ by relative path, and the number of temporary files."""
    files: set[str] = set()
    leftovers = 0
    waiting = [PICTURES, TRASH]
    while waiting:
        below = waiting.pop()
        try:
            entries = os.scandir(folder / below)
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                path = f"{below}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif entry.name.endswith(".part"):
                    leftovers += 1
                elif _is_picture(entry):
                    files.add(path)
    return files, leftovers


def _is_picture(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(".") or not entry.name.lower().endswith(".png"):
        return False
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return False  # a name in no encoding of today cannot be stored as text
    return entry.is_file(follow_symlinks=False)


def _moves(orphans: Iterable[str], lost: set[str]) -> dict[str, str]:
    """Old path → new path of files that went to the trash or back while their row did not hear of it."""
    moves = {}
    for path in orphans:
        root, _, rest = path.partition("/")
        other = f"{TRASH if root == PICTURES else PICTURES}/{rest}"
        if other in lost:
            moves[other] = path
    return moves


def _row(folder: Path, path: str, kept: Row | None) -> Row:
    file = folder / path
    size, chunks = image.png_texts(file.read_bytes())
    made = min(datetime.fromtimestamp(file.stat().st_mtime, UTC), datetime.now(UTC))
    row = gallery_origin.row(size, chunks, path, made)
    if kept:
        row["favourite"] = int(bool(kept["favourite"]))
        row["id"] = row["id"] or kept["id"]
    return row


def _adopt_all(db: sqlite3.Connection, rows: list[Row], lost: set[str]) -> list[str]:
    """The old places of those that were only moved."""
    return [old for row in rows if (old := _adopt(db, row, lost))]


def _adopt(db: sqlite3.Connection, row: Row, lost: set[str]) -> str:
    """Insert `row`; or, when it is a known picture in a new place, tell its row and return the old place."""
    old = db.execute("SELECT path FROM pictures WHERE id = ?", (row["id"],)).fetchone()
    if old and old["path"] in lost:
        db.execute(_MOVE, (row["path"], row["trashed"], old["path"]))
        return str(old["path"])
    job = db.execute("SELECT 1 FROM pictures WHERE job = ? AND number = ?", (row["job"], row["number"])).fetchone()
    if old or job:
        row = {**row, "job": ""}  # a copy: the original keeps its place in the job
    if old or not row["id"]:
        row = {**row, "id": gallery_origin.new_id(datetime.fromisoformat(str(row["created"])))}
    insert(db, row)
    return ""


def _trashed(path: str) -> int:
    return int(path.startswith(f"{TRASH}/"))
