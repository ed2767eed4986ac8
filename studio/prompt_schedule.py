"""Prompts that change while a picture is drawn: `[from:to:0.4]`, `[a::8]`, `[a:0.3]`, `[a|b]`.

A schedule is a flat sequence, so that nothing here depends on how deeply brackets are nested, and takes linear time.
Grammar: AUTOMATIC1111 v1.10, https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features#prompt-editing
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final


@dataclass(frozen=True, slots=True)
class Fork:
    """What follows, up to its `Mark.END`, are options separated by `Mark.NEXT`, one of which is shown at a time.

    With a `step` or `share` there are two, the first up to and including that step or that share of all steps, the
    second after it. With neither they take turns, one step each.
    """

    options: int
    step: int | None = None
    share: float | None = None

    def shown(self, step: int, steps: int) -> int:
        """The option at `step`, counted from 1, of `steps`."""
        last = self._last(steps)
        return (step - 1) % self.options if last is None else int(step > last)

    def turns(self, steps: int) -> range:
        """The steps, counted from 1, after which the option may change."""
        last = self._last(steps)
        return range(1, steps) if last is None else range(max(last, 0), min(last + 1, steps))

    def _last(self, steps: int) -> int | None:
        return self.step if self.share is None else int(self.share * steps)


class Mark(Enum):
    NEXT = "next"
    END = "end"


Schedule = tuple[str | Fork | Mark, ...]

_TOKEN: Final = re.compile(r"\\.|[\[\]():|]|[^\\\[\]():|]++|\\", re.DOTALL)
_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,9}+(?:\.\d{0,18}+)?|\.\d{1,18}+)")


@dataclass(slots=True)
class _Open:
    """A bracket not closed yet: where it stands among the pieces, and what separates its content."""

    at: int
    square: bool
    broken: bool = False
    colons: list[int] = field(default_factory=list)
    bars: list[int] = field(default_factory=list)


def parse(text: str) -> Schedule:
    """Brackets that do not match, and those that schedule nothing, stay as they are; so does what `\\` precedes."""
    pieces: list[str | Fork | Mark] = []
    stack: list[_Open] = []
    squares = 0
    for token in _TOKEN.findall(text):
        pieces.append(token)
        top = stack[-1] if stack else None
        match token:
            case "(":
                stack.append(_Open(len(pieces) - 1, square=False))
            case "[":
                stack.append(_Open(len(pieces) - 1, square=True))
                pieces.append("")  # room for the empty option of `[to:when]`
                squares += 1
            case ":" | "|" if top is not None and top.square:
                (top.colons if token == ":" else top.bars).append(len(pieces) - 1)
            case ")" if top is not None and not top.square:
                stack.pop()
                if top.broken and stack:
                    stack[-1].broken = True
            case "]" if squares:
                broken = False
                while not stack[-1].square:
                    stack.pop()
                    broken = True
                closed = stack.pop()
                squares -= 1
                closed.broken |= broken
                if not closed.broken:
                    _close(closed, pieces)
                elif stack:
                    stack[-1].broken = True
            case ")" | "]" if top is not None:
                top.broken = True
            case _:
                pass
    return tuple(_merged(pieces))


def _merged(pieces: list[str | Fork | Mark]) -> Iterator[str | Fork | Mark]:
    words: list[str] = []
    for piece in pieces:
        if isinstance(piece, str):
            words.append(piece)
            continue
        if text := "".join(words):
            yield text
        words.clear()
        yield piece
    if text := "".join(words):
        yield text


def _close(closed: _Open, pieces: list[str | Fork | Mark]) -> None:
    """The pieces since `closed`, the last of which is `]`, become a fork where they are one."""
    colons = closed.colons
    when = None
    if colons and colons[-1] == len(pieces) - 3:
        when = _NUMBER.fullmatch(str(pieces[-2]).strip())
    if when is not None and len(colons) <= 2:
        share = "." in when[0]
        pieces[closed.at] = Fork(2, None if share else int(when[0]), float(when[0]) if share else None)
        pieces[colons[0] if len(colons) == 2 else closed.at + 1] = Mark.NEXT
        pieces[colons[-1] :] = [Mark.END]
    elif closed.bars:
        pieces[closed.at] = Fork(len(closed.bars) + 1)
        for bar in closed.bars:
            pieces[bar] = Mark.NEXT
        pieces[-1] = Mark.END


def render(schedule: Schedule) -> str:
    """The text `parse` reads as `schedule`."""
    written: list[str] = []
    forks: list[Fork] = []
    for piece in schedule:
        if isinstance(piece, str):
            written.append(piece)
        elif isinstance(piece, Fork):
            forks.append(piece)
            written.append("[")
        else:
            fork = forks[-1] if piece is Mark.NEXT else forks.pop()
            if piece is Mark.NEXT:
                written.append("|" if fork.step is None and fork.share is None else ":")
            elif fork.share is not None:
                written.append(f":{fork.share:.18f}".rstrip("0") + "]")
            else:
                written.append("]" if fork.step is None else f":{fork.step}]")
    return "".join(written)


def at(schedule: Schedule, step: int, steps: int) -> str:
    """The text at `step`, counted from 1, of `steps`."""
    shown: list[str] = []
    forks: list[tuple[int, int]] = []  # the option wanted, the option we are in
    hidden = 0
    for piece in schedule:
        if isinstance(piece, str):
            if not hidden:
                shown.append(piece)
        elif isinstance(piece, Fork):
            forks.append((piece.shown(step, steps), 0))
            hidden += forks[-1][0] != 0
        else:
            wanted, option = forks.pop()
            hidden -= option != wanted
            if piece is Mark.NEXT:
                forks.append((wanted, option + 1))
                hidden += option + 1 != wanted
    return "".join(shown)


def texts(schedule: Schedule, steps: int) -> list[tuple[int, str]]:
    """Every text of the schedule with the last step, counted from 1, at which it holds."""
    turns = {steps}.union(*(piece.turns(steps) for piece in schedule if isinstance(piece, Fork)))
    held: list[tuple[int, str]] = []
    for last in sorted(turns - {0}):
        text = at(schedule, last, steps)
        if held and held[-1][1] == text:
            held.pop()
        held.append((last, text))
    return held
