"""Hashes of weights files as other programs know them, computed in the background without getting in the way."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from studio.headers import read_header

#: The whole file, of which A1111's model hash is the beginning; and a LoRA's tensors alone, which stay the same when
#: its notes are edited (A1111's hash in infotexts, AutoV3 to Civitai).
SHA256: Final = "sha256"
TENSORS: Final = "tensors"
_BLOCK: Final = 2**22
log = logging.getLogger(__name__)


def sha256(path: Path, begin: int = 0, pause: Callable[[float], bool] = lambda seconds: False) -> str:
    """Hex digest of the file from byte `begin` on; "" when `pause` says to stop.

    `pause` is told after every block how many seconds it took.
    """
    total = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(begin)
        before = time.perf_counter()
        while block := file.read(_BLOCK):
            total.update(block)
            if pause(time.perf_counter() - before):
                return ""
            before = time.perf_counter()
    return total.hexdigest()


def of(path: Path, kind: str, pause: Callable[[float], bool] = lambda seconds: False) -> str:
    """Raises:
    ModelError, OSError: the file is damaged or cannot be read.
    """
    return sha256(path, read_header(path).start if kind == TENSORS else 0, pause)
