"""How much one person may ask of the studio, and when it rests: rules without threads or tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from studio.access import REFUSALS, Scope
from studio.errors import BadRequest, Forbidden, TooManyRequests
from studio.request import ResolvedRequest

HOUR: Final = timedelta(hours=1)
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one person; None: none.

    Attributes:
        pictures: Pictures that may wait at once.
        jobs: Jobs that may wait or be drawn at once.
        hourly: Pictures asked for in any hour; cancelled ones count only as far as they were drawn.
        pixels: Pixels of one drawing.
        steps: Denoising steps of one picture, all its rounds together.
    """

    scope: Scope = Scope.OWNER
    pictures: int = 200
    jobs: int | None = None
    hourly: int | None = None
    pixels: int | None = None
    steps: int | None = None

    def check_scope(self, *, remix: bool) -> None:
        """Raises:
        Forbidden: this person may not draw, or only from what they are shown.
        """
        needed = Scope.REMIX if remix else Scope.GENERATE
        if not self.scope.allows(needed):
            raise Forbidden(REFUSALS[Scope.REMIX if self.scope is Scope.VIEW else Scope.GENERATE])

    def check_size(self, request: ResolvedRequest) -> None:
        """Raises:
        BadRequest: one picture of it is too much, now and later.
        """
        pixels, steps = request.width * request.height, request.steps * request.loops
        if self.pixels is not None and pixels > self.pixels:
            raise BadRequest(
                f"{request.width} × {request.height} is larger than guests may draw here; "
                f"stay below {self.pixels / 1e6:.2g} million pixels."
            )
        if self.steps is not None and steps > self.steps:
            raise BadRequest(f"Guests may take {self.steps} steps for a picture here, not {steps}.")

    def check_line(self, count: int, jobs: int, owed: int, lately: Sequence[tuple[datetime, int]]) -> None:
        """May `count` pictures be added to `owed` pictures of `jobs` jobs that wait, after those asked for `lately`?

        Raises:
            TooManyRequests: not now.
        """
        if self.jobs is not None and jobs >= self.jobs:
            raise TooManyRequests(f"You have {jobs} jobs waiting, which is all you may; cancel one or wait.", 15)
        if owed + count > self.pictures:
            raise TooManyRequests(
                f"You have {owed} pictures waiting and may have {self.pictures}; wait for some, or cancel one.", 15
            )
        if self.hourly is None or sum(pictures for _, pictures in lately) + count <= self.hourly:
            return
        over, now = sum(pictures for _, pictures in lately) + count - self.hourly, datetime.now(UTC)
        for accepted, pictures in lately:
            over -= pictures
            if over <= 0:
                wait = max(1.0, (accepted + HOUR - now).total_seconds())
                break
        else:
            raise BadRequest(f"You may ask for {self.hourly} pictures an hour; ask for fewer at once.")
        raise TooManyRequests(
            f"You may ask for {self.hourly} pictures an hour; there is room again in {_minutes(wait)}.", wait
        )


@dataclass(frozen=True, slots=True)
class QuietHours:
    """The time of day, on the studio's clock, when guests' pictures wait; it may pass midnight."""

    begin: time
    end: time

    @classmethod
    def of(cls, text: str) -> QuietHours | None:
        """`22:00-07:30`; None for an empty text.

        Raises:
            BadRequest: it is neither.
        """
        if not text:
            return None
        parts = [_CLOCK.fullmatch(part.strip()) for part in text.split("-")]
        if len(parts) != 2 or parts[0] is None or parts[1] is None:
            raise BadRequest("Quiet hours are written as 22:00-07:30.")
        begin, end = (time(int(part[1]), int(part[2])) for part in parts if part is not None)
        return cls(begin, end)

    def is_now(self, now: datetime) -> bool:
        at = now.time()
        if self.begin <= self.end:
            return self.begin <= at < self.end
        return at >= self.begin or at < self.end


def _minutes(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return "a minute" if minutes == 1 else f"{minutes} minutes"
