"""CLIP text encoders given weights, prompts of any length and textual inversions; what they said is remembered."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase

from studio import prompt_chunks, prompt_weights
from studio.errors import BadRequest, ModelError
from studio.prompt_chunks import Chunk, Vector

_CLIPS: Final = ("CLIPTextModel", "CLIPTextModelWithProjection")
#: SDXL's encoders, in the order its pipelines have them.
_PARTS: Final = ("clip_l", "clip_g")
#: Bytes of text a model remembers.
_REMEMBERED: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Encoded:
    """`embeds`: 1 × tokens × width. `pooled`: 1 × width of SDXL's second encoder, which speaks for the first chunk."""

    embeds: torch.Tensor
    pooled: torch.Tensor | None = None

    def repeated(self, times: int) -> Encoded:
        return self if times == 1 else replace(self, embeds=self.embeds.repeat(1, times, 1))

    def filled(self, length: int, empty: Encoded) -> Encoded:
        """Made `length` tokens long with an empty chunk as often as need be."""
        missing = (length - self.embeds.shape[1]) // empty.embeds.shape[1]
        return replace(self, embeds=torch.cat([self.embeds, *([empty.embeds] * missing)], dim=1))


class Memory:
    """The texts encoded last, up to a number of bytes. `worn` says which LoRAs lie over the text encoders meanwhile."""

    def __init__(self, size: int = _REMEMBERED) -> None:
        self.worn: Hashable = ()
        self._size = self._left = size
        self._known: OrderedDict[Hashable, Encoded] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def nbytes(self) -> int:
        return self._size - self._left

    def get(self, key: Hashable) -> Encoded | None:
        whole = self.worn, key
        if whole in self._known:
            self._known.move_to_end(whole)
        return self._known.get(whole)

    def put(self, key: Hashable, encoded: Encoded) -> None:
        self._known[self.worn, key] = encoded
        self._left -= _size(encoded)
        while self._left < 0 and self._known:
            _, forgotten = self._known.popitem(last=False)
            self._left += _size(forgotten)


def reads(pipe: Any) -> bool:
    """Whether this pipeline's denoiser hears CLIP's tokens and nothing else."""
    parts = [getattr(pipe, name, None) for name in ("text_encoder", "text_encoder_2", "text_encoder_3")]
    encoders = [part for part in parts if part is not None]
    return hasattr(pipe, "unet") and bool(encoders) and all(type(part).__name__ in _CLIPS for part in encoders)


def unread(pipe: Any, text: str) -> str:
    """The end of `text` that a pipeline with a language model cuts off; empty where it reads all, or none can say."""
    limit = inspect.signature(pipe.__call__).parameters.get("max_sequence_length")
    words = next((w for end in ("_3", "_2", "") if (w := getattr(pipe, f"tokenizer{end}", None)) is not None), None)
    if limit is None or not isinstance(limit.default, int):
        return ""
    if not isinstance(words, PreTrainedTokenizerBase):  # FLUX.2's takes its first words for the address of a picture
        return ""
    ids = words(text, add_special_tokens=False, truncation=False).input_ids
    # Without its T5, Stable Diffusion 3 reads with CLIP alone: it takes less, and is begun as well as ended.
    most = min(limit.default, words.model_max_length) - max(1, words.num_special_tokens_to_add())
    return str(words.decode(ids[most:])) if len(ids) > most else ""


