"""The models in memory, and the arithmetic of how many more there is room for. Whoever uses it holds a lock."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from torch import nn

from studio.diffusion import footprint, memory, modes, optional, residency
from studio.diffusion.card import Card
from studio.diffusion.load import Model
from studio.diffusion.part import Part, parts_of
from studio.diffusion.residency import Idle, Mode, Reserve, Storage, Weight
from studio.engine import Held, Memory
from studio.errors import OutOfMemory
from studio.request import ModelSpec
from studio.specs import ControlNetSpec, VaeSpec

#: Bytes of main memory left to others beside a device with memory of its own.
_HEADROOM: Final = 2 * 2**30
_NEW: Final = "new"


#: A ControlNet, and what tells its files from those that may replace them.
Stamped = tuple[ControlNetSpec, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Wish:
    """A model to be loaded. `stamp` tells its files from those that may replace them, `itemsize` bytes a weight."""

    spec: ModelSpec
    stamp: tuple[object, ...]
    itemsize: int
    pixels: int
    #: Another VAE than the model's own.
    vae: VaeSpec | None = None
    controls: tuple[Stamped, ...] = ()

    @property
    def title(self) -> str:
        own = () if self.vae is None else (self.vae,)
        added = " and ".join(one.title for one in (*own, *(net for net, _ in self.controls)))
        return f"{self.spec.title} with {added}" if added else self.spec.title


@dataclass(eq=False, slots=True)
class Resident:
    """A model in memory. `used` is a clock reading; `doomed`: it leaves as soon as nobody draws with it."""

    wish: Wish
    storage: Storage
    model: Model
    parts: tuple[Part, ...]
    weight: Weight
    mode: Mode
    leases: int = 0
    used: int = 0
    #: Bytes that the last picture for which memory did not suffice would have taken on top of the weights.
    lacked: int = 0
    doomed: bool = False

    @property
    def key(self) -> str:
        return self.wish.spec.key


class Holdings:
    """Holds residents within `budget` bytes of main memory; None: what is free, less what drawing takes there.

    `beside` tells how many bytes something else holds that the budget is for, too.
    """

    def __init__(self, card: Card, budget: int | None, beside: Callable[[], int]) -> None:
        self.card = card
        self.ladder = residency.ON_CARD if card.is_separate else residency.ON_HOST
        #: What this machine lacks for a mode, in a sentence.
        self.missing = {mode.name: why for mode in residency.OPTIONAL if (why := optional.lacking(mode, card.place))}
        self.offered: tuple[Mode, ...] = (
            *self.ladder,
            *(mode for mode in residency.OPTIONAL if mode.name not in self.missing),
        )
        self.reserve = Reserve()
        self.pinned: set[str] = set()
        self._budget = budget
        self._beside = beside
        self._residents: list[Resident] = []
        self._clock = itertools.count(1)

    def __iter__(self) -> itertools.chain[Resident]:
        return itertools.chain(self._residents)

    def of(self, key: str) -> list[Resident]:
        """The last used first."""
        return sorted((r for r in self._residents if r.key == key), key=lambda resident: -resident.used)

    def find(self, wish: Wish, storage: Storage) -> Resident | None:
        wanted = (wish.stamp, wish.vae, wish.controls, storage)
        found = self.of(wish.spec.key)
        return next((r for r in found if (r.wish.stamp, r.wish.vae, r.wish.controls, r.storage) == wanted), None)

    def base(self, wish: Wish, storage: Storage) -> Resident | None:
        """The same model with other ControlNets, or with its own VAE, of which little has to be read."""
        found = [r for r in self.of(wish.spec.key) if (r.wish.stamp, r.storage) == (wish.stamp, storage)]
        wanted = [r for r in found if r.wish.vae == wish.vae] + [r for r in found if r.wish.vae is None]
        return next(iter(wanted), None)

    def nets(self) -> dict[Stamped, nn.Module]:
        """The ControlNets in memory, whichever models they came to steer."""
        return {
            stamped: resident.model.controls[stamped[0].key]
            for resident in self._residents
            for stamped in resident.wish.controls
        }

    def add(self, resident: Resident) -> None:
        """Raises:
        OutOfMemory: it is larger than its files told, too large.
        """
        self._residents.append(resident)
        self.touch(resident)
        for idle in sorted(self._residents, key=lambda resident: resident.used):
            over = self.held() - self.budget()
            if over > 0 and not idle.leases and (idle is resident or idle.key not in self.pinned):
                self.drop([idle])
        if resident not in self._residents:
            title, need = resident.wish.spec.title, resident.weight.total
            raise OutOfMemory(residency.too_large(title, need, need - over))

    def touch(self, resident: Resident) -> None:
        resident.used = next(self._clock)

    def drop(self, leaving: list[Resident]) -> None:
        """Parts that another model has too stay with it."""
        self._residents = [resident for resident in self._residents if resident not in leaving]
        kept = self._sizes().keys()
        gone = {part.key: part for resident in leaving for part in resident.parts if part.key not in kept}
        self.card.evict(gone.values())
        for part in gone.values():
            part.close()

    def leases(self) -> int:
        return sum(resident.leases for resident in self._residents)

    def held(self) -> int:
        """Bytes of main memory that weights take; what is shared counts once."""
        return sum(self._sizes().values())

    def budget(self) -> int:
        """Bytes of main memory that weights may take."""
        if self._budget is not None:
            heard = {id(resident.model.heard): resident.model.heard.nbytes for resident in self._residents}
            return self._budget - self._beside() - sum(heard.values())
        return memory.host().free - (_HEADROOM if self.card.is_separate else 0) + self.held()

    def needs(self, wish: Wish) -> int:
        """Bytes that drawing takes on top of the weights."""
        return self.reserve.of(wish.spec.key, wish.pixels, wish.itemsize)

    def storage(self, wish: Wish) -> Storage:
        """Weights in full if they fit, were everything idle to leave; else in as few bytes as it takes."""
        storages = list(dict.fromkeys(mode.storage for mode in self.offered))
        if self.find(wish, storages[0]) is not None:
            return storages[0]
        fits = (storage for storage in storages if self.leaving(wish, storage) is not None)
        return next(fits, storages[0])

    def mode(self, resident: Resident, reserve: int) -> Mode:
        """How to run it now, if drawing takes so much."""
        if resident.storage:
            return next(mode for mode in self.offered if mode.storage == resident.storage)
        if not self.card.is_separate:
            return self.ladder[0]
        return residency.mode(self.ladder, resident.weight, self.card.room(), reserve)

    def leaving(self, wish: Wish, storage: Storage, *, keep_last: bool = False) -> list[Resident] | None:
        """Who has to go for a model to come; None if there is no room for it even then.

        Room is left for drawing too, unless that keeps the model away: what drawing takes is not known that well.
        """
        last = max((resident.used for resident in self._residents), default=0) if keep_last else -1
        # Of a model that is there only what it lacks has to be read.
        base = self.base(wish, storage)
        stay = [r for r in self._residents if r.leases or r.key in self.pinned or r.used == last or r is base]
        idle = {str(r.used): r for r in self._residents if r not in stay}
        leavers = [Idle(name, r.used, _keys(r)) for name, r in idle.items()]
        staying = [frozenset({_NEW}), *map(_keys, stay)]
        new = 0 if base is not None else footprint.of(wish.spec, wish.itemsize, storage)
        if wish.vae is not None and (base is None or base.wish.vae is None):
            new += footprint.part(wish.vae, wish.itemsize)
        new += sum(footprint.part(stamped[0], wish.itemsize) for stamped in wish.controls if stamped not in self.nets())
        sizes = self._sizes() | {_NEW: new}
        measured = self._budget is None and not self.card.is_separate
        for reserve in (self.needs(wish) if measured else 0, 0):
            names = residency.victims(leavers, staying, sizes, self.budget() - reserve)
            if names is not None:
                return [idle[name] for name in names]
        return None

    def too_large(self, wish: Wish, storage: Storage) -> OutOfMemory:
        busy = {part.key: part.bytes for r in self._residents if r.leases for part in r.parts}
        need = footprint.of(wish.spec, wish.itemsize, storage)
        return OutOfMemory(residency.too_large(wish.spec.title, need, self.budget() - sum(busy.values())))

    def report(self, reading: Wish | None) -> Memory:
        models = [
            Held(
                key=resident.key,
                title=resident.wish.title,
                state="busy" if resident.leases else "idle",
                mode=resident.mode.name,
                card=sum(part.bytes for part in resident.parts if self.card.holds(part)),
                host=sum(part.bytes for part in resident.parts),
                pinned=resident.key in self.pinned,
            )
            for resident in sorted(self._residents, key=lambda resident: -resident.used)
        ]
        if reading is not None:
            key = reading.spec.key
            models.append(Held(key, reading.title, "loading", pinned=key in self.pinned))
        locked = {part.key: part.bytes for r in self._residents for part in r.parts if part.pinned}
        return Memory(
            card=self.card.held,
            card_budget=_rounded(self.card.room()) if self.card.is_separate else 0,
            host=self.held(),
            host_budget=_rounded(self.budget()),
            host_locked=sum(locked.values()),
            models=tuple(models),
            modes=tuple(mode.name for mode in self.offered),
            missing=tuple(self.missing.items()),
        )

    def _sizes(self) -> dict[str, int]:
        return {part.key: part.bytes for resident in self._residents for part in resident.parts}


def sharing(model: Model, there: Sequence[Part]) -> tuple[Part, ...]:
    """The parts of a model that was just read; what is held already, byte for byte, is taken from `there`."""
    parts = parts_of(model.modules, there)
    known = {part.sketch: part for part in there if part.sketch}
    twins = {
        part.name: twin
        for part in parts
        if part not in there and (twin := known.get(part.sketch)) is not None and twin.same(part)
    }
    own = model.pipe.components
    model.pipe.register_modules(**{name: twin.module for name, twin in twins.items() if name in own})
    return tuple(twins.get(part.name, part) for part in parts)


def weigh(model: Model, parts: tuple[Part, ...]) -> Weight:
    """`block` is the largest of the layers that its denoiser repeats."""
    denoiser = modes.denoiser_of(model)
    sizes = [part.bytes for part in parts]
    blocks = [] if denoiser is None else modes.blocks(denoiser)
    return Weight(sum(sizes), max(sizes, default=0), max(blocks, default=max(sizes, default=0)))


def _keys(resident: Resident) -> frozenset[str]:
    return frozenset(part.key for part in resident.parts)


def _rounded(amount: int) -> int:
    """To a hundredth: what is free changes all the time, and nobody needs to know by how little."""
    step: int = max(10 ** (len(str(max(amount, 1))) - 2), 1)
    return max(amount, 0) // step * step
