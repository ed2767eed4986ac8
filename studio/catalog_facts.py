"""What one file is: told from its header, its maker's notes inside and somebody's notes beside it."""

from __future__ import annotations

import json
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from studio import families
from studio.catalog_places import Place, read_json
from studio.errors import ModelError
from studio.headers import Header, read_header
from studio.recognise import Recognised, recognise

#: Count up when this file or `studio.recognise` learns to tell more: what older versions noted is looked at again.
VERSION: Final = 1
_MOST_TRIGGERS: Final = 12
_LONGEST: Final = 200
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")
_DDUF_SUFFIXES: Final = (".json", ".model", ".safetensors", ".txt")


@dataclass(frozen=True, slots=True)
class Facts:
    """`kind` and what follows are those of `studio.recognise.Recognised`; `refused` says why a file is no use.

    `precision` is the type that most of its numbers have, in the format's own word. `about` is its maker's line on it.
    """

    kind: str = ""
    families: tuple[str, ...] = ()
    naming: str = ""
    content: str = ""
    holds: tuple[str, ...] = ()
    parameters: int = 0
    precision: str = ""
    alias: str = ""
    triggers: tuple[str, ...] = ()
    licence: str = ""
    about: str = ""
    refused: str = ""

    def text(self) -> str:
        """As JSON, without what is empty."""
        return _FACTS.dump_json(self, exclude_defaults=True).decode()

    @classmethod
    def of_text(cls, text: str) -> Facts:
        """Raises:
        ValueError: `text` is not what `text()` made.
        """
        return _FACTS.validate_json(text)


_FACTS: Final = TypeAdapter(Facts)


def examine(place: Place) -> Facts:
    """What the file of `place` is, from its first bytes and the notes beside it."""
    if place.kind == "pickle":
        return Facts(
            kind=place.hint,
            refused=f"“{place.path.name}” is a pickle file, which can run programs; get it as .safetensors.",
        )
    try:
        return _dduf(place) if place.path.suffix.casefold() == ".dduf" else _weights(place)
    except ModelError as reason:
        return Facts(kind=place.hint, refused=str(reason))
    except OSError as broken:
        return Facts(kind=place.hint, refused=f"“{place.path.name}” cannot be read ({broken.strerror}).")


def _weights(place: Place) -> Facts:
    header = read_header(place.path)
    found = _recognised(header, place.path.stem)
    if found is None:
        return Facts(refused=f"“{place.path.name}” holds nothing this studio knows how to use.")
    notes = [facts for side in place.notes if (facts := read_json(side.path)) is not None]
    stated = header.metadata
    return Facts(
        kind=found.kind,
        families=found.families,
        naming=found.naming,
        content=found.content,
        holds=found.holds,
        parameters=header.parameters,
        precision=_precision(header),
        alias=_alias(stated, place.path.stem),
        triggers=tuple(_triggers(stated, notes)) if found.kind in ("lora", "embedding") else (),
        licence=_line(stated.get("modelspec.license", "")),
        about=_line(stated.get("modelspec.description", "")) or _said(notes, "description"),
        refused=_unfit(found, place),
    )


def _recognised(header: Header, name: str) -> Recognised | None:
    try:
        return recognise(header.tensors, name=name, metadata=header.metadata)
    except (LookupError, TypeError, ValueError):  # names of a model, shapes of none
        return None


def _unfit(found: Recognised, place: Place) -> str:
    """Why a file that is what it seems can still not be used; "" if it can."""
    if found.kind == "adapter" and found.content != "t2i-adapter":
        return f"“{place.path.name}” is an adapter ({found.content}), which this studio cannot use yet."
    if place.path.suffix.casefold() == ".gguf" and found.kind not in ("checkpoint", "denoiser", "text-encoder"):
        return f"“{place.path.name}” is a GGUF file of a kind that only works as .safetensors."
    return ""


def _precision(header: Header) -> str:
    bytes_by_type: Counter[str] = Counter()
    for tensor in header.tensors.values():
        bytes_by_type[tensor.dtype] += tensor.nbytes
    return max(bytes_by_type, key=bytes_by_type.__getitem__, default="")


def _alias(stated: Mapping[str, str], stem: str) -> str:
    """A LoRA's `ss_output_name`: what A1111 lets one call it besides its file's name."""
    alias = _line(stated.get("ss_output_name", ""))
    return "" if alias in ("None", stem) else alias


