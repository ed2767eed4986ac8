"""Chance in prompts: `{a|b}`, `{2$$a|b|c}` and `__name__`, decided by a seed, the same for ever.

The syntax is that of Dynamic Prompts, https://github.com/adieyal/sd-dynamic-prompts/blob/main/docs/SYNTAX.md
Linear time in the prompt, however its braces are nested.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from studio.errors import BadRequest
from studio.request import MAX_PROMPT

FOLDER: Final = "wildcards"
_LARGEST: Final = 4_000_000
#: Files that refer to each other may grow without end; no prompt needs more than this.
_MOST_CHOICES: Final = 10_000
_NEXT: Final = re.compile(r"\\.|(?P<brace>\{)|__(?!_)(?P<name>[\w./*\-]{1,120}?)__", re.DOTALL)
_BRACKET: Final = re.compile(r"\\.|[{}|\[\]]", re.DOTALL)
_AMOUNT: Final = re.compile(r"\s{0,40}+(?:(\d{1,3}+)?(-)?(\d{1,3}+)?)\$\$(?:([^$|{}]{0,40}+)\$\$)?")
_WEIGHT: Final = re.compile(r"\s{0,40}+(\d{1,6}(?:\.\d{1,9}+)?)::")


class _Option(NamedTuple):
    """The characters from `start` to `end` of its text, and how likely they are among their neighbours."""

    start: int
    end: int
    weight: float


@dataclass(frozen=True, slots=True)
class _Group:
    """`{…}` that ends before `end`: from `least` to `most` of its options are chosen and joined."""

    end: int
    options: tuple[_Option, ...]
    least: int
    most: int
    joined: str | None


@dataclass(frozen=True, slots=True)
class _Text:
    source: str
    groups: dict[int, _Group]


@dataclass(frozen=True, slots=True)
class _File:
    """The lines of a wildcard file with their weights; `stamp` changes when it does."""

    stamp: tuple[int, int]
    lines: tuple[tuple[str, float], ...]


class Wildcards:
    """The text files of several folders, each line an entry; of two with one name, the later folder's counts."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._paths: dict[str, Path] = {}
        self._files: dict[Path, _File] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look for files anew."""
        self._paths = {
            file.relative_to(folder).with_suffix("").as_posix().lower(): file
            for folder in self._folders
            for file in sorted(folder.rglob("*.txt"))
        }

    def names(self) -> tuple[str, ...]:
        """What stands between underscores, e.g. `colours` or `people/clothes`."""
        return tuple(sorted(self._paths))

    def lines(self, wanted: str) -> tuple[str, ...]:
        """The entries of a wildcard as they stand in its file.

        Raises:
            BadRequest: there is none, or it cannot be read.
        """
        return tuple(line for name in self._matching(wanted) for line, _ in self._read(name).lines)

    def resolve(self, text: str, seed: int | str) -> str:
        """`text` with every choice made. The same seed makes the same choices while the files stay the same.

        Raises:
            BadRequest: a wildcard there is not, one that leads back to itself, or a text that grew too long.
        """
        if "{" not in text and "__" not in text:
            return text
        return "".join(self._resolved(text, random.Random(f"{seed}")))

    def _resolved(self, text: str, chance: random.Random) -> Iterator[str]:
        length = choices = 0
        whole = _read(text)
        #: What is still to be done, the next last: part of a text, and the files that led to it.
        todo: list[tuple[_Text, int, int, tuple[str, ...]]] = [(whole, 0, len(text), ())]
        while todo:
            part, at, end, chain = todo.pop()
            found = _next(part, at, end)
            literal = part.source[at : end if found is None else found.start()]
            length += len(literal)
            if length > 2 * MAX_PROMPT or choices > _MOST_CHOICES:
                raise BadRequest("With its wildcards the prompt is too long; use fewer of them.")
            yield literal
            if found is None:
                continue
            choices += 1
            if found["brace"] is None:
                todo.append((part, found.end(), end, chain))
                name, line = self._line(found["name"], chain, chance)
                todo.append((_read(line), 0, len(line), (*chain, name)))
                continue
            group = part.groups[found.start()]
            todo.append((part, group.end, end, chain))
            amount = group.least + int(chance.random() * (group.most - group.least + 1))
            chosen = _chosen(group.options, amount, chance)
            for place, option in reversed(list(enumerate(chosen))):
                first, last = option.start, option.end
                if group.joined is not None:
                    first, last = _stripped(part.source, first, last)
                todo.append((part, first, last, chain))
                if place and group.joined:
                    todo.append((_Text(group.joined, {}), 0, len(group.joined), chain))

    def _line(self, wanted: str, chain: tuple[str, ...], chance: random.Random) -> tuple[str, str]:
        lines: list[tuple[str, str]] = []
        weights: list[float] = []
        for name in self._matching(wanted):
            for line, weight in self._read(name).lines:
                lines.append((name, line))
                weights.append(weight)
        if not any(weights):
            raise BadRequest(f"The wildcard __{wanted}__ has no entries; write some into its file, one a line.")
        name, line = lines[_pick(weights, chance)]
        if name in chain:
            way = " → ".join([*chain[chain.index(name) :], name])
            raise BadRequest(f"The wildcard __{name}__ leads back to itself ({way}); change one of these files.")
        return name, line

    def _matching(self, wanted: str) -> list[str]:
        pattern = wanted.lower().strip("/")
        for _ in range(2):
            if "*" in pattern:
                found = [name for name in sorted(self._paths) if fnmatchcase(name, pattern)]
            else:
                found = [pattern] if pattern in self._paths else []
            if found and all(self._paths[name].is_file() for name in found):
                return found
            self.refresh()  # it may have been added, or removed, since
        raise BadRequest(f"There is no wildcard __{wanted}__; add {FOLDER}/{wanted}.txt with an entry on every line.")

    def _read(self, name: str) -> _File:
        path = self._paths[name]
        try:
            stat = path.stat()
            stamp = stat.st_mtime_ns, stat.st_size
            known = self._files.get(path)
            if known is None or known.stamp != stamp:
                if stat.st_size > _LARGEST:
                    raise BadRequest(f"The wildcard file {path.name} is too large; split it.")
                known = _File(stamp, tuple(_entries(path.read_text("utf-8-sig"))))
                self._files[path] = known
        except (OSError, UnicodeDecodeError) as broken:
            raise BadRequest(f"The wildcard file {path.name} cannot be read; save it as UTF-8 text.") from broken
        return known


def _entries(text: str) -> Iterator[tuple[str, float]]:
    for line in text.splitlines():
        entry = line.strip()
        if entry and not entry.startswith("#"):
            weight = _WEIGHT.match(entry)
            yield (entry, 1.0) if weight is None else (entry[weight.end() :], float(weight[1]))


@dataclass(slots=True)
class _Open:
    at: int
    brace: bool
    bars: list[int] = field(default_factory=list)


def _read(source: str) -> _Text:
    """Which braces match, and which bars are theirs rather than those of `[a|b]` within."""
    groups: dict[int, _Group] = {}
    stack: list[_Open] = []
    braces = 0
    if "{" not in source:
        return _Text(source, groups)
    for found in _BRACKET.finditer(source):
        match found[0]:
            case "{" | "[" as bracket:
                stack.append(_Open(found.start(), bracket == "{"))
                braces += bracket == "{"
            case "|" if stack:
                stack[-1].bars.append(found.start())
            case "]" if stack and not stack[-1].brace:
                stack.pop()
            case "}" if braces:
                inner: list[list[int]] = []
                while not stack[-1].brace:  # `[` that was never closed holds no bars back
                    inner.append(stack.pop().bars)
                opened = stack.pop()
                braces -= 1
                bars = [*opened.bars, *(bar for bars in reversed(inner) for bar in bars)]
                groups[opened.at] = _group(source, opened.at, found.start(), bars)
            case _:
                pass
    return _Text(source, groups)


def _group(source: str, start: int, end: int, bars: list[int]) -> _Group:
    first = start + 1
    amount = _AMOUNT.match(source, first, end)
    if amount is not None:
        first = amount.end()
    edges = [first - 1, *(bar for bar in bars if bar >= first), end]
    options = tuple(_option(source, before + 1, after) for before, after in pairwise(edges))
    if amount is None:
        return _Group(end + 1, options, 1, 1, None)
    low, dash, high, joined = amount.groups()
    least = int(low) if low else 1
    most = int(high) if high else len(options) if dash else least
    most = min(max(least, most), len(options))
    return _Group(end + 1, options, min(least, most), most, ", " if joined is None else joined)


def _option(source: str, start: int, end: int) -> _Option:
    weight = _WEIGHT.match(source, start, end)
    return _Option(start, end, 1.0) if weight is None else _Option(weight.end(), end, float(weight[1]))


def _next(text: _Text, at: int, end: int) -> re.Match[str] | None:
    """The next choice to be made from `at` on."""
    while (found := _NEXT.search(text.source, at, end)) is not None:
        if found["name"] is not None or (found["brace"] is not None and found.start() in text.groups):
            return found
        at = found.end()
    return None


def _chosen(options: tuple[_Option, ...], amount: int, chance: random.Random) -> list[_Option]:
    """So many of them, none twice, in the order of chance."""
    left = list(options)
    chosen = []
    for _ in range(amount):
        weights = [option.weight for option in left]
        if not any(weights):
            break
        chosen.append(left.pop(_pick(weights, chance)))
    return chosen


def _pick(weights: list[float], chance: random.Random) -> int:
    """An index. By hand, since of Python's generator only `random` promises the same numbers in every version."""
    left = chance.random() * sum(weights)
    for index, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return index
    return max(index for index, weight in enumerate(weights) if weight)


def _stripped(source: str, start: int, end: int) -> tuple[int, int]:
    text = source[start:end]
    start += len(text) - len(text.lstrip())
    return start, max(start, start + len(text.strip()))
