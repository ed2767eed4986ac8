"""How much of a prompt a model reads, counted with its own tokenizer. No torch."""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from studio import families, prompt_schedule, prompt_weights
from studio.prompt_chunks import chunks
from studio.prompt_spoken import spoken
from studio.request import ModelSpec

#: Tokenizers that stay in memory; the largest take some 30 MB.
_KEPT: Final = 4
#: What the pipelines of families that read sentences take at most, their end included.
LIMITS: Final = {
    "sd3": 256,
    "mini-flow": 76,  # no T5, and CLIP's 77 are begun as well as ended
    "flux": 512,
    "flux-kontext": 512,
    "flux-fill": 512,
    "flux2": 512,
    "flux2-klein": 512,
    "z-image": 512,
    "qwen-image": 512,
    "qwen-edit": 512,
    "sana": 300,
    "sana-sprint": 300,
    "pixart": 300,
    "chroma": 512,
    "hidream": 128,
    "lumina2": 256,
    "cogview4": 1024,
    "ideogram4": 2048,
    "krea2": 512,
}
#: A word, a digit or signs, as CLIP's tokenizer parts them.
_CLIP: Final = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_WORDS: Final = re.compile(r"[^\W\d_]+|\d|[^\w\s]+|_+")


@dataclass(frozen=True, slots=True)
class Count:
    """`tokens`: without start and end. `chunks`: how they are shared out where a model reads 75 at a time, which cuts
    nothing. `limit`: the most it reads, None if there is none. `ignored`: the end of the prompt that it does not read.
    `exact` is False where the model brought no tokenizer that can be read here.
    """

    tokens: int
    chunks: tuple[int, ...]
    limit: int | None
    ignored: str = ""
    exact: bool = True


class Counter:
    """Counts for any model of the catalogue; it may be used by several threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[Path, Tokenizer | None] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, spec: ModelSpec, text: str, steps: int = 20, embeddings: Mapping[str, int] | None = None) -> Count:
        """Of a prompt whose wildcards, styles and LoRA tags are settled: of its longest part at its longest step.

        `embeddings`: how many vectors the textual inversion of each name, in small letters, has.
        """
        words = self._tokenizer(spec)
        if not _chunked(spec):
            return self._sentence(spec, words, spoken(text, steps)[0])

        def tokens(part: str) -> list[int]:
            return _WORDS.findall(part) if words is None else words.encode(part, add_special_tokens=False).ids

        comma = None if words is None else words.token_to_id(",</w>")
        longest: tuple[int, ...] = (0,)
        for part in prompt_weights.composed(text):
            for _, held in prompt_schedule.texts(prompt_schedule.parse(part.text), steps):
                sizes = tuple(len(chunk) for chunk in chunks(prompt_weights.parse(held), tokens, comma, embeddings))
                longest = max(longest, sizes, key=sum)
        return Count(sum(longest), longest, None, exact=words is not None)

    def _sentence(self, spec: ModelSpec, words: Tokenizer | None, text: str) -> Count:
        room = LIMITS.get(families.known(spec.family).key)
        limit = None if room is None else room - 1
        if words is None:
            return Count(len(_WORDS.findall(text)), (), limit, exact=False)
        read = words.encode(text, add_special_tokens=False)
        cut = limit is not None and len(read.ids) > limit
        ignored = text[read.offsets[limit][0] :] if cut and limit is not None else ""
        return Count(len(read.ids), (), limit, ignored.strip())

    def _tokenizer(self, spec: ModelSpec) -> Tokenizer | None:
        with self._lock:
            if spec.path not in self._known:
                self._known[spec.path] = _read(spec.path)
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            self._known.move_to_end(spec.path)
            return self._known[spec.path]


def _chunked(spec: ModelSpec) -> bool:
    """Whether the model reads CLIP's tokens and nothing else."""
    family = families.known(spec.family)
    encoders = [part.kind for part in family.parts if part.name.startswith("text_encoder")]
    return family.denoiser.startswith("UNet") and all(kind.startswith("CLIP") for kind in encoders)


def _read(folder: Path) -> Tokenizer | None:
    """That of the encoder which reads most: the last of them, for models that have several."""
    for name in ("tokenizer_3", "tokenizer_2", "tokenizer"):
        try:
            if (file := folder / name / "tokenizer.json").is_file():
                words = Tokenizer.from_file(str(file))
                words.no_truncation()
                words.no_padding()
                return words
            if (folder / name / "vocab.json").is_file():
                return _clip(folder / name)
        except Exception:  # noqa: BLE001 — the library raises nothing more special; a count is not worth a fault
            continue
    return None


def _clip(folder: Path) -> Tokenizer:
    """As `transformers` puts CLIP's tokenizer together from its vocabulary and merges."""
    vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
    lines = (folder / "merges.txt").read_text("utf-8").splitlines()
    merges = [(first, second) for line in lines if not line.startswith("#") for first, second in [line.split()[:2]]]
    words = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=merges,
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
            fuse_unk=False,
            unk_token="<|endoftext|>",
        )
    )
    words.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_CLIP), behavior="removed", invert=True), pre_tokenizers.ByteLevel(False)]
    )
    words.decoder = decoders.ByteLevel()
    words.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    return words
