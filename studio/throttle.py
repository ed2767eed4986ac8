"""Counting what went wrong lately, to make guessing slow."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

#: Names remembered at once; who has been quiet longest is forgotten first.
_MOST: Final = 10_000


class Throttle:
    """At most `limit` failures of a name in `seconds`. Not thread-safe: used on the event loop."""

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, name: str) -> float:
        """Seconds until this name may try again; 0 if it may now."""
        failures = self._recent(name)
        return 0.0 if len(failures) < self._limit else max(0.0, failures[0] + self._seconds - self._clock())

    def failed(self, name: str) -> None:
        failures = self._recent(name)
        failures.append(self._clock())
        if len(failures) > self._limit:
            failures.popleft()
        self._failures[name] = failures
        self._failures.move_to_end(name)
        if len(self._failures) > _MOST:
            self._failures.popitem(last=False)

    def _recent(self, name: str) -> deque[float]:
        failures = self._failures.get(name, deque())
        while failures and failures[0] <= self._clock() - self._seconds:
            failures.popleft()
        if not failures:
            self._failures.pop(name, None)
        return failures
