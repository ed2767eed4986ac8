"""Whose turn it is, and how long it will take: the arithmetic of the waiting line, without threads or tables."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from studio.request import ResolvedRequest
from studio.samplers import SAMPLERS

#: How quickly a new measurement of the pace replaces the old one.
_FRESHNESS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Waiter:
    """A job in the line: `number` is its order of arrival, `pictures` those still to draw, `seconds` for each.

    `urgency`: who has more goes first, whatever the shares say; the studio's owner gives it.
    """

    job: str
    owner: str
    number: int
    pictures: int
    seconds: float | None
    urgency: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Jobs that come before, and seconds until it starts; None while nothing like what is before it was measured."""

    before: int
    seconds: float | None


@dataclass
class Shares:
    """Seconds of drawing each owner has had. The next turn is the one's who has had least; ties go by `number`.

    Who comes after a pause starts level with those who are here, without credit for the pause; once the line has been
    empty everyone starts level (start-time fair queueing, Goyal, Vin and Cheng 1996).
    """

    served: dict[str, float] = field(default_factory=dict)
    _level: float = 0.0

    def arrive(self, owner: str) -> None:
        """To be called when an owner without waiting jobs gets one."""
        self.served[owner] = max(self.served.get(owner, 0.0), self._level)

    def rest(self) -> None:
        """To be called when the line is empty."""
        self.served.clear()
        self._level = 0.0

    def turn(self, owner: str) -> None:
        self._level = max(self._level, self.served.get(owner, 0.0))

    def charge(self, owner: str, seconds: float) -> None:
        self.served[owner] = self.served.get(owner, 0.0) + seconds

    def of(self, owner: str) -> float:
        return self.served.get(owner, 0.0)


def first(waiting: Iterable[Waiter], shares: Shares) -> str | None:
    """The next job of everything that waits."""
    chosen = min(waiting, key=lambda job: (-job.urgency, shares.of(job.owner), job.number), default=None)
    return chosen.job if chosen else None


def foresee(
    waiting: Iterable[Waiter], shares: Shares, turn: float, running: Waiter | None = None, elapsed: float = 0.0
) -> Mapping[str, Place]:
    """Play the queue forward: where each waiting job stands and when it will start.

    Args:
        turn: Seconds after which a job gives way to another owner's, at its next picture.
        running: The job being drawn, with the pictures still to do, the current one included.
        elapsed: Seconds spent on the current picture.
    """
    jobs: dict[str, deque[Waiter]] = {}
    for waiter in sorted(waiting, key=lambda waiter: (-waiter.urgency, waiter.number)):
        jobs.setdefault(waiter.owner, deque()).append(waiter)
    served = {owner: shares.of(owner) for owner in jobs}
    if running is not None:
        served.setdefault(running.owner, shares.of(running.owner))
        jobs.setdefault(running.owner, deque()).appendleft(running)
    heap = [
        (-math.inf if job is running else -job.urgency, served[owner], job.number, owner)
        for owner, job in ((owner, queue[0]) for owner, queue in jobs.items())
    ]
    heapq.heapify(heap)
    clock: float | None = -elapsed
    places: dict[str, Place] = {}
    unstarted = sum(len(queue) for queue in jobs.values())
    while heap and unstarted:
        *_, owner = heapq.heappop(heap)
        job = jobs[owner].popleft()
        if job.job not in places:
            places[job.job] = Place(len(places), None if clock is None else max(0.0, clock))
            unstarted -= 1
        each = job.seconds or 1.0
        pictures = min(job.pictures, max(1, math.ceil(turn / each)))
        while pictures < job.pictures and (not heap or heap[0][:2] >= (-job.urgency, served[owner] + pictures * each)):
            pictures += 1  # nobody else has had less
        clock = None if clock is None or job.seconds is None else clock + pictures * each
        served[owner] += pictures * each
        if job.pictures > pictures:
            jobs[owner].appendleft(replace(job, pictures=job.pictures - pictures))
        if jobs[owner]:
            head = jobs[owner][0]
            heapq.heappush(heap, (-head.urgency, served[owner], head.number, owner))
    return places


@dataclass
class Pace:
    """Seconds per denoiser evaluation, learnt from the pictures drawn, by model and size."""

    _seconds: dict[tuple[str, int, int], float] = field(default_factory=dict)

    def learn(self, request: ResolvedRequest, seconds: float) -> None:
        """A picture of `request` took `seconds`, loading of the model not counted."""
        key = (request.model, request.width, request.height)
        new = seconds / evaluations(request)
        old = self._seconds.get(key, new)
        self._seconds[key] = old + _FRESHNESS * (new - old)

    def picture(self, request: ResolvedRequest, *, from_picture: bool = False) -> float | None:
        """Seconds for one picture; at a size not drawn yet, from the nearest one of this model, by pixels.

        `from_picture`: `request.init` was left out of a ticket, but is there.
        """
        pixels = request.width * request.height
        known = [
            (abs(math.log(pixels / (width * height))), seconds * pixels / (width * height))
            for (model, width, height), seconds in self._seconds.items()
            if model == request.model
        ]
        return min(known)[1] * evaluations(request, from_picture=from_picture) if known else None


def evaluations(request: ResolvedRequest, *, from_picture: bool = False) -> float:
    """How often the denoiser runs for one picture."""
    sampler = SAMPLERS.get(request.sampler)
    order = sampler.order if sampler else 1
    if not from_picture and request.init is None:
        return float(request.steps * order)
    strengths = (request.strength * request.loop_decay**number for number in range(request.loops))
    return sum(max(1.0, request.steps * strength * order) for strength in strengths)
