"""Which layers of a LoRA find their place in a model, and what becomes of the others, in plain language."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import nn

from studio import families
from studio.diffusion import lora_math, lora_names
from studio.diffusion.load import Model
from studio.diffusion.lora_files import DENOISER, Layer, LoraFile, layered
from studio.errors import ModelError

log = logging.getLogger(__name__)

_ELSEWHERE: Final = "layers this model does not have"
_MISFIT: Final = "layers of another shape than the model’s"
_QUANTISED: Final = "layers whose weights are quantised"


@dataclass(frozen=True, slots=True)
class Place:
    """A layer of a LoRA, and the tensors (`weight`, `bias`) of a module of a model that it changes."""

    part: str
    path: str
    layer: Layer
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """`skipped`: sentences; `why`: how many layers were skipped for which reason."""

    places: tuple[Place, ...]
    skipped: tuple[str, ...]
    why: Mapping[str, int]

    @property
    def layers(self) -> int:
        return sum(place.part == DENOISER for place in self.places)


class Names:
    """The modules of every model seen, by the names that files use."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[nn.Module, dict[str, str]] = WeakKeyDictionary()

    def of(self, module: nn.Module) -> dict[str, str]:
        if module not in self._known:
            self._known[module] = lora_names.index(module)
        return self._known[module]


def parts(model: Model) -> dict[str, nn.Module]:
    """What LoRAs change, by the names of `lora_files`."""
    found = {name: part for name, part in model.pipe.components.items() if isinstance(part, nn.Module)}
    chosen = {name: part for name, part in found.items() if name.startswith("text_encoder")}
    denoiser = found.get("unet", found.get("transformer"))
    return chosen if denoiser is None else {DENOISER: denoiser, **chosen}


def match(model: Model, file: LoraFile, names: Names) -> Match:
    """Changes nothing.

    Raises:
        ModelError: the LoRA is for another family of models, or of a kind that is not supported.
    """
    modules = parts(model)
    best = _found(modules, file.layers, file.strange, names)
    if _ELSEWHERE in best.why and hasattr(model.pipe, "transformer"):
        best = _converted(model, modules, file, names) or best
    _check(model, file, best)
    return best


def _found(
    modules: Mapping[str, nn.Module], layers: tuple[Layer, ...], strange: tuple[str, ...], names: Names
) -> Match:
    places: list[Place] = []
    left: dict[str, list[str]] = {}
    for layer in layers:
        reason = _place(modules, layer, names, places)
        if reason:
            left.setdefault(reason, []).append(layer.name)
    if strange:
        left["entries nobody knows"] = list(strange)
    skipped = [f"{len(named)} {reason} ({_short(named)})" for reason, named in left.items()]
    if small := sum(modules[place.part].get_submodule(place.path).weight.itemsize == 1 for place in places):
        skipped.append(f"the finer part of {small} layers, which this model keeps in 8 bits")
    return Match(tuple(places), tuple(skipped), Counter({reason: len(named) for reason, named in left.items()}))


def _place(modules: Mapping[str, nn.Module], layer: Layer, names: Names, places: list[Place]) -> str:
    """Why it was not added to `places`, or ""."""
    if layer.unsupported:
        return f"{layer.unsupported} layers, which are not supported"
    if layer.part not in modules:
        return f"layers for a {layer.part.replace('_', ' ')}, which this model lacks"
    known = names.of(modules[layer.part])
    # Old files leave out that the output of attention is a list.
    path = known.get(layer.name, known.get(f"{layer.name}_0"))
    if path is None:
        return _ELSEWHERE
    target = modules[layer.part].get_submodule(path)
    weight = target.weight
    assert isinstance(weight, torch.Tensor)
    if not weight.is_floating_point() or weight.is_meta or type(weight) not in (nn.Parameter, torch.Tensor):
        return _QUANTISED
    changed = lora_math.fits(layer, weight, getattr(target, "bias", None))
    if not changed:
        return _MISFIT
    places.append(Place(layer.part, path, layer, changed))
    return ""


def _converted(model: Model, modules: Mapping[str, nn.Module], file: LoraFile, names: Names) -> Match | None:
    """Files for transformers in the names of their first makers, which diffusers' own loader knows how to translate."""
    pipe: Any = model.pipe
    if not hasattr(pipe, "lora_state_dict"):
        return None
    try:
        # Copies, because some of its converters write into what they are given.
        told = pipe.lora_state_dict({name: tensor.clone() for name, tensor in file.tensors.items()}, return_alphas=True)
    # Each converter has errors of its own for what is not its own; the names as they stand count then.
    except Exception:
        log.debug("diffusers cannot translate %s", file.path, exc_info=True)
        return None
    tensors, alphas = told[:2] if isinstance(told, tuple) else (told, None)
    tensors = {**tensors, **{name: torch.as_tensor(alpha) for name, alpha in (alphas or {}).items()}}
    layers, strange = layered(tensors)
    found = _found(modules, layers, strange, names)
    if any(name.endswith(".dora_scale") for name in file.tensors) and not any(
        "magnitude" in layer.tensors for layer in layers
    ):
        return replace(found, skipped=(*found.skipped, "the magnitudes of a DoRA, which diffusers cannot translate"))
    return found


def _check(model: Model, file: LoraFile, found: Match) -> None:
    title, spec = file.path.stem, model.spec
    fitting, misfits, elsewhere = len(found.places), found.why.get(_MISFIT, 0), found.why.get(_ELSEWHERE, 0)
    if _QUANTISED in found.why:
        raise ModelError(
            f"{spec.title} is quantised, and LoRAs cannot be laid over it; run it in another mode, or get it in full."
        )
    if fitting and misfits * 10 <= fitting and elsewhere <= fitting:
        return
    kinds = sorted({layer.unsupported for layer in file.layers if layer.unsupported})
    if not fitting and kinds:
        raise ModelError(f"The LoRA “{title}” is of a kind that is not supported ({', '.join(kinds)}); choose another.")
    raise ModelError(
        f"The LoRA “{title}” {_kinship(file, model, misfits)}: of its {len(file.layers)} layers {fitting or 'none'} "
        "find their place. Choose a LoRA and a model that belong together."
    )


def _kinship(file: LoraFile, model: Model, misfits: int) -> str:
    """`is for FLUX.1 and does not fit Mini, a model of Stable Diffusion 1.5`"""
    ours = model.family
    theirs = [families.known(key) for key in file.families]
    if any(family.related == ours.related for family in theirs):
        if not misfits:
            return f"is for {ours.title}, but gives its layers names that diffusers cannot translate"
        return f"is for models of another size than {model.spec.title}, though both are of {ours.title}"
    whose = " or ".join(dict.fromkeys(family.title for family in theirs)) or "another family of models"
    what = "" if ours is families.UNKNOWN else f", a model of {ours.title}"
    return f"is for {whose} and does not fit {model.spec.title}{what}"


def _short(names: list[str]) -> str:
    return ", ".join(name[:60] for name in names[:2]) + (", …" if len(names) > 2 else "")
