"""Modes that need what not every machine has: a compiler, or libraries that quantise."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from studio.catalog import Catalog
from studio.diffusion import footprint, load, lora, optional, residency
from studio.diffusion.card import Card
from studio.diffusion.load import Model
from studio.diffusion.local import LocalEngine
from studio.diffusion.residency import OPTIONAL, Mode
from studio.engine import EngineOptions, Progress
from studio.errors import BadRequest, ModelError
from studio.request import LoraUse
from studio.settings import EMBEDDED
from tests import fake_torchao, loras
from tests.diffusion.shelf import CPU, Copies, Reader, managed, models, picture
from tests.families import builders
from tests.resolved import drawn, resolved

COMPILED, TORCHAO, SDNQ, BITSANDBYTES = OPTIONAL
LIBRARIES = pytest.mark.parametrize(("mode", "least"), [(TORCHAO, 45), (SDNQ, 33)], ids=["torchao", "sdnq"])


def likeness(one: bytes, other: bytes) -> float:
    """PSNR in decibels."""
    first, second = (np.frombuffer(rgb, np.uint8).astype(float) for rgb in (one, other))
    error = float(((first - second) ** 2).mean())
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


@pytest.fixture
def torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were installed."""
    monkeypatch.setattr(optional, "_is_installed", lambda package: package == "torchao")
    monkeypatch.setitem(sys.modules, "torchao", fake_torchao)
    monkeypatch.setitem(sys.modules, "torchao.quantization", fake_torchao)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return models(tmp_path_factory.mktemp("shelf"))


@pytest.mark.parametrize(
    ("mode", "place", "installed", "compiler", "said"),
    [
        (TORCHAO, "cpu", (), "", "needs the Python package torchao; install it and start the studio anew."),
        (TORCHAO, "cpu", ("torchao",), "", ""),
        (SDNQ, "mps", ("sdnq",), "", "needs a graphics card that speaks CUDA; choose another one."),
        (BITSANDBYTES, "cpu", ("bitsandbytes",), "", "needs a graphics card that speaks CUDA"),
        (BITSANDBYTES, "cuda", ("bitsandbytes",), "", ""),
        (COMPILED, "cpu", (), "", "needs a C++ compiler; install g++ and start the studio anew."),
        (COMPILED, "cpu", (), "g++", ""),
        (COMPILED, "cuda", (), "gcc", "needs the Python package triton"),
        (COMPILED, "mps", ("triton",), "g++", "cannot be compiled for this device"),
        (residency.ON_CARD[0], "cuda", (), "", ""),
    ],
)
def test_what_a_machine_lacks_for_a_mode_is_told_in_a_sentence(
    mode: Mode, place: str, installed: tuple[str, ...], compiler: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optional, "_is_installed", lambda package: package in installed)
    monkeypatch.setattr(shutil, "which", lambda name: compiler if name == compiler else None)
    monkeypatch.setattr(Path, "exists", lambda path: True)
    monkeypatch.delenv("CXX", raising=False)
    told = optional.lacking(mode, torch.device(place))
    assert said in told
    assert bool(told) == bool(said)
    assert told.count(". ") == 0


def test_a_mode_that_lacks_something_is_named_and_refused_with_what_it_lacks(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optional, "_is_installed", lambda package: False)
    with managed(Reader()) as manager:
        told = manager.report()
        assert not {"torchao", "sdnq", "bitsandbytes"} & set(told.modes)
        assert {"torchao", "sdnq", "bitsandbytes"} <= set(dict(told.missing))
        with pytest.raises(BadRequest, match=r"^The mode “sdnq” needs the Python package sdnq; install it"):
            manager.run_in("a", "sdnq")


def test_quantised_weights_take_fewer_bytes_move_in_one_copy_and_leave_no_trace(
    catalog: Catalog, torchao: None
) -> None:
    reader, copies = Reader(), Copies()
    with managed(reader, card=Card(CPU, copies)) as manager:
        spec = catalog.find("a")
        with manager.lease(spec, pixels=64 * 64) as model:
            expected, whole = picture(model), sum(part.bytes for part in manager._holdings._residents[0].parts)
        manager.run_in("a", "torchao")
        for _ in range(2):
            copies.sizes.clear()
            with manager.lease(spec, pixels=64 * 64) as model:
                drawn = picture(model)
                assert any(isinstance(weight, fake_torchao.Rounded) for weight in model.pipe.unet.parameters())
            (resident,) = [one for one in manager._holdings if one.storage == "torchao"]
            sizes = {part.name: part.bytes for part in resident.parts}
            assert copies.sizes.count(sizes["unet"]) == 1, "it comes as one; its master copy stays"
            assert 30 < likeness(drawn, expected) < 99
        assert sum(sizes.values()) < 0.9 * whole
        assert manager.report().models[0].mode == "torchao"
        manager.run_in("a", "auto")
        with manager.lease(spec, pixels=64 * 64) as model:
            assert picture(model) == expected


