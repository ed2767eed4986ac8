"""How the gallery's files come and go: whole or not at all, never over another, with names every system takes."""

from __future__ import annotations

import errno
import os
import re
import secrets
import string
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from studio.errors import BadRequest, DiskFull, ReadOnly, StudioError
from studio.gallery_origin import PARAMETERS, Finish, Finishing, Origin, detached, plain, texts
from studio.request import GenerationResult

LONGEST_NAME: Final = 120
_NUMBERS: Final = ("number", "seed", "width", "height")
_TEXTS: Final = ("model", "date", "time", "prompt")
FIELDS: Final = (*_NUMBERS, *_TEXTS)

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT)
_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EACCES)
_SPEC: Final = re.compile(r"0?\d?\d?d?")
_PLAIN: Final = re.compile("")
_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?", re.IGNORECASE)


@contextmanager
def sentences(folder: Path) -> Iterator[None]:
    """Turns what the system says about writing below `folder` into what the artist can do about it."""
    try:
        yield
    except OSError as fault:
        if fault.errno in _FULL:
            raise DiskFull(f"There is no room left to write in {folder}; free some space, then save again.") from fault
        if fault.errno in _CLOSED:
            raise ReadOnly(f"Nothing can be written in {folder}; check that it is there and is yours.") from fault
        raise StudioError(f"Writing in {folder} failed ({fault.strerror or fault}); check the disk.") from fault


def write_png(
    result: GenerationResult, folder: Path, name: str, title: str, licence: str = "", finish: Finish = plain
) -> tuple[Path, str]:
    """Write `result` as `name`.png into `folder`, or beside a file of that name; returns its path and infotext.

    Raises:
        DiskFull, ReadOnly: nothing was written.
    """
    origin = Origin(
        created=datetime.now(UTC),
        title=title,
        digest=result.model_digest,
        licence=licence,
        device=result.device,
        seconds=result.seconds,
        request=detached(result.request),
    )
    chunks = texts(result, origin)
    data = finish(Finishing(result, origin, chunks))
    with sentences(folder):
        make_folder(folder)
        while True:
            target = free_name(folder / f"{name}.png")
            try:
                write_new(target, data)
            except FileExistsError:
                continue  # somebody was faster
            return target, chunks[PARAMETERS]


def write_new(target: Path, data: bytes) -> None:
    """Write `data` durably to `target`: temporary file, fsync, rename, fsync of the folder.

    Raises:
        FileExistsError: there is a file of that name; it is left as it is.
        OSError: anything else; nothing is left behind.
    """
    temporary = _written(target, data)
    try:
        _rename_new(temporary, target)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    try:
        sync_folder(target.parent)
    except OSError:
        target.unlink()
        raise


def write_over(target: Path, data: bytes) -> None:
    """As `write_new`, but what had that name is replaced in one stroke."""
    temporary = _written(target, data)
    try:
        temporary.replace(target)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def move_new(source: Path, target: Path) -> None:
    """Give `source` the name `target`, never taking another file's.

    Raises:
        FileExistsError: that name is taken.
    """
    make_folder(target.parent)
    _rename_new(source, target)
    # The move is done; whether it outlasts a power cut or not, the file is in one of the two places.
    with suppress(OSError):
        sync_folder(target.parent)
        sync_folder(source.parent)


def make_folder(folder: Path) -> None:
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def free_name(target: Path) -> Path:
    """`target`, or its first neighbour `name-2`, `name-3`, … that is free."""
    count, candidate = 1, target
    while os.path.lexists(candidate):
        count += 1
        candidate = target.with_name(f"{target.stem}-{count}{target.suffix}")
    return candidate


def sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open a folder, and keeps its entries in a journal
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _written(target: Path, data: bytes) -> Path:
    temporary = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    return temporary


def _rename_new(source: Path, target: Path) -> None:
    if os.name != "nt":
        try:
            # rename(2) would replace a file of that name; link(2) does not.
            os.link(source, target)
        except OSError as fault:
            if fault.errno not in _NO_LINKS:
                raise
        else:
            try:
                source.unlink()
            except OSError:
                target.unlink()
                raise
            return
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    source.rename(target)


def check_pattern(pattern: str) -> None:
    """Raises:
    BadRequest: a file name cannot be made from `pattern`.
    """
    try:
        name = file_name(pattern, dict.fromkeys(_NUMBERS, 1) | dict.fromkeys(_TEXTS, "x"))
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as broken:
        known = ", ".join(f"{{{field}}}" for field in FIELDS)
        raise BadRequest(f"The file name pattern “{pattern[:80]}” cannot be used; its fields are {known}.") from broken
    if not name:
        raise BadRequest("The file name pattern is empty; try {number:05d}-{seed}.")


def file_name(pattern: str, fields: Mapping[str, object]) -> str:
    """A name of at most 120 characters without its suffix, good on Linux, macOS and Windows alike.

    Only the fields themselves are reached, never their attributes. Other scripts and emoji are kept.
    """
    name = ""
    for literal, field, spec, conversion in string.Formatter().parse(pattern):
        name += literal
        if field is None:
            continue
        if conversion or not (_SPEC if field in _NUMBERS else _PLAIN).fullmatch(spec or ""):
            raise ValueError(f"{field!r} cannot be written so")
        value = fields[field]
        name += format(value, spec or "") if isinstance(value, int) else _words(str(value))
    name = _FORBIDDEN.sub("-", unicodedata.normalize("NFC", name))
    name = re.sub(r"\s+", " ", name).strip(" .-")
    while len(name) > LONGEST_NAME or len(name.encode()) > 2 * LONGEST_NAME:
        name = name[:-1]
    name = name.strip(" .-")
    return f"_{name}" if _DEVICES.fullmatch(name) else name


def _words(text: str) -> str:
    """A prompt as part of a name: its letters, digits and marks, at most 60 characters, ended at a word."""
    kept = "".join(c if unicodedata.category(c)[0] in "LNMS" or c in "-_" else " " for c in text)
    kept = " ".join(_FORBIDDEN.sub(" ", kept).split())
    if len(kept) > 60:
        kept = kept[:61].rpartition(" ")[0] or kept[:60]
    return kept
