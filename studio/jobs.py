"""The queue: accepted jobs are drawn one picture at a time, fairly shared, whatever happens to browser or engine."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from studio import plan
from studio.access import OWNER
from studio.board import Board, Running, Stop, Turn, Waiting
from studio.engine import Engine, Failed, Finished
from studio.errors import BadRequest, Closing, EngineDied, NotFound, StudioError
from studio.job_store import ACTIVE, JobState, JobStore, Ticket
from studio.line import Line
from studio.quotas import HOUR, Limits, QuietHours
from studio.request import GenerationRequest, GenerationResult, ResolvedRequest

log = logging.getLogger(__name__)

#: An engine that dies twice over the same picture would die a third time.
MAX_ATTEMPTS: Final = 2
_OUR_FAULT: Final = "Something went wrong inside the studio while it drew this picture; please try it once more."
_NOT_SAVED: Final = "The finished picture could not be saved; it is held in memory, so try to save it again."
_NO_JOB: Final = "There is no such job."
_PAUSED: Final = "The studio's owner has paused the queue; what waits keeps its place."
_CLEARED: Final = "The studio's owner cleared the queue."

Keep = Callable[[GenerationResult, str, int, str], str]


class Jobs:
    """Owns the queue and the thread that empties it.

    Args:
        resolve: Settles an artist's request; called in the thread that submits.
        keep: Saves a finished picture (result, job, index, owner) and returns its id; repeating it changes nothing.
        limits: What a person may ask for.
        quiet: When guests' pictures wait.
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
        turn_seconds: float = 10.0,
        max_held: int = 512 * 2**20,
        retry_every: float = 5.0,
    ) -> None:
        self._engine = engine
        self._resolve = resolve
        self._keep = keep
        self._limits = limits
        self._quiet = quiet
        self._max_held = max_held
        self._retry_every = retry_every
        self._saving = threading.Lock()  # one retry at a time; taken before the other
        self._changed = threading.Condition()  # also the lock of everything below
        self._store = JobStore(path)
        self._paused = bool(self._store.setting("paused"))
        self._line = Line(turn_seconds, rests=lambda owner: bool(self._rest(owner)))
        self._held: dict[str, tuple[int, GenerationResult]] = {}
        self._next_retry = 0.0
        self._trouble = ""
        self._version = 0
        self._closing = False
        self._subscribers: dict[object, Callable[[], None]] = {}
        with self._changed:
            for ticket in self._store.active():
                self._recover(ticket)
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

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
        with self._changed:
            self._check_line(limits, owner, request.count)  # before the work of settling it
        resolved = self._resolve(request)
        limits.check_size(resolved)
        with self._changed:
            self._check_line(limits, owner, resolved.count)
            ticket = self._store.add(secrets.token_hex(8), owner, resolved)
            self._line.join(ticket)
            self._note_change()
            ticket = self._line.placed(ticket)
        log.info("accepted", extra={"job": ticket.id, "person": owner})
        self._tell()
        return ticket

    def cancel(self, job: str, owner: str) -> Ticket:
        """Stop a job, within one denoising step if it runs. Its finished pictures stay; one that has ended stays so.

        Raises:
            NotFound: no such job of this owner.
        """
        with self._changed:
            ticket = self._find(job)
            if ticket.owner != owner:
                raise NotFound(_NO_JOB)
            if ticket.state not in ACTIVE:
                return ticket
            turn = self._line.live
            if turn is not None and turn.ticket.id == job:
                turn.stop = Stop.CANCELLED
            self._end(ticket, JobState.CANCELLED)
            ticket = self._find(job)
        self._tell()
        return ticket

    def ticket(self, job: str) -> Ticket:
        """Raises:
        NotFound: no such job.
        """
        with self._changed:
            return self._find(job)

    def request(self, job: str) -> ResolvedRequest:
        """The complete request of a job, input pictures included.

        Raises:
            NotFound: no such job.
            ValidationError: it was written by another version and cannot be read.
        """
        with self._changed:
            return self._store.request(job)

    def pause(self, on: bool) -> None:
        """Draw nothing more after the picture being drawn, also after a restart, until this is called with False."""
        with self._changed:
            self._store.set_setting("paused", "yes" if on else "")
            self._paused = on
            self._note_change()
        self._tell()

    @property
    def paused(self) -> bool:
        return self._paused

    def reorder(self, jobs: Sequence[str]) -> None:
        """Draw these waiting jobs first, in this order, before everybody's others.

        Raises:
            BadRequest: one of them is not waiting, or is named twice.
        """
        with self._changed:
            waiting = {one.ticket.id for one in self._line.all()}
            if not waiting.issuperset(jobs) or len(set(jobs)) != len(jobs):
                raise BadRequest("One of these jobs is not waiting any more; look at the queue again.")
            urgency = {job: len(jobs) - place for place, job in enumerate(jobs)}
            self._store.reorder(urgency)
            self._line.reorder(urgency)
            self._note_change()
        self._tell()

    def clear(self, owner: str | None = None) -> int:
        """Cancel every waiting job, or this person's and their running one with it. Returns how many."""
        with self._changed:
            mine = [one.ticket for one in self._line.all() if owner in (None, one.ticket.owner)]
            turn = self._line.live
            if turn is not None and turn.ticket.owner == owner:
                turn.stop = Stop.CANCELLED
                mine.append(turn.ticket)
            for ticket in mine:
                self._end(ticket, JobState.CANCELLED, _CLEARED)
        self._tell()
        return len(mine)

    def queue(self) -> tuple[Running | None, tuple[Waiting, ...]]:
        """Everybody's jobs: the one being drawn, and those that wait, the next one first."""
        with self._changed:
            turn = self._line.live
            return turn.snapshot(self._line.pace) if turn is not None else None, self._line.all()

    def usage(self) -> dict[str, tuple[int, int, str]]:
        """Of everybody: jobs, pictures, when the last job was accepted (UTC), as far as jobs are remembered."""
        with self._changed:
            return self._store.usage()

    def board(self, owner: str) -> Board:
        with self._changed:
            turn, waiting = self._line.live, self._line.of(owner)
            return Board(
                version=self._version,
                running=turn.snapshot(self._line.pace) if turn is not None and turn.ticket.owner == owner else None,
                waiting=waiting,
                recent=tuple(replace(ticket, unsaved=ticket.id in self._held) for ticket in self._store.recent(owner)),
                trouble=self._trouble or (self._rest(owner) if waiting else ""),
            )

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called after every change, from whichever thread made it. Returns how to end that."""
        key = object()
        with self._changed:
            self._subscribers[key] = callback

        def unsubscribe() -> None:
            with self._changed:
                self._subscribers.pop(key, None)

        return unsubscribe

    def retry_save(self, job: str) -> Ticket:
        """Save the finished picture of a job that failed because it could not be written; then the job goes on.

        Raises:
            NotFound: no such job, or nothing of it waits in memory.
            StudioError: it still cannot be saved; it stays in memory.
        """
        with self._saving:
            with self._changed:
                ticket = self._find(job)
                if ticket.state in (*ACTIVE, JobState.DONE):
                    return ticket  # pressed twice, or the studio was faster
                if job not in self._held:
                    raise NotFound("This job has no unsaved picture any more; draw it again.")
                index, result = self._held[job]
            picture = self._keep(result, job, index, ticket.owner)
            with self._changed:
                self._store.kept(job, index, picture)
                del self._held[job]
                if len(self._store.places(job)) < ticket.count:
                    self._requeue(ticket, attempts=0)
                else:
                    self._end(ticket, JobState.DONE)
                ticket = self._find(job)
        self._tell()
        return ticket

    @property
    def closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Stop drawing. The running job goes back to the queue, without that counting against it."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            turn = self._line.live
            if turn is not None:
                turn.stop = Stop.CLOSING
                self._requeue(turn.ticket, turn.ticket.attempts)
            self._note_change()
        self._tell()
        self._thread.join(timeout=30)
        if self._thread.is_alive():
            log.warning("The engine did not stop within 30 s.")
        with self._changed:
            self._store.close()

    # ── the thread that draws ──

    def _work(self) -> None:
        while (turn := self._next()) is not None:
            try:
                self._serve(turn)
            except StudioError as error:
                self._finish(turn, JobState.FAILED, str(error))
            except Exception:
                log.exception("Job %s failed for a reason nobody foresaw.", turn.ticket.id)
                self._finish(turn, JobState.FAILED, _OUR_FAULT)
            with self._changed:
                self._line.end_turn()
                self._note_change()
            self._tell()

    def _next(self) -> Turn | None:
        """Wait for the job whose turn it is; None when the studio closes."""
        while True:
            self._save_held()
            with self._changed:
                if self._closing:
                    return None
                all_written = self._store.write_late()
                turn, trouble = self._begin_turn()
                news = turn is not None or trouble != self._trouble
                self._trouble = trouble
                if news:
                    self._note_change()
                else:
                    stands = bool(trouble or self._held or not all_written or self._line.count())
                    self._changed.wait(self._retry_every if stands else None)
            if news:
                self._tell()
            if turn is not None:
                return turn

    def _begin_turn(self) -> tuple[Turn | None, str]:
        """The next turn, or why there is none although jobs are waiting."""
        ticket = self._line.next()
        if ticket is None:
            return None, ""
        if sum(len(result.rgb) for _, result in self._held.values()) >= self._max_held:
            return None, "Finished pictures cannot be saved; the queue waits until there is room on the disk."
        try:
            self._store.start(ticket.id)
        except StudioError as unwritable:
            return None, str(unwritable)
        return self._line.begin(replace(ticket, state=JobState.RUNNING)), ""

    def _serve(self, turn: Turn) -> None:
        job = turn.ticket.id
        with self._changed:
            try:
                request, kept = self._store.request(job), self._store.places(job)
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
        with self._changed:
            turn.begin(index, began)
            self._version += 1
        self._tell()
        outcome: Finished | Failed | None = None
        events = self._engine.generate(request)
        try:
            for event in events:
                with self._changed:
                    if turn.stop is not None:
                        return None
                    seen = turn.note(event, time.monotonic())
                    self._version += seen
                if isinstance(event, Finished | Failed):
                    outcome = event
                elif seen:
                    self._tell()
        except EngineDied as died:
            outcome = Failed(str(died), crashed=True)
        finally:
            events.close()
            with self._changed:
                self._line.charge(turn.ticket.owner, time.monotonic() - began)
        if isinstance(outcome, Finished):
            with self._changed:
                seconds = turn.measured(time.monotonic())
                self._line.pace.learn(request, outcome.result.seconds if seconds is None else seconds)
        return outcome or Failed("The engine stopped before the picture was finished.", crashed=True)

    def _save(self, turn: Turn, index: int, result: GenerationResult) -> bool:
        """Whether the picture is in the gallery; if not, it is held in memory and the job has failed."""
        ticket = turn.ticket
        try:
            picture = self._keep(result, ticket.id, index, ticket.owner)
            with self._changed:
                self._store.kept(ticket.id, index, picture)
        except Exception as error:
            reason = str(error) if isinstance(error, StudioError) else _NOT_SAVED
            log.exception("The picture %d of job %s could not be saved.", index, ticket.id)
            with self._changed:
                if turn.stop is None:
                    self._held[ticket.id] = index, result
                    self._next_retry = time.monotonic() + self._retry_every
            self._finish(turn, JobState.FAILED, reason)
            return False
        with self._changed:
            turn.ticket = replace(ticket, pictures=(*ticket.pictures, picture), attempts=0)
            about = {"job": ticket.id, "person": ticket.owner, "picture": picture, "seconds": round(result.seconds, 3)}
            log.info("drawn", extra=about)
            self._note_change()
            stopped = turn.stop is not None
        self._tell()
        return not stopped

    def _fail(self, turn: Turn, failed: Failed) -> None:
        with self._changed:
            if turn.stop is not None:
                return
            attempts = turn.ticket.attempts + 1
            if failed.crashed and attempts < MAX_ATTEMPTS:
                self._requeue(turn.ticket, attempts)
            else:
                self._end(turn.ticket, JobState.FAILED, failed.reason)

    def _give_way(self, turn: Turn) -> bool:
        """After its turn, a job with pictures left goes back to the line if another owner has had less."""
        with self._changed:
            if len(turn.ticket.pictures) >= turn.ticket.count or not self._line.is_over(turn):
                return False
            self._requeue(turn.ticket, attempts=0)
            return True

    def _finish(self, turn: Turn, state: JobState, reason: str = "") -> None:
        with self._changed:
            if turn.stop is None:  # otherwise whoever stopped it has settled what becomes of it
                self._end(turn.ticket, state, reason)

    def _save_held(self) -> None:
        """Now and then, try again what could not be saved: there may be room by now."""
        now = time.monotonic()
        if now < self._next_retry:
            return
        self._next_retry = now + self._retry_every
        with self._changed:
            jobs = tuple(self._held)
        for job in jobs:
            try:
                self.retry_save(job)
            except StudioError:
                return
            except Exception:
                log.exception("The held picture of job %s could not be saved.", job)

    # ── under the lock ──

    def _rest(self, owner: str) -> str:
        """Why this person's jobs are not drawn now; empty if they are."""
        if self._paused:
            return _PAUSED
        if self._quiet is not None and owner != OWNER and self._quiet.is_now(datetime.now()):
            return f"Quiet hours until {self._quiet.end:%H:%M}: guests' pictures wait."
        return ""

    def _check_line(self, limits: Limits, owner: str, count: int) -> None:
        if self._closing:
            raise Closing("The studio is closing; try again when it is back.")
        lately = self._store.lately(owner, datetime.now(UTC) - HOUR) if limits.hourly is not None else ()
        limits.check_line(count, self._line.count(owner), self._line.owed(owner), lately)

    def _recover(self, ticket: Ticket) -> None:
        """What a job is after a restart; a running one was interrupted by a crash."""
        if ticket.request is None:
            self._end(ticket, JobState.FAILED, "This job was written by another version of the studio; start it again.")
        elif ticket.state is JobState.QUEUED:
            self._line.put_back(ticket)
        elif ticket.attempts + 1 < MAX_ATTEMPTS:
            self._requeue(ticket, ticket.attempts + 1)
        else:
            self._end(ticket, JobState.FAILED, "The studio stopped twice while it drew this picture.")

    def _requeue(self, ticket: Ticket, attempts: int) -> None:
        try:
            self._store.requeue(ticket.id, attempts)
        except StudioError:
            log.exception("Job %s waits again, which could not be written down.", ticket.id)
        self._line.end_turn(ticket.id)
        self._line.put_back(replace(ticket, state=JobState.QUEUED, reason="", attempts=attempts, unsaved=False))
        self._note_change()

    def _end(self, ticket: Ticket, state: JobState, reason: str = "") -> None:
        self._line.end_turn(ticket.id)
        self._line.leave(ticket.id)
        self._store.end(ticket, state, reason)
        log.info("%s %s", state, reason, extra={"job": ticket.id, "person": ticket.owner})
        self._note_change()

    def _find(self, job: str) -> Ticket:
        return self._line.placed(replace(self._store.ticket(job), unsaved=job in self._held))

    def _note_change(self) -> None:
        self._version += 1
        self._line.changed()
        self._changed.notify_all()

    # ── outside the lock ──

    def _tell(self) -> None:
        with self._changed:
            callbacks = tuple(self._subscribers.values())
        for callback in callbacks:
            try:
                callback()
            except Exception:
                log.exception("A listener of the queue failed.")
