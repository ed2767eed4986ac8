"""A diffusers folder as a model of the catalogue, from its small JSON files and the sizes of its weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Final, TypeGuard

from pydantic import TypeAdapter, ValidationError

from studio import families
from studio.abilities import samplers_of
from studio.catalog_places import PICKLES, read_json
from studio.errors import ModelError
from studio.family import Family
from studio.request import Defaults, Guidance, ModelSpec, Side, Steps
from studio.samplers import AUTOMATIC, SCHEDULES, Sampler

#: Weights up to this many bytes are hashed while scanning; larger ones when somebody asks for their digest.
_QUICKLY_HASHED: Final = 128 * 2**20

Facts = Mapping[str, object]
#: (files) → the SHA-256 of one after the other, "" when they cannot be read.
Digest = Callable[[tuple[Path, ...]], str]
log = logging.getLogger(__name__)


def spec(key: str, folder: Path, digest: Digest, *, embedded: bool = False) -> ModelSpec:
    """Raises:
    ModelError: it is damaged, incomplete or made of pickles.
    OSError: it cannot be read.
    """
    index = read_json(folder / "model_index.json")
    if index is None:
        raise ModelError(f"The model “{key}” has a broken model_index.json; download it again.")
    parts = [folder / name for name, value in index.items() if _is_component(value)]
    files = [file for part in parts for file in weights(part)]
    if not files or not denoiser_weights(folder):
        if any(file.suffix in PICKLES for part in parts if part.is_dir() for file in part.iterdir()):
            raise ModelError(
                f"The model “{key}” comes as pickle files, which can run programs; "
                "get its .safetensors files, or convert it."
            )
        raise ModelError(f"The model “{key}” is incomplete: it lacks its weights; download it again.")
    unet = read_json(folder / "unet" / "config.json") or {}
    vae = read_json(folder / "vae" / "config.json") or {}
    card = read_json(folder / "pochade.json") or {}
    transformer = read_json(folder / "transformer" / "config.json")
    family = families.of_pipeline(str(index.get("_class_name", "")), unet, transformer)
    title = card.get("title")
    small = sum(file.stat().st_size for file in denoiser_weights(folder)) <= _QUICKLY_HASHED
    name = "Mini" if embedded else _title(folder)
    return ModelSpec(
        key=key,
        title=title[:120] if isinstance(title, str) and title.strip() else name,
        path=folder,
        family=family.key,
        size_bytes=sum(file.stat().st_size for file in files),
        digest=digest(denoiser_weights(folder))[:10] if small else "",
        licence=_licence(folder / "README.md"),
        defaults=_stated(_defaults(family, name, unet, vae), card, key, samplers_of(family)),
    )


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


def _is_component(value: object) -> TypeGuard[list[str]]:
    """`["diffusers", "UNet2DConditionModel"]`, as opposed to settings and to `[null, null]` for a part left out."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _defaults(family: Family, name: str, unet: Facts, vae: Facts) -> Defaults:
    """As the family likes it; a U-Net's own size where its configuration says so."""
    usual = family.variant(name).defaults
    latent, levels = unet.get("sample_size"), vae.get("block_out_channels")
    if not family.flow and isinstance(latent, int) and isinstance(levels, list):
        side = min(max(latent * 2 ** (len(levels) - 1) // 8 * 8, 64), 4096)
        return replace(usual, width=side, height=side)
    return usual


_BOUNDS: Final[Mapping[str, TypeAdapter[int] | TypeAdapter[float]]] = {
    "steps": TypeAdapter(Steps),
    "guidance": TypeAdapter(Guidance),
    "width": TypeAdapter(Side),
    "height": TypeAdapter(Side),
}


def _stated(usual: Defaults, card: Facts, key: str, samplers: Mapping[str, Sampler]) -> Defaults:
    """What the model's maker recommends in `pochade.json`, where it makes sense."""
    stated: dict[str, object] = {}
    for name in (field.name for field in fields(Defaults) if field.name in card):
        try:
            stated[name] = _BOUNDS[name].validate_python(card[name]) if name in _BOUNDS else card[name]
        except ValidationError:
            log.warning("The model %s recommends an impossible %s; ignored.", key, name)
    defaults = replace(usual, **stated)  # type: ignore[arg-type]
    wanted: tuple[object, object] = (defaults.sampler, defaults.scheduler)
    sampler = samplers.get(defaults.sampler) if all(isinstance(name, str) for name in wanted) else None
    if sampler is None or defaults.scheduler not in SCHEDULES:
        log.warning("The model %s recommends a sampler or schedule it cannot follow; ignored.", key)
        return replace(defaults, sampler=usual.sampler, scheduler=usual.scheduler)
    if defaults.scheduler not in sampler.schedules:
        return replace(defaults, scheduler=AUTOMATIC)
    return defaults


def _title(folder: Path) -> str:
    """`org/name` for a folder of the hub's cache (`models--org--name/snapshots/…`), else the folder's name."""
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
