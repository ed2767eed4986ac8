"""The waiting jobs in memory: whose turn comes next, where everyone stands, and when it will be theirs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from studio.board import Turn, Waiting
from studio.job_store import Ticket
from studio.turns import Pace, Place, Shares, Waiter, first, foresee


class Line:
    """Not thread-safe: `Jobs` uses it under its lock.

    Args:
        turn_seconds: Seconds after which a job of several pictures gives way to another owner.
    """

    def __init__(self, turn_seconds: float) -> None:
        self._turn_seconds = turn_seconds
        self._waiting: dict[str, Ticket] = {}
        self._shares = Shares()
        self._foreseen: tuple[float, Mapping[str, Place]] | None = None
        self.pace = Pace()
        self._turn: Turn | None = None

    @property
    def live(self) -> Turn | None:
        """The turn at the engine, unless it has been stopped and is only unwinding."""
        return self._turn if self._turn is not None and self._turn.stop is None else None

    def join(self, ticket: Ticket) -> None:
        """Add a new job; its owner starts level with the others unless one of theirs is here already."""
        present = self._present()
        if not present:
            self._shares.rest()
        if not any(other.owner == ticket.owner for other in present):
            self._shares.arrive(ticket.owner)
        self.put_back(ticket)

    def put_back(self, ticket: Ticket) -> None:
        self._waiting[ticket.id] = ticket
        self._foreseen = None

    def leave(self, job: str) -> None:
        self._waiting.pop(job, None)
        self._foreseen = None

    def changed(self) -> None:
        """What was foreseen no longer holds."""
        self._foreseen = None

    def next(self) -> Ticket | None:
        """Whose turn it is; it stays in the line until `begin`."""
        job = first(((ticket.id, ticket.owner, ticket.number) for ticket in self._waiting.values()), self._shares)
        return self._waiting[job] if job is not None else None

    def begin(self, ticket: Ticket) -> Turn:
        self.leave(ticket.id)
        self._shares.turn(ticket.owner)
        self._turn = Turn(ticket, time.monotonic())
        return self._turn

    def end_turn(self, job: str | None = None) -> None:
        """The engine is free, or will be at once; with `job` only if it is that one's turn."""
        if self._turn is not None and job in (None, self._turn.ticket.id):
            self._turn = None
            self._foreseen = None

    def charge(self, owner: str, seconds: float) -> None:
        self._shares.charge(owner, seconds)

    def is_over(self, turn: Turn) -> bool:
        """Whether a turn has lasted long enough and another owner, who has had less, is waiting."""
        if time.monotonic() - turn.began < self._turn_seconds:
            return False
        had = self._shares.of(turn.ticket.owner)
        return any(self._shares.of(other.owner) < had for other in self._waiting.values())

    def owed(self, owner: str) -> int:
        """Pictures this owner still has to come."""
        return sum(ticket.count - len(ticket.pictures) for ticket in self._present() if ticket.owner == owner)

    def of(self, owner: str) -> tuple[Waiting, ...]:
        mine = sorted((ticket for ticket in self._waiting.values() if ticket.owner == owner), key=lambda t: t.number)
        return tuple(Waiting(self.placed(ticket), self._seconds_until(ticket.id)) for ticket in mine)

    def placed(self, ticket: Ticket) -> Ticket:
        """The ticket with its position, if it waits."""
        if ticket.id not in self._waiting:
            return ticket
        return replace(ticket, position=self._places()[1][ticket.id].before)

    def _present(self) -> tuple[Ticket, ...]:
        return (*self._waiting.values(), *([self.live.ticket] if self.live is not None else []))

    def _seconds_until(self, job: str) -> float | None:
        when, places = self._places()
        seconds = places[job].seconds
        return None if seconds is None else max(0.0, seconds - (time.monotonic() - when))

    def _places(self) -> tuple[float, Mapping[str, Place]]:
        """The line as it was foreseen after its last change, and when that was."""
        if self._foreseen is None:
            turn = self.live
            running, elapsed = (turn.waiter(self.pace), turn.elapsed(self.pace)) if turn else (None, 0.0)
            waiters = [self._waiter(ticket) for ticket in self._waiting.values()]
            self._foreseen = time.monotonic(), foresee(waiters, self._shares, self._turn_seconds, running, elapsed)
        return self._foreseen

    def _waiter(self, ticket: Ticket) -> Waiter:
        left = max(1, ticket.count - len(ticket.pictures))
        each = self.pace.picture(ticket.request, from_picture="init" in ticket.inputs) if ticket.request else None
        return Waiter(ticket.id, ticket.owner, ticket.number, left, each)
