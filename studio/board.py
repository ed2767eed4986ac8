"""What a page shows about jobs: snapshots, and the live state of the turn they are taken from."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from studio.engine import Event, Preview, Progress
from studio.job_store import Ticket
from studio.turns import Pace, Waiter


@dataclass(frozen=True, slots=True)
class Running:
    """The job being drawn: picture `index` (from 0), `step` of `steps`; `seconds_left` for all its pictures.

    `preview_number` counts the previews of this turn; `preview` is the last one of the current picture, a JPEG.
    """

    ticket: Ticket
    stage: str
    step: int
    steps: int
    index: int
    count: int
    seconds_left: float | None
    preview_number: int
    preview: bytes | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """`ticket.position` jobs come before; `seconds` until it starts, None while that is unknown."""

    ticket: Ticket
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Board:
    """Everything one owner's page shows about jobs; `recent` newest first.

    `trouble` says why the whole queue stands still; it is empty otherwise.
    """

    version: int
    running: Running | None
    waiting: tuple[Waiting, ...]
    recent: tuple[Ticket, ...]
    trouble: str = ""


class Stop(Enum):
    CANCELLED = auto()
    CLOSING = auto()


@dataclass
class Turn:
    """One job at the engine. Times are monotonic seconds; `share` of a picture runs from 0 to 1."""

    ticket: Ticket
    began: float
    index: int = 0
    stop: Stop | None = None
    _progress: Progress = field(default_factory=lambda: Progress(""))
    _picture_began: float = 0.0
    _first_step: tuple[float, float] | None = None  # when it was done, and the share done by then
    _last_step: float = 0.0
    _preview: bytes | None = None
    _preview_number: int = 0

    def begin(self, index: int, now: float) -> None:
        self.index, self._progress, self._picture_began = index, Progress("starting"), now
        self._first_step, self._preview = None, None

    def note(self, event: Event, now: float) -> bool:
        """Whether the event changed anything to be seen."""
        if isinstance(event, Preview):
            self._preview, self._preview_number = event.jpeg, self._preview_number + 1
        elif isinstance(event, Progress):
            if event == self._progress:
                return False
            self._progress = event
            if event.step:
                self._last_step = now
                if self._first_step is None:
                    self._first_step = now, self._share
        return True

    @property
    def _share(self) -> float:
        return min(1.0, self._progress.step / self._progress.steps) if self._progress.steps else 0.0

    def measured(self, now: float, share: float = 1.0) -> float | None:
        """Seconds for one picture, as its steps have gone up to `share` of it at `now`; None with too few of them."""
        if self._first_step is None or self._first_step[1] >= share:
            return None
        return (now - self._first_step[0]) / (share - self._first_step[1])

    def waiter(self, pace: Pace) -> Waiter:
        left = max(1, self.ticket.count - len(self.ticket.pictures))
        seconds = self._expected(pace)
        return Waiter(self.ticket.id, self.ticket.owner, self.ticket.number, left, seconds, self.ticket.urgency)

    def elapsed(self, pace: Pace) -> float:
        """Seconds of the current picture that need not be waited for any more."""
        return self._share * (self._expected(pace) or 0.0)

    def _expected(self, pace: Pace) -> float | None:
        request = self.ticket.request
        known = pace.picture(request, from_picture="init" in self.ticket.inputs) if request else None
        return known if known is not None else self.measured(self._last_step, self._share)

    def snapshot(self, pace: Pace) -> Running:
        each = self._expected(pace)
        left = max(1, self.ticket.count - len(self.ticket.pictures))
        return Running(
            ticket=self.ticket,
            stage=self._progress.stage,
            step=self._progress.step,
            steps=self._progress.steps,
            index=self.index,
            count=self.ticket.count,
            seconds_left=None if each is None else each * (left - self._share),
            preview_number=self._preview_number,
            preview=self._preview,
        )
