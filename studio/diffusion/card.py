"""The device's own memory: which parts of models lie there, and who makes room for whom."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from studio.diffusion import memory, residency
from studio.diffusion.part import Copy, Part
from studio.diffusion.residency import Idle
from studio.errors import OutOfMemory


class Card:
    """What models are computed on.

    `copy` brings one piece of memory there; None if the device computes in main memory, where everything is already.
    `budget` limits the weights that lie there, in bytes; None leaves it to what is free.
    """

    def __init__(self, place: torch.device, copy: Copy | None = None, budget: int | None = None) -> None:
        self.place = place
        self._copy = copy
        self._budget = budget
        self._clock = itertools.count()
        self._used: dict[str, tuple[int, Part]] = {}
        self._lock = threading.RLock()

    @property
    def is_separate(self) -> bool:
        return self._copy is not None

    @property
    def held(self) -> int:
        """Bytes of weights that lie there."""
        with self._lock:
            return sum(part.bytes for _, part in self._used.values())

    def room(self) -> int:
        """Bytes that weights and drawing may take there together."""
        room = memory.card(self.place, 0).free + self.held
        return room if self._budget is None else min(room, self._budget)

    def holds(self, part: Part) -> bool:
        return part.key in self._used

    def bring(self, parts: Sequence[Part], *, busy: Iterable[Part] = (), reserve: int = 0) -> None:
        """Let these parts lie there, least recently used others leaving for them, `busy` ones never.

        `reserve` bytes are left for drawing, unless that keeps the parts away: what drawing takes is not known so well.

        Raises:
            OutOfMemory: there is no room even then.
        """
        if self._copy is None:
            return
        with self._lock:
            staying = {part.key: part for part in (*parts, *busy)}
            missing = [part for part in parts if part.key not in self._used]
            if missing:
                self._make_room(staying, missing, reserve)
            for part in missing:
                part.bring(self.place, self._copy)
                self._used[part.key] = next(self._clock), part
            for part in parts:
                self._used[part.key] = next(self._clock), part

    def evict(self, parts: Iterable[Part]) -> None:
        with self._lock:
            for part in parts:
                if self._used.pop(part.key, None) is not None:
                    part.evict()

    def clear(self, busy: Iterable[Part] = ()) -> None:
        """Everything leaves but what is busy."""
        with self._lock:
            staying = {part.key for part in busy}
            self.evict([part for key, (_, part) in self._used.items() if key not in staying])

    def _make_room(self, staying: dict[str, Part], missing: Sequence[Part], reserve: int) -> None:
        there = {key: part for key, (_, part) in self._used.items()}
        sizes = {key: part.bytes for key, part in (there | staying).items()}
        idle = [Idle(key, used, frozenset({key})) for key, (used, _) in self._used.items() if key not in staying]
        kept = frozenset(key for key in staying if key in there) | {part.key for part in missing}
        room = self.room()
        for limit in (room - reserve, room):
            leaving = residency.victims(idle, [kept], sizes, limit)
            if leaving is not None:
                self.evict([there[key] for key in leaving])
                return
        need = sum(sizes[key] for key in kept)
        raise OutOfMemory(f"The weights need {residency.readable(need)}, {residency.readable(room)} are free for them.")


def of(place: torch.device, budget: int | None = None) -> Card:
    return Card(place, None if place.type == "cpu" else _copies(place), budget)


def _copies(place: torch.device) -> Callable[[Tensor], Tensor]:
    if place.type != "cuda":
        return lambda piece: piece.to(place)
    stream = torch.cuda.Stream(place)  # type: ignore[no-untyped-call]

    def copy(piece: Tensor) -> Tensor:
        """Runs beside what the device is doing; whatever is computed next waits for it there, not here."""
        computing = torch.cuda.current_stream(place)
        with torch.cuda.stream(stream):
            there = piece.to(place, non_blocking=True)
        computing.wait_stream(stream)
        there.record_stream(computing)
        return there

    return copy
