"""How much memory this machine has, how much of it is free, and how much a stretch of work took at its peak."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]
import torch

_PROC: Final = Path("/proc")
_CGROUP: Final = Path("/sys/fs/cgroup")
#: What a cgroup of version 1 says that has no limit, and anything near it.
_NO_LIMIT: Final = 2**60
_UNITS: Final = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes. `free` is what can be had without swapping or being killed."""

    limit: int
    free: int


def host(proc: Path = _PROC, cgroups: Path = _CGROUP) -> Room:
    """Main memory, or the share of it that a container allows."""
    memory = psutil.virtual_memory()
    room = Room(memory.total, memory.available)
    for folder in _groups(proc, cgroups):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
        if limit is None or used is None or limit >= _NO_LIMIT:
            continue
        # Pages of files count as used there, and are given back whenever somebody wants the memory.
        told = _lines(folder / "memory.stat")
        given_back = told.get("inactive_file", 0) + told.get("active_file", 0)
        room = Room(min(room.limit, limit), min(room.free, max(limit - max(used - given_back, 0), 0)))
    return room


def card(place: torch.device, held: int) -> Room:
    """A device's own memory; `held` bytes of weights there count as taken by us, its cache as free."""
    if place.type == "cuda":
        free, limit = torch.cuda.mem_get_info(place)
        return Room(limit, free + torch.cuda.memory_reserved(place) - torch.cuda.memory_allocated(place))
    if place.type == "mps":
        limit = torch.mps.recommended_max_memory()
        return Room(limit, limit - torch.mps.driver_allocated_memory())
    room = host()
    return Room(room.limit, room.free - held)


class Gauge:
    """Measures the most memory that was taken at once since `start`, beyond what was taken then.

    Of the whole process on the CPU, of PyTorch's allocator on a card. None where the system does not tell.
    """

    def __init__(self, place: torch.device) -> None:
        self._place = place
        self._before: int | None = None

    def start(self) -> None:
        if self._place.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._place)
            self._before = torch.cuda.memory_allocated(self._place)
            return
        self._before = None
        if self._place.type == "cpu":
            # Writing 5 there sets the peak back to what is taken now.
            with contextlib.suppress(OSError):
                (_PROC / "self" / "clear_refs").write_text("5")
                self._before = _status("VmRSS")

    def peak(self) -> int | None:
        if self._before is None:
            return None
        if self._place.type == "cuda":
            return torch.cuda.max_memory_allocated(self._place) - self._before
        top = _status("VmHWM")
        return None if top is None else max(top - self._before, 0)


def tried(error: Exception) -> int:
    """Bytes that could not be had; 1 if nobody says how many, 0 if memory was not what it lacked."""
    text = str(error)
    if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "can't allocate memory" not in text:
        return 0
    found = re.search(r"[Tt]ried to allocate ([\d.]+) (bytes|KiB|MiB|GiB)", text)
    return max(int(float(found.group(1)) * _UNITS[found.group(2)]), 1) if found else 1


def _status(name: str) -> int | None:
    try:
        told = (_PROC / "self" / "status").read_text("ascii")
    except OSError:
        return None
    found = re.search(rf"^{name}:\s+(\d+) kB$", told, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def _groups(proc: Path, cgroups: Path) -> list[Path]:
    """Folders of the cgroup this process is in, and of those around it: each may set a limit."""
    try:
        rows = [row.split(":", 2) for row in (proc / "self" / "cgroup").read_text("utf-8").splitlines()]
    except OSError:
        return []
    found: list[Path] = []
    for row in rows:
        if len(row) != 3 or not (row[0] == "0" or "memory" in row[1].split(",")):
            continue
        root = cgroups if row[0] == "0" else cgroups / "memory"
        # A container sees its own group as the root, whatever its path is called outside.
        below = Path(row[2].lstrip("/"))
        found += [root / part for part in (below, *below.parents)]
    return list(dict.fromkeys(found))


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text("ascii"))
    except (OSError, ValueError):  # `max` is no number
        return None


def _lines(file: Path) -> dict[str, int]:
    try:
        return {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)$", file.read_text("ascii"), re.MULTILINE)}
    except OSError:
        return {}