def _triggers(stated: Mapping[str, str], notes: list[Mapping[str, object]]) -> Iterator[str]:
    """Words that call what was learnt: somebody's notes first, then the maker's, then what captions had in common."""
    words: list[str] = []
    for note in notes:
        for found in (note.get("trainedWords"), _inner(note, "civitai").get("trainedWords")):
            words += [word for word in found if isinstance(word, str)] if isinstance(found, list) else []
        activation = note.get("activation text")
        words += activation.split(",") if isinstance(activation, str) else []
    words += stated.get("modelspec.trigger_phrase", "").split(",")
    clean = dict.fromkeys(line for word in words if (line := _line(word).strip(" ,")))
    yield from list(clean or dict.fromkeys(_common(stated)))[:_MOST_TRIGGERS]


def _common(stated: Mapping[str, str]) -> Iterator[str]:
    """Tags that stand in (nearly) every caption of a training folder; kohya's trainer counts them."""
    counts, folders = _object(stated.get("ss_tag_frequency", "")), _object(stated.get("ss_dataset_dirs", ""))
    for folder, tags in counts.items():
        known = {tag: n for tag, n in tags.items() if type(n) is int and n > 0} if isinstance(tags, dict) else {}
        pictures = _inner(folders, folder).get("img_count")
        most = pictures if isinstance(pictures, int) and pictures > 0 else max(known.values(), default=0)
        common = [tag for tag, n in sorted(known.items(), key=lambda item: -item[1]) if n >= 0.95 * most]
        yield from (line for tag in common[:4] if (line := _line(tag)))


def _said(notes: list[Mapping[str, object]], key: str) -> str:
    """A line from the notes, their HTML left out."""
    found = next((note[key] for note in notes if isinstance(note.get(key), str)), "")
    return _line(re.sub(r"<[^<>]*>", " ", str(found)[:2000]))


def _inner(facts: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = facts.get(key)
    return found if isinstance(found, dict) else {}


def _object(text: str) -> Mapping[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _line(text: str) -> str:
    return " ".join(_UNFIT.sub(" ", text[: 4 * _LONGEST]).split())[:_LONGEST]


def _dduf(place: Place) -> Facts:
    """A whole diffusers folder in one uncompressed archive: https://huggingface.co/docs/hub/dduf"""
    name = place.path.name
    damaged = f"“{name}” is no proper DDUF archive"
    try:
        with zipfile.ZipFile(place.path) as archive:
            entries = archive.infolist()
            for entry in entries:
                parts = Path(entry.filename).parts
                if entry.compress_type != zipfile.ZIP_STORED or len(parts) > 2 or ".." in parts:
                    raise ModelError(f"{damaged}: “{entry.filename[:80]}” does not belong there.")
                if not entry.filename.endswith(_DDUF_SUFFIXES):
                    raise ModelError(f"{damaged}: it may hold weights and settings, not “{entry.filename[:80]}”.")
                if entry.filename.endswith(".safetensors"):
                    _check_inside(place.path, entry)
            index = _entry(archive, "model_index.json")
            denoisers = [_entry(archive, f"{part}/config.json") for part in ("unet", "transformer")]
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, struct.error) as broken:
        raise ModelError(f"{damaged}; download it again.") from broken
    family = families.of_pipeline(str(index.get("_class_name", "")), *denoisers)
    holds = tuple(part for part, start in (("vae", "vae/"), ("text-encoder", "text_encoder")) if _any(entries, start))
    return Facts(kind="checkpoint", families=(family.key,), naming="diffusers", holds=holds)


def _any(entries: list[zipfile.ZipInfo], start: str) -> bool:
    return any(entry.filename.startswith(start) for entry in entries)


def _entry(archive: zipfile.ZipFile, name: str) -> Mapping[str, object]:
    if name not in archive.namelist():
        return {}
    if archive.getinfo(name).file_size > 2**20:
        raise ValueError("too large for settings")
    return _object(archive.read(name).decode())


def _check_inside(path: Path, entry: zipfile.ZipInfo) -> None:
    """Raises:
    ModelError: the header of these weights is damaged, as if they were a file by themselves.
    """
    with path.open("rb") as file:
        file.seek(entry.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    read_header(path, begin=entry.header_offset + 30 + name + extra, size=entry.file_size)
