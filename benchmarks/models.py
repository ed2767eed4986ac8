"""Models in memory: changing to another one against loading it anew, what the manager costs, what weights take.

The models are the embedded one and twins of it whose denoisers differ in one weight, so that nothing is shared that
would not be between two fine-tunes.
"""

from __future__ import annotations

import gc
import random
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.measure import Figure, at_least, at_most, paired_ratio, seconds
from studio.catalog import Catalog
from studio.diffusion import load, sample, schedulers
from studio.diffusion.card import Card
from studio.diffusion.load import Model
from studio.diffusion.manager import PipelineManager
from studio.diffusion.residency import Storage
from studio.request import ModelSpec, ResolvedRequest
from studio.settings import EMBEDDED
from studio.specs import ControlNetSpec
from tests.resolved import resolved

TWINS = 3
SWITCHES = 50
CPU = torch.device("cpu")
#: Twenty models by turns, so that one turn is long enough to be timed.
_TURNS = 20


def twins(folder: Path) -> Catalog:
    for number in range(TWINS):
        twin = shutil.copytree(EMBEDDED, folder / f"twin{number}")
        weights = twin / "unet" / "diffusion_pytorch_model.safetensors"
        tensors = load_file(weights)
        tensors["conv_in.bias"] = tensors["conv_in.bias"] + 1e-3 * (number + 1)
        save_file(tensors, weights, {"format": "pt"})
    return Catalog(EMBEDDED, (folder,))


def read(spec: ModelSpec, _storage: Storage) -> Model:
    return load.load(spec, CPU, torch.float32, "")


def manager(budget: int | None = None) -> PipelineManager:
    return PipelineManager(read, Card(CPU), itemsize=lambda spec: 4, budget=budget)


def drawn(model: Model, request: ResolvedRequest) -> bytes:
    events = threading.Event()
    return sample.draw(model, request, lambda event: None, events, preview_every=0, max_pixels=10**6, device="CPU").rgb


def figures(repeats: int) -> Iterator[Figure]:
    load.quiet()
    with tempfile.TemporaryDirectory() as folder:
        catalog = twins(Path(folder))
        specs = [spec for spec in catalog.models() if spec.key.startswith("twin")]
        yield from _switching(specs, repeats)
        yield from _overhead(specs[0], repeats)
        yield from _weights(specs, catalog.controlnets()[0])
        yield from _many_switches(specs)


def _switching(specs: list[ModelSpec], repeats: int) -> Iterator[Figure]:
    request = resolved(width=128, height=128, steps=4, sampler="Euler", scheduler="Automatic")
    with ExitStack() as stack:
        kept = manager()
        stack.callback(kept.close)
        first = [seconds(lambda: _changed(kept, spec)) for spec in specs]  # noqa: B023 - called here

        def ours() -> None:
            for turn in range(_TURNS):
                _changed(kept, specs[turn % len(specs)])

        turns = iter(range(10**6))

        def theirs() -> StableDiffusionPipeline:
            spec = specs[next(turns) % len(specs)]
            return StableDiffusionPipeline.from_pretrained(spec.path, dtype=torch.float32).to(CPU)

        with kept.lease(specs[0]) as model:
            same = drawn(model, request) == drawn(replace(model, pipe=_bare(specs[0])), request)
        ratio, low, high = paired_ratio(theirs, ours, repeats)
        note = f"{low * _TURNS:.0f}–{high * _TURNS:.0f}; {'the same picture' if same else 'another picture'}"
        figure = at_least("changing to a model in memory: from_pretrained().to() ÷ ours", ratio * _TURNS, 20, note=note)
        yield figure if same else replace(figure, holds=False)
        warm = seconds(ours) / _TURNS
        yield Figure(
            "changing to a model in memory", round(1000 * warm, 2), "ms", note=f"first time {min(first[1:]):.2f} s"
        )


def _changed(kept: PipelineManager, spec: ModelSpec) -> None:
    """All a picture waits for: the model, and a pipeline for its task with a scheduler of its own."""
    with kept.lease(spec, pixels=256 * 256) as model:
        model.view(schedulers.own(model.pipe.scheduler, "Euler", "Automatic"), "text")


