"""Where models lie: the folders of other programs, and a walk through them that reads no file but small JSON."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from studio.headers import SUFFIXES

#: Folders below a model folder, hub caches and sorted collections included.
DEPTH: Final = 8
PICKLES: Final = (".bin", ".ckpt", ".pt", ".pth")
_JSON_CAP: Final = 2**20

#: What a folder is meant for. It breaks ties and says what a pickle was to be; tensors decide what a file is.
Hint = Literal["", "model", "lora", "vae", "embedding", "controlnet", "text-encoder"]

#: Names of folders in A1111, Forge, ComfyUI, Fooocus, InvokeAI and their kin → what lies in them.
_HINTS: Final[Mapping[str, Hint]] = {
    **dict.fromkeys(
        ("stable-diffusion", "stablediffusion", "checkpoints", "diffusion_models", "unet", "main"), "model"
    ),
    **dict.fromkeys(("lora", "loras", "lycoris"), "lora"),
    "vae": "vae",
    **dict.fromkeys(("embedding", "embeddings", "textualinversion"), "embedding"),
    **dict.fromkeys(("controlnet", "control_net"), "controlnet"),
    **dict.fromkeys(("text_encoder", "text_encoders", "clip"), "text-encoder"),
}
#: Folders of models for other purposes, and of what is no model.
_FOREIGN: Final = re.compile(
    "adetailer|animatediff.*|annotators|bert|blip|bsrgan|clip_vision|codeformer|dat|deepbooru|esrgan|gfpgan|gligen"
    "|hypernetworks|inpaint|insightface|instantid|ip_?adapter|karlo|latent_upscale_models|ldsr|llm|model_patches"
    "|node_modules|onnx|photomaker|prompt_expansion|realesrgan|safety_checker|sams|scunet|site-packages|style_models"
    "|svd|swinir|torch_deepdanbooru|ultralytics|upscale_models|vae[-_]approx|venv"
)
#: A program's own folder: its models lie below `models` and `embeddings`.
_PROGRAMS: Final = ("webui.py", "launch.py", "comfy", "nodes.py", "entry_with_update.py", "invokeai.yaml")

_PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp")
_SHARD: Final = re.compile(r"-\d{5}-of-\d{5}\.safetensors$", re.IGNORECASE)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Root:
    path: Path
    hint: Hint = ""


@dataclass(frozen=True, slots=True)
class Side:
    """A file that goes with another: its preview picture, or somebody's notes on it."""

    path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Place:
    """Something that may be a model: a file, a pipeline's folder, or the folder of a single component.

    `class_name` is the component's own; `size` and `mtime_ns` are 0 for folders.
    """

    root: Root
    path: Path
    kind: Literal["file", "pickle", "pipeline", "component"]
    hint: Hint
    size: int = 0
    mtime_ns: int = 0
    class_name: str = ""
    notes: tuple[Side, ...] = ()
    preview: Path | None = None

    @property
    def stamp(self) -> str:
        """Changes when the file or somebody's notes on it do."""
        sides = "".join(f"|{side.path.name}:{side.size}:{side.mtime_ns}" for side in self.notes)
        return f"{self.size}:{self.mtime_ns}{sides}"


