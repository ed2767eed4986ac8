"""The nouns of the table of model families. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from studio.request import Defaults

#: What a drawing starts from: nothing but the prompt, a picture, a picture and a mask, a picture and an instruction.
#: `control…` are the same three with ControlNets.
Task = Literal["text", "picture", "mask", "edit", "control", "control-picture", "control-mask"]
#: How the prompt is enforced: a second evaluation without it (`cfg`, which is what a negative prompt needs), a number
#: the model was taught to read (`embedded`), or not at all.
GuidanceKind = Literal["cfg", "embedded", "none"]


@dataclass(frozen=True, slots=True)
class Variant:
    """A member of a family that wants other numbers. Weights do not tell it apart: `hints` are words of its name."""

    hints: tuple[str, ...]
    defaults: Defaults
    guidance: GuidanceKind


@dataclass(frozen=True, slots=True)
class Part:
    """One component of a pipeline besides its denoiser: a diffusers or transformers class and what files of it hold.

    `content` is the word `studio.recognise` uses for such a file, "" where nobody ships it as a single file.
    """

    name: str
    kind: str
    content: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """What models of one architecture are and can do.

    `pipelines` names the diffusers class for each task, `denoiser` the class and attribute of the part that draws.
    `kin` is the family whose LoRAs, ControlNets and text encoders it shares. `sizes` are the sizes it was trained on
    (width, height), the first being its own; both sides must be multiples of `multiple`. `flow`: it learned to follow a
    flow from noise to picture, which is what `samplers.FLOW` is for. `scale` is the argument that takes the guidance.
    `single_file`: diffusers reads its checkpoints in their original format.
    """

    key: str
    title: str
    pipelines: Mapping[Task, str]
    denoiser: str
    defaults: Defaults
    guidance: GuidanceKind = "cfg"
    negative: bool = True
    lora: bool = True
    text_in_image: bool = False
    sizes: tuple[tuple[int, int], ...] = ((1024, 1024),)
    multiple: int = 16
    flow: bool = True
    scale: str = "guidance_scale"
    single_file: bool = False
    kin: str = ""
    parts: tuple[Part, ...] = ()
    variants: tuple[Variant, ...] = ()
    #: One sentence for a family the pinned diffusers cannot load; "" when it can.
    missing: str = ""

    @property
    def controlnet(self) -> bool:
        return "control" in self.pipelines

    @property
    def picture(self) -> bool:
        return "picture" in self.pipelines

    @property
    def inpaint(self) -> bool:
        return "mask" in self.pipelines

    @property
    def edit(self) -> bool:
        return "edit" in self.pipelines

    @property
    def related(self) -> str:
        """The key under which what fits one model of this architecture fits all."""
        return self.kin or self.key

    def side(self, wanted: int) -> int:
        """The nearest side of a picture, in pixels, that a model of this family can draw."""
        return max(round(wanted / self.multiple), -(-64 // self.multiple)) * self.multiple

    def variant(self, name: str) -> Variant:
        """The member of the family whose hint is a word of `name` (a file or folder name); else the usual one."""
        words = set(re.findall(r"[a-z]+|\d+", name.casefold()))
        usual = Variant((), self.defaults, self.guidance)
        return next((row for row in self.variants if words & set(row.hints)), usual)
