"""Words to write prompts with: the builder's, by the sides of a picture, and lists of tags of the artist's own."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from studio.errors import BadRequest
from studio.presets import Presets

FILE: Final = "vocabulary.toml"
#: Lists of tags as the Danbooru tag completion of A1111 reads them: `name,kind,count,"other names"`.
TAGS: Final = "tags"
MOST_TAGS: Final = 500_000
_LARGEST: Final = 64_000_000


class Book(BaseModel):
    """presets/vocabulary.toml. `facets`: the wildcard files behind each. The others are by model or family: `surprise`
    holds templates, `help` files of what belongs into a prompt, `negatives` words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    facets: Mapping[str, tuple[str, ...]]
    surprise: Mapping[str, str]
    help: Mapping[str, tuple[str, ...]]
    negatives: Mapping[str, tuple[str, ...]]


class Vocabulary:
    """The book of `folder`, and the tag lists in `tags/` of `data_dir`."""

    def __init__(self, folder: Path, data_dir: Path, presets: Presets) -> None:
        self._book = Book.model_validate(tomllib.loads((folder / FILE).read_text("utf-8")))
        self._tags = data_dir / TAGS
        self._presets = presets

    def facets(self) -> dict[str, tuple[str, ...]]:
        """The words of each facet: lines that are words as they stand, without chance in them."""
        return {name: tuple(self._words(files)) for name, files in self._book.facets.items()}

    def _words(self, files: tuple[str, ...]) -> Iterator[str]:
        for name in files:
            try:
                yield from (line for line in self._presets.wildcards.lines(name) if not re.search(r"__|[{}|]", line))
            except BadRequest:  # the artist has put an unreadable file in its place
                continue

    def surprise(self, *keys: str) -> str:
        """The template for a model: by the first of its `keys` that has one."""
        return next((self._book.surprise[key] for key in keys if key in self._book.surprise), "__surprise__")

    def helping(self, *keys: str) -> list[tuple[str, ...]]:
        """For each side of a picture that a prompt should speak of, the words for it."""
        files = next(self._book.help[key] for key in (*keys, "default") if key in self._book.help)
        return [words for name in files if (words := tuple(self._words((name,))))]

    def negatives(self, *keys: str) -> tuple[str, ...]:
        return next((self._book.negatives[key] for key in (*keys, "default") if key in self._book.negatives), ())

    def tags(self) -> list[tuple[str, int]]:
        """The artist's own tags, the most used first. What of a file cannot be read is left out."""
        found: dict[str, int] = {}
        for file in sorted(self._tags.glob("*.csv")) if self._tags.is_dir() else ():
            try:
                if file.stat().st_size <= _LARGEST:
                    for name, count in _rows(file):
                        found[name] = max(count, found.get(name, 0))
            except (OSError, UnicodeDecodeError, csv.Error):
                continue
            if len(found) >= MOST_TAGS:
                break
        return sorted(found.items(), key=lambda tag: (-tag[1], tag[0]))[:MOST_TAGS]


def _rows(file: Path) -> Iterator[tuple[str, int]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        for row in csv.reader(lines):
            name = row[0].strip().replace("_", " ") if row else ""
            if name and not name.startswith("#") and len(name) <= 100:
                count = row[2].strip() if len(row) > 2 else ""
                yield name, int(count) if count.isdecimal() and len(count) < 12 else 0
