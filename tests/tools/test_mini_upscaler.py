"""The upscaler of the embedded model learns, is what spandrel takes it for, and enlarges better than bicubic does."""

from pathlib import Path

import numpy as np
import pytest
import spandrel
import torch
from torch import Tensor

from studio.catalog import Catalog
from studio.settings import EMBEDDED
from tools.mini import data
from tools.mini.data import render_shards
from tools.mini.export import beside
from tools.mini.parallel import Team
from tools.mini.train import Plan, train
from tools.mini.upscaler import (
    CROP,
    DOUBLE,
    NAME,
    Compact,
    Pairs,
    UpscalerTask,
    decibels,
    enlarge,
    enlarging_report,
    load_upscaler,
    save_upscaler,
    shrink,
    to_unit,
    write_card,
)
from tools.mini.vae import load_vae, new_vae

COMMITTED = EMBEDDED / "upscaler" / f"{NAME}.safetensors"
#: Decibels by which it is better than bicubic at least; measured on these: 2.3 and 0.22.
MARGINS = {"shrunk": 1.5, "decoded": 0.1}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one shard of three pictures of twice the model's size."""
    torch.set_num_threads(1)
    monkeypatch.setattr(data, "SHARD", 3)
    render_shards(tmp_path, DOUBLE, 3, workers=1)
    return tmp_path


def tiny() -> Compact:
    torch.manual_seed(0)
    return Compact(features=8, convolutions=2)


def some_pairs(root: Path) -> Pairs:
    """With an autoencoder that has learnt nothing."""
    torch.manual_seed(0)
    return Pairs(root, new_vae((16, 16, 16)).eval())


def quiet(_: str) -> None:
    pass


def test_spandrel_takes_the_file_for_a_compact_network_and_enlarges_the_same(tmp_path: Path) -> None:
    file = save_upscaler(tiny(), tmp_path)
    theirs, ours = spandrel.ModelLoader("cpu").load_from_file(file), load_upscaler(file)
    assert isinstance(theirs, spandrel.ImageModelDescriptor)
    assert (theirs.architecture.id, theirs.scale, theirs.purpose) == ("Compact", 2, "SR")
    assert (theirs.input_channels, theirs.output_channels) == (3, 3)
    pictures = torch.rand(1, 3, 33, 50)
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(pictures), ours(pictures).clamp(0, 1))


def test_a_fresh_network_doubles_every_pixel_nearly() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (18, 31, 3), np.uint8)
    doubled = picture.repeat(2, 0).repeat(2, 1)
    assert decibels([enlarge(tiny(), picture)], doubled[None]) > 12


def test_both_kinds_of_small_crops_lie_where_the_large_one_does(root: Path) -> None:
    pairs = Pairs(root, load_vae(EMBEDDED / "vae"))
    for index in range(len(pairs)):
        (shrunk, large), (decoded, same) = (pairs.crop(index, 101, 30, decoded) for decoded in (False, True))
        assert (shrunk.shape, large.shape) == ((CROP, CROP, 3), (2 * CROP, 2 * CROP, 3))
        np.testing.assert_array_equal(large, same)
        np.testing.assert_array_equal(shrunk, shrink(pairs.large[index])[101 : 101 + CROP, 30 : 30 + CROP])
        assert (decoded != shrunk).any()
        assert decibels([decoded], shrunk[None]) > 18


def test_decoded_pictures_are_kept_for_the_next_run(root: Path) -> None:
    some_pairs(root)
    (file,) = (root / "decoded").rglob("*.npy")
    before = file.stat().st_mtime_ns
    some_pairs(root)
    assert file.stat().st_mtime_ns == before


def test_the_upscaler_learns_in_a_few_steps(root: Path) -> None:
    task = UpscalerTask(tiny(), some_pairs(root), 4)

    def error() -> float:
        with torch.no_grad():
            return float(np.mean([float(task.loss(task.prepare(step, 9))[0]) for step in range(6)]))

    before = error()
    train(task, Plan(5e-3, steps=60, warmup=10), Team(), root / "upscaler.pt", report=quiet)
    assert error() < 0.8 * before


def test_a_stopped_training_continues_bit_for_bit(root: Path) -> None:
    pairs = some_pairs(root)

    def run(name: str, *stops: int) -> dict[str, Tensor]:
        for steps in stops:
            plan = Plan(1e-3, steps=steps, average_every=2)
            state = train(UpscalerTask(tiny(), pairs, 2), plan, Team(), root / name, report=quiet)
        return {name: value.clone() for name, value in state.average.values.items()}

    straight, resumed = run("straight.pt", 8), run("resumed.pt", 4, 8)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_the_card_tells_both_figures_of_both_kinds(tmp_path: Path) -> None:
    save_upscaler(tiny(), tmp_path / "upscaler")
    figures = {kind: {NAME: 31.24, "bicubic": 28.87} for kind in ("shrunk", "decoded")}
    write_card(tmp_path / "upscaler", figures)
    card = (tmp_path / "upscaler" / "README.md").read_text()
    assert card.count("| **31.2 dB** | 28.9 dB |") == 2
    assert "license: cc0-1.0" in card
    assert "`upscaler/`" in beside(tmp_path)


def test_the_committed_upscaler_beats_bicubic_in_spandrel_s_hands_and_in_ours() -> None:
    torch.set_num_threads(1)
    theirs = spandrel.ModelLoader("cpu").load_from_file(COMMITTED)
    assert isinstance(theirs, spandrel.ImageModelDescriptor)
    assert (theirs.architecture.id, theirs.scale) == ("Compact", 2)
    ours = load_upscaler(COMMITTED)
    middles = data.held_out_pictures(DOUBLE, 32)[1][:, 128:384, 128:384]
    figures = enlarging_report(ours, load_vae(EMBEDDED / "vae"), middles)
    assert figures.keys() == MARGINS.keys()
    for kind, found in figures.items():
        assert found[NAME] > found["bicubic"] + MARGINS[kind], (kind, found)
    small = data.held_out_pictures(data.SMALL[0], 1)[1]
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(to_unit(small)), ours(to_unit(small)).clamp(0, 1))


def test_the_studio_offers_the_upscaler_neither_as_a_model_nor_as_a_part_of_one(tmp_path: Path) -> None:
    brought = Catalog(EMBEDDED).entries()
    assert all(COMMITTED.parent not in (entry.place.path, *entry.place.path.parents) for entry in brought)
    save_upscaler(tiny(), tmp_path)
    catalog = Catalog(tmp_path / "none", (tmp_path,))
    assert catalog.models() == ()
    assert [(entry.group, entry.spec) for entry in catalog.entries()] == [("other", None)]
