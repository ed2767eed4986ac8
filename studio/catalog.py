"""The models one can choose from: the embedded one and every diffusers folder below the artist's model folders.

Only small JSON files and file sizes are read; a folder that cannot be understood is refused in a sentence and never
stops the scan.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final, TypeGuard

from pydantic import TypeAdapter, ValidationError

from studio.errors import ModelError, NotFound
from studio.request import Defaults, Guidance, ModelSpec, Side, Steps
from studio.samplers import AUTOMATIC, SAMPLERS, SCHEDULES

EMBEDDED: Final = "mini"
DEPTH: Final = 4
#: Weights up to this size are hashed while scanning; larger ones when somebody asks for their digest.
_QUICKLY_HASHED: Final = 128 * 2**20
_PICKLES: Final = (".bin", ".ckpt", ".pt", ".pth")
_JSON_CAP: Final = 2**20

Facts = Mapping[str, object]
log = logging.getLogger(__name__)


class Catalog:
    """What there is to draw with. The first call scans; `refresh` scans again."""

    def __init__(self, embedded: Path, folders: tuple[Path, ...] = ()) -> None:
        self._embedded = embedded
        self._folders = folders
        self._digests: dict[tuple[str, int, int], str] = {}
        self._scan: _Scan | None = None
        self._lock = threading.Lock()

    def refresh(self) -> None:
        models: dict[str, ModelSpec] = {}
        refused: dict[str | None, str] = {}
        for key, folder in self._found():
            try:
                models[key] = self._spec(key, folder)
            except ModelError as reason:
                refused[key] = str(reason)
            except OSError as broken:
                refused[key] = f"The model “{key}” cannot be read ({broken.strerror}); check the folder’s permissions."
        self._scan = _Scan(tuple(models.values()), models, refused)

    def models(self) -> tuple[ModelSpec, ...]:
        """The embedded model first, the others by key."""
        return self._scanned().models

    def refused(self) -> Mapping[str | None, str]:
        """Folders that look like models and cannot be used: key → the reason in one sentence."""
        return self._scanned().refused

    def find(self, key: str | None) -> ModelSpec:
        """`None` is the default: the embedded model, or else the first one.

        Raises:
            NotFound: no such model, or none at all.
            ModelError: it is there, and cannot be used.
        """
        scan = self._scanned()
        if key in scan.refused:
            raise ModelError(scan.refused[key])
        if not scan.models:
            reason = f" {next(iter(scan.refused.values()))}" if scan.refused else ""
            raise NotFound(f"There is no model to draw with; start the studio with --models-dir FOLDER.{reason}")
        if key is None:
            return scan.models[0]
        if key in scan.by_key:
            return scan.by_key[key]
        known = ", ".join(spec.key for spec in scan.models[:8]) + (", …" if len(scan.models) > 8 else "")
        raise NotFound(f"There is no model “{key[:80]}”; choose one of {known}.")

    def digest(self, spec: ModelSpec) -> str:
        """A1111's short hash: the first 10 hex digits of the SHA-256 of the denoiser's weights; "" if unreadable.

        Reads the whole file the first time (seconds for a large model); remembered until size or date change.
        """
        return self._digest(denoiser_weights(spec.path))

    def _scanned(self) -> _Scan:
        with self._lock:
            if self._scan is None:
                self.refresh()
            assert self._scan is not None
            return self._scan

    def _found(self) -> Iterator[tuple[str, Path]]:
        taken = {EMBEDDED}
        if (self._embedded / "model_index.json").is_file():
            yield EMBEDDED, self._embedded
        found = [
            (place.relative_to(folder).as_posix() if place != folder else folder.resolve().name, folder, place)
            for folder in self._folders
            for place in _pipelines(folder)
        ]
        for key, folder, place in sorted(found, key=lambda entry: entry[0].casefold()):
            name, number = key, 1
            while name in taken:  # the same path below two model folders
                name = f"{folder.name}/{key}" if number == 1 else f"{folder.name}-{number}/{key}"
                number += 1
            taken.add(name)
            yield name, place

    def _spec(self, key: str, folder: Path) -> ModelSpec:
        index = _read(folder / "model_index.json")
        if index is None:
            raise ModelError(f"The model “{key}” has a broken model_index.json; download it again.")
        parts = [folder / name for name, value in index.items() if _is_component(value)]
        files = [file for part in parts for file in weights(part)]
        if not files or not denoiser_weights(folder):
            if any(file.suffix in _PICKLES for part in parts if part.is_dir() for file in part.iterdir()):
                raise ModelError(
                    f"The model “{key}” comes as pickle files, which can run programs; "
                    "get its .safetensors files, or convert it."
                )
            raise ModelError(f"The model “{key}” is incomplete: it lacks its weights; download it again.")
        unet = _read(folder / "unet" / "config.json") or {}
        vae = _read(folder / "vae" / "config.json") or {}
        card = _read(folder / "pochade.json") or {}
        family = _family(index, unet)
        title = card.get("title")
        small = sum(file.stat().st_size for file in denoiser_weights(folder)) <= _QUICKLY_HASHED
        return ModelSpec(
            key=key,
            title=title[:120] if isinstance(title, str) and title.strip() else _title(key, folder),
            path=folder,
            family=family,
            size_bytes=sum(file.stat().st_size for file in files),
            digest=self._digest(denoiser_weights(folder)) if small else "",
            licence=_licence(folder / "README.md"),
            defaults=_stated(_defaults(family, unet, vae), card, key),
        )

    def _digest(self, files: tuple[Path, ...]) -> str:
        try:
            stats = [file.stat() for file in files]
            fingerprint = (
                "|".join(map(str, files)),
                sum(stat.st_size for stat in stats),
                max((stat.st_mtime_ns for stat in stats), default=0),
            )
            if fingerprint not in self._digests:
                total = hashlib.sha256()
                for file in files:
                    with file.open("rb") as opened:
                        while block := opened.read(2**22):
                            total.update(block)
                self._digests[fingerprint] = total.hexdigest()[:10]
            return self._digests[fingerprint]
        except OSError:
            return ""


@dataclass(frozen=True, slots=True)
class _Scan:
    models: tuple[ModelSpec, ...]
    by_key: Mapping[str, ModelSpec]
    refused: Mapping[str | None, str]


def weights(part: Path) -> tuple[Path, ...]:
    """The safetensors files that make up one component: full precision if there, otherwise its fp16 variant."""
    if not part.is_dir():
        return ()
    files = sorted(part.glob("*.safetensors"))
    plain = [file for file in files if not _is_variant(file)]
    return tuple(plain or [file for file in files if ".fp16" in file.name])


def variant(folder: Path) -> str | None:
    """What diffusers calls the only precision in which this folder holds its denoiser, if it is not the full one."""
    files = denoiser_weights(folder)
    return "fp16" if files and all(".fp16" in file.name for file in files) else None


def denoiser_weights(folder: Path) -> tuple[Path, ...]:
    return weights(folder / "unet") or weights(folder / "transformer")


def _is_variant(file: Path) -> bool:
    """`model.fp16.safetensors`, `model.fp16-00001-of-00002.safetensors`, `diffusion_pytorch_model.non_ema.…`"""
    return "." in file.name.removesuffix(".safetensors")


def _pipelines(folder: Path, depth: int = 0) -> Iterator[Path]:
    if (folder / "model_index.json").is_file():
        yield folder
        return
    if depth == DEPTH:
        return
    try:
        below = sorted(Path(entry) for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as unreadable:
        log.warning("The model folder %s cannot be read: %s", folder, unreadable.strerror)
        return
    for child in below:
        yield from _pipelines(child, depth + 1)


def _is_component(value: object) -> TypeGuard[list[str]]:
    """`["diffusers", "UNet2DConditionModel"]`, as opposed to settings and to `[null, null]` for a part left out."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _read(file: Path) -> Facts | None:
    """The object in a small JSON file; None when there is none."""
    try:
        if file.stat().st_size > _JSON_CAP:
            return None
        facts = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None


