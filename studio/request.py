"""The nouns everybody speaks: what is asked for, which model draws it, what came out."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator, model_validator

from studio.pose import Pose

SEED_END: Final = 2**64
MAX_PROMPT: Final = 20_000
MAX_COUNT: Final = 16
MAX_LOOPS: Final = 8
MAX_MARGIN: Final = 4096
MAX_LORAS: Final = 32
MAX_CONTROLS: Final = 4
#: The fields of a request that hold input pictures. Those of its controls are called `control1`, `control2`, ….
INPUTS: Final = ("init", "mask")

#: NUL, other controls and lone surrogates cannot be stored in a database or a PNG; line breaks and tabs can.
_UNSTORABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")

Prompt = Annotated[str, Field(max_length=MAX_PROMPT)]
Side = Annotated[int, Field(ge=64, le=4096, multiple_of=8)]
Seed = Annotated[int, Field(ge=0, lt=SEED_END)]
Steps = Annotated[int, Field(ge=1, le=150)]
Guidance = Annotated[float, Field(ge=0, le=50, allow_inf_nan=False)]
Strength = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Margin = Annotated[int, Field(ge=0, le=MAX_MARGIN)]
#: How an input picture comes to the size asked for: `stretch` ignores its proportions, `crop` cuts what stands out,
#: `fill` fits all of it and fills the rest from its edges, `keep` leaves the picture at its own size.
Resize = Literal["stretch", "crop", "fill", "keep"]
#: What a masked area starts from: the picture itself, its surroundings smeared in, latent noise, or empty latents.
Start = Literal["original", "blur", "noise", "nothing"]
#: What is drawn: the whole picture, or the surroundings of the mask alone at the full size of the drawing.
Area = Literal["whole", "masked"]
#: Whether prompt and guide count alike, or one of them more: `prompt` weakens the guide where it would fix details,
#: `control` lets it guide the drawing alone, without its opposite.
ControlMode = Literal["balanced", "prompt", "control"]


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


class Inpaint(BaseModel):
    """How a masked area, or the new margins of an outpainting, is drawn. Lengths in pixels of the result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mask_blur: int = Field(8, ge=0, le=64, description="Half the way on which the mask fades beyond what is painted.")
    invert: bool = Field(False, description="Repaint what is black in the mask instead of what is white.")
    start: Start = Field("original", description="What the area starts from: original, blur, noise or nothing.")
    area: Area = Field("whole", description="Draw the whole picture, or only the masked area at full size.")
    padding: int = Field(32, ge=0, le=1024, description="Surroundings the model sees when only the mask is drawn.")
    soft: bool = Field(False, description="Grey says how much may change (differential diffusion), not how opaque.")
    match_colour: bool = Field(True, description="Bring the colours of the new area in line along the seam.")


class Outpaint(BaseModel):
    """New margins around the input picture, in its pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    left: Margin = 0
    top: Margin = 0
    right: Margin = 0
    bottom: Margin = 0

    def __bool__(self) -> bool:
        return bool(self.left or self.top or self.right or self.bottom)


LoraWeight = Annotated[float, Field(ge=-4, le=4, allow_inf_nan=False)]


class LoraUse(BaseModel):
    """A LoRA laid over the model: `<lora:name:weight>` in a prompt says the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(max_length=400, description="Name, alias or path of the LoRA.")
    weight: LoraWeight = Field(1.0, description="How much of it; 0: nothing, negative: its opposite.")
    text_weight: LoraWeight | None = Field(None, description="As much of it in the text encoder. Null: as `weight`.")
    blocks: str = Field(
        "",
        max_length=400,
        description="A factor for each block of the U-Net, with commas between: BASE, IN00…, M00, OUT00….",
    )

    @field_validator("name")
    @classmethod
    def _fits_into_a_tag(cls, name: str) -> str:
        if not name.strip() or re.search("[<>\n\t]", name) or _UNSTORABLE.search(name):
            raise ValueError("must be the name of a LoRA, without < and >")
        return name.strip()

    @field_validator("blocks")
    @classmethod
    def _are_numbers(cls, blocks: str) -> str:
        if re.search(r"[^-+.,0-9 ]", blocks):
            raise ValueError("must be numbers with commas between")
        return blocks

    @property
    def idle(self) -> bool:
        return self.weight == 0 and not self.text_weight


