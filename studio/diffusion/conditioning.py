"""What the denoiser hears of a prompt at each step: weights, long prompts, schedules, `AND`, for CLIP families.

Semantics: AUTOMATIC1111 v1.10. Families that read sentences are told theirs without what is written for CLIP.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch

from studio import prompt_schedule
from studio.diffusion import encoder
from studio.diffusion.encoder import Encoded, Encoder
from studio.diffusion.load import Model
from studio.diffusion.watch import Round
from studio.errors import BadRequest
from studio.family import Task
from studio.prompt_spoken import spoken
from studio.prompt_weights import Run, composed
from studio.request import ResolvedRequest

#: Prompts that `AND` may join: each is one more picture's work for the denoiser, and its memory.
_MOST_PARTS: Final = 8
#: Chunks of the longer of prompt and negative prompt that repeating both may come to.
_MOST_CHUNKS: Final = 24


def prepare(
    model: Model,
    pipe: Any,
    request: ResolvedRequest,
    task: Task,
    turn: Round,
    embeddings: Mapping[str, Path] | None = None,
) -> Conditioning | Sentence:
    """What `pipe`, a view of `model`, is told; `embeddings` are textual inversions by the word that calls them.

    Raises:
        BadRequest: a clip skip or weights that this model cannot follow.
        ModelError: a damaged textual inversion.
    """
    if task != "edit" and encoder.reads(pipe):
        return Conditioning(model, pipe, request, turn, embeddings or {})
    return Sentence.of(pipe, request)


@dataclass(frozen=True, slots=True)
class Sentence:
    """For a family that reads whole sentences."""

    arguments: dict[str, object]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, pipe: Any, request: ResolvedRequest) -> Sentence:
        text, lost = spoken(request.full_prompt, request.steps)
        negative, lost_too = spoken(request.full_negative, request.steps)
        gone = list(dict.fromkeys(lost + lost_too))
        notes = []
        if gone:
            notes.append(f"This model reads whole sentences; what it cannot follow was left out: {', '.join(gone)}.")
        if request.clip_skip > 1:
            notes.append("This model has no clip skip; it was left out.")
        if beyond := encoder.unread(pipe, text):
            notes.append(f"This model did not read the end of the prompt, from “{beyond[:80]}” on.")
        return cls({"prompt": text, "negative_prompt": negative}, tuple(notes))

    def on_step_end(self, evaluation: int) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class _Heard:
    """What is heard at one step: the prompts that `AND` joins with their weights, and the negative prompt."""

    parts: tuple[Run, ...]
    negative: str


class Conditioning:
    """One round's. `arguments` start the pipeline; `on_step_end` says what changes for the next evaluation."""

    def __init__(
        self, model: Model, pipe: Any, request: ResolvedRequest, turn: Round, embeddings: Mapping[str, Path]
    ) -> None:
        self._pipe = pipe
        self._turn = turn
        self._guided = request.guidance > 1 and pipe.unet.config.time_cond_proj_dim is None
        self._encoder = Encoder(pipe, model.heard, request.clip_skip, embeddings)
        self.steps = _heard(request)[: turn.steps]
        self._check()
        self._composition: Composition | None = None
        if any(_is_composed(heard.parts) for heard in self.steps):
            self._composition = Composition(pipe.unet, self._guided)
            pipe.unet = self._composition

    @property
    def notes(self) -> tuple[str, ...]:
        return self._encoder.notes

    @cached_property
    def arguments(self) -> dict[str, object]:
        """In place of `prompt` and `negative_prompt`."""
        positive, negative = self._compose(self.steps[0])
        given: dict[str, object] = {"prompt_embeds": positive.embeds}
        if positive.pooled is not None:
            given["pooled_prompt_embeds"] = positive.pooled
        if negative is not None:
            given["negative_prompt_embeds"] = negative.embeds
            if negative.pooled is not None:
                given["negative_pooled_prompt_embeds"] = negative.pooled
        return given

    def on_step_end(self, evaluation: int) -> dict[str, Any]:
        """The tensors to go on with after so many evaluations, counted from 0."""
        total = max(int(self._pipe.num_timesteps), 1)
        now, following = (self._at(number, total) for number in (evaluation, evaluation + 1))
        if following == now:
            return {}
        positive, negative = self._compose(following)
        both = [positive] if negative is None else [negative, positive]
        tensors = {"prompt_embeds": torch.cat([encoded.embeds for encoded in both])}
        if positive.pooled is not None:
            tensors["add_text_embeds"] = torch.cat([encoded.pooled for encoded in both if encoded.pooled is not None])
        return tensors

    def _at(self, evaluation: int, total: int) -> _Heard:
        """Some samplers evaluate twice a step."""
        return self.steps[min(evaluation * len(self.steps) // total, len(self.steps) - 1)]

    def _compose(self, heard: _Heard) -> tuple[Encoded, Encoded | None]:
        """Prompt (the first of several) and negative prompt, of one length; tells the composition of the others."""
        encoded = [self._encoder.encode(part.text) for part in heard.parts]
        if self._guided:
            encoded.append(self._encoder.negative(heard.negative))
        encoded = self._levelled(encoded)
        negative = encoded.pop() if self._guided else None
        if self._composition is not None:
            self._composition.parts = [(part.weight, one) for part, one in zip(heard.parts, encoded, strict=True)]
        return encoded[0], negative

    def _levelled(self, encoded: list[Encoded]) -> list[Encoded]:
        """All of one length.

        Attention to the same keys twice is attention to them once, so repeating a prompt changes nothing. Only where
        that would grow too long, empty chunks fill up the shorter ones.
        """
        lengths = [one.embeds.shape[1] for one in encoded]
        longest = max(lengths)
        common = math.lcm(*lengths)
        if common <= max(longest, _MOST_CHUNKS * self._encoder.length):
            return [one.repeated(common // length) for one, length in zip(encoded, lengths, strict=True)]
        empty = self._encoder.encode("")
        return [one.filled(longest, empty) for one in encoded]

    def _check(self) -> None:
        if (parts := len(self.steps[0].parts)) > _MOST_PARTS:
            raise BadRequest(f"{parts} prompts joined by AND are too many; join {_MOST_PARTS} at most.")
        if not self._guided and any(sum(part.weight for part in heard.parts) <= 0 for heard in self.steps):
            raise BadRequest(
                "Without guidance the weights of prompts joined by AND must come to more than 0; raise the guidance."
            )


class Composition:
    """A denoiser that hears several prompts at once, as `AND` joins them; otherwise it is the one it stands for.

    Composable Diffusion, eq. 11 of https://arxiv.org/abs/2206.01714: ε(∅) + Σ wᵢ (ε(cᵢ) − ε(∅)). Without guidance
    there is no ε(∅), and the weighted mean of the ε(cᵢ) is taken.
    """

    def __init__(self, unet: Any, guided: bool) -> None:
        self._unet = unet
        self._guided = guided
        self.parts: list[tuple[float, Encoded]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._unet, name)

    def __call__(
        self,
        sample: torch.Tensor,
        timestep: Any,
        encoder_hidden_states: torch.Tensor,
        added_cond_kwargs: dict[str, Any] | None = None,
        **others: Any,
    ) -> tuple[torch.Tensor]:
        batch = sample.shape[0]
        assert batch == 1 + self._guided, "one picture at a time"
        index = [0] * self._guided + [batch - 1] * len(self.parts)
        kept = [encoder_hidden_states[:1]] if self._guided else []
        hidden = torch.cat([*kept, *(one.embeds.to(encoder_hidden_states) for _, one in self.parts)])
        added = _spread(added_cond_kwargs, index, batch)
        if added and "text_embeds" in added:
            kept = [added["text_embeds"][:1]] if self._guided else []
            added["text_embeds"] = torch.cat(
                [*kept, *(one.pooled.to(hidden) for _, one in self.parts if one.pooled is not None)]
            )
        predicted = self._unet(
            _spread(sample, index, batch),
            timestep,
            encoder_hidden_states=hidden,
            added_cond_kwargs=added,
            **{name: _spread(value, index, batch) for name, value in others.items()},
        )[0]
        weights = torch.tensor([weight for weight, _ in self.parts], dtype=torch.float32, device=predicted.device)
        weights = weights.to(predicted.dtype).reshape(-1, 1, 1, 1)
        if not self._guided:
            return ((weights * predicted).sum(0, keepdim=True) / weights.sum(),)
        free, heard = predicted[:1], predicted[1:]
        return (torch.cat([free, free + (weights * (heard - free)).sum(0, keepdim=True)]),)


def _heard(request: ResolvedRequest) -> list[_Heard]:
    """At each step of a whole drawing. As in A1111 a share of the steps counts those asked for, even where a picture
    to start from leaves fewer of them to take."""
    parts = [Run(words, weight) for words, weight in composed(request.full_prompt)]
    scheduled = [(_each(part.text, request.steps), part.weight) for part in parts]
    negative = _each(request.full_negative, request.steps)
    return [
        _Heard(tuple(Run(texts[step], weight) for texts, weight in scheduled), negative[step])
        for step in range(request.steps)
    ]


def _each(text: str, steps: int) -> list[str]:
    texts: list[str] = []
    for last, held in prompt_schedule.texts(prompt_schedule.parse(text), steps):
        texts.extend([held] * (last - len(texts)))
    return texts


def _is_composed(parts: tuple[Run, ...]) -> bool:
    return len(parts) > 1 or parts[0].weight != 1


def _spread(value: Any, index: list[int], batch: int) -> Any:
    """What belongs to the pictures of a batch, taken once for each of `index`; anything else as it is."""
    if isinstance(value, torch.Tensor):
        return value[index] if value.ndim and value.shape[0] == batch else value
    if isinstance(value, dict):
        return {name: _spread(part, index, batch) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_spread(part, index, batch) for part in value)
    return value