def _bare(spec: ModelSpec) -> StableDiffusionPipeline:
    pipe = StableDiffusionPipeline.from_pretrained(spec.path, dtype=torch.float32)
    for part in (pipe.unet, pipe.vae):
        part.to(memory_format=torch.channels_last)
    return pipe


def _overhead(spec: ModelSpec, repeats: int) -> Iterator[Figure]:
    request = resolved(width=128, height=128, steps=6)
    bare = read(spec, "")
    kept = manager()

    def managed() -> bytes:
        with kept.lease(spec, pixels=128 * 128) as model:
            return drawn(model, request)

    try:
        same = managed() == drawn(bare, request)
        ratio, low, high = paired_ratio(managed, lambda: drawn(bare, request), repeats)
    finally:
        kept.close()
    figure = at_most("a picture through the manager ÷ without it", ratio, 1.03, note=f"{low:.3f}–{high:.3f}")
    yield figure if same else replace(figure, holds=False)


def _weights(specs: list[ModelSpec], net: ControlNetSpec) -> Iterator[Figure]:
    kept = manager()
    try:
        with kept.lease(specs[0]) as model, kept.lease(specs[0], controls=(net,)) as steered:
            views = [
                used.view(schedulers.own(used.pipe.scheduler, "Euler", "Automatic"), task)
                for used in (model, steered)
                for task in ("text", "picture", "mask")
            ]
            found = [part for view in views for part in view.components.values()]
            parts = {id(part): part for part in (*found, *steered.controls.values()) if _is_module(part)}
            pieces = {
                tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
                for part in parts.values()
                for tensor in (*part.parameters(), *part.buffers())
            }
            bare = [*_bare(specs[0]).components.values(), *steered.controls.values()]
            modules = [part for part in bare if isinstance(part, nn.Module)]
            weights = sum(tensor.nbytes for part in modules for tensor in part.state_dict().values())
            ratio = max(sum(pieces.values()), kept.report().host) / weights
            named = "weights held by text, image, inpaint and ControlNet of one model ÷ weights"
            yield at_most(named, ratio, 1.02, note=f"{weights / 1e6:.0f} MB, the ControlNet among them")
        kept.unload(specs[0].key)
        with kept.lease(specs[0]):
            one = kept.report().host
        for spec in specs[1:]:
            with kept.lease(spec):
                pass
        ratio = kept.report().host / (one * len(specs))
        yield Figure(
            f"{len(specs)} fine-tunes in memory ÷ each by itself",
            round(ratio, 3),
            "×",
            note="text encoder and VAE are held once",
        )
    finally:
        kept.close()


def _is_module(part: object) -> bool:
    return isinstance(part, nn.Module)


def _many_switches(specs: list[ModelSpec]) -> Iterator[Figure]:
    """Two of three fit, so that most changes load one and let one go."""
    growth, loads = grown(specs, SWITCHES)
    yield at_most(
        f"resident memory after {SWITCHES} random changes of model, growth",
        100 * growth,
        2,
        "%",
        f"{loads} of them loads",
    )


def grown(specs: list[ModelSpec], switches: int) -> tuple[float, int]:
    """By which share resident memory grew over so many changes, and how many of them had to load a model."""
    request = resolved(width=64, height=64, steps=1)
    chosen = random.Random(5)
    probe = manager()
    with probe.lease(specs[0]):
        budget = int(2.5 * probe.report().host)
    probe.close()
    loads: list[str] = []

    def counted(spec: ModelSpec, storage: Storage) -> Model:
        loads.append(spec.key)
        return read(spec, storage)

    kept = PipelineManager(counted, Card(CPU), itemsize=lambda spec: 4, budget=budget)

    def taken() -> int:
        gc.collect()
        return int(psutil.Process().memory_info().rss)

    def change(number: int) -> None:
        for _ in range(number):
            with kept.lease(chosen.choice(specs), pixels=64 * 64) as model:
                drawn(model, request)

    try:
        change(12)  # until allocator and caches are warm
        loads.clear()
        before = taken()
        change(switches)
        return taken() / before - 1, len(loads)
    finally:
        kept.close()