def test_fewer_bits_are_chosen_when_a_model_fits_no_other_way(
    tmp_path: Path, torchao: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(footprint, "_PACKED", 0)  # so small are its matrices
    folder = builders.folder("flux", tmp_path / "flux")
    spec = Catalog(folder).find(None)
    need = {storage: footprint.of(spec, 4, storage) for storage in ("", "float16", "torchao")}
    assert need[""] > need["float16"] > 1.03 * need["torchao"]
    request = resolved("a red boat", sampler="Euler", scheduler="Automatic", steps=2)
    names = []
    for size in need.values():
        options = EngineOptions(folder, device="cpu", threads=1, preview_every=0, memory=1.02 * size / 1e9)
        engine = LocalEngine(options)
        try:
            drawn(engine, request)
            names.append(engine.status.mode)
            assert engine.status.memory.host <= 1.02 * size
        finally:
            engine.close()
    assert names == ["whole", "half", "torchao"]


def test_a_lora_over_quantised_weights_is_refused_in_a_sentence(
    catalog: Catalog, torchao: None, tmp_path: Path
) -> None:
    model = Reader()(catalog.find("a"), "torchao")
    plain = Reader()(catalog.find("a"), "")
    file = loras.save(loras.kohya(loras.attention(plain)), tmp_path / "ink.safetensors")
    with (
        pytest.raises(ModelError, match=r"^a is quantised, and LoRAs cannot be laid over it; run it in another mode"),
        lora.Loras().applied(model, [(LoraUse(name="ink"), file)]),
    ):
        pytest.fail("the text encoder alone would be half a LoRA")


def test_what_is_quantised_already_is_not_quantised_again(catalog: Catalog, torchao: None) -> None:
    model = Reader()(catalog.find("a"), "torchao")
    with pytest.raises(ModelError, match=r"^A has no weights that torchao could keep in fewer bits; run it in another"):
        optional.quantise(model.pipe.unet, "torchao", torch.float32, "A")


def test_a_folder_that_a_library_quantised_names_it_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = models(tmp_path)
    told = tmp_path / "a" / "unet" / "config.json"
    config = json.loads(told.read_text("utf-8")) | {"quantization_config": {"quant_method": "sdnq"}}
    told.write_text(json.dumps(config), "utf-8")
    monkeypatch.setattr(optional, "_is_installed", lambda package: False)
    with pytest.raises(
        ModelError, match=r"^a was quantised by sdnq; install that Python package, or get it in full\.$"
    ):
        load.load(catalog.find("a"), CPU, torch.float32, "")


@pytest.mark.slow
@LIBRARIES
def test_the_libraries_themselves_keep_the_embedded_model_in_fewer_bytes_and_its_pictures_alike(
    mode: Mode, least: float
) -> None:
    """torchao in 8 bits: 58 dB, SDNQ in 4: 41 dB."""
    if importlib.util.find_spec(mode.storage) is None:
        pytest.skip(f"{mode.storage} is not installed")
    request = resolved("a red house at night", seed=3, steps=8, width=128, height=128)
    pictures, held = [], []
    for name in ("whole", mode.name):
        engine = LocalEngine(EngineOptions(EMBEDDED, device="cpu", threads=1, preview_every=0, mode=name))
        try:
            pictures += [drawn(engine, request).rgb]
            assert drawn(engine, request).rgb == pictures[-1]
            held.append(engine.status.memory.host)
            assert held[-1] <= footprint.of(Catalog(EMBEDDED).find(None), 4, mode.storage if name != "whole" else "")
        finally:
            engine.close()
    assert least < likeness(*pictures) < 99
    assert held[1] < 0.8 * held[0]


@pytest.mark.slow
def test_compiled_layers_draw_the_same_picture_take_a_lora_without_compiling_anew_and_leave_no_trace(
    tmp_path: Path, mini: Model
) -> None:
    if lacking := optional.lacking(COMPILED, CPU):
        pytest.skip(lacking)
    loras.save(loras.kohya(loras.attention(mini, size=0.3)), tmp_path / "lora" / "strokes.safetensors")
    plain = resolved("a red house at night", seed=3)
    dressed = plain.model_copy(update={"full_loras": (LoraUse(name="strokes"),)})
    engine = LocalEngine(EngineOptions(EMBEDDED, (tmp_path,), device="cpu", threads=1, preview_every=0))
    try:
        expected = [drawn(engine, request).rgb for request in (plain, dressed)]
        assert likeness(*expected) < 30, "the LoRA can be seen"
        engine.run_in("mini", "compiled")
        events = list(engine.generate(plain))
        assert Progress("Compiling Mini, once") in events
        assert engine.status.mode == "compiled"
        graphs = counters["stats"]["unique_graphs"]
        assert graphs > 0
        for request, exact in zip((plain, dressed, plain, dressed), expected * 2, strict=True):
            events = list(engine.generate(request))
            assert Progress("Compiling Mini, once") not in events
            assert likeness(events[-1].result.rgb, exact) > 45  # type: ignore[union-attr]
        assert counters["stats"]["unique_graphs"] == graphs, "nothing was compiled anew"
        engine.run_in("mini", "auto")
        assert [drawn(engine, request).rgb for request in (plain, dressed)] == expected, "bit for bit"
    finally:
        engine.close()