@dataclass(slots=True)
class Walk:
    """One look at all folders. `folders` are those seen with their dates, by which a change shows; `faults` are
    sentences about those that could not be read."""

    folders: dict[Path, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    _seen: set[tuple[int, int]] = field(default_factory=set)

    def places(self, root: Root) -> Iterator[Place]:
        pending: list[tuple[Path, Hint, int]] = [(root.path, root.hint, 0)]
        while pending:
            folder, hint, depth = pending.pop()
            try:
                stat = folder.stat()
                identity = (stat.st_dev, stat.st_ino)
                if identity in self._seen:  # a link back, or a folder given twice
                    continue
                self._seen.add(identity)
                self.folders[folder] = stat.st_mtime_ns
                with os.scandir(folder) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
            except FileNotFoundError:
                if depth == 0:
                    self.folders[folder] = 0
                continue
            except OSError as unreadable:
                log.warning("The model folder %s cannot be read: %s", folder, unreadable.strerror)
                self.faults.append(f"The folder “{folder.name}” cannot be read ({unreadable.strerror}).")
                continue
            names = {entry.name for entry in entries}
            if "model_index.json" in names:
                yield Place(root, folder, "pipeline", hint)
                continue
            class_name = _component(folder) if "config.json" in names else ""
            if class_name:
                yield Place(root, folder, "component", hint, class_name=class_name)
                continue
            yield from _files(root, folder, hint, entries)
            if depth < DEPTH:
                pending.extend(
                    (Path(entry.path), _HINTS.get(entry.name.casefold(), hint), depth + 1)
                    for entry in reversed(entries)
                    if not entry.name.startswith(".")
                    and not _FOREIGN.fullmatch(entry.name.casefold())
                    and _is_folder(entry)
                )


def roots(folder: Path) -> tuple[Root, ...]:
    """What to walk through for one folder the artist named: the folder, or a program's model folders within it, and
    those its extra_model_paths.yaml or config.txt points to."""
    own = (Root(folder / "models"), Root(folder / "embeddings", "embedding"))
    is_program = own[0].path.is_dir() and any((folder / mark).exists() for mark in _PROGRAMS)
    return (*(own if is_program else (Root(folder),)), *_comfy(folder), *_fooocus(folder))


def read_json(file: Path) -> Mapping[str, object] | None:
    """The object in a small JSON file; None when there is none."""
    try:
        if file.stat().st_size > _JSON_CAP:
            return None
        facts = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None


def _component(folder: Path) -> str:
    """`AutoencoderKL` of a diffusers component; "" for a folder that merely has some config.json."""
    name = (read_json(folder / "config.json") or {}).get("_class_name")
    return name if isinstance(name, str) else ""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _files(root: Root, folder: Path, hint: Hint, entries: list[os.DirEntry[str]]) -> Iterator[Place]:
    beside = {entry.name.casefold(): entry for entry in entries}
    for entry in entries:
        suffix = os.path.splitext(entry.name)[1].casefold()  # noqa: PTH122  # ten thousand Paths are slow
        wanted = suffix in SUFFIXES or suffix == ".dduf"
        pickle = suffix == ".ckpt" or (suffix in PICKLES and hint != "")
        if entry.name.startswith(".") or not (wanted or pickle) or _SHARD.search(entry.name):
            continue
        try:
            if not entry.is_file():
                continue
            stat = entry.stat()
        except OSError:  # gone since, or a link to nowhere
            continue
        stem = entry.name[: -len(suffix)].casefold()
        notes = tuple(
            side
            for name in (f"{stem}.civitai.info", f"{stem}.json", f"{stem}.metadata.json", f"{stem}.txt")
            if name in beside and (side := _side(beside[name])) is not None
        )
        pictures = (f"{stem}{middle}{end}" for middle in (".preview", "") for end in _PICTURES)
        preview = next((Path(beside[name].path) for name in pictures if name in beside), None)
        kind: Literal["file", "pickle"] = "pickle" if pickle else "file"
        yield Place(root, Path(entry.path), kind, hint, stat.st_size, stat.st_mtime_ns, "", notes, preview)


def _side(entry: os.DirEntry[str]) -> Side | None:
    try:
        stat = entry.stat()
    except OSError:
        return None
    return Side(Path(entry.path), stat.st_size, stat.st_mtime_ns)


def _comfy(folder: Path) -> Iterator[Root]:
    """https://github.com/comfyanonymous/ComfyUI/blob/master/extra_model_paths.yaml.example"""
    file = folder / "extra_model_paths.yaml"
    if not file.is_file():
        return
    import yaml  # type: ignore[import-untyped]

    try:
        if file.stat().st_size > _JSON_CAP:
            return
        sections = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as broken:
        log.warning("%s is left out: %s", file, broken)
        return
    for section in sections.values() if isinstance(sections, dict) else ():
        if not isinstance(section, dict):
            continue
        stated = section.get("base_path")
        base = folder / _expanded(stated) if isinstance(stated, str) else folder
        for name, lines in section.items():
            hint = _HINTS.get(str(name).casefold(), "")
            if hint and isinstance(lines, str):
                yield from (Root(base / _expanded(line.strip()), hint) for line in lines.splitlines() if line.strip())


def _fooocus(folder: Path) -> Iterator[Root]:
    """`path_checkpoints` and its like in Fooocus's config.txt: one folder or several."""
    for name, value in (read_json(folder / "config.txt") or {}).items():
        hint = _HINTS.get(name.removeprefix("path_").casefold(), "") if name.startswith("path_") else ""
        for line in value if isinstance(value, list) else [value]:
            if hint and isinstance(line, str) and line:
                yield Root(folder / _expanded(line), hint)


def _expanded(path: str) -> Path:
    return Path(os.path.expandvars(path)).expanduser()
