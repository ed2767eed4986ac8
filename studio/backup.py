"""Everything an artist would miss, in one file and back: pictures, what they came from, jobs, people, own presets."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Final

from studio.errors import BadRequest, DiskFull, NotFound, ReadOnly

_MANIFEST: Final = "backup.json"
#: What can be made again, or belongs to one start.
_LEFT_OUT: Final = frozenset({"thumbs", "credentials", "studio.lock", _MANIFEST})
_CHUNK: Final = 2**20


def backup(data: Path, target: Path) -> int:
    """Write `data` into one new zip file, while the studio runs or not. Returns how many files it holds.

    Raises:
        NotFound: there is no such folder.
        BadRequest: the target exists.
        DiskFull, ReadOnly: it cannot be written; no torn file is left.
    """
    if not data.is_dir():
        raise NotFound(f"There is no folder {data} to back up; name it with --data-dir.")
    if target.exists():
        raise BadRequest(f"{target} exists already; choose another name for the backup.")
    if target.resolve().is_relative_to(data.resolve()):
        raise BadRequest(f"{target} lies in what is to be backed up; put it on another disk.")
    torn = target.with_name(f".{target.name}.part")
    sums: dict[str, str] = {}
    try:
        with zipfile.ZipFile(torn, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
            for name, file in sorted(_contents(data)):
                with tempfile.TemporaryDirectory(dir=target.parent.resolve()) as scratch:
                    source = _copy_of(file, Path(scratch)) if file.suffix == ".sqlite3" else file
                    try:
                        sums[name] = _put(archive, name, source)
                    except FileNotFoundError:
                        continue  # moved to the trash meanwhile; it is found there
            note = {"made": datetime.now(UTC).isoformat(timespec="seconds"), "files": sums}
            archive.writestr(_MANIFEST, json.dumps(note, indent=1))
        with torn.open("rb") as whole:
            os.fsync(whole.fileno())
        torn.rename(target)
    except OSError as failed:
        torn.unlink(missing_ok=True)
        if failed.errno == errno.ENOSPC:
            raise DiskFull(f"The disk is full: {target} could not be written.") from failed
        raise ReadOnly(f"{target} could not be written ({failed.strerror}).") from failed
    return len(sums)


def restore(source: Path, data: Path) -> int:
    """Put a backup into a new folder, every file compared with what was written down of it. Returns how many.

    Raises:
        BadRequest: `data` holds something already, or the file is no whole backup; nothing is left of it then.
        NotFound: there is no such file.
        DiskFull, ReadOnly: the folder cannot be written.
    """
    if not source.is_file():
        raise NotFound(f"There is no file {source} to restore.")
    if data.exists() and any(data.iterdir()):
        raise BadRequest(f"{data} is not empty; restore into a new folder with --data-dir, then look before you swap.")
    torn: Path | None = None
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        torn = Path(tempfile.mkdtemp(prefix=f".{data.name}-", dir=data.parent))
        with zipfile.ZipFile(source) as archive:
            sums = _manifest(archive)
            for name, expected in sums.items():
                file = torn / _safe(name)
                file.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as packed, file.open("xb") as written:
                    if _copy(packed, written) != expected:
                        raise BadRequest(f"{name} in {source.name} is damaged; nothing was restored.")
                    os.fsync(written.fileno())
        if data.exists():
            data.rmdir()
        torn.rename(data)
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, EOFError) as damaged:
        raise BadRequest(f"{source.name} is not a whole backup; nothing was restored.") from damaged
    except OSError as failed:
        if failed.errno == errno.ENOSPC:
            raise DiskFull(f"The disk is full: {data} could not be restored.") from failed
        raise ReadOnly(f"{data} could not be written ({failed.strerror}).") from failed
    finally:
        if torn is not None:
            shutil.rmtree(torn, ignore_errors=True)
    return len(sums)


def _contents(data: Path) -> Iterator[tuple[str, Path]]:
    for folder, folders, names in os.walk(data):
        here = Path(folder)
        top = here == data
        folders[:] = [name for name in folders if not (top and name in _LEFT_OUT) and not (here / name).is_symlink()]
        for name in names:
            file = here / name
            left_out = (top and name in _LEFT_OUT) or name.endswith(("-wal", "-shm"))
            if not left_out and not file.is_symlink() and file.is_file():
                yield file.relative_to(data).as_posix(), file


def _copy_of(database: Path, scratch: Path) -> Path:
    """A database may be in use: SQLite copies it as of one moment, log included. A damaged one is taken as it is."""
    copy = scratch / database.name
    try:
        with closing(sqlite3.connect(database)) as original, closing(sqlite3.connect(copy)) as copied:
            original.backup(copied)
    except sqlite3.Error:
        return database
    return copy


def _put(archive: zipfile.ZipFile, name: str, source: Path) -> str:
    about = zipfile.ZipInfo.from_file(source, name, strict_timestamps=False)
    with source.open("rb") as read, archive.open(about, "w") as packed:
        return _copy(read, packed)


def _copy(read: IO[bytes], written: IO[bytes]) -> str:
    """The SHA-256 of what was copied."""
    digest = hashlib.sha256()
    while part := read.read(_CHUNK):
        digest.update(part)
        written.write(part)
    return digest.hexdigest()


def _manifest(archive: zipfile.ZipFile) -> dict[str, str]:
    if archive.getinfo(_MANIFEST).file_size > 512 * _CHUNK:
        raise zipfile.BadZipFile
    try:
        files = json.loads(archive.read(_MANIFEST))["files"]
    except (ValueError, TypeError) as nonsense:
        raise zipfile.BadZipFile from nonsense
    if not isinstance(files, dict) or not all(isinstance(digest, str) for digest in files.values()):
        raise zipfile.BadZipFile
    return files


def _safe(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name or not path.parts:
        raise zipfile.BadZipFile
    return path
