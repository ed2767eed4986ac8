"""How a prompt of any length reaches CLIP, which reads 75 tokens at a time: in chunks, one after the other.

Semantics: AUTOMATIC1111 v1.10. `BREAK` fills up a chunk; a chunk that is full ends after its last comma, where that
is near.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from studio.prompt_weights import Passage

#: Tokens of a chunk, without its start and end.
CHUNK: Final = 75
#: How many tokens after a comma may move to the next chunk.
_BACKTRACK: Final = 20


class Vector(NamedTuple):
    """Row `row` of the textual inversion `name`, which stands in place of a token."""

    name: str
    row: int


Token = int | Vector
#: At most `CHUNK` tokens, each with its weight.
Chunk = tuple[tuple[Token, float], ...]


def chunks(
    passages: Sequence[Passage],
    tokens: Callable[[str], Sequence[int]],
    comma: int | None = None,
    embeddings: Mapping[str, int] | None = None,
) -> list[Chunk]:
    """At least one chunk, perhaps empty.

    `tokens` reads words without start and end, `comma` is the token of a comma, and `embeddings` says how many vectors
    the textual inversion of each name, in small letters, has.
    """
    filled: list[Chunk] = []
    for number, passage in enumerate(passages, 1):
        chunk: list[tuple[Token, float]] = []
        last_comma = -1
        for run in passage:
            for unit in _units(run.text, tokens, embeddings or {}):
                if unit == (comma,):
                    last_comma = len(chunk)
                if len(chunk) + len(unit) > CHUNK and chunk:
                    near = unit != (comma,) and last_comma >= 0 and CHUNK - last_comma <= _BACKTRACK
                    edge = last_comma + 1 if near and len(chunk) == CHUNK else len(chunk)
                    filled.append(tuple(chunk[:edge]))
                    chunk = chunk[edge:]
                    last_comma = -1
                chunk.extend((token, run.weight) for token in unit[:CHUNK])
        if chunk or number < len(passages) or not filled:
            filled.append(tuple(chunk))
    return filled


def _units(text: str, tokens: Callable[[str], Sequence[int]], embeddings: Mapping[str, int]) -> list[tuple[Token, ...]]:
    """What cannot be parted: single tokens, and all the vectors of a textual inversion."""
    if not embeddings:
        return [(token,) for token in tokens(text)]
    units: list[tuple[Token, ...]] = []
    words: list[str] = []

    def read() -> None:
        units.extend((token,) for token in tokens("".join(words)))
        words.clear()

    for part, is_name in _parts(text, embeddings):
        if is_name:
            read()
            units.append(tuple(Vector(part, row) for row in range(embeddings[part])))
        else:
            words.append(part)
    read()
    return units


def named(text: str, names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names`, in small letters, that `text` calls, in its order."""
    known = dict.fromkeys(names, 1)
    return tuple(dict.fromkeys(part for part, is_name in _parts(text, known) if is_name)) if known else ()


def _parts(text: str, names: Mapping[str, int]) -> list[tuple[str, bool]]:
    """The text, cut around the names in it: whole words, in any case, of which the longest counts."""
    lengths = sorted({len(name) for name in names}, reverse=True)
    starts = {name[0] for name in names}
    lower = text.lower()
    if len(lower) != len(text):  # a few capital letters are longer in small
        lower = "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)
    parts: list[tuple[str, bool]] = []
    done = at = 0
    while at < len(text):
        name = None
        if lower[at] in starts and (at == 0 or not _is_word(lower[at - 1])):
            ends = (at + length for length in lengths)
            name = next(
                (lower[at:end] for end in ends if lower[at:end] in names and not _is_word(lower[end : end + 1])), None
            )
        if name is None:
            at += 1
        else:
            parts += [(text[done:at], False), (name, True)]
            at = done = at + len(name)
    return [*parts, (text[done:], False)]


def _is_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_" or letter == "-"