class Encoder:
    """The text encoders of `pipe`, with whatever LoRAs lie over them.

    Raises:
        BadRequest: they have fewer layers than `clip_skip`.
        ModelError: the file of a textual inversion is damaged.
    """

    def __init__(
        self,
        pipe: Any,
        memory: Memory,
        clip_skip: int,
        embeddings: Mapping[str, Path],
    ) -> None:
        self._pipe = pipe
        self._memory = memory
        self._skip = clip_skip
        self._embeddings = {name.lower(): path for name, path in embeddings.items()}
        self._vectors: dict[str, list[torch.Tensor | None]] = {}
        self._notes: dict[str, None] = {}
        pairs = [(f"tokenizer{end}", f"text_encoder{end}") for end in ("", "_2")]
        self._pairs = [
            (getattr(pipe, words), encoder)
            for words, name in pairs
            if (encoder := getattr(pipe, name, None)) is not None
        ]
        #: SDXL was trained on the last layer but one of its two encoders, and reads no layer's final norm.
        self._wide = getattr(pipe, "text_encoder_2", None) is not None
        self.length = min(int(words.model_max_length) for words, _ in self._pairs)
        for _, encoder in self._pairs:
            layers = int(encoder.config.num_hidden_layers)
            if clip_skip + self._wide > layers:
                most = layers - self._wide
                raise BadRequest(
                    f"This model’s text encoder has {layers} layers; choose a clip skip of {most} or less."
                )

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def negative(self, text: str) -> Encoded:
        """What guidance leads away from. Where a model was trained so (SDXL), an empty text is nothing at all."""
        encoded = self.encode(text)
        if text.strip() or not self._pipe.config.get("force_zeros_for_empty_prompt", False):
            return encoded
        pooled = None if encoded.pooled is None else torch.zeros_like(encoded.pooled)
        return Encoded(torch.zeros_like(encoded.embeds), pooled)

    def encode(self, text: str) -> Encoded:
        passages = prompt_weights.parse(text)
        sizes = self._sizes(text)
        named = tuple((name, stamp) for name, (_, stamp) in sizes.items())
        key = text, self._skip, named
        known = self._memory.get(key)
        if known is None:
            lengths = {name: length for name, (length, _) in sizes.items()}
            said = [
                self._said(number, words, encoder, passages, lengths)
                for number, (words, encoder) in enumerate(self._pairs)
            ]
            longest = max(embeds.shape[1] for embeds, _ in said)
            assert all(embeds.shape[1] == longest for embeds, _ in said)
            known = Encoded(torch.cat([embeds for embeds, _ in said], dim=-1), said[-1][1])
            self._memory.put(key, known)
        return known

    @torch.no_grad()
    def _said(
        self,
        number: int,
        words: Any,
        encoder: Any,
        passages: Sequence[prompt_weights.Passage],
        lengths: Mapping[str, int],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        comma = words.convert_tokens_to_ids(",</w>")

        def tokens(text: str) -> list[int]:
            ids: list[int] = words(text, add_special_tokens=False, truncation=False).input_ids
            return ids

        place = self._pipe._execution_device
        chunks = prompt_chunks.chunks(passages, tokens, comma, lengths)
        parts: list[torch.Tensor] = []
        pooled: torch.Tensor | None = None
        for chunk in chunks:
            ids, weights = _laid_out(chunk, words)
            with self._inserted(encoder, number, chunk):
                output = encoder(torch.tensor([ids], device=place), output_hidden_states=True)
            if self._wide:
                pooled = output[0] if pooled is None and output[0].ndim == 2 else pooled
                embeds = output.hidden_states[-(self._skip + 1)]
            elif self._skip == 1:
                embeds = output.last_hidden_state
            else:
                inner = getattr(encoder, "text_model", encoder)
                embeds = inner.final_layer_norm(output.hidden_states[-self._skip])
            parts.append(_weighted(embeds, weights))
        embeds = torch.cat(parts, dim=1).to(device=place, dtype=encoder.dtype)
        return embeds, None if pooled is None else pooled.to(place)

    def _sizes(self, text: str) -> dict[str, tuple[int, tuple[int, int]]]:
        """The textual inversions that may be named in `text`: how many vectors they have, and what dates their file."""
        small = text.lower()
        found = {}
        for name, path in self._embeddings.items():
            if name in small:
                try:
                    stat = path.stat()
                    vectors = self._load(name, path)
                except OSError as gone:
                    raise ModelError(f"The embedding {name} cannot be read; refresh the list of models.") from gone
                if vectors is not None:
                    found[name] = (vectors, (stat.st_mtime_ns, stat.st_size))
        return found

    def _load(self, name: str, path: Path) -> int | None:
        """How many vectors it has; None where it was made for another kind of model."""
        if name not in self._vectors:
            try:
                tensors = {key: tensor for key, tensor in load_file(path).items() if tensor.is_floating_point()}
            except Exception as broken:
                raise ModelError(f"The embedding {path.name} is damaged; download it again.") from broken
            self._vectors[name] = [
                _of_width(tensors, part, int(encoder.config.hidden_size))
                for part, (_, encoder) in zip(_PARTS, self._pairs, strict=False)
            ]
        rows = {len(vectors) for vectors in self._vectors[name] if vectors is not None}
        if len(rows) != 1 or None in self._vectors[name]:
            self._notes[f"The embedding {name} was made for another kind of model; its name was read as words."] = None
            return None
        return rows.pop()

    @contextmanager
    def _inserted(self, encoder: Any, number: int, chunk: Chunk) -> Iterator[None]:
        """While it lasts, the encoder reads the vectors of `chunk` where their tokens stand."""
        rows: dict[int, torch.Tensor] = {}
        for place, (token, _) in enumerate(chunk, 1):
            if isinstance(token, Vector):
                vectors = self._vectors[token.name][number]
                assert vectors is not None
                rows[place] = vectors[token.row]
        if not rows:
            yield
            return

        def insert(_module: Any, _given: Any, embedded: torch.Tensor) -> torch.Tensor:
            embedded = embedded.clone()
            for place, vector in rows.items():
                embedded[0, place] = vector.to(embedded)
            return embedded

        handle = encoder.get_input_embeddings().register_forward_hook(insert)
        try:
            yield
        finally:
            handle.remove()


def _of_width(tensors: Mapping[str, torch.Tensor], part: str, width: int) -> torch.Tensor | None:
    """The vectors for one encoder, by its name as SDXL's files have it, or by how wide they are."""
    fitting = {key: tensor.reshape(-1, width) for key, tensor in tensors.items() if tensor.shape[-1:] == (width,)}
    return fitting.get(part) if part in fitting else next(iter(fitting.values()), None)


def _laid_out(chunk: Chunk, words: Any) -> tuple[list[int], list[float]]:
    """Start, tokens, end, and as much padding as the encoder reads; where a vector goes stands any token."""
    ids = [0 if isinstance(token, Vector) else token for token, _ in chunk]
    padding = words.model_max_length - 2 - len(ids)
    return (
        [words.bos_token_id, *ids, words.eos_token_id, *[words.pad_token_id] * padding],
        [1.0, *(weight for _, weight in chunk), *[1.0] * (padding + 1)],
    )


def _weighted(embeds: torch.Tensor, weights: list[float]) -> torch.Tensor:
    """As A1111 weighs them: each token's vector is multiplied, then all of them, so that their mean is what it was.

    An encoder whose mean is nothing beside its values, as no trained one's is, has none to restore.
    """
    if all(weight == 1 for weight in weights):
        return embeds
    whole = embeds.float()
    scaled = whole * torch.tensor(weights, device=whole.device).reshape(1, -1, 1)
    before, after = float(whole.mean()), float(scaled.mean())
    if min(abs(before), abs(after)) > 1e-4 * float(whole.abs().mean()):
        scaled *= before / after
    return scaled.to(embeds.dtype)


def _size(encoded: Encoded) -> int:
    tensors = [encoded.embeds, *([] if encoded.pooled is None else [encoded.pooled])]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
