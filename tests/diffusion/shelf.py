"""A manager over tiny models, with a card that is a second piece of main memory: copies there are real copies."""

from __future__ import annotations

import copy
import shutil
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from studio.catalog import Catalog
from studio.diffusion import load, modes, sample
from studio.diffusion.card import Card
from studio.diffusion.load import Model
from studio.diffusion.manager import PipelineManager
from studio.diffusion.residency import Storage
from studio.request import ModelSpec
from tests import tiny_models
from tests.resolved import resolved

CPU = torch.device("cpu")
#: Bytes of a tiny model in float32.
SIZE = 1_396_480


def models(folder: Path) -> Catalog:
    """`a` and `b` have nothing in common; `c` is `a` with the denoiser of `b`, `d` with one of its own."""
    for seed, name in enumerate("abd"):
        tiny_models.stable_diffusion(folder / name, seed=seed)
    for name, unet in (("c", "b"), ("d", "d")):
        kept = folder / "kept"
        shutil.copytree(folder / unet / "unet", kept)
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(folder / "a", folder / name)
        shutil.rmtree(folder / name / "unet")
        kept.rename(folder / name / "unet")
    return Catalog(folder / "none", (folder,))


class Reader:
    """Reads models, fast after the first time, and notes which; told to, it waits, fails or is slow about it."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self._read: dict[tuple[Path, torch.dtype], Model] = {}

    def __call__(self, spec: ModelSpec, storage: Storage) -> Model:
        self.read.append(spec.key)
        while not self.gate.wait(0.001):
            torch.zeros(1) + 1  # as a load does all the time
        if self.error is not None:
            raise self.error
        dtype = torch.float16 if storage == "float16" else torch.float32
        if (spec.path, dtype) not in self._read:
            self._read[spec.path, dtype] = load.load(spec, CPU, dtype, "")
        known = self._read[spec.path, dtype]
        model = Model(spec, copy.deepcopy(known.pipe), known.preview, "", CPU)
        if storage:
            modes.shrink(model, storage, torch.float32)
        return model


class Copies:
    """What brings weights to the second memory, and how much it brought."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, piece: torch.Tensor) -> torch.Tensor:
        self.sizes.append(piece.numel())
        return piece.clone()


@contextmanager
def managed(
    reader: Reader, budget: int | None = None, card: Card | None = None, wanted: str = "auto"
) -> Iterator[PipelineManager]:
    manager = PipelineManager(reader, card or Card(CPU), itemsize=lambda spec: 4, budget=budget, wanted=wanted)
    try:
        yield manager
    finally:
        manager.close()


def picture(model: Model, seed: int = 1) -> bytes:
    request = resolved(seed=seed, steps=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = sample.draw(
            model, request, lambda event: None, threading.Event(), preview_every=0, max_pixels=10**6, device="CPU"
        )
    return drawn.rgb
