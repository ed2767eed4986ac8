"""Who has which requests open, so that whoever is shown the door is out at once, streams included."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from starlette.types import Message, Send

from studio.access import OWNER
from studio.errors import TooManyRequests
from studio.people import People
from studio.people_store import Session

#: Requests and streams a guest may have open at once.
MOST_OPEN: Final = 64
#: Seconds between two looks at whether the session of an open stream has expired, at most.
_LOOK: Final = 3600.0


@dataclass(eq=False)
class _Request:
    task: asyncio.Task[object]
    session: Session
    begun: bool = False
    finite: bool = False  # its answer has begun and ends by itself
    ended: bool = False

    def end(self) -> None:
        if not self.finite and not self.ended:
            self.ended = True
            self.task.cancel()


class SignedOut(Exception):
    """The session ended before the answer began."""


class Attendance:
    """On one event loop; sessions may be ended from any thread."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._open: set[_Request] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        people.on_end(self._session_ended)

    async def attend(self, session: Session, send: Send, handle: Callable[[Send], Awaitable[None]]) -> None:
        """Await `handle`, which answers through the `send` it is given, for as long as the session lasts.

        Raises:
            SignedOut: the session ended first and nothing has been answered.
            TooManyRequests: the guest has too much open.
        """
        self._loop = asyncio.get_running_loop()
        person = session.person.id
        if person != OWNER and sum(other.session.person.id == person for other in self._open) >= MOST_OPEN:
            raise TooManyRequests("You have too many pages open at once; close some.")
        task = asyncio.current_task()
        assert task is not None
        request = _Request(task, session)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.begun = True
                request.finite = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            await send(message)

        self._open.add(request)
        timer = self._watch(request)
        try:
            await handle(watched)
        except asyncio.CancelledError as cancelled:
            if not request.ended:
                raise
            task.uncancel()
            if not request.begun:
                raise SignedOut from cancelled
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            timer[0].cancel()
            self._open.discard(request)

    def _watch(self, request: _Request) -> list[asyncio.TimerHandle]:
        """End the request when its session expires; what is returned holds the next look."""
        loop = asyncio.get_running_loop()

        def look() -> None:
            left = self._people.left(request.session.id)
            if left <= 0:
                request.end()
            else:
                timer[:] = [loop.call_later(min(left, _LOOK), look)]

        timer = [loop.call_later(min(self._people.left(request.session.id), _LOOK), look)]
        return timer

    def _session_ended(self, session: str) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has closed, and with it every stream
                self._loop.call_soon_threadsafe(self._end, session)

    def _end(self, session: str) -> None:
        for request in tuple(self._open):
            if request.session.id == session:
                request.end()
