"""LoRAs: switching them against what diffusers and peft offer, and what one that is on costs; same picture, same run.

Every arm has its files in memory, and one thread. Files are of rank 16, on all linear layers of the attention.
"""

from __future__ import annotations

import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from benchmarks.measure import Figure, at_least, paired_ratio, seconds
from studio.catalog import Catalog
from studio.diffusion import load, sample
from studio.diffusion.load import Model
from studio.diffusion.lora import Loras
from studio.request import LoraUse
from studio.settings import EMBEDDED
from tests import loras
from tests.resolved import resolved

RANK = 16
STEPS = 10
SWITCHES = 4


def mini() -> Model:
    spec = Catalog(EMBEDDED).find(None)
    return load.load(spec, torch.device("cpu"), torch.float32, spec.digest)


def drawn(model: Model, steps: int = STEPS) -> NDArray[np.uint8]:
    request = resolved("a red sailboat on the sea", width=128, height=128, steps=steps)
    result = sample.draw(
        model, request, lambda event: None, threading.Event(), preview_every=0, max_pixels=10**6, device="CPU"
    )
    return np.frombuffer(result.rgb, np.uint8).reshape(result.height, result.width, 3)


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    return int(np.abs(one.astype(int) - other).max())


class Merged:
    """Ours: what a picture with another LoRA has to wait for."""

    def __init__(self, model: Model, files: Sequence[Path]) -> None:
        self.model = model
        self.shelf = Loras()
        self.files = files

    def wear(self, which: int) -> None:
        with self.shelf.applied(self.model, [(LoraUse(name="it"), self.files[which])]):
            pass

    def switches(self) -> None:
        for turn in range(SWITCHES):
            self.wear(turn % 2)


class Adapters:
    """What anyone would write with diffusers: the old adapter is deleted, or its numbers are replaced (hotswap)."""

    def __init__(self, model: Model, files: Sequence[Path], *, hotswap: bool) -> None:
        self.pipe: Any = model.pipe
        self.model = model
        self.tensors = tuple(load_file(file) for file in files)
        self.hotswap = hotswap
        # A copy: the adapter takes these very tensors for its own, and hotswapping writes into them.
        first = {name: tensor.clone() for name, tensor in self.tensors[0].items()}
        self.pipe.load_lora_weights(first, adapter_name="it")

    def wear(self, which: int) -> None:
        if not self.hotswap:
            self.pipe.delete_adapters("it")
        self.pipe.load_lora_weights(dict(self.tensors[which]), adapter_name="it", hotswap=self.hotswap)
        self.model.heard.worn = which  # or what the text encoders said before would be taken for what they say now

    def switches(self) -> None:
        for turn in range(SWITCHES):
            self.wear(turn % 2)


def figures(repeats: int) -> Iterator[Figure]:
    warnings.simplefilter("ignore")  # peft's, about itself
    load.quiet()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # many small products: on a busy machine threads would wait for each other, in both arms
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield from _all(mini(), Path(folder), repeats)
    finally:
        torch.set_num_threads(threads)


def _all(model: Model, folder: Path, repeats: int) -> Iterator[Figure]:
    pairs = [loras.attention(model, seed, RANK, 0.05) for seed in range(2)]
    denoiser = [{path: pair for path, pair in each.items() if path.startswith("unet.")} for each in pairs]
    whole = [loras.save(loras.diffusers(each), folder / f"whole{n}.safetensors") for n, each in enumerate(pairs)]
    unet = [loras.save(loras.diffusers(each), folder / f"unet{n}.safetensors") for n, each in enumerate(denoiser)]
    yield from _switching(model, whole, repeats, "load + delete", 12, hotswap=False)
    # Text encoders cannot be hotswapped: for the U-Net alone, then.
    yield from _switching(model, unet, repeats, "peft hotswap", 2.5, hotswap=True)
    yield from _drawing(model, whole, repeats)


def _switching(
    model: Model, files: Sequence[Path], repeats: int, name: str, bar: float, *, hotswap: bool
) -> Iterator[Figure]:
    ours, theirs = Merged(model, files), Adapters(mini(), files, hotswap=hotswap)
    cold = seconds(lambda: ours.wear(0))
    worst = 0
    for which in (1, 0):
        ours.wear(which)
        theirs.wear(which)
        worst = max(worst, difference(drawn(ours.model, 4), drawn(theirs.model, 4)))
    ratio, low, high = paired_ratio(theirs.switches, ours.switches, repeats)
    note = f"{low:.1f}–{high:.1f}; largest difference of a pixel {worst}/255"
    figure = at_least(f"switching a LoRA: {name} ÷ ours", ratio, bar, note=note)
    # A faster wrong picture proves nothing.
    yield figure if worst <= 1 else replace(figure, holds=False)
    warm = seconds(ours.switches) / SWITCHES
    again = seconds(lambda: ours.wear((SWITCHES - 1) % 2))
    layers = ours.shelf.reports[0].layers + ours.shelf.reports[0].text_layers
    yield Figure(f"switching a LoRA of {layers} layers", round(1000 * warm, 1), "ms", note=f"first time {cold:.2f} s")
    yield Figure(f"the same LoRA of {layers} layers again", round(1000 * again, 2), "ms")
    ours.shelf.rest()


def _drawing(model: Model, files: Sequence[Path], repeats: int) -> Iterator[Figure]:
    ours, bare = Merged(model, files), mini()
    plain = drawn(model)
    ours.wear(0)
    ratio, low, high = paired_ratio(lambda: drawn(bare), lambda: drawn(ours.model), repeats, time.thread_time)
    yield at_least("steps a second with a LoRA ÷ without", ratio, 0.98, note=f"CPU time; {low:.3f}–{high:.3f}")
    theirs = Adapters(mini(), files, hotswap=False)
    unmerged, _, _ = paired_ratio(lambda: drawn(bare), lambda: drawn(theirs.model), repeats, time.thread_time)
    yield Figure("steps a second with peft’s adapter ÷ without", round(unmerged, 2), "×")
    ours.shelf.rest()
    same = bool(np.array_equal(drawn(model), plain))
    yield Figure("pictures before and after a LoRA differ in", 0 if same else 1, "pixels", "0", same)
