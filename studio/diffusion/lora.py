"""LoRAs laid over a model: merged into its live weights in float32, from pristine copies that put them back exactly."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn

from studio.diffusion import lora_files, lora_math, lora_names
from studio.diffusion.encoder import Memory
from studio.diffusion.load import Model
from studio.diffusion.lora_files import DENOISER, Layer, LoraFile
from studio.diffusion.lora_match import Match, Names, match, parts
from studio.errors import ModelError
from studio.request import LoraReport, LoraUse

#: Bytes of LoRA files that stay in memory; those in use stay whatever their size.
RESIDENT: Final = 2**30

Stamp = tuple[Path, int, int]
#: A LoRA to lay over a model: how, and its file.
Worn = tuple[LoraUse, Path]
#: A tensor of a model, and what is added to it: layers of LoRAs with their weights.
Sum = tuple[nn.Module, str, list[tuple[Layer, float]]]


class Loras:
    """What LoRAs have changed, in one model at a time.

    The changes stay from one picture to the next, so that the same LoRAs again cost nothing; `applied` is therefore
    entered for every picture, without LoRAs too. The sum is the same for every order in which they are named.
    """

    def __init__(self, resident: int = RESIDENT) -> None:
        self._limit = resident
        self._files: OrderedDict[Stamp, _Resident] = OrderedDict()
        self._names = Names()
        self._touched: dict[tuple[int, str], _Touched] = {}
        self._state: _State | None = None
        self._heard: ref[Memory] | None = None
        self._lock = threading.RLock()

    @contextmanager
    def applied(self, model: Model, worn: Sequence[Worn]) -> Iterator[tuple[LoraReport, ...]]:
        """The model as these LoRAs make it, and what each of them does there. Whatever fails within, all is put back.

        Raises:
            ModelError: a LoRA is damaged, is for another family, or of a kind that is not supported.
            BadRequest: weights of blocks that the model does not have.
        """
        try:
            yield self._apply(model, worn)
        except BaseException:
            self.rest()
            raise

    def rest(self) -> None:
        """Every weight as it was, bit for bit; the copies are given up. To be called before weights are moved."""
        with self._lock, torch.no_grad():
            self._state = None
            for touched in list(self._touched.values()):
                touched.restore()
            self._touched.clear()
            self._tell(None, ())

    def keep_for(self, key: str) -> None:
        """Rest, unless it is this model that is changed. To be called before another one is brought into memory."""
        if self._state is not None and self._state.key != key:
            self.rest()

    @property
    def reports(self) -> tuple[LoraReport, ...]:
        """What the LoRAs that are applied do."""
        return () if self._state is None else self._state.reports

    @property
    def nbytes(self) -> int:
        """What the copies of changed weights and the resident files take; told at once, even amid a change."""
        copies = sum(touched.pristine.nbytes for touched in list(self._touched.values()))
        return copies + sum(resident.file.nbytes for resident in list(self._files.values()))

    def _apply(self, model: Model, worn: Sequence[Worn]) -> tuple[LoraReport, ...]:
        chosen = sorted(((_stamp(path), use) for use, path in worn if not use.idle), key=_order)
        with self._lock, torch.no_grad():
            if not chosen:
                self.rest()
                return ()
            denoiser = _denoiser(model)
            wanted = tuple((stamp, use.weight, use.text_weight, use.blocks) for stamp, use in chosen)
            if self._state is not None and self._state.holds(denoiser, wanted) and self._intact():
                return self._state.reports
            found = [(use, *self._match(model, stamp)) for stamp, use in chosen]
            self._keep_few({stamp for stamp, _ in chosen})
            sums, reports = _plan(model, found)
            # Torn from here until the new state stands: `applied` puts all back if anything fails.
            self._state = None
            self._merge(sums)
            spoken = [(r.digest, use) for r, (_, use) in zip(reports, chosen, strict=True) if r.text_layers]
            self._tell(model.heard, tuple(spoken))
            self._state = _State(model.spec.key, ref(denoiser), wanted, reports)
            return reports

    def _match(self, model: Model, stamp: Stamp) -> tuple[LoraFile, Match]:
        if stamp not in self._files:
            self._files[stamp] = _Resident(lora_files.read(stamp[0], model.device))
        self._files.move_to_end(stamp)
        resident = self._files[stamp]
        denoiser = _denoiser(model)
        if denoiser not in resident.matches:
            resident.matches[denoiser] = match(model, resident.file, self._names)
        return resident.file, resident.matches[denoiser]

    def _keep_few(self, used: set[Stamp]) -> None:
        taken = sum(resident.file.nbytes for resident in self._files.values())
        for stamp in [stamp for stamp in self._files if stamp not in used]:
            if taken > self._limit:
                taken -= self._files.pop(stamp).file.nbytes

    def _merge(self, sums: Sequence[Sum]) -> None:
        wanted = {(id(module), name) for module, name, _ in sums}
        for key, stale in list(self._touched.items()):
            if key not in wanted:
                stale.restore()
                self._touched.pop(key, None)
        for module, name, layers in sums:
            key = id(module), name
            touched = self._touched.get(key)
            if touched is None:
                touched = _Touched(ref(module, self._forgetting(key)), name, _copy(getattr(module, name)))
                self._touched[key] = touched
            live = touched.live()
            assert live is not None
            _add(live, touched.pristine, layers, bias=name == "bias")
            touched.mark = _mark(live)

    def _forgetting(self, key: tuple[int, str]) -> Callable[[object], None]:
        """A model that leaves takes its copies with it, whenever and on whichever thread it is collected."""

        def forget(_: object) -> None:
            self._touched.pop(key, None)

        return forget

    def _tell(self, heard: Memory | None, worn: Hashable) -> None:
        """What the text encoders said without these LoRAs is not what they say now."""
        before = None if self._heard is None else self._heard()
        if before is not None:
            before.worn = ()
        if heard is not None:
            heard.worn = worn
        self._heard = None if heard is None else ref(heard)

    def _intact(self) -> bool:
        """Nobody has written to the changed weights, or moved them, since."""
        return all(touched.intact() for touched in list(self._touched.values()))


@dataclass(frozen=True, slots=True)
class _Resident:
    file: LoraFile
    matches: WeakKeyDictionary[nn.Module, Match] = field(default_factory=WeakKeyDictionary)


@dataclass(frozen=True, slots=True)
class _State:
    key: str
    denoiser: ref[nn.Module]
    wanted: tuple[object, ...]
    reports: tuple[LoraReport, ...]

    def holds(self, denoiser: nn.Module, wanted: tuple[object, ...]) -> bool:
        return self.denoiser() is denoiser and self.wanted == wanted


@dataclass(slots=True)
class _Touched:
    """A changed tensor of a module, and how it was."""

    module: ref[nn.Module]
    name: str
    pristine: torch.Tensor
    mark: tuple[int, int] = (0, 0)

    def live(self) -> torch.Tensor | None:
        module = self.module()
        return None if module is None else getattr(module, self.name)

    def restore(self) -> None:
        live = self.live()
        if live is not None:
            live.copy_(self.pristine)

    def intact(self) -> bool:
        live = self.live()
        return live is not None and _mark(live) == self.mark


def _denoiser(model: Model) -> nn.Module:
    found = parts(model).get(DENOISER)
    if found is None:
        raise ModelError(f"{model.spec.title} takes no LoRAs; remove them, or choose another model.")
    return found


def _plan(model: Model, found: Sequence[tuple[LoraUse, LoraFile, Match]]) -> tuple[list[Sum], tuple[LoraReport, ...]]:
    modules = parts(model)
    sums: dict[tuple[int, str], Sum] = {}
    reports = []
    for use, file, matched in found:
        base, factors = lora_names.blocks(modules[DENOISER], use.blocks)
        text_weight = use.weight if use.text_weight is None else use.text_weight
        changed = {True: 0, False: 0}
        for place in matched.places:
            drawn = place.part == DENOISER
            weight = use.weight * factors.get(place.path, 1.0) if drawn else text_weight * base
            if weight == 0:
                continue
            changed[drawn] += 1
            module = modules[place.part].get_submodule(place.path)
            for name in place.names:
                sums.setdefault((id(module), name), (module, name, []))[2].append((place.layer, weight))
        reports.append(LoraReport(use.name, file.digest, changed[True], changed[False], matched.skipped))
    return list(sums.values()), tuple(reports)


def _add(live: torch.Tensor, pristine: torch.Tensor, layers: Sequence[tuple[Layer, float]], *, bias: bool) -> None:
    """`live` becomes `pristine` and the layers: summed up in float32, rounded once."""
    plain = live.dtype == torch.float32 and live.is_contiguous() and pristine.device == live.device
    total = live if plain else pristine.to(live.device, torch.float32, copy=True)
    untouched = plain
    for layer, weight in layers:
        change = None if bias else lora_math.factors(layer)
        if change is not None and live.ndim == 2:
            up, down = (factor.to(live.device) for factor in change)
            torch.addmm(pristine if untouched else total, up, down, alpha=weight * layer.scale, out=total)
        else:
            added = lora_math.change_of_bias(layer) if bias else lora_math.change(layer, pristine)
            assert added is not None, "the plan names what changes"
            torch.add(pristine if untouched else total, added.to(live.device), alpha=weight, out=total)
        untouched = False
    if not plain:
        live.copy_(total)


def _copy(live: torch.Tensor) -> torch.Tensor:
    """Beside it while the device has room, else in main memory."""
    if live.device.type == "cuda":
        free, total = torch.cuda.mem_get_info(live.device)
        if free < total // 8:
            return live.detach().to("cpu").pin_memory()
    return live.detach().clone()


def _mark(live: torch.Tensor) -> tuple[int, int]:
    return live.data_ptr(), live._version


def _stamp(path: Path) -> Stamp:
    try:
        stat = path.stat()
    except OSError as gone:
        raise ModelError(f"The LoRA “{path.stem}” is no longer there; choose another one.") from gone
    return path, stat.st_size, stat.st_mtime_ns


def _order(entry: tuple[Stamp, LoraUse]) -> tuple[str, float, float, str]:
    stamp, use = entry
    return str(stamp[0]), use.weight, use.weight if use.text_weight is None else use.text_weight, use.blocks
