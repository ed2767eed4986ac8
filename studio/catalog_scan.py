"""One look at everything there is: places become models, parts, and refusals in a sentence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from studio import catalog_folder, families
from studio.catalog_facts import Facts, examine
from studio.catalog_index import Known, written
from studio.catalog_places import Hint, Place, Root, Walk, read_json, roots
from studio.errors import ModelError
from studio.family import Family
from studio.request import Defaults, ModelSpec
from studio.specs import ControlNetSpec, EmbeddingSpec, EncoderSpec, LoraSpec, PartSpec, VaeSpec

EMBEDDED: Final = "mini"
#: Seconds within which a new or refused file is looked at again: it may still be arriving.
YOUNG: Final = 30.0
_MOST_YOUNG: Final = 500

Group = Literal["model", "lora", "embedding", "vae", "controlnet", "text-encoder", "other"]
#: What `Recognised.kind` counts as.
_GROUPS: Final[Mapping[str, Group]] = {
    **dict.fromkeys(("checkpoint", "denoiser", "model"), "model"),
    "lora": "lora",
    "embedding": "embedding",
    "vae": "vae",
    **dict.fromkeys(("controlnet", "adapter"), "controlnet"),
    "text-encoder": "text-encoder",
}
_SPECS: Final[Mapping[Group, type[PartSpec]]] = {
    "lora": LoraSpec,
    "embedding": EmbeddingSpec,
    "vae": VaeSpec,
    "controlnet": ControlNetSpec,
    "text-encoder": EncoderSpec,
}
#: diffusers classes of components that are of use by themselves → what they count as.
_COMPONENTS: Final[Mapping[str, Group]] = {
    "ControlNet": "controlnet",
    "T2IAdapter": "controlnet",
    "Autoencoder": "vae",
    "AsymmetricAutoencoder": "vae",
    "ConsistencyDecoder": "vae",
}
#: (path, size, mtime_ns) → what was computed for that very file.
Hashes = Mapping[tuple[str, int, int], str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in the catalogue, of use (`spec`) or not (`refused`, a sentence). `embedded`: the studio brought it."""

    group: Group
    key: str
    place: Place
    facts: Facts
    spec: ModelSpec | PartSpec | None
    refused: str = ""
    embedded: bool = False

    @property
    def id(self) -> str:
        return f"{self.group}:{self.key}"


@dataclass(frozen=True, slots=True)
class Scan:
    """`folders` and `young` are the dates by which a change shows; `found` is what to remember for the next look."""

    entries: tuple[Entry, ...]
    folders: Mapping[Path, int]
    young: Mapping[Path, tuple[int, int]]
    found: Known
    faults: tuple[str, ...]

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        return tuple(entry.spec for entry in self.entries if isinstance(entry.spec, ModelSpec))


def scan(
    embedded: Path,
    folders: tuple[Path, ...],
    known: Known,
    sha256: Hashes,
    tensors: Hashes,
    digest: catalog_folder.Digest,
) -> Scan:
    """Reads the header of a file only when `known` has nothing about it as it now is.

    `digest` is asked for the hash of a small model in a folder; `sha256` and `tensors` are hashes computed before.
    """
    walk = Walk()
    found: dict[str, tuple[str, Facts]] = {}
    entries: list[Entry] = []
    young: dict[Path, tuple[int, int]] = {}
    now = time.time()

    def facts_of(place: Place) -> Facts:
        path = written(place.path)
        before = known.get(path)
        facts = before[1] if before is not None and before[0] == place.stamp else examine(place)
        found[path] = (place.stamp, facts)
        recent = now - place.mtime_ns / 1e9 < YOUNG
        if (recent or facts.refused) and len(young) < _MOST_YOUNG:
            young[place.path] = (place.size, place.mtime_ns)
        return facts

    taken: set[tuple[str, str]] = {("model", EMBEDDED)}
    if (embedded / "model_index.json").is_file():
        sisters = sorted(index.parent for index in embedded.parent.glob(f"{embedded.name}-*/model_index.json"))
        for path in (embedded, *sisters):
            key = EMBEDDED + path.name.removeprefix(embedded.name)
            taken.add(("model", key))
            place = Place(Root(path), path, "pipeline", "")
            entries.append(replace(_pipeline(key, place, digest), embedded=True))
        entries += _beside(entries[0], facts_of, taken, sha256, tensors)
    places = [(folder, place) for folder in folders for root in roots(folder) for place in walk.places(root)]
    named = [(folder, place, _name(place)) for folder, place in places]
    for folder, place, name in sorted(named, key=lambda row: row[2].casefold()):
        if place.kind == "pipeline":
            key = _free("model", name, folder, taken)
            entries.append(_pipeline(key, place, digest))
            continue
        if place.kind == "component":
            entry = _component(place, name, folder, taken, facts_of)
            if entry is not None:
                entries.append(entry)
            continue
        entries.append(_file(place, name, folder, taken, facts_of(place), sha256, tensors))
    return Scan(tuple(entries), walk.folders, young, found, tuple(walk.faults))


def _name(place: Place) -> str:
    if place.path == place.root.path:
        return place.path.resolve().name
    # A name that is no UTF-8 could not be stored in a request.
    return written(place.path.relative_to(place.root.path)).replace("\\", "/")


def _stem(name: str) -> str:
    return name[: name.rindex(".")] if "." in name.rpartition("/")[2] else name


