"""Models into the trash: moved aside on their own disk, with what lies beside them, and back again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from studio.catalog_scan import Entry
from studio.errors import BadRequest, ReadOnly

#: A scan leaves hidden folders out.
TRASH: Final = ".trash"


@dataclass(frozen=True, slots=True)
class Trashed:
    """`grave` is the folder where it now is; `moved` says from where each part came."""

    grave: Path
    moved: tuple[tuple[Path, Path], ...]


def restore(trashed: Trashed) -> None:
    """Put it back where it was.

    Raises:
        BadRequest: something else lies there now, or the trash has been emptied; nothing has changed.
    """
    if any(source.exists() or not target.exists() for source, target in trashed.moved):
        raise BadRequest(f"It cannot be put back by itself; look into {trashed.grave}.")
    for source, target in trashed.moved:
        target.rename(source)
    trashed.grave.rmdir()


def trash(entry: Entry) -> Trashed:
    """Move a file or folder into the trash of the model folder it lies in.

    Raises:
        BadRequest: it came with the studio, or is a whole model folder.
        ReadOnly: it cannot be moved; nothing has changed.
    """
    place, root = entry.place, entry.place.root.path
    if entry.embedded:
        raise BadRequest("What came with the studio belongs to it; it stays.")
    path = place.path
    if path == root:
        raise BadRequest("This is a whole model folder; take it out of --models-dir instead.")
    grave = root / TRASH / f"{time.strftime('%Y-%m-%d %H.%M.%S')} {path.name}"
    number = 1
    while grave.exists():
        number += 1
        grave = grave.with_name(f"{grave.name.removesuffix(f' ({number - 1})')} ({number})")
    beside = [side.path for side in place.notes] + ([place.preview] if place.kind == "file" and place.preview else [])
    moved: list[tuple[Path, Path]] = []
    try:
        grave.mkdir(parents=True)
        for source in (path, *([] if place.class_name else beside)):
            target = grave / source.name
            source.rename(target)
            moved.append((source, target))
    except OSError as denied:
        for source, target in reversed(moved):
            target.rename(source)
        raise ReadOnly(
            f"“{path.name}” cannot be moved ({denied.strerror}); check the folder’s permissions."
        ) from denied
    return Trashed(grave, tuple(moved))
