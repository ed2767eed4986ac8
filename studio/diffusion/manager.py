"""Models in memory: lent to one picture after another, kept as long as there is room, read in advance when asked to.

Reading a model never meets drawing. The libraries that read set PyTorch's default precision, Python's warnings and more
for the whole process, so that a picture drawn meanwhile could change; and on a CPU both want the same cores. While
somebody draws, a model asked for in advance only has its files read into the system's cache.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Final

from studio.diffusion import controlnet, footprint, modes, residency
from studio.diffusion import vae as vaes
from studio.diffusion.card import Card
from studio.diffusion.holdings import Holdings, Resident, Wish, sharing, weigh
from studio.diffusion.load import Model, free
from studio.diffusion.loading import Ahead, Load
from studio.diffusion.memory import Gauge, tried
from studio.diffusion.residency import Mode, Span, Storage
from studio.engine import Memory
from studio.errors import Cancelled, StudioError
from studio.request import ModelSpec
from studio.specs import ControlNetSpec, VaeSpec

#: Seconds between two looks whether a waiting picture was cancelled.
_TICK: Final = 0.02
#: Seconds nobody must have drawn before a model is read in advance: between two pictures of a queue there are fewer.
_LULL: Final = 0.25


def _nothing() -> None: ...


@dataclass(eq=False, slots=True)
class _Reading:
    """The load under way. `wanted`: by a picture that waits, rather than in advance."""

    wish: Wish
    storage: Storage
    load: Load[Resident]
    wanted: bool

    def is_for(self, wish: Wish, storage: Storage) -> bool:
        mine = (self.wish.spec.key, self.wish.stamp, self.wish.vae, self.wish.controls, self.storage)
        return mine == (wish.spec.key, wish.stamp, wish.vae, wish.controls, storage)


class PipelineManager:
    """Keeps models within a budget: of main memory (`budget` bytes, or what is free), and of the card.

    `read` brings a model into main memory; a weight of it has `itemsize` bytes there. `wanted` names the mode to run
    every model in; otherwise it is the roomiest that fits. `moving` is called before weights are kept in another place
    between two pictures: whoever changed them puts them back. `beside` tells the bytes that others hold of the budget.

    Raises:
        BadRequest: no such mode on this machine.
    """

    def __init__(
        self,
        read: Callable[[ModelSpec, Storage], Model],
        card: Card,
        *,
        itemsize: Callable[[ModelSpec], int],
        budget: int | None = None,
        wanted: str = "auto",
        moving: Callable[[], None] = _nothing,
        beside: Callable[[], int] = int,
    ) -> None:
        self._read = read
        self._card = card
        self._itemsize = itemsize
        self._moving = moving
        self._holdings = Holdings(card, budget, beside)
        self._wanted = residency.named(self._holdings.offered, wanted, self._holdings.missing)
        self._chosen: dict[str, Mode] = {}
        self._span: Span = "model"
        self._reading: _Reading | None = None
        self._ahead: Ahead | None = None
        self._changed = threading.Condition()

    @contextmanager
    def lease(
        self,
        spec: ModelSpec,
        *,
        vae: VaeSpec | None = None,
        controls: tuple[ControlNetSpec, ...] = (),
        pixels: int = 0,
        mode: Mode | None = None,
        stop: threading.Event | None = None,
        loading: Callable[[], None] = _nothing,
        dressed: Callable[[Model], AbstractContextManager[object]] = nullcontext,
    ) -> Iterator[Model]:
        """Lend the model for the `with` block; `loading` is called if that means waiting for it.

        Idle models, least recently used first, leave *before* it is loaded: what is held never exceeds the budget. A
        failed or cancelled load leaves nothing behind. `pixels` of the picture tell how much drawing will take.
        With `vae` it is the model with that VAE in the place of its own, with `controls` the one that these ControlNets
        may steer; everything else they share.
        `dressed` may change the weights: entered and left while they are at rest, all in one place.

        Raises:
            Cancelled: `stop` was set while it was being loaded; at once.
            ModelError: it cannot be loaded.
            OutOfMemory: there is no room for it beside the models on lease.
        """
        wish = self._wish(spec, pixels, vae, controls)
        mode = mode or self._mode_of(spec)
        resident = self._take(wish, mode, stop or threading.Event(), loading)
        try:
            reserve = self._holdings.needs(wish)
            chosen = mode or self._holdings.mode(resident, reserve)
            if chosen.span != self._span:
                self._moving()
            resident.mode, self._span = chosen, chosen.span
            modes.place(chosen, resident.parts, self._card, reserve)
            with (
                dressed(resident.model),
                modes.running(chosen, resident.model, resident.parts, self._card, reserve),
                self._measured(resident, wish),
            ):
                yield resident.model
        finally:
            self._give_back(resident)

    def leaner(self, spec: ModelSpec) -> Mode | None:
        """The rung below the one this model was last run in, for a picture that found no room."""
        with self._changed:
            found = self._holdings.of(spec.key)
        return residency.leaner(self._holdings.ladder, found[0].mode) if found else None

    def lacked(self, spec: ModelSpec) -> tuple[int, int]:
        """Bytes that the picture which found no room would have taken, weights and all, and bytes there were."""
        with self._changed:
            found = self._holdings.of(spec.key)
            needed = found[0].weight.on_card(found[0].mode) + found[0].lacked if found else 0
            return needed, self._room()

    def make_room(self, spec: ModelSpec) -> None:
        """Let everything else go that nobody uses at this moment and nobody pinned."""
        with self._changed:
            self._card.clear([part for resident in self._holdings if resident.leases for part in resident.parts])
            if not self._card.is_separate:
                kept = {spec.key, *self._holdings.pinned}
                self._holdings.drop([r for r in self._holdings if not r.leases and r.key not in kept])
        free()

    def prepare(self, spec: ModelSpec | None) -> None:
        """Load a model in advance, as soon as nobody draws; instead of the one asked for before. None: none any more.

        Returns at once. It must fit without the model used last and without pinned ones having to leave.
        """
        with self._changed:
            if self._ahead is not None:
                self._ahead.over.set()
            reading = self._reading
            others = reading is not None and (spec is None or reading.wish.spec.key != spec.key)
            if reading is not None and others and not reading.wanted:
                reading.load.stop()
            self._ahead = None if spec is None else Ahead(spec, footprint.files(spec), self._begin_ahead, _LULL)
            if self._ahead is not None:
                self._ahead.start()
            self._changed.notify_all()

    def unload(self, key: str) -> None:
        """Let it go, pinned or not; once it is idle if somebody draws with it."""
        with self._changed:
            self._holdings.pinned.discard(key)
            reading = self._reading
            if reading is not None and reading.wish.spec.key == key and not reading.wanted:
                reading.load.stop()
            for resident in self._holdings.of(key):
                resident.doomed = True
            self._holdings.drop([resident for resident in self._holdings.of(key) if not resident.leases])
        free()

    def pin(self, key: str, on: bool) -> None:
        """Never let it go by itself, however long it was not used."""
        with self._changed:
            (self._holdings.pinned.add if on else self._holdings.pinned.discard)(key)

    def run_in(self, key: str, name: str) -> None:
        """Run a model in this mode from now on, `auto` meaning as the others.

        Raises:
            BadRequest: no such mode on this machine.
        """
        chosen = residency.named(self._holdings.offered, name, self._holdings.missing)
        with self._changed:
            self._chosen.pop(key, None)
            if chosen is not None:
                self._chosen[key] = chosen

    def mode(self, key: str) -> str:
        """The name of the mode a model was run in last; "" if it is not in memory."""
        with self._changed:
            return next((resident.mode.name for resident in self._holdings.of(key)), "")

    def peek(self, key: str) -> Model | None:
        """The model if it is in memory; not to be drawn with."""
        with self._changed:
            return next((resident.model for resident in self._holdings.of(key)), None)

    def report(self) -> Memory:
        with self._changed:
            return self._holdings.report(None if self._reading is None else self._reading.wish)

    def close(self) -> None:
        self.prepare(None)
        with self._changed:
            while self._reading is not None:
                self._reading.load.stop()
                self._changed.wait(_TICK)
            self._holdings.drop(list(self._holdings))
        free()

    def _mode_of(self, spec: ModelSpec) -> Mode | None:
        return self._chosen.get(spec.key, self._wanted)

    def _wish(
        self, spec: ModelSpec, pixels: int, vae: VaeSpec | None = None, controls: tuple[ControlNetSpec, ...] = ()
    ) -> Wish:
        stamped = tuple((net, footprint.stamp(net)) for net in sorted(set(controls), key=lambda net: net.key))
        return Wish(spec, footprint.stamp(spec), self._itemsize(spec), pixels, vae, stamped)

    def _take(self, wish: Wish, mode: Mode | None, stop: threading.Event, loading: Callable[[], None]) -> Resident:
        mine: Load[Resident] | None = None
        while True:
            with self._changed:
                reading = self._reading
                if reading is None:
                    if mine is not None and mine.error is not None:
                        raise mine.error
                    self._holdings.drop([r for r in self._holdings.of(wish.spec.key) if _is_replaced(r, wish)])
                    storage = mode.storage if mode else self._holdings.storage(wish)
                    resident = self._holdings.find(wish, storage)
                    if resident is not None:
                        resident.leases += 1
                        self._holdings.touch(resident)
                        return resident
                    if not stop.is_set():
                        mine = self._begin(wish, storage, wanted=True)
                elif reading.is_for(wish, mode.storage if mode else reading.storage) and not reading.load.stopped:
                    mine, reading.wanted = reading.load, True
                else:  # in advance, or abandoned
                    reading.load.stop()
                if stop.is_set():
                    self._abandon(mine)
                    raise Cancelled("This picture was cancelled.")
            loading()
            loading = _nothing
            with self._changed:
                if self._reading is not None:
                    self._changed.wait(_TICK)

    def _abandon(self, load: Load[Resident] | None) -> None:
        """A picture no longer waits for this; somebody may still want it in advance."""
        reading, ahead = self._reading, self._ahead
        if reading is not None and reading.load is load:
            reading.wanted = False
            if ahead is None or ahead.over.is_set() or ahead.spec.key != reading.wish.spec.key:
                reading.load.stop()

    def _give_back(self, resident: Resident) -> None:
        for part in resident.parts:
            part.settle()
        with self._changed:
            resident.leases -= 1
            self._holdings.touch(resident)
            if resident.doomed and not resident.leases:
                self._holdings.drop([resident])
            self._changed.notify_all()

    @contextmanager
    def _measured(self, resident: Resident, wish: Wish) -> Iterator[None]:
        """Learn what the picture took, or what it lacked; nothing where other things would be measured along."""
        gauge = Gauge(self._card.place)
        gauge.start()
        try:
            yield
        except Exception as error:
            if lacked := tried(error):
                self._learn(resident, wish, gauge, lacked)
            raise
        self._learn(resident, wish, gauge, 0)

    def _learn(self, resident: Resident, wish: Wish, gauge: Gauge, lacked: int) -> None:
        peak = gauge.peak()
        with self._changed:
            if peak is None or self._holdings.leases() > 1:
                return
            if lacked:
                resident.lacked = peak + lacked
                peak = min(resident.lacked, self._room())
            if resident.mode.span == "model":
                self._holdings.reserve.took(wish.spec.key, wish.pixels, peak)

    def _room(self) -> int:
        """Bytes for weights and drawing together."""
        return self._card.room() if self._card.is_separate else self._holdings.budget()

    def _begin(self, wish: Wish, storage: Storage, *, wanted: bool) -> Load[Resident]:
        leaving = self._holdings.leaving(wish, storage, keep_last=not wanted)
        if leaving is None:
            raise self._holdings.too_large(wish, storage)
        self._holdings.drop(leaving)
        if leaving:
            free()
        load: Load[Resident] = Load(lambda: self._resident(wish, storage, load), self._ended)
        self._reading = _Reading(wish, storage, load, wanted)
        load.start()
        return load

    def _resident(self, wish: Wish, storage: Storage, load: Load[Resident]) -> Resident:
        """On the loader's thread."""
        with self._changed:
            there = [part for resident in self._holdings for part in resident.parts]
            base, nets = self._holdings.base(wish, storage), self._holdings.nets()
        model = base.model if base else replace(self._read(wish.spec, storage), device=self._card.place)
        if wish.vae is not None and (base is None or base.wish.vae is None):
            model = vaes.fitted(model, wish.vae)
        load.check()
        steering = {net.key: nets.get((net, stamp)) or controlnet.read(net, model) for net, stamp in wish.controls}
        model = replace(model, controls=steering)
        load.check()
        parts = sharing(model, there)
        load.check()
        if self._card.place.type == "cuda":
            for part in parts:
                part.pin()
        mode = next(mode for mode in self._holdings.offered if mode.storage == storage)
        return Resident(wish, storage, model, parts, weigh(model, parts), mode)

    def _ended(self, load: Load[Resident]) -> None:
        """On the loader's thread: from now on it can be lent."""
        with self._changed:
            self._reading = None
            resident, load.value = load.value, None
            if resident is not None:
                try:
                    self._holdings.add(resident)
                except StudioError as lied:
                    load.error = lied
            self._changed.notify_all()

    def _begin_ahead(self, ahead: Ahead) -> Load[Resident] | None:
        with self._changed:
            if self._holdings.of(ahead.spec.key):
                ahead.over.set()
            if ahead.over.is_set() or self._holdings.leases() or self._reading is not None:
                return None
            wish = self._wish(ahead.spec, ahead.spec.defaults.width * ahead.spec.defaults.height)
            mode = self._mode_of(ahead.spec)
            storage = mode.storage if mode else self._holdings.storage(wish)
            return self._begin(wish, storage, wanted=False)


def _is_replaced(resident: Resident, wish: Wish) -> bool:
    """On disk, by another model of the same name."""
    return resident.wish.stamp != wish.stamp and not resident.leases
