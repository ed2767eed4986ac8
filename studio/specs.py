"""What the catalogue knows of the files that go with a model: LoRAs, embeddings, VAEs, ControlNets, text encoders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from studio.families import UNKNOWN


@dataclass(frozen=True, slots=True)
class PartSpec:
    """`families`: keys of `studio.families` it may serve, the likeliest first. `content` is `Recognised.content`.

    `path` is a file, or for VAEs and ControlNets also a diffusers folder. `digest`: the first 10 hex digits of its
    SHA-256, for LoRAs the first 12 of A1111's hash of its tensors; "" as long as nobody has computed it.
    """

    key: str
    title: str
    path: Path
    families: tuple[str, ...]
    size_bytes: int
    digest: str
    content: str = ""

    @property
    def family(self) -> str:
        return self.families[0] if self.families else UNKNOWN.key


@dataclass(frozen=True, slots=True)
class LoraSpec(PartSpec):
    """`alias`: the name its maker gave it; `triggers`: words its training pictures were captioned with."""

    alias: str = ""
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EmbeddingSpec(PartSpec):
    """A textual inversion; `title` is the word that calls it in a prompt."""


@dataclass(frozen=True, slots=True)
class VaeSpec(PartSpec):
    pass


@dataclass(frozen=True, slots=True)
class ControlNetSpec(PartSpec):
    """Also a T2I-Adapter (`content`). `annotator`: what makes the maps it was trained on, where it says so."""

    annotator: str = ""


@dataclass(frozen=True, slots=True)
class EncoderSpec(PartSpec):
    """A text encoder by itself; `content` says which (`clip-l`, `t5-xxl`, …: see `family.Part`)."""
