"""Work that takes seconds of a processor, done by few at a time; whoever waits for it holds no thread others need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import anyio
from starlette.concurrency import run_in_threadpool

from studio.errors import TooManyRequests

AT_ONCE: Final = 2
T = TypeVar("T")


class Heavy:
    """`patience`: seconds one waits for a turn."""

    def __init__(self, patience: float = 30.0) -> None:
        self._turns = anyio.Semaphore(AT_ONCE)
        self._patience = patience

    async def run(self, work: Callable[[], T]) -> T:
        """Raises:
        TooManyRequests: others were before, for too long.
        """
        try:
            with anyio.fail_after(self._patience):
                await self._turns.acquire()
        except TimeoutError as full:
            raise TooManyRequests("Other pictures are being looked at; try again in a moment.", 10) from full
        try:
            return await run_in_threadpool(work)
        finally:
            self._turns.release()
