"""Timing that survives a noisy machine: both arms in turn, the ratio pair by pair, the median quoted."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table. `bar` is what we answer for; None where there is only something to know."""

    name: str
    value: float
    unit: str
    bar: str | None = None
    holds: bool | None = None
    note: str = ""

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    work()
    return clock() - start


def paired_ratio(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float, float]:
    """Median, minimum and maximum of ours ÷ theirs over `repeats` pairs, each arm first in every other pair.

    With `time.thread_time` as the `clock`, work of one thread is told from what else the machine does.
    """
    ours(), theirs()
    ratios = []
    for turn in range(repeats):
        if turn % 2:
            bare = seconds(theirs, clock)
            whole = seconds(ours, clock)
        else:
            whole = seconds(ours, clock)
            bare = seconds(theirs, clock)
        ratios.append(whole / bare)
    return statistics.median(ratios), min(ratios), max(ratios)


def at_most(name: str, value: float, bar: float, unit: str = "×", note: str = "") -> Figure:
    return Figure(name, round(value, 3), unit, f"≤ {bar:g}", value <= bar, note)


def at_least(name: str, value: float, bar: float, unit: str = "×", note: str = "") -> Figure:
    return Figure(name, round(value, 3), unit, f"≥ {bar:g}", value >= bar, note)


def machine() -> dict[str, object]:
    """What the figures were taken on. The load tells a quiet run from a busy one."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "load": round(load, 2),
    }
