"""A textual inversion of the embedded model: one new word for a mood that otherwise takes many."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from tools.mini.captions import things
from tools.mini.data import SEED, Bucket
from tools.mini.scene import Scene, sample_scene
from tools.mini.style_lora import Scenes
from tools.mini.text import Conditioner, token_ids
from tools.mini.unet import Focus, UnetTask

WORD = "nocturne"
"""Neon over the city at night. No caption has the word, so without its file the model reads nothing in it."""
VECTORS = 2
MARK = "@"
"""A token no caption has, which stands for the next of the vectors."""
FOCUS = Focus(subject=0.0, steps=(1.5, 1.0))


def moody(rng: np.random.Generator) -> Scene:
    """A scene of any subject in the mood."""
    while True:
        scene = sample_scene(rng)
        if scene.plain is None and scene.place != "space":
            return replace(scene, place="city", time="night", style="neon")


def mood_scenes(bucket: Bucket, count: int, encode: Callable[[NDArray[np.uint8]], NDArray[np.float16]]) -> Scenes:
    seeds = [[SEED, 0x71, number] for number in range(count)]
    return Scenes([(moody(np.random.default_rng(seed)), seed) for seed in seeds], bucket, encode)


class Extended(nn.Module):
    """The frozen embedding of all tokens, with vectors that learn in the places of the marks."""

    def __init__(self, known: nn.Embedding, mark: int, first: int) -> None:
        super().__init__()
        self.known = known.requires_grad_(False)
        self.vectors = nn.Parameter(known.weight[first].detach().repeat(VECTORS, 1))
        self.mark = mark

    @property
    def weight(self) -> Tensor:
        return self.known.weight

    @property
    def device(self) -> torch.device:
        return self.vectors.device

    def forward(self, ids: Tensor) -> Tensor:
        marks = ids == self.mark
        turn = (marks.cumsum(1) - 1).clamp(min=0) % VECTORS
        return torch.where(marks[..., None], self.vectors[turn], self.known(ids))


def extend(encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> Extended:
    """Put vectors that may learn into `encoder`. They begin as "a", which says least."""
    known = encoder.requires_grad_(False).get_input_embeddings()
    assert isinstance(known, nn.Embedding)
    mark, first = (int(token_ids(tokenizer, [word])[0, 1]) for word in (MARK, "a"))
    extended = Extended(known, mark, first)
    encoder.set_input_embeddings(extended)
    return extended


class LearningConditioner(Conditioner):
    """Gradients reach the vectors through it."""

    def __call__(self, ids: Tensor) -> Tensor:
        return self.read(ids)


class WordTask(UnetTask):
    """The loss of the denoiser's own training; only the vectors of the new word change."""

    silent = 0.0

    def __init__(
        self,
        denoiser: UNet2DConditionModel,
        encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        scenes: Scenes,
        batch: int,
    ) -> None:
        extended = extend(encoder, tokenizer)
        super().__init__(extended, [scenes], LearningConditioner(tokenizer, encoder), batch, seed=5, focus=FOCUS)
        self.denoiser = denoiser.requires_grad_(False)

    def text(self, scene: Scene, rng: np.random.Generator) -> str:
        return f"{things(scene, rng)}, {' '.join([MARK] * VECTORS)}"

    def predict(self, noisy: Tensor, times: Tensor, words: Tensor, guides: Tensor | None) -> Tensor:
        velocity = self.denoiser(noisy, times, words, return_dict=False)[0]
        assert isinstance(velocity, Tensor)
        return velocity


def save_word(vectors: Tensor, folder: Path) -> Path:
    """Write the vectors (n, 192) as A1111 and diffusers read them."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{WORD}.safetensors"
    save_file({"emb_params": vectors.detach().float().contiguous()}, file, {"format": "pt"})
    return file
