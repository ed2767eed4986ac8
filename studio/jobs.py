"""The queue: accepted jobs are drawn one picture at a time, fairly shared, whatever happens to browser or engine."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from studio.access import OWNER
from studio.board import Board, Running, Stop, Waiting
from studio.engine import Engine
from studio.errors import BadRequest, Closing, NotFound
from studio.job_store import ACTIVE, JobState, Ticket
from studio.ledger import Ledger
from studio.painter import Keep, Painter
from studio.quotas import HOUR, Limits, QuietHours
from studio.request import GenerationRequest, ResolvedRequest

log = logging.getLogger(__name__)

_NO_JOB: Final = "There is no such job."
_PAUSED: Final = "The studio's owner has paused the queue; what waits keeps its place."
_CLEARED: Final = "The studio's owner cleared the queue."


class Jobs:
    """Owns the queue and the thread that empties it.

    Args:
        resolve: Settles an artist's request; called in the thread that submits.
        keep: Saves a finished picture (result, job, index, owner) and returns its id; repeating it changes nothing.
        limits: What a person may ask for.
        quiet: When guests' pictures wait.
        checks: Whose pictures the safety check must pass before anybody sees them.
        turn_seconds: Seconds after which a job of several pictures gives way to another owner.
        max_held: Bytes of finished pictures held in memory while they cannot be saved; beyond it the queue stands.
        retry_every: Seconds between the studio's own attempts to save them then.
    """

    def __init__(
        self,
        path: Path,
        engine: Engine,
        resolve: Callable[[GenerationRequest], ResolvedRequest],
        keep: Keep,
        *,
        limits: Callable[[str], Limits] = lambda owner: Limits(),
        quiet: QuietHours | None = None,
        checks: Callable[[str], bool] = lambda owner: False,
        turn_seconds: float = 10.0,
        max_held: int = 512 * 2**20,
        retry_every: float = 5.0,
    ) -> None:
        self._resolve = resolve
        self._limits = limits
        self._quiet = quiet
        self._ledger = Ledger(path, turn_seconds, rests=lambda owner: bool(self._rest(owner)))
        self._paused = bool(self._ledger.store.setting("paused"))
        with self._ledger.changed:
            for ticket in self._ledger.store.active():
                self._ledger.recover(ticket)
        self._painter = Painter(self._ledger, engine, keep, checks=checks, max_held=max_held, retry_every=retry_every)
        self._painter.start()

    # ── for the page and the API, from any thread ──

    def submit(self, request: GenerationRequest, owner: str, *, remix: bool = False) -> Ticket:
        """Accept a job; when this returns it is on the disk. `remix`: it goes on from a picture shown to `owner`.

        Raises:
            Forbidden: they may not draw.
            TooManyRequests: they have too many pictures waiting, or asked for too many of late.
            StudioError: what `resolve` finds wrong; DiskFull or ReadOnly when the job cannot be written down.
        """
        limits = self._limits(owner)
        limits.check_scope(remix=remix)
        with self._ledger.changed:
            self._check_line(limits, owner, request.count)  # before the work of settling it
        resolved = self._resolve(request)
        limits.check_size(resolved)
        with self._ledger.changed:
            self._check_line(limits, owner, resolved.count)
            ticket = self._ledger.store.add(secrets.token_hex(8), owner, resolved)
            self._ledger.line.join(ticket)
            self._ledger.note_change()
            ticket = self._ledger.line.placed(ticket)
        log.info("accepted", extra={"job": ticket.id, "person": owner})
        self._ledger.tell()
        return ticket

    def cancel(self, job: str, owner: str) -> Ticket:
        """Stop a job, within one denoising step if it runs. Its finished pictures stay; one that has ended stays so.

        Raises:
            NotFound: no such job of this owner.
        """
        with self._ledger.changed:
            ticket = self._ledger.find(job)
            if ticket.owner != owner:
                raise NotFound(_NO_JOB)
            if ticket.state not in ACTIVE:
                return ticket
            turn = self._ledger.line.live
            if turn is not None and turn.ticket.id == job:
                turn.stop = Stop.CANCELLED
            self._ledger.end(ticket, JobState.CANCELLED)
            ticket = self._ledger.find(job)
        self._ledger.tell()
        return ticket

    def ticket(self, job: str) -> Ticket:
        """Raises:
        NotFound: no such job.
        """
        with self._ledger.changed:
            return self._ledger.find(job)

    def request(self, job: str) -> ResolvedRequest:
        """The complete request of a job, input pictures included.

        Raises:
            NotFound: no such job.
            ValidationError: it was written by another version and cannot be read.
        """
        with self._ledger.changed:
            return self._ledger.store.request(job)

    def pause(self, on: bool) -> None:
        """Draw nothing more after the picture being drawn, also after a restart, until this is called with False."""
        with self._ledger.changed:
            self._ledger.store.set_setting("paused", "yes" if on else "")
            self._paused = on
            self._ledger.note_change()
        self._ledger.tell()

    @property
    def paused(self) -> bool:
        return self._paused

    def reorder(self, jobs: Sequence[str]) -> None:
        """Draw these waiting jobs first, in this order, before everybody's others.

        Raises:
            BadRequest: one of them is not waiting, or is named twice.
        """
        with self._ledger.changed:
            waiting = {one.ticket.id for one in self._ledger.line.all()}
            if not waiting.issuperset(jobs) or len(set(jobs)) != len(jobs):
                raise BadRequest("One of these jobs is not waiting any more; look at the queue again.")
            urgency = {job: len(jobs) - place for place, job in enumerate(jobs)}
            self._ledger.store.reorder(urgency)
            self._ledger.line.reorder(urgency)
            self._ledger.note_change()
        self._ledger.tell()

    def clear(self, owner: str | None = None) -> int:
        """Cancel every waiting job, or this person's and their running one with it. Returns how many."""
        with self._ledger.changed:
            mine = [one.ticket for one in self._ledger.line.all() if owner in (None, one.ticket.owner)]
            turn = self._ledger.line.live
            if turn is not None and turn.ticket.owner == owner:
                turn.stop = Stop.CANCELLED
                mine.append(turn.ticket)
            for ticket in mine:
                self._ledger.end(ticket, JobState.CANCELLED, _CLEARED)
        self._ledger.tell()
        return len(mine)

    def queue(self) -> tuple[Running | None, tuple[Waiting, ...]]:
        """Everybody's jobs: the one being drawn, and those that wait, the next one first."""
        with self._ledger.changed:
            turn = self._ledger.line.live
            return turn.snapshot(self._ledger.line.pace) if turn is not None else None, self._ledger.line.all()

    def usage(self) -> dict[str, tuple[int, int, str]]:
        """Of everybody: jobs, pictures, when the last job was accepted (UTC), as far as jobs are remembered."""
        with self._ledger.changed:
            return self._ledger.store.usage()

    def board(self, owner: str) -> Board:
        with self._ledger.changed:
            turn, waiting = self._ledger.line.live, self._ledger.line.of(owner)
            return Board(
                version=self._ledger.version,
                running=turn.snapshot(self._ledger.line.pace)
                if turn is not None and turn.ticket.owner == owner
                else None,
                waiting=waiting,
                recent=tuple(
                    replace(ticket, unsaved=ticket.id in self._ledger.held)
                    for ticket in self._ledger.store.recent(owner)
                ),
                trouble=self._ledger.trouble or (self._rest(owner) if waiting else ""),
            )

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called after every change, from whichever thread made it. Returns how to end that."""
        return self._ledger.subscribe(callback)

    def retry_save(self, job: str) -> Ticket:
        """Save the finished picture of a job that failed because it could not be written; then the job goes on.

        Raises:
            NotFound: no such job, or nothing of it waits in memory.
            StudioError: it still cannot be saved; it stays in memory.
        """
        return self._painter.retry_save(job)

    @property
    def closing(self) -> bool:
        return self._ledger.closing

    def close(self) -> None:
        """Stop drawing. The running job goes back to the queue, without that counting against it."""
        with self._ledger.changed:
            if self._ledger.closing:
                return
            self._ledger.closing = True
            turn = self._ledger.line.live
            if turn is not None:
                turn.stop = Stop.CLOSING
                self._ledger.requeue(turn.ticket, turn.ticket.attempts)
            self._ledger.note_change()
        self._ledger.tell()
        if not self._painter.join(30):
            log.warning("The engine did not stop within 30 s.")
        with self._ledger.changed:
            self._ledger.store.close()

    # ── under the lock ──

    def _rest(self, owner: str) -> str:
        """Why this person's jobs are not drawn now; empty if they are."""
        if self._paused:
            return _PAUSED
        if self._quiet is not None and owner != OWNER and self._quiet.is_now(datetime.now()):
            return f"Quiet hours until {self._quiet.end:%H:%M}: guests' pictures wait."
        return ""

    def _check_line(self, limits: Limits, owner: str, count: int) -> None:
        if self._ledger.closing:
            raise Closing("The studio is closing; try again when it is back.")
        lately = self._ledger.store.lately(owner, datetime.now(UTC) - HOUR) if limits.hourly is not None else ()
        limits.check_line(count, self._ledger.line.count(owner), self._ledger.line.owed(owner), lately)
