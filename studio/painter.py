"""The thread that draws: it serves one turn after the other, and nothing that happens to one keeps it from the next."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pydantic import ValidationError

from studio import plan, safety
from studio.board import Turn
from studio.engine import Engine, Failed, Finished, Preview
from studio.errors import EngineDied, NotFound, StudioError
from studio.job_store import ACTIVE, JobState, Ticket
from studio.ledger import MAX_ATTEMPTS, Ledger
from studio.request import GenerationResult, ResolvedRequest

log = logging.getLogger(__name__)

_OUR_FAULT: Final = "Something went wrong inside the studio while it drew this picture; please try it once more."
_NOT_SAVED: Final = "The finished picture could not be saved; it is held in memory, so try to save it again."

Keep = Callable[[GenerationResult, str, int, str], str]


class Painter:
    """Empties the queue of `ledger`; the arguments are those of `Jobs`."""

    def __init__(
        self,
        ledger: Ledger,
        engine: Engine,
        keep: Keep,
        *,
        checks: Callable[[str], bool],
        max_held: int,
        retry_every: float,
    ) -> None:
        self._ledger = ledger
        self._engine = engine
        self._keep = keep
        self._checks = checks
        self._max_held = max_held
        self._retry_every = retry_every
        self._saving = threading.Lock()  # one retry at a time; taken before the ledger's
        self._next_retry = 0.0
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Whether it has ended within this time."""
        self._thread.join(timeout=seconds)
        return not self._thread.is_alive()

    def retry_save(self, job: str) -> Ticket:
        """See `Jobs.retry_save`."""
        with self._saving:
            with self._ledger.changed:
                ticket = self._ledger.find(job)
                if ticket.state in (*ACTIVE, JobState.DONE):
                    return ticket  # pressed twice, or the studio was faster
                if job not in self._ledger.held:
                    raise NotFound("This job has no unsaved picture any more; draw it again.")
                index, result = self._ledger.held[job]
            picture = self._keep(result, job, index, ticket.owner)
            with self._ledger.changed:
                self._ledger.store.kept(job, index, picture)
                del self._ledger.held[job]
                if len(self._ledger.store.places(job)) < ticket.count:
                    self._ledger.requeue(ticket, attempts=0)
                else:
                    self._ledger.end(ticket, JobState.DONE)
                ticket = self._ledger.find(job)
        self._ledger.tell()
        return ticket

    def _work(self) -> None:
        while (turn := self._next()) is not None:
            try:
                self._serve(turn)
            except StudioError as error:
                self._finish(turn, JobState.FAILED, str(error))
            except Exception:
                log.exception("Job %s failed for a reason nobody foresaw.", turn.ticket.id)
                self._finish(turn, JobState.FAILED, _OUR_FAULT)
            with self._ledger.changed:
                self._ledger.line.end_turn()
                self._ledger.note_change()
            self._ledger.tell()

    def _next(self) -> Turn | None:
        """Wait for the job whose turn it is; None when the studio closes."""
        while True:
            self._save_held()
            with self._ledger.changed:
                if self._ledger.closing:
                    return None
                all_written = self._ledger.store.write_late()
                turn, trouble = self._begin_turn()
                news = turn is not None or trouble != self._ledger.trouble
                self._ledger.trouble = trouble
                if news:
                    self._ledger.note_change()
                else:
                    stands = bool(trouble or self._ledger.held or not all_written or self._ledger.line.count())
                    self._ledger.changed.wait(self._retry_every if stands else None)
            if news:
                self._ledger.tell()
            if turn is not None:
                return turn

    def _begin_turn(self) -> tuple[Turn | None, str]:
        """The next turn, or why there is none although jobs are waiting."""
        ticket = self._ledger.line.next()
        if ticket is None:
            return None, ""
        if sum(len(result.rgb) for _, result in self._ledger.held.values()) >= self._max_held:
            return None, "Finished pictures cannot be saved; the queue waits until there is room on the disk."
        try:
            self._ledger.store.start(ticket.id)
        except StudioError as unwritable:
            return None, str(unwritable)
        return self._ledger.line.begin(replace(ticket, state=JobState.RUNNING)), ""

    def _serve(self, turn: Turn) -> None:
        job = turn.ticket.id
        with self._ledger.changed:
            try:
                request, kept = self._ledger.store.request(job), self._ledger.store.places(job)
            except ValidationError as unreadable:
                raise StudioError(
                    "This job was written by another version of the studio; start it again."
                ) from unreadable
        for index, picture in enumerate(plan.expand(request)):
            if index in kept:
                continue
            outcome = self._draw(turn, index, picture)
            if outcome is None:
                return
            if isinstance(outcome, Failed):
                self._fail(turn, outcome)
                return
            if not self._save(turn, index, outcome.result) or self._give_way(turn):
                return
        self._finish(turn, JobState.DONE)

    def _draw(self, turn: Turn, index: int, request: ResolvedRequest) -> Finished | Failed | None:
        """Draw one picture; None when it was stopped."""
        began = time.monotonic()
        with self._ledger.changed:
            turn.begin(index, began)
            self._ledger.version += 1
        self._ledger.tell()
        outcome: Finished | Failed | None = None
        checked = self._checks(turn.ticket.owner)
        events = self._engine.generate(request)
        try:
            for event in events:
                if checked and isinstance(event, Preview):
                    continue  # only a finished picture can be checked
                with self._ledger.changed:
                    if turn.stop is not None:
                        return None
                    seen = turn.note(event, time.monotonic())
                    self._ledger.version += seen
                if isinstance(event, Finished | Failed):
                    outcome = event
                elif seen:
                    self._ledger.tell()
        except EngineDied as died:
            outcome = Failed(str(died), crashed=True)
        finally:
            events.close()
            with self._ledger.changed:
                self._ledger.line.charge(turn.ticket.owner, time.monotonic() - began)
        if isinstance(outcome, Finished):
            with self._ledger.changed:
                seconds = turn.measured(time.monotonic())
                self._ledger.line.pace.learn(request, outcome.result.seconds if seconds is None else seconds)
            if checked and (objection := safety.objection(outcome.result)):
                return Failed(objection)
        return outcome or Failed("The engine stopped before the picture was finished.", crashed=True)

    def _save(self, turn: Turn, index: int, result: GenerationResult) -> bool:
        """Whether the picture is in the gallery; if not, it is held in memory and the job has failed."""
        ticket = turn.ticket
        try:
            picture = self._keep(result, ticket.id, index, ticket.owner)
            with self._ledger.changed:
                self._ledger.store.kept(ticket.id, index, picture)
        except Exception as error:
            reason = str(error) if isinstance(error, StudioError) else _NOT_SAVED
            log.exception("The picture %d of job %s could not be saved.", index, ticket.id)
            with self._ledger.changed:
                if turn.stop is None:
                    self._ledger.held[ticket.id] = index, result
                    self._next_retry = time.monotonic() + self._retry_every
            self._finish(turn, JobState.FAILED, reason)
            return False
        with self._ledger.changed:
            turn.ticket = replace(ticket, pictures=(*ticket.pictures, picture), attempts=0)
            about = {"job": ticket.id, "person": ticket.owner, "picture": picture, "seconds": round(result.seconds, 3)}
            log.info("drawn", extra=about)
            self._ledger.note_change()
            stopped = turn.stop is not None
        self._ledger.tell()
        return not stopped

    def _fail(self, turn: Turn, failed: Failed) -> None:
        with self._ledger.changed:
            if turn.stop is not None:
                return
            attempts = turn.ticket.attempts + 1
            if failed.crashed and attempts < MAX_ATTEMPTS:
                self._ledger.requeue(turn.ticket, attempts)
            else:
                self._ledger.end(turn.ticket, JobState.FAILED, failed.reason)

    def _give_way(self, turn: Turn) -> bool:
        """After its turn, a job with pictures left goes back to the line if another owner has had less."""
        with self._ledger.changed:
            if len(turn.ticket.pictures) >= turn.ticket.count or not self._ledger.line.is_over(turn):
                return False
            self._ledger.requeue(turn.ticket, attempts=0)
            return True

    def _finish(self, turn: Turn, state: JobState, reason: str = "") -> None:
        with self._ledger.changed:
            if turn.stop is None:  # otherwise whoever stopped it has settled what becomes of it
                self._ledger.end(turn.ticket, state, reason)

    def _save_held(self) -> None:
        """Now and then, try again what could not be saved: there may be room by now."""
        now = time.monotonic()
        if now < self._next_retry:
            return
        self._next_retry = now + self._retry_every
        with self._ledger.changed:
            jobs = tuple(self._ledger.held)
        for job in jobs:
            try:
                self.retry_save(job)
            except StudioError:
                return
            except Exception:
                log.exception("The held picture of job %s could not be saved.", job)
