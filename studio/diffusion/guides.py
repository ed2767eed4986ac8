"""Where the settings, the tokenizer and the scheduler of a single file come from: a diffusers folder of its family.

Such a folder, a guide, needs no weights: its small files suffice. Looked for in the model folders, then in the cache of
the hub, then among what the studio brings along (`assets/families`).
"""

from __future__ import annotations

import functools
import gzip
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import diffusers
import transformers
from diffusers import pipelines
from huggingface_hub import constants

from studio import families
from studio.family import Family
from studio.settings import ASSETS
from studio.specs import EncoderSpec, VaeSpec

SHIPPED: Final = ASSETS / "families"
_DEPTH: Final = 4


@dataclass(frozen=True, slots=True)
class Shelf:
    """What stands beside a single file: the model folders, and the VAEs and text encoders found in them."""

    folders: tuple[Path, ...] = ()
    vaes: tuple[VaeSpec, ...] = ()
    encoders: tuple[EncoderSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Guide:
    """`parts` are the components of `index` (model_index.json) by name: their library and class."""

    folder: Path
    family: Family
    index: Mapping[str, Any]

    @property
    def parts(self) -> dict[str, type[Any]]:
        named = {name: value for name, value in self.index.items() if isinstance(value, list) and len(value) == 2}
        return {name: _class(*value) for name, value in named.items() if all(isinstance(word, str) for word in value)}

    @property
    def settings(self) -> dict[str, Any]:
        """What the pipeline itself is told."""
        return {
            name: value
            for name, value in self.index.items()
            if not name.startswith("_") and not (isinstance(value, list) and len(value) == 2)
        }

    def config(self, part: str) -> Mapping[str, Any]:
        return _read(self.folder / part / "config.json")

    def scheduler(self, kind: type[Any]) -> Any:
        return kind.from_pretrained(self.folder, subfolder="scheduler", local_files_only=True)

    def tokenizer(self, part: str, kind: type[Any]) -> Any:
        """One of CLIP is the same everywhere but for what it fills up with: OpenCLIP was trained with `!`."""
        if (self.folder / part).is_dir() or not issubclass(kind, transformers.CLIPTokenizer):
            return kind.from_pretrained(self.folder, subfolder=part, local_files_only=True)
        vocabulary, merges = clip_words()
        zeros = part.endswith("_2") or self.family.key == "sd2"
        pad = "!" if zeros else "<|endoftext|>"
        return kind(vocab=vocabulary, merges=merges, model_max_length=77, pad_token=pad)


def guides(family: Family, shelf: Shelf) -> Iterator[Guide]:
    """Every folder that may guide a file of `family`, its own before those of its kin, the nearest first."""
    found = [
        Guide(folder, families.of_pipeline(str(index.get("_class_name")), *denoisers), index)
        for folder in _folders(shelf)
        if (index := _read(folder / "model_index.json"))
        and (denoisers := [_read(folder / part / "config.json") for part in ("unet", "transformer")])
    ]
    yield from (guide for guide in found if guide.family is family)
    yield from (guide for guide in found if guide.family is not family and guide.family.related == family.related)


def _folders(shelf: Shelf) -> Iterator[Path]:
    for folder in shelf.folders:
        yield from _below(folder, _DEPTH)
    cache = Path(constants.HF_HUB_CACHE)
    if cache.is_dir():
        yield from (index.parent for index in sorted(cache.glob("models--*/snapshots/*/model_index.json")))
    yield from sorted(folder for folder in SHIPPED.iterdir() if folder.is_dir())


def _below(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / "model_index.json").is_file():
        yield folder
    elif depth:
        try:
            inner = sorted(Path(entry) for entry in os.scandir(folder) if entry.is_dir())
        except OSError:
            return
        for child in inner:
            yield from _below(child, depth - 1)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        facts = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _class(library: str, name: str) -> type[Any]:
    """A class of diffusers or transformers; no other library is asked for one."""
    if library == "transformers":
        home: Any = transformers
    else:
        home = diffusers if library == "diffusers" else getattr(pipelines, library, diffusers)
    kind: type[Any] = getattr(home, name)
    return kind


@functools.cache
def clip_words() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary of CLIP's tokenizer and the merges it is made of (see assets/families/README.md)."""
    lines = gzip.decompress((SHIPPED / "clip-merges.txt.gz").read_bytes()).decode("utf-8").splitlines()
    merges = [(first, second) for first, _, second in (line.partition(" ") for line in lines)]
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(others))]
    words = [*characters, *(character + "</w>" for character in characters)]
    words += [first + second for first, second in merges] + ["<|startoftext|>", "<|endoftext|>"]
    return {word: number for number, word in enumerate(words)}, merges
