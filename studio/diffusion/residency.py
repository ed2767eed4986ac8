"""What stays in memory, what has to go, and how a model is run in the room there is: decisions only, no torch.

All amounts are bytes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from studio.errors import BadRequest

GB: Final = 10**9
NOTHING: Final[Mapping[str, str]] = {}

#: Which of a model's weights are on the device while it draws: all of them, the part at work, or a few of its blocks.
Span = Literal["model", "part", "block"]
#: What the denoiser's weights are kept as between two uses; computing is in the precision of the model either way.
#: The last three are those of libraries that may not be installed.
Storage = Literal["", "float16", "float8", "torchao", "sdnq", "bitsandbytes"]


@dataclass(frozen=True, slots=True)
class Mode:
    """A way to run a model. `tiled`: the picture is decoded in tiles, which may show faintly in a large one.
    `compiled`: the layers that its denoiser repeats are compiled when they are first used."""

    name: str
    span: Span = "model"
    tiled: bool = False
    storage: Storage = ""
    compiled: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether pictures are those of `whole`, bit for bit."""
        return not self.tiled and not self.storage and not self.compiled


#: The roomiest first. On a machine without a separate device there is nothing to move.
ON_CARD: Final = (
    Mode("whole"),
    Mode("offload", "part"),
    Mode("groups", "block"),
    Mode("groups-tiled", "block", tiled=True),
    Mode("8-bit", "block", tiled=True, storage="float8"),
)
ON_HOST: Final = (Mode("whole"), Mode("tiled", tiled=True), Mode("half", tiled=True, storage="float16"))
#: Modes that need what not every machine has, those of more bits first.
OPTIONAL: Final = (
    Mode("compiled", compiled=True),
    Mode("torchao", "part", storage="torchao"),
    Mode("sdnq", "part", storage="sdnq"),
    Mode("bitsandbytes", "part", storage="bitsandbytes"),
)


@dataclass(frozen=True, slots=True)
class Weight:
    """How large a model is: in all, its largest part, the largest of its blocks."""

    total: int
    largest: int
    block: int

    def on_card(self, mode: Mode) -> int:
        """What has to be on the device at once; two blocks, as the next is fetched while one works."""
        return {"model": self.total, "part": self.largest, "block": min(2 * self.block, self.largest)}[mode.span]


def mode(ladder: Sequence[Mode], weight: Weight, room: int, reserve: int) -> Mode:
    """The roomiest mode that changes no picture and leaves `reserve` of `room` for what drawing needs.

    Where none does, the leanest of those: the measured reserve may be that of an unlucky picture.
    """
    exact = [rung for rung in ladder if rung.is_exact]
    return next((rung for rung in exact if weight.on_card(rung) + reserve <= room), exact[-1])


def named(offered: Sequence[Mode], name: str, missing: Mapping[str, str] = NOTHING) -> Mode | None:
    """None for `auto`. `missing`: what this machine lacks for other modes, in a sentence.

    Raises:
        BadRequest: no such mode on this machine.
    """
    if name == "auto":
        return None
    found = next((mode for mode in offered if mode.name == name), None)
    if found is None and name in missing:
        raise BadRequest(missing[name])
    if found is None:
        names = ", ".join(mode.name for mode in offered)
        raise BadRequest(f"Models cannot be run in the mode “{name}” on this device; choose auto, {names}.")
    return found


def leaner(ladder: Sequence[Mode], than: Mode) -> Mode | None:
    """The next rung down. An optional mode that keeps weights in fewer bits stays what it is, and decodes in tiles."""
    if than not in ladder and than.storage:
        return None if than.tiled else replace(than, name=f"{than.name}-tiled", tiled=True)
    below = ladder[ladder.index(than) + 1 :] if than in ladder else ladder[1:]
    return below[0] if below else None


@dataclass(frozen=True, slots=True)
class Idle:
    """Something that may be asked to go. `used`: a clock reading. `parts` go along, unless somebody else has them."""

    key: str
    used: int
    parts: frozenset[str]


def victims(
    idle: Iterable[Idle], staying: Collection[frozenset[str]], sizes: Mapping[str, int], budget: int
) -> tuple[str, ...] | None:
    """Who goes, least recently used first, until what is left fits into `budget`; None if it never does.

    A part goes when the last of its holders does. `staying` are the parts of holders that cannot go.
    """
    leaving = sorted(idle, key=lambda entry: entry.used)
    for count in range(len(leaving) + 1):
        left = frozenset().union(*staying, *(entry.parts for entry in leaving[count:]))
        if sum(sizes[part] for part in left) <= budget:
            return tuple(entry.key for entry in leaving[:count])
    return None


class Reserve:
    """How much memory drawing takes on top of the weights, by model, learnt from what pictures really took."""

    #: Bytes a pixel and byte of precision, assumed of a model that has not drawn yet: SDXL decoding in float32.
    UNKNOWN: Final = 1024

    def __init__(self) -> None:
        self._rates: dict[str, float] = {}

    def of(self, model: str, pixels: int, itemsize: int) -> int:
        return math.ceil(self._rates.get(model, self.UNKNOWN * itemsize) * pixels)

    def took(self, model: str, pixels: int, amount: int) -> None:
        """A picture of so many pixels took this much at its peak."""
        if pixels > 0 and amount > 0:
            self._rates[model] = max(self._rates.get(model, 0.0), amount / pixels)


def affordable(side: int, need: int, free: int, *, least: int = 256, step: int = 64) -> int | None:
    """The longer side that a picture `side` long would have to shrink to, for its need to fit; None if too small.

    What drawing needs grows with the area.
    """
    if need <= 0 or free >= need:
        return None
    shorter = int(side * math.sqrt(max(free, 0) / need)) // step * step
    return shorter if least <= shorter < side else None


def too_large(title: str, need: int, free: int) -> str:
    """Why a model cannot be loaded."""
    return f"{title} needs about {readable(need)} of memory, {readable(free)} are free; choose a smaller model."


def too_much(width: int, height: int, need: int, free: int, remedies: Sequence[str]) -> str:
    """Why a picture could not be drawn, and what to try. `need` of 0: nobody knows."""
    side = affordable(max(width, height), need, free)
    tries = [*([f"{side} px"] if side else ["a smaller size"]), *remedies]
    told = " or ".join(tries)
    needs = "more memory than there is" if need <= free else f"about {readable(need)}, {readable(free)} free"
    return f"A picture of {width} × {height} needs {needs}; try {told}."


def readable(amount: int) -> str:
    """`9.2 GB`, `310 MB`."""
    return f"{amount / GB:.1f} GB" if amount >= GB else f"{max(amount, 0) / 10**6:.0f} MB"
