"""Words: a byte-level BPE that stock `CLIPTokenizer` reads, and a small CLIP text encoder.

The encoder is first trained alone, for minutes, to name what a caption says; frozen after that, it gives the denoiser a
usable condition from its first step.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tools.mini.captions import WORDS, caption
from tools.mini.data import SEED
from tools.mini.scene import LABELS, Scene, labels, sample_scene

WIDTH = 192
TOKENS = 77
START, END = "<|startoftext|>", "<|endoftext|>"


def merge_rules(words: list[str]) -> list[tuple[str, str]]:
    """Merges, in order, that leave every one of `words` (lower case) a single token."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=10_000, end_of_word_suffix="</w>", min_frequency=1, show_progress=False, special_tokens=[]
    )
    bpe.train_from_iterator([" ".join(sorted(words))], trainer)
    return [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write the tokenizer's files, for old and new versions of transformers, and return it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = merge_rules(sorted({word.lower() for word in WORDS if word.isalpha()}))
    entries = alphabet + [letter + "</w>" for letter in alphabet] + ["".join(pair) for pair in merges]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*entries, START, END]))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    made = CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=TOKENS, pad_token=END, unk_token=END
    )
    made.save_pretrained(folder)
    return load_tokenizer(folder)


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    assert isinstance(tokenizer, CLIPTokenizer)
    return tokenizer


def token_ids(tokenizer: CLIPTokenizer, texts: list[str], length: int = TOKENS) -> Tensor:
    """Texts → ids (N, length), cut and padded as the stock pipelines do it."""
    ids = tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt").input_ids
    assert isinstance(ids, Tensor)
    return ids


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def load_text_encoder(folder: Path) -> CLIPTextModel:
    # transformers 5 keeps the stored dtype unless told otherwise.
    encoder = CLIPTextModel.from_pretrained(folder, dtype=torch.float32)
    assert isinstance(encoder, CLIPTextModel)
    return encoder.eval().requires_grad_(False)


class Reader(nn.Module):
    """A text encoder with one linear head per attribute of a scene."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, classes) for name, classes in LABELS.items()})

    def forward(self, ids: Tensor, positions: Tensor) -> dict[str, Tensor]:
        """Logits (N, classes) per attribute, read off the states at `positions` (N)."""
        states = self.encoder(ids).last_hidden_state
        picked = states[torch.arange(len(ids), device=ids.device), positions]
        return {name: head(picked) for name, head in self.heads.items()}


class TextTask:
    """Name every attribute of the scene from its caption, both at the end token and at some padding token after it."""

    def __init__(self, model: Reader, tokenizer: CLIPTokenizer, batch: int, seed: int = 0) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch = batch
        self.seed = seed

    def samples_per_step(self) -> int:
        return self.batch

    def prepare(self, step: int, rank: int) -> tuple[Tensor, Tensor, list[Scene]]:
        """Token ids (N, length), the position (N) to read each row at, and the scenes."""
        rng = np.random.default_rng([SEED, self.seed, step, rank])
        scenes = [sample_scene(rng) for _ in range(self.batch)]
        # The attention is causal, so the short rows of most steps teach the same, at half the cost.
        length = TOKENS if step % 4 == 0 else 40
        ids = token_ids(self.tokenizer, [caption(scene, rng) for scene in scenes], length)
        end = (ids == self.tokenizer.eos_token_id).int().argmax(1)
        # Half the rows are read at the end token, half anywhere in the padding.
        after = end + torch.from_numpy((rng.random(self.batch) * (length - end.numpy())).astype(np.int64))
        half = torch.arange(self.batch) % 2 == 0
        return ids, torch.where(half, end, after), scenes

    def loss(self, batch: tuple[Tensor, Tensor, list[Scene]]) -> tuple[Tensor, dict[str, float]]:
        ids, positions, scenes = batch
        device = next(self.model.parameters()).device
        logits = self.model(ids.to(device), positions.to(device))
        wanted = [labels(scene) for scene in scenes]
        losses, right = [], []
        for name, logit in logits.items():
            target = torch.tensor([row[name] for row in wanted], device=device)
            losses.append(F.cross_entropy(logit.float(), target))
            right.append((logit.argmax(1) == target).float().mean().item())
        return torch.stack(losses).sum(), {
            "loss": sum(loss.item() for loss in losses),
            "right": float(np.mean(right)),
            "worst": min(right),
        }


@torch.no_grad()
def reading_report(model: Reader, tokenizer: CLIPTokenizer, count: int = 1000) -> dict[str, float]:
    """Share of attributes named rightly on fresh captions, read at the end token."""
    rng = np.random.default_rng([SEED, 0xF00D])
    device = next(model.parameters()).device
    scenes = [sample_scene(rng) for _ in range(count)]
    ids = token_ids(tokenizer, [caption(scene, rng) for scene in scenes]).to(device)
    logits = model(ids, (ids == tokenizer.eos_token_id).int().argmax(1))
    wanted = [labels(scene) for scene in scenes]
    return {
        name: round(float(np.mean(logit.argmax(1).cpu().numpy() == [row[name] for row in wanted])), 3)
        for name, logit in logits.items()
    }


class Conditioner:
    """Token ids (N, 77) → hidden states (N, 77, 192), with the frozen encoder."""

    def __init__(self, tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> None:
        self.tokenizer = tokenizer
        self.encoder = encoder

    @torch.no_grad()
    def __call__(self, ids: Tensor) -> Tensor:
        return self.read(ids)

    def read(self, ids: Tensor) -> Tensor:
        """The same, with gradients where something in the encoder learns."""
        states = self.encoder(ids.to(self.encoder.device)).last_hidden_state
        assert isinstance(states, Tensor)
        return states.float()
