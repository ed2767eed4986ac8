"""The nouns everybody speaks: what is asked for, which model draws it, what came out."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator

SEED_END: Final = 2**64
MAX_PROMPT: Final = 20_000
MAX_COUNT: Final = 16

Prompt = Annotated[str, Field(max_length=MAX_PROMPT)]
Side = Annotated[int, Field(ge=64, le=4096, multiple_of=8)]
Seed = Annotated[int, Field(ge=0, lt=SEED_END)]
Steps = Annotated[int, Field(ge=1, le=150)]
Guidance = Annotated[float, Field(ge=0, le=50, allow_inf_nan=False)]


class Picture(RootModel[str]):
    """An input picture by value: a `data:image/…;base64,` URL of a PNG, JPEG or WebP file."""

    model_config = ConfigDict(frozen=True)
    root: str = Field(pattern=r"^data:image/(png|jpeg|webp);base64,")

    @field_validator("root")
    @classmethod
    def _is_base64(cls, url: str) -> str:
        try:
            base64.b64decode(url.partition(",")[2], validate=True)
        except binascii.Error as broken:
            raise ValueError("is not valid base64") from broken
        return url

    @classmethod
    def from_bytes(cls, data: bytes, mime: str = "image/png") -> Picture:
        return cls(f"data:{mime};base64,{base64.b64encode(data).decode()}")

    @property
    def data(self) -> bytes:
        return base64.b64decode(self.root.partition(",")[2])

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


class GenerationRequest(BaseModel):
    """All that one job depends on. Sizes in pixels.

    `None` means "as the model likes it" and is settled by `plan.resolve`.
    The parts that are present are the mode: with `init` it is image to image, without it text to image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Prompt = Field("", description="What the picture shows.")
    negative: Prompt = Field("", description="What it should not show.")
    model: str | None = Field(None, max_length=400, description="Key of a model of the catalogue.")
    sampler: str | None = Field(None, max_length=80, description="Sampler, e.g. `DPM++ 2M`, `Euler a`.")
    scheduler: str | None = Field(None, max_length=80, description="Schedule type, e.g. `Automatic`, `Karras`.")
    steps: Steps | None = Field(None, description="Denoising steps.")
    guidance: Guidance | None = Field(None, description="Classifier-free guidance scale, unitless; 1 and below: off.")
    width: Side | None = Field(None, description="Pixels, a multiple of 8.")
    height: Side | None = Field(None, description="Pixels, a multiple of 8.")
    seed: Seed | None = Field(
        None, description="Seed of the first picture; the next ones count up. -1 or null: random."
    )
    count: int = Field(1, ge=1, le=MAX_COUNT, description="Number of pictures.")
    styles: tuple[Annotated[str, Field(max_length=200)], ...] = Field((), max_length=16, description="Style presets.")
    init: Picture | None = Field(None, description="Picture to start from (image to image).")
    strength: float = Field(0.6, ge=0, le=1, allow_inf_nan=False, description="Denoising strength; 0 keeps `init`.")

    @field_validator("seed", mode="before")
    @classmethod
    def _minus_one_is_random(cls, seed: object) -> object:
        return None if seed in (-1, "-1") else seed

    @field_validator("prompt", "negative")
    @classmethod
    def _without_controls(cls, text: str) -> str:
        # NUL and lone surrogates cannot be stored in a database or a PNG; line breaks and tabs can.
        clean = text.encode("utf-8", "ignore").decode()
        return "".join(c for c in clean if c in "\n\t" or (c >= " " and c != "\x7f"))


class ResolvedRequest(GenerationRequest):
    """A request with nothing left open; resolving it again changes nothing.

    `prompt`, `negative` and `styles` stay as the artist wrote them; `full_prompt` and `full_negative` are what the
    model is given.
    """

    model: str
    sampler: str
    scheduler: str
    steps: Steps
    guidance: Guidance
    width: Side
    height: Side
    seed: Seed
    full_prompt: str
    full_negative: str

    def as_request(self) -> GenerationRequest:
        """The artist's side of it: what `plan.resolve` would be given to make this again."""
        return GenerationRequest.model_validate(self.model_dump(exclude={"full_prompt", "full_negative"}))


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a model likes, unless the artist says otherwise. Sizes in pixels."""

    sampler: str = "DPM++ 2M"
    scheduler: str = "Karras"
    steps: int = 25
    guidance: float = 7.0
    width: int = 512
    height: int = 512


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model of the catalogue, known from its headers alone. `digest` is A1111's short model hash (10 hex digits)."""

    key: str
    title: str
    path: Path
    family: str
    size_bytes: int
    digest: str
    licence: str
    defaults: Defaults


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """One finished picture: `rgb` holds height × width × 3 bytes; `film` eight JPEGs from noise to picture."""

    request: ResolvedRequest
    width: int
    height: int
    rgb: bytes
    seconds: float
    model_digest: str
    device: str
    film: tuple[bytes, ...] = ()