def _free(group: Group, name: str, folder: Path, taken: set[tuple[str, str]]) -> str:
    """The name, made different where the same path lies below two model folders."""
    key, number = name, 1
    while (group, key) in taken:
        key = f"{folder.name}/{name}" if number == 1 else f"{folder.name}-{number}/{name}"
        number += 1
    taken.add((group, key))
    return key


def _pipeline(key: str, place: Place, digest: catalog_folder.Digest) -> Entry:
    try:
        spec = catalog_folder.spec(key, place.path, digest, embedded=key == EMBEDDED)
        preview = next((file for name in _COVERS if (file := place.path / name).is_file()), None)
        facts = Facts("checkpoint", (spec.family,), "diffusers", precision=catalog_folder.variant(place.path) or "")
        missing = families.known(spec.family).missing
        return Entry("model", key, replace(place, preview=preview), facts, None if missing else spec, missing)
    except ModelError as reason:
        refused = str(reason)
    except OSError as broken:
        refused = f"The model “{key}” cannot be read ({broken.strerror}); check the folder’s permissions."
    return Entry("model", key, place, Facts("checkpoint"), None, refused)


def _beside(
    model: Entry, facts_of: Callable[[Place], Facts], taken: set[tuple[str, str]], sha256: Hashes, tensors: Hashes
) -> Iterator[Entry]:
    """What the studio brings for its embedded model: ControlNets, LoRAs and textual inversions."""
    root, made_for = model.place.root, model.facts.families
    for guide in sorted(root.path.glob("controlnet/*/config.json")):
        place = Place(root, guide.parent, "component", "controlnet", class_name="ControlNetModel")
        entry = _component(place, f"{EMBEDDED}/{guide.parent.name}", root.path, taken, facts_of)
        if entry is not None:
            # Without attention nothing in it says what it was made for.
            spec = replace(entry.spec, families=made_for) if isinstance(entry.spec, PartSpec) else None
            yield replace(entry, facts=replace(entry.facts, families=made_for), spec=spec, embedded=True)
    hints: tuple[tuple[str, Hint], ...] = (("lora", "lora"), ("embeddings", "embedding"))
    for folder, hint in hints:
        for file in sorted(root.path.glob(f"{folder}/*.safetensors")):
            stat, picture = file.stat(), file.with_suffix(".png")
            preview = picture if picture.is_file() else None
            place = Place(root, file, "file", hint, stat.st_size, stat.st_mtime_ns, preview=preview)
            found = _file(place, f"{EMBEDDED}/{file.name}", root.path, taken, facts_of(place), sha256, tensors)
            yield replace(found, embedded=True)


def _file(
    place: Place,
    name: str,
    folder: Path,
    taken: set[tuple[str, str]],
    facts: Facts,
    sha256: Hashes,
    tensors: Hashes,
) -> Entry:
    """A model or a part of one that is a single file."""
    group = _GROUPS.get(facts.kind, "other")
    key = _free(group, name if group in ("model", "other") else _stem(name), folder, taken)
    refused = facts.refused or (families.known(next(iter(facts.families), "")).missing if group == "model" else "")
    spec = None if refused or group == "other" else _spec(group, key, place, facts, sha256, tensors)
    return Entry(group, key, place, facts, spec, refused)


_COVERS: Final = tuple(f"{name}.{end}" for name in ("cover", "preview", "thumbnail") for end in ("png", "jpg", "webp"))


def _component(
    place: Place, name: str, folder: Path, taken: set[tuple[str, str]], facts_of: Callable[[Place], Facts]
) -> Entry | None:
    """A ControlNet or VAE in a folder of its own; None for components that are of no use by themselves."""
    group = next((group for word, group in _COMPONENTS.items() if word in place.class_name), None)
    files = catalog_folder.weights(place.path)
    if group is None or not files:
        return None
    stat = files[0].stat()
    inside = replace(place, path=files[0], kind="file", size=stat.st_size, mtime_ns=stat.st_mtime_ns)
    facts = facts_of(inside)
    key = _free(group, name, folder, taken)
    size = sum(file.stat().st_size for file in files)
    spec: PartSpec = _SPECS[group](key, place.path.name, place.path, facts.families, size, "", facts.content)
    if isinstance(spec, ControlNetSpec):
        says = (read_json(place.path / "pochade.json") or {}).get("annotator")
        spec = replace(spec, annotator=says if isinstance(says, str) else "")
    return Entry(group, key, place, facts, None if facts.refused else spec, facts.refused)


def _spec(group: Group, key: str, place: Place, facts: Facts, sha256: Hashes, tensors: Hashes) -> ModelSpec | PartSpec:
    stamp = (written(place.path), place.size, place.mtime_ns)
    title = written(Path(place.path.stem))
    if group == "model":
        suffix = place.path.suffix.casefold()
        family = families.known(facts.families[0] if facts.families else "")
        return ModelSpec(
            key=key,
            title=title,
            path=place.path,
            family=family.key,
            size_bytes=place.size,
            digest=sha256.get(stamp, "")[:10],
            licence=facts.licence,
            defaults=_likes(family, title),
            kind="gguf" if suffix == ".gguf" else "dduf" if suffix == ".dduf" else "file",
        )
    if group == "lora":
        digest = tensors.get(stamp, "")[:12]
        return LoraSpec(
            key, title, place.path, facts.families, place.size, digest, facts.content, facts.alias, facts.triggers
        )
    return _SPECS[group](key, title, place.path, facts.families, place.size, sha256.get(stamp, "")[:10], facts.content)


def _likes(family: Family, title: str) -> Defaults:
    return family.variant(title).defaults