class ControlUnit(BaseModel):
    """A guide that the picture follows: a drawing, a photograph or a ready map (`image`), or a `pose`.

    `start` and `end` are shares of the denoising steps. Without `model` it is the ControlNet that suits the annotator.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: Picture | None = Field(None, description="Drawing, photograph or map to follow.")
    pose: Pose | None = Field(None, description="People to follow instead of an image; needs no annotator.")
    annotator: str = Field("none", max_length=40, description="What makes a map of it; none: it is one already.")
    parameters: dict[Annotated[str, Field(max_length=40)], Finite] = Field({}, description="Of the annotator.")
    model: str | None = Field(None, max_length=400, description="Key of a ControlNet; null: one that suits.")
    weight: float = Field(1.0, ge=0, le=2, allow_inf_nan=False, description="How much it guides; 0: not at all.")
    start: Strength = Field(0.0, description="Share of the steps after which it begins to guide.")
    end: Strength = Field(1.0, description="Share of the steps after which it no longer guides.")
    mode: ControlMode = Field("balanced", description="What matters more: balanced, prompt or control.")
    resize: Resize = Field("crop", description="How it comes to the size of the drawing.")

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if self.image is not None and self.pose is not None:
            raise ValueError("a guide is an image or a pose, not both")
        return self

    @property
    def idle(self) -> bool:
        return self.weight == 0 or self.start >= self.end


class GenerationRequest(BaseModel):
    """All that one job depends on. Sizes in pixels.

    `None` means "as the model likes it" and is settled by `plan.resolve`.
    The parts that are present are the mode: with `init` it is image to image, without it text to image; a `mask` makes
    it inpainting, an `outpaint` outpainting. `width` and `height` are the size of the drawing. The result has it too,
    unless the picture keeps its own size (`resize`).
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
    loras: tuple[LoraUse, ...] = Field((), max_length=MAX_LORAS, description="LoRAs laid over the model.")
    vae: str | None = Field(
        None, max_length=400, description="VAE to encode and decode with, by name; null: the model's own."
    )
    clip_skip: int = Field(
        1, ge=1, le=12, description="Layer of the CLIP text encoder that is read, from the end; 1: as the model's own."
    )
    init: Picture | None = Field(None, description="Picture to start from (image to image).")
    strength: Strength | None = Field(
        None, description="Denoising strength; 0 keeps `init`, 1 forgets it. Null: 0.6, or 0.9 to outpaint."
    )
    resize: Resize | None = Field(
        None, description="How `init` comes to size: stretch, crop, fill or keep. Null: keep for parts, else crop."
    )
    mask: Picture | None = Field(
        None, description="What of `init` is repainted: white entirely, grey softly, black and transparent not."
    )
    inpaint: Inpaint = Field(Inpaint(), description="How the masked area or the new margins are drawn.")
    outpaint: Outpaint | None = Field(None, description="Margins to add around `init`, whose pixels stay as they are.")
    loops: int = Field(1, ge=1, le=MAX_LOOPS, description="Rounds, each of which starts from what the last one drew.")
    loop_decay: float = Field(
        1.0, gt=0, le=1, allow_inf_nan=False, description="Strength of each round as a share of the round before."
    )
    controls: tuple[ControlUnit, ...] = Field((), max_length=MAX_CONTROLS, description="Guides the picture follows.")

    @field_validator("seed", mode="before")
    @classmethod
    def _minus_one_is_random(cls, seed: object) -> object:
        return None if seed in (-1, "-1") else seed

    @field_validator("prompt", "negative", mode="before")
    @classmethod
    def _without_controls(cls, text: object) -> object:
        return _UNSTORABLE.sub("", text) if isinstance(text, str) else text

    @property
    def pictures(self) -> dict[str, Picture]:
        """Its input pictures by name."""
        own = {name: picture for name in INPUTS if isinstance(picture := getattr(self, name), Picture)}
        return own | {f"control{n}": unit.image for n, unit in enumerate(self.controls, 1) if unit.image is not None}

    def with_pictures(self, pictures: Mapping[str, Picture | None]) -> Self:
        """With these in their places; None leaves a place empty."""
        controls = tuple(
            unit.model_copy(update={"image": pictures.get(f"control{n}", unit.image)})
            for n, unit in enumerate(self.controls, 1)
        )
        own = {name: picture for name, picture in pictures.items() if name in INPUTS}
        return self.model_copy(update={**own, "controls": controls})

    def referring(self, digests: Mapping[str, str]) -> dict[str, Any]:
        """As JSON values, each of its pictures as `sha256:…`, those it was parted from too."""
        fields: dict[str, Any] = self.with_pictures(dict.fromkeys(self.pictures)).model_dump(mode="json")
        for name, digest in digests.items():
            if name in INPUTS:
                fields[name] = f"sha256:{digest}"
            else:
                fields["controls"][int(name.removeprefix("control")) - 1]["image"] = f"sha256:{digest}"
        return fields


