"""Small text files the studio keeps for artists: written whole or not at all."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from studio.errors import DiskFull, ReadOnly


def write(file: Path, text: str) -> None:
    """Put `text` in the place of what `file` holds.

    Raises:
        DiskFull, ReadOnly: nothing has changed.
    """
    draft = file.with_name(f"{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8", newline="") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        draft.replace(file)
    except OSError as denied:
        with suppress(OSError):
            draft.unlink()
        full = denied.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "The disk is full" if full else f"The folder {file.parent.name} cannot be written"
        raise (DiskFull if full else ReadOnly)(f"{why}; nothing was kept. Make room and try again.") from denied