def _family(index: Facts, unet: Facts) -> str:
    name = str(index.get("_class_name", ""))
    if name.startswith("StableDiffusionXL"):
        return "sdxl"
    if name.startswith("StableDiffusion") and not name.startswith("StableDiffusion3"):
        return "sd2" if unet.get("cross_attention_dim") == 1024 else "sd1"
    return name.removesuffix("Pipeline").lower() or "unknown"


def _defaults(family: str, unet: Facts, vae: Facts) -> Defaults:
    if family == "sdxl":
        usual = Defaults(steps=30, guidance=6.0, width=1024, height=1024)
    elif family in ("sd1", "sd2"):
        usual = Defaults()
    else:
        # Flow models bring their own schedule; see `studio.diffusion.schedulers`.
        return Defaults(sampler="Euler", scheduler=AUTOMATIC, steps=28, guidance=3.5, width=1024, height=1024)
    latent, levels = unet.get("sample_size"), vae.get("block_out_channels")
    if isinstance(latent, int) and isinstance(levels, list):
        side = min(max(latent * 2 ** (len(levels) - 1) // 8 * 8, 64), 4096)
        return replace(usual, width=side, height=side)
    return usual


_BOUNDS: Final[Mapping[str, TypeAdapter[int] | TypeAdapter[float]]] = {
    "steps": TypeAdapter(Steps),
    "guidance": TypeAdapter(Guidance),
    "width": TypeAdapter(Side),
    "height": TypeAdapter(Side),
}


def _stated(usual: Defaults, card: Facts, key: str) -> Defaults:
    """What the model's maker recommends in `pochade.json`, where it makes sense."""
    stated: dict[str, object] = {}
    for name in (field.name for field in fields(Defaults) if field.name in card):
        try:
            stated[name] = _BOUNDS[name].validate_python(card[name]) if name in _BOUNDS else card[name]
        except ValidationError:
            log.warning("The model %s recommends an impossible %s; ignored.", key, name)
    defaults = replace(usual, **stated)  # type: ignore[arg-type]
    wanted: tuple[object, object] = (defaults.sampler, defaults.scheduler)
    sampler = SAMPLERS.get(defaults.sampler) if all(isinstance(name, str) for name in wanted) else None
    if sampler is None or defaults.scheduler not in SCHEDULES:
        log.warning("The model %s recommends a sampler or schedule nobody knows; ignored.", key)
        return replace(defaults, sampler=usual.sampler, scheduler=usual.scheduler)
    if defaults.scheduler not in sampler.schedules:
        return replace(defaults, scheduler=AUTOMATIC)
    return defaults


def _title(key: str, folder: Path) -> str:
    """`org/name` for a folder of the hub's cache (`models--org--name/snapshots/…`), else the folder's name."""
    if key == EMBEDDED:
        return "Mini"
    for part in reversed(folder.parts):
        if part.startswith("models--"):
            return "/".join(part.split("--")[1:])
    return folder.name


def _licence(card: Path) -> str:
    """`license_name` or `license` of a model card's front matter, as it stands there; "" if it says nothing."""
    try:
        with card.open(encoding="utf-8", errors="replace") as lines:
            if lines.readline(16).strip() != "---":
                return ""
            found: dict[str, str] = {}
            for _ in range(200):
                line = lines.readline(2000)
                if not line or line.strip() == "---":
                    break
                name, colon, value = line.partition(":")
                if colon and name in ("license", "license_name"):
                    found[name] = value.strip().strip("'\"")
    except OSError:
        return ""
    return (found.get("license_name") or found.get("license") or "")[:80]
