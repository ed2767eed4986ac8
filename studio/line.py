"""The waiting jobs in memory: whose turn comes next, where everyone stands, and when it will be theirs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from studio.board import Turn, Waiting
from studio.job_store import Ticket
from studio.turns import Pace, Place, Shares, Waiter, first, foresee


class Line:
    """Not thread-safe: `Jobs` uses it under its lock.

    Args:
        turn_seconds: Seconds after which a job of several pictures gives way to another owner.
        rests: Whether an owner's jobs keep their places but are not drawn now.
    """

    def __init__(self, turn_seconds: float, rests: Callable[[str], bool] = lambda owner: False) -> None:
        self._turn_seconds = turn_seconds
        self._rests = rests
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
        """Whose turn it is, those who rest left out; it stays in the line until `begin`."""
        job = first((self._waiter(ticket) for ticket in self._waiting.values() if self._is_up(ticket)), self._shares)
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
        """Whether it must give way: its owner rests, or it has lasted long enough and somebody comes before it."""
        mine = turn.ticket
        if self._rests(mine.owner):
            return True
        others = [other for other in self._waiting.values() if self._is_up(other)]
        if any(other.urgency > mine.urgency for other in others):
            return True
        if time.monotonic() - turn.began < self._turn_seconds:
            return False
        had = self._shares.of(mine.owner)
        return any(other.urgency == mine.urgency and self._shares.of(other.owner) < had for other in others)

    def reorder(self, urgency: Mapping[str, int]) -> None:
        """Those who are not named lose what they had."""
        for job, ticket in self._waiting.items():
            self._waiting[job] = replace(ticket, urgency=urgency.get(job, 0))
        self._foreseen = None

    def count(self, owner: str | None = None) -> int:
        """Jobs, of this owner or of all, that wait or are being drawn."""
        return sum(owner in (None, ticket.owner) for ticket in self._present())

    def all(self) -> tuple[Waiting, ...]:
        """Everybody's waiting jobs, the next one first."""
        placed = (Waiting(self.placed(ticket), self._seconds_until(ticket)) for ticket in self._waiting.values())
        return tuple(sorted(placed, key=lambda waiting: waiting.ticket.position or 0))

    def owed(self, owner: str) -> int:
        """Pictures this owner still has to come."""
        return sum(ticket.count - len(ticket.pictures) for ticket in self._present() if ticket.owner == owner)

    def of(self, owner: str) -> tuple[Waiting, ...]:
        mine = sorted((ticket for ticket in self._waiting.values() if ticket.owner == owner), key=lambda t: t.number)
        return tuple(Waiting(self.placed(ticket), self._seconds_until(ticket)) for ticket in mine)

    def placed(self, ticket: Ticket) -> Ticket:
        """The ticket with its position, if it waits."""
        if ticket.id not in self._waiting:
            return ticket
        return replace(ticket, position=self._places()[1][ticket.id].before)

    def _present(self) -> tuple[Ticket, ...]:
        return (*self._waiting.values(), *([self.live.ticket] if self.live is not None else []))

    def _is_up(self, ticket: Ticket) -> bool:
        return not self._rests(ticket.owner)

    def _seconds_until(self, ticket: Ticket) -> float | None:
        when, places = self._places()
        seconds = places[ticket.id].seconds
        if seconds is None or not self._is_up(ticket):
            return None
        return max(0.0, seconds - (time.monotonic() - when))

    def _places(self) -> tuple[float, Mapping[str, Place]]:
        """The line as it was foreseen after its last change, and when that was."""
        if self._foreseen is None:
            turn = self.live
            running, elapsed = (turn.waiter(self.pace), turn.elapsed(self.pace)) if turn else (None, 0.0)
            up = [self._waiter(ticket) for ticket in self._waiting.values() if self._is_up(ticket)]
            places = dict(foresee(up, self._shares, self._turn_seconds, running, elapsed))
            for ticket in sorted(self._waiting.values(), key=lambda ticket: (-ticket.urgency, ticket.number)):
                places.setdefault(ticket.id, Place(len(places), None))
            self._foreseen = time.monotonic(), places
        return self._foreseen

    def _waiter(self, ticket: Ticket) -> Waiter:
        left = max(1, ticket.count - len(ticket.pictures))
        each = self.pace.picture(ticket.request, from_picture="init" in ticket.inputs) if ticket.request else None
        return Waiter(ticket.id, ticket.owner, ticket.number, left, each, ticket.urgency)