class Wording(BaseModel):
    """What a model is given for one picture: nothing in it is left to chance any more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    negative: str
    loras: tuple[LoraUse, ...] = ()


class ResolvedRequest(GenerationRequest):
    """A request with nothing left open; resolving it again changes nothing.

    `prompt`, `negative`, `styles` and `loras` stay as the artist wrote them; `full_prompt`, `full_negative` and
    `full_loras`, by their keys in the catalogue, are what the model is given.
    """

    model: str
    sampler: str
    scheduler: str
    steps: Steps
    guidance: Guidance
    width: Side
    height: Side
    seed: Seed
    strength: Strength = 0.6
    resize: Resize = "crop"
    full_prompt: str
    full_negative: str
    full_loras: tuple[LoraUse, ...] = ()
    #: One for each picture of the job, where wildcards make them differ; the first is the `full_…` above.
    wordings: tuple[Wording, ...] = ()

    def as_request(self) -> GenerationRequest:
        """The artist's side of it: what `plan.resolve` would be given to make this again."""
        return GenerationRequest.model_validate(self.model_dump(include=set(GenerationRequest.model_fields)))


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
    """A model of the catalogue, known from its headers alone. `digest` is A1111's short model hash (10 hex digits).

    `kind`: a diffusers folder, one .safetensors file, one GGUF file, or one DDUF archive. `family` is a key of
    `studio.families`.
    """

    key: str
    title: str
    path: Path
    family: str
    size_bytes: int
    digest: str
    licence: str
    defaults: Defaults
    kind: Literal["folder", "file", "gguf", "dduf"] = "folder"


@dataclass(frozen=True, slots=True)
class LoraReport:
    """What a LoRA did to a model: how many layers of the denoiser and of the text encoders it changed, and which of
    its layers found no place, in plain language. `digest`: the first 12 hex digits of A1111's hash of it."""

    name: str
    digest: str
    layers: int
    text_layers: int
    skipped: tuple[str, ...] = ()

    @property
    def found(self) -> str:
        """`56 layers and 16 of the text encoder`"""
        text = f" and {self.text_layers} of the text encoder" if self.text_layers else ""
        return f"{self.layers} layer{'' if self.layers == 1 else 's'}{text}"


class Verdict(StrEnum):
    """What the safety check said of a picture."""

    UNCHECKED = "unchecked"
    PASSED = "passed"
    FLAGGED = "flagged"


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """One finished picture: `rgb` holds height × width × 3 bytes; `film` eight JPEGs from noise to picture.

    `notes` say in a sentence each what of the request this model could not follow.
    """

    request: ResolvedRequest
    width: int
    height: int
    rgb: bytes
    seconds: float
    model_digest: str
    device: str
    film: tuple[bytes, ...] = ()
    loras: tuple[LoraReport, ...] = ()
    notes: tuple[str, ...] = ()
    #: Textual inversions that were read: names, and the first 12 hex digits of their files' SHA-256.
    embeddings: tuple[tuple[str, str], ...] = ()
    verdict: Verdict = Verdict.UNCHECKED
