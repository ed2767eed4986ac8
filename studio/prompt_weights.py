"""How much each part of a prompt counts: `(word)`, `(word:1.2)`, `[word]`, and `BREAK` and `AND` between the parts.

Grammar: AUTOMATIC1111 v1.10, https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features#attentionemphasis
Linear time on any input.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

#: What one pair of round brackets does; square ones undo it.
EMPHASIS: Final = 1.1
#: Beyond this a weight means nothing to any model; hundreds of brackets must not reach infinity.
_MOST: Final = 100.0

_TOKEN: Final = re.compile(
    r"""
    (?P<escaped>\\[()\[\]{}<>:|_\\\#])
    | (?P<open>[(\[])
    | (?P<weight>:\s*+[+-]?(?:\d{1,9}+(?:\.\d{0,18}+)?|\.\d{1,18}+)\s*+\))
    | (?P<close>[)\]])
    | (?P<words>[^\\()\[\]:]++)
    | [\\:]
    """,
    re.VERBOSE,
)
_SPECIAL: Final = re.compile(r"[()\[\]{}<>:|\\#]")
_BREAK: Final = re.compile(r"\bBREAK\b")
_AND: Final = re.compile(r"\bAND\b")
_WEIGHT: Final = re.compile(r"[+-]?(?:\d{1,9}+(?:\.\d{0,18}+)?|\.\d{1,18}+)")


class Run(NamedTuple):
    """Words of one weight; 1 is that of words without brackets."""

    text: str
    weight: float


#: What stands between two `BREAK`s.
Passage = tuple[Run, ...]


def parse(text: str) -> tuple[Passage, ...]:
    """At least one passage, perhaps empty. Neighbouring runs differ in weight.

    As in A1111, a bracket that is never closed counts up to the end, and one that was never opened is a letter.
    """
    tokens = [(token.lastgroup, token[0]) for token in _TOKEN.finditer(text)]
    factors, ends = _matched(tokens)
    passages = [_Passage()]
    round_, square = [1.0], [1.0]
    for number, (kind, token) in enumerate(tokens):
        if number in factors:
            stack = round_ if token == "(" else square
            stack.append(_within(stack[-1] * factors[number]))
        elif number in ends:
            (square if token == "]" else round_).pop()
        elif kind != "words":
            passages[-1].add(token[1:] if kind == "escaped" else token, round_[-1] * square[-1])
        else:
            first, *others = _BREAK.split(token)
            passages[-1].add(first, round_[-1] * square[-1])
            for words in others:
                passages.append(_Passage())
                passages[-1].add(words, round_[-1] * square[-1])
    return tuple(passage.runs(first=n == 0, last=n == len(passages) - 1) for n, passage in enumerate(passages))


def render(passages: tuple[Passage, ...]) -> str:
    """A text that `parse` reads as these passages, where no words of theirs are `BREAK`."""
    return " BREAK ".join("".join(map(_written, passage)) for passage in passages)


def escaped(text: str) -> str:
    """`text` with nothing in it that has a meaning of its own."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def composed(text: str) -> tuple[Run, ...]:
    """The prompts that `AND` joins, each with its weight (`a cat :1.2 AND a dog`): at least one, perhaps empty.

    Other than in A1111 a number after a colon is no weight where there is no `AND` (“16:9”).
    """
    parts = _AND.split(text)
    if len(parts) == 1:
        return (Run(text, 1.0),)
    found = []
    for part in parts:
        before, colon, after = part.rpartition(":")
        number = _WEIGHT.fullmatch(after.strip()) if colon else None
        words, weight = (part, 1.0) if number is None else (before, _within(float(number[0])))
        if words.strip():
            found.append(Run(words.strip(), weight))
    return tuple(found) or (Run("", 1.0),)


def without(text: str) -> tuple[str, bool, bool]:
    """`text` without stated weights, `BREAK` and `\\`, and whether there were weights, and `BREAK`s, in it."""
    tokens = [(token.lastgroup, token[0]) for token in _TOKEN.finditer(text)]
    _, ends = _matched(tokens)
    stated = {number: opened for number, opened in ends.items() if tokens[number][0] == "weight"}
    gone = {*stated, *stated.values()}
    left = [
        token[1:] if kind == "escaped" else token for number, (kind, token) in enumerate(tokens) if number not in gone
    ]
    parts = _BREAK.split("".join(left))
    return "\n".join(part.strip() for part in parts) if len(parts) > 1 else parts[0], bool(stated), len(parts) > 1


def _matched(tokens: list[tuple[str | None, str]]) -> tuple[dict[int, float], dict[int, int]]:
    """By the number of its token: the factor of each opening bracket, and for brackets that close one, which."""
    factors: dict[int, float] = {}
    ends: dict[int, int] = {}
    round_: list[int] = []
    square: list[int] = []
    for number, (kind, token) in enumerate(tokens):
        if kind == "open":
            (round_ if token == "(" else square).append(number)
            factors[number] = EMPHASIS if token == "(" else 1 / EMPHASIS
        elif kind == "weight" and round_:
            ends[number] = round_.pop()
            factors[ends[number]] = float(token[1:-1])
        elif kind == "close" and (stack := round_ if token == ")" else square):
            ends[number] = stack.pop()
    return factors, ends


def _within(weight: float) -> float:
    return max(-_MOST, min(weight, _MOST))


class _Passage:
    """Runs while they are gathered: joining them only in the end keeps this linear."""

    def __init__(self) -> None:
        self._parts: list[tuple[float, list[str]]] = []

    def add(self, text: str, weight: float) -> None:
        if not text:
            return
        weight = _within(weight)
        if self._parts and self._parts[-1][0] == weight:
            self._parts[-1][1].append(text)
        else:
            self._parts.append((weight, [text]))

    def runs(self, *, first: bool, last: bool) -> Passage:
        """The space around a `BREAK` is no part of the words."""
        runs = [Run("".join(words), weight) for weight, words in self._parts]
        if runs and not first:
            runs[0] = runs[0]._replace(text=runs[0].text.lstrip())
        if runs and not last:
            runs[-1] = runs[-1]._replace(text=runs[-1].text.rstrip())
        return tuple(run for run in runs if run.text)


def _written(run: Run) -> str:
    words = escaped(run.text)
    return words if run.weight == 1 else f"({words}:{f'{run.weight:.9f}'.rstrip('0').rstrip('.')})"
