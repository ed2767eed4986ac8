"""The books of the queue: jobs on the disk, their line in memory, what could not be saved, and who wants to be told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from studio.errors import StudioError
from studio.job_store import JobState, JobStore, Ticket
from studio.line import Line
from studio.request import GenerationResult

log = logging.getLogger(__name__)

#: An engine that dies twice over the same picture would die a third time.
MAX_ATTEMPTS: Final = 2


class Ledger:
    """Everything is read and changed while `changed` is held, except where a method says otherwise.

    `held`: finished pictures by job, with their index, while they cannot be saved. `trouble`: why nothing is drawn.
    """

    def __init__(self, path: Path, turn_seconds: float, rests: Callable[[str], bool]) -> None:
        self.changed = threading.Condition()
        self.store = JobStore(path)
        self.line = Line(turn_seconds, rests)
        self.held: dict[str, tuple[int, GenerationResult]] = {}
        self.trouble = ""
        self.version = 0
        self.closing = False
        self._subscribers: dict[object, Callable[[], None]] = {}

    def recover(self, ticket: Ticket) -> None:
        """What a job is after a restart; a running one was interrupted by a crash."""
        if ticket.request is None:
            self.end(ticket, JobState.FAILED, "This job was written by another version of the studio; start it again.")
        elif ticket.state is JobState.QUEUED:
            self.line.put_back(ticket)
        elif ticket.attempts + 1 < MAX_ATTEMPTS:
            self.requeue(ticket, ticket.attempts + 1)
        else:
            self.end(ticket, JobState.FAILED, "The studio stopped twice while it drew this picture.")

    def requeue(self, ticket: Ticket, attempts: int) -> None:
        try:
            self.store.requeue(ticket.id, attempts)
        except StudioError:
            log.exception("Job %s waits again, which could not be written down.", ticket.id)
        self.line.end_turn(ticket.id)
        self.line.put_back(replace(ticket, state=JobState.QUEUED, reason="", attempts=attempts, unsaved=False))
        self.note_change()

    def end(self, ticket: Ticket, state: JobState, reason: str = "") -> None:
        self.line.end_turn(ticket.id)
        self.line.leave(ticket.id)
        self.store.end(ticket, state, reason)
        log.info(f"{state} {reason}".rstrip(), extra={"job": ticket.id, "person": ticket.owner})
        self.note_change()

    def find(self, job: str) -> Ticket:
        return self.line.placed(replace(self.store.ticket(job), unsaved=job in self.held))

    def note_change(self) -> None:
        self.version += 1
        self.line.changed()
        self.changed.notify_all()

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called after every change, from whichever thread made it. Returns how to end that."""
        key = object()
        with self.changed:
            self._subscribers[key] = callback

        def unsubscribe() -> None:
            with self.changed:
                self._subscribers.pop(key, None)

        return unsubscribe

    def tell(self) -> None:
        with self.changed:
            callbacks = tuple(self._subscribers.values())
        for callback in callbacks:
            try:
                callback()
            except Exception:
                log.exception("A listener of the queue failed.")
