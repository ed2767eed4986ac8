"""Ways to run a model that need more than what the studio brings: compiled layers (a compiler), and weights in fewer
bits (libraries that may be installed beside it)."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from studio.catalog_places import read_json
from studio.diffusion.residency import Mode, Storage
from studio.errors import ModelError

#: What writes and builds the code of compiled layers, on a CPU and on a card.
_COMPILERS: Final[Mapping[str, tuple[str, ...]]] = {"cpu": ("g++", "clang++"), "cuda": ("gcc", "clang")}
#: Graphs of one block: each of its widths in a denoiser, and sizes of pictures until they become variables.
_GRAPHS: Final = 64
_KEPT: Final = "_pochade_compiled"
_USED: Final = "_pochade_used"
_QUANTISERS: Final = ("torchao", "sdnq", "bitsandbytes")


def lacking(mode: Mode, place: torch.device) -> str:
    """What this machine lacks for it, in one sentence; "" for nothing."""
    if mode.compiled:
        return _lacking_to_compile(place)
    if mode.storage not in _QUANTISERS:
        return ""
    if not _is_installed(mode.storage):
        return f"The mode “{mode.name}” needs the Python package {mode.storage}; install it and start the studio anew."
    if place.type not in ("cpu", "cuda") or (mode.storage == "bitsandbytes" and place.type != "cuda"):
        return f"The mode “{mode.name}” needs a graphics card that speaks CUDA; choose another one."
    return ""


def quantise(denoiser: nn.Module, storage: Storage, computing: torch.dtype, title: str) -> None:
    """Keep the weights of its linear layers in 8 bits (torchao) or 4; it computes in `computing`.

    Raises:
        ModelError: it has no layers for that, because they are quantised already.
    """
    before = {id(weight) for weight in denoiser.parameters()}
    if all(type(weight) is nn.Parameter and weight.is_floating_point() for weight in denoiser.parameters()):
        _BY[storage](denoiser, computing)
    if all(id(weight) in before for weight in denoiser.parameters()):
        raise ModelError(f"{title} has no weights that {storage} could keep in fewer bits; run it in another mode.")


def absent(config: Path) -> str:
    """The Python package that quantised the part of this configuration, if it is not installed; "" else."""
    found = read_json(config)
    told = found.get("quantization_config") if isinstance(found, dict) else None
    package = str(told.get("quant_method") if isinstance(told, dict) else "")
    return package if package in _QUANTISERS and not _is_installed(package) else ""


@contextmanager
def compiled(denoiser: nn.Module | None, title: str) -> Iterator[None]:
    """Its repeated layers compiled for the `with` block. What was compiled once is kept with them.

    Raises:
        ModelError: a layer cannot be compiled here.
    """
    blocks = [] if denoiser is None else repeated(denoiser)
    for block in blocks:
        if not hasattr(block, _KEPT):
            block.compile(recompile_limit=_GRAPHS)
            setattr(block, _KEPT, block._compiled_call_impl)
        block._compiled_call_impl = getattr(block, _KEPT)
    try:
        yield
        for block in blocks:
            setattr(block, _USED, True)
    except Exception as error:
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = str(error).strip().partition("\n")[0][:160].rstrip(". ")
            raise ModelError(f"{title} cannot be compiled here ({reason}); run it in another mode.") from error
        raise
    finally:
        for block in blocks:
            block._compiled_call_impl = None


def will_compile(denoiser: nn.Module) -> bool:
    """Whether the next picture has to wait until its layers are compiled."""
    return any(block._compiled_call_impl is not None and not hasattr(block, _USED) for block in repeated(denoiser))


def repeated(denoiser: nn.Module) -> list[nn.Module]:
    """The layers that diffusers would compile one by one; of classes it says nothing of, those there are most of."""
    named = getattr(denoiser, "_repeated_blocks", None) or ()
    if not named:
        lists = [module for module in denoiser.children() if isinstance(module, nn.ModuleList)]
        kinds = Counter(type(block).__name__ for found in lists for block in found)
        named = [name for name, _ in kinds.most_common(1)]
    return [module for module in denoiser.modules() if type(module).__name__ in named]


def _lacking_to_compile(place: torch.device) -> str:
    names = (os.environ.get("CXX", ""), *_COMPILERS.get(place.type, ()))
    if place.type not in _COMPILERS:
        return "Layers cannot be compiled for this device; choose another mode."
    if not any(name and shutil.which(name) for name in names):
        return f"The mode “compiled” needs a C++ compiler; install {names[-2]} and start the studio anew."
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "The mode “compiled” needs Python's headers; install python3-dev and start the studio anew."
    if place.type == "cuda" and not _is_installed("triton"):
        return "The mode “compiled” needs the Python package triton; install it and start the studio anew."
    return ""


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _by_torchao(denoiser: nn.Module, _: torch.dtype) -> None:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    quantize_(denoiser, Int8WeightOnlyConfig())


def _by_sdnq(denoiser: nn.Module, computing: torch.dtype) -> None:
    from sdnq import sdnq_post_load_quant

    sdnq_post_load_quant(denoiser, weights_dtype="uint4", torch_dtype=computing)


def _by_bitsandbytes(denoiser: nn.Module, computing: torch.dtype) -> None:
    """As diffusers does while it loads, for models that are there already."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    for path, layer in list(denoiser.named_modules()):
        if type(layer) is not nn.Linear:
            continue
        packed = Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=computing,
            quant_type="nf4",
            device="meta",
        )
        weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4", module=packed)
        packed.weight, packed.bias = weight.to("cpu"), layer.bias
        above, _, name = path.rpartition(".")
        setattr(denoiser.get_submodule(above), name, packed.eval())


_BY: Final[Mapping[str, Callable[[nn.Module, torch.dtype], Any]]] = {
    "torchao": _by_torchao,
    "sdnq": _by_sdnq,
    "bitsandbytes": _by_bitsandbytes,
}
