from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.catalog import Catalog
from studio.diffusion import schedulers
from studio.diffusion.card import Card
from studio.diffusion.load import Model
from studio.diffusion.manager import PipelineManager
from studio.diffusion.residency import ON_CARD, ON_HOST, Mode
from studio.engine import Held
from studio.errors import Cancelled, ModelError, OutOfMemory
from studio.request import ModelSpec
from studio.specs import VaeSpec
from tests import tiny_models
from tests.diffusion.shelf import CPU, SIZE, Copies, Reader, managed, models, picture
from tests.families import original


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return models(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(scope="module")
def templates() -> Reader:
    return Reader()


@pytest.fixture
def reader(templates: Reader) -> Reader:
    templates.read.clear()
    templates.error = None
    templates.gate.set()
    return templates


@pytest.fixture(scope="module")
def expected(catalog: Catalog, templates: Reader) -> dict[str, bytes]:
    """What each model draws when nobody manages it."""
    return {key: picture(templates(catalog.find(key), "")) for key in "abcd"}


def draw(manager: PipelineManager, spec: ModelSpec) -> bytes:
    with manager.lease(spec, pixels=64 * 64) as model:
        return picture(model)


def fail(manager: PipelineManager, spec: ModelSpec, mode: Mode) -> None:
    """In the middle of a picture, with a VAE in another precision."""
    with manager.lease(spec, mode=mode) as model:
        picture(model)
        model.pipe.vae.to(torch.float64)
        raise torch.OutOfMemoryError("Tried to allocate 1.00 GiB")


def held(manager: PipelineManager) -> list[str]:
    return [entry.key for entry in manager.report().models if entry.state != "loading"]


def eventually(what: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_a_model_is_read_once_and_draws_as_unmanaged(
    reader: Reader, catalog: Catalog, expected: dict[str, bytes]
) -> None:
    reader.read.clear()
    with managed(reader) as manager:
        assert [draw(manager, catalog.find(key)) for key in "abab"] == [expected[key] for key in "abab"]
        assert reader.read == ["a", "b"]
        assert held(manager) == ["b", "a"]


def test_the_least_recently_used_leaves_before_the_budget_is_exceeded(reader: Reader, catalog: Catalog) -> None:
    budget = int(2.2 * SIZE)
    with managed(reader, budget) as manager:
        for key, there in (("a", "a"), ("b", "ba"), ("a", "ab"), ("d", "da")):
            draw(manager, catalog.find(key))
            assert held(manager) == list(there)
            assert manager.report().host <= budget


def test_a_leased_and_a_pinned_model_stay(reader: Reader, catalog: Catalog) -> None:
    a, b, d = (catalog.find(key) for key in "abd")
    with managed(reader, int(2.2 * SIZE)) as manager:
        with manager.lease(a), manager.lease(b):
            with pytest.raises(OutOfMemory, match=r"c needs about 1 MB of memory, 0 MB are free"):
                draw(manager, catalog.find("c"))
            assert set(held(manager)) == {"a", "b"}
        manager.pin("a", True)
        draw(manager, b)
        draw(manager, d)
        assert held(manager) == ["d", "a"]
        manager.pin("a", False)
        draw(manager, b)
        draw(manager, d)
        assert held(manager) == ["d", "b"]


def test_equal_parts_of_two_models_are_held_once_and_outlive_the_first(
    reader: Reader, catalog: Catalog, expected: dict[str, bytes]
) -> None:
    with managed(reader) as manager:
        draw(manager, catalog.find("a"))
        draw(manager, catalog.find("b"))
        before = manager.report().host
        assert draw(manager, catalog.find("c")) == expected["c"]
        assert manager.report().host == before, "its text encoder and VAE are a's, its denoiser b's"
        manager.unload("a")
        manager.unload("b")
        assert manager.report().host == pytest.approx(SIZE, rel=0.01)
        assert draw(manager, catalog.find("c")) == expected["c"]


@pytest.mark.parametrize("shape", ["folder", "diffusers", "original"])
def test_another_vae_takes_the_place_of_the_models_own_and_only_it_is_added(
    shape: str, reader: Reader, catalog: Catalog, expected: dict[str, bytes], tmp_path: Path
) -> None:
    folder = catalog.find("b").path / "vae"
    tensors = load_file(folder / "diffusion_pytorch_model.safetensors")
    save_file(tensors if shape == "diffusers" else original.vae(tensors), tmp_path / "x.safetensors")
    path = folder if shape == "folder" else tmp_path / "x.safetensors"
    other = VaeSpec("x", "Other", path, ("sd15",), 1, "")
    with managed(reader) as manager:
        plain, size = draw(manager, catalog.find("a")), manager.report().host
        for _ in range(2):
            with manager.lease(catalog.find("a"), vae=other) as model:
                drawn = picture(model)
                assert torch.equal(model.pipe.vae.encoder.conv_in.weight, tensors["encoder.conv_in.weight"].float())
            assert drawn != plain == expected["a"]
            assert draw(manager, catalog.find("a")) == plain
        assert reader.read == ["a"]
        assert size < manager.report().host < 1.25 * size
        assert [held.title for held in manager.report().models] == ["a", "a with Other"]
        manager.unload("a")
        with manager.lease(catalog.find("a"), vae=other) as model:
            assert picture(model) == drawn


def test_a_vae_that_does_not_fit_is_told_in_a_sentence(
    reader: Reader, catalog: Catalog, expected: dict[str, bytes], tmp_path: Path
) -> None:
    save_file({"decoder.conv_in.weight": torch.zeros(8, 8)}, tmp_path / "x.safetensors")
    other = VaeSpec("x", "Other", tmp_path / "x.safetensors", (), 1, "")
    with managed(reader) as manager:
        told = pytest.raises(ModelError, match="“Other” is damaged or not made for a; choose another one, or none")
        with told, manager.lease(catalog.find("a"), vae=other):
            pass
        assert draw(manager, catalog.find("a")) == expected["a"]


def test_tasks_share_every_weight_and_no_scheduler(reader: Reader, catalog: Catalog) -> None:
    with managed(reader) as manager, manager.lease(catalog.find("a")) as model:
        own = [schedulers.own(model.pipe.scheduler, "Euler", "Automatic") for _ in range(3)]
        views = [model.view(own[0], "text"), model.view(own[1], "picture"), model.view(own[2], "mask")]
        assert len({id(view.scheduler) for view in views}) == 3
        storages = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
            for view in views
            for part in view.components.values()
            if isinstance(part, torch.nn.Module)
            for tensor in part.state_dict().values()
        }
        assert sum(storages.values()) <= 1.02 * manager.report().host


@pytest.mark.parametrize("mode", ON_CARD, ids=lambda mode: mode.name)
def test_every_mode_draws_within_its_means(
    mode: Mode, reader: Reader, catalog: Catalog, expected: dict[str, bytes]
) -> None:
    peak = 0

    def watched(piece: torch.Tensor) -> torch.Tensor:
        nonlocal peak
        peak = max(peak, card.held + piece.numel())
        return piece.clone()

    card = Card(CPU, watched, budget={"model": None, "part": 1_100_000, "block": 900_000}[mode.span])
    with managed(reader, card=card) as manager:
        for _ in range(2):
            with manager.lease(catalog.find("a"), mode=mode) as model:
                drawn = picture(model)
                assert manager.report().models[0] == Held("a", "a", "busy", mode.name, card.held, manager.report().host)
            # Tiles are larger than this picture.
            assert (drawn == expected["a"]) == (mode.is_exact or not mode.storage)
            resting = manager.report().host if mode.span == "model" else 0
            assert card.held == resting
        assert peak <= card.room()
        if mode.storage:
            assert manager.report().host < 0.55 * SIZE
        assert not any(hasattr(part, "_hf_hook") for part in model.pipe.components.values())
        assert draw(manager, catalog.find("b")) == expected["b"]
        assert draw(manager, catalog.find("a")) == expected["a"], "the next picture is as ever"


def test_half_the_bytes_draw_the_same_picture_where_that_is_how_they_were_stored(
    reader: Reader, catalog: Catalog, expected: dict[str, bytes]
) -> None:
    half = next(mode for mode in ON_HOST if mode.storage)
    with managed(reader) as manager:
        with manager.lease(catalog.find("a"), mode=half) as model:
            assert picture(model) == expected["a"]
        assert manager.report().host < 0.65 * SIZE


def test_a_model_too_large_for_memory_in_full_is_kept_in_half(
    reader: Reader, catalog: Catalog, expected: dict[str, bytes]
) -> None:
    with managed(reader, int(0.7 * SIZE)) as manager:
        assert draw(manager, catalog.find("a")) == expected["a"]
        assert manager.report().models[0].mode == "half"
    with (
        managed(reader, int(0.4 * SIZE)) as manager,
        pytest.raises(OutOfMemory, match=r"a needs about 1 MB of memory, 1 MB are free; choose a smaller model"),
    ):
        draw(manager, catalog.find("a"))


def test_a_full_card_lets_the_least_recently_used_part_go_and_fetches_it_in_one_copy(
    reader: Reader, catalog: Catalog, expected: dict[str, bytes]
) -> None:
    copies = Copies()
    card = Card(CPU, copies, budget=int(1.9 * SIZE))
    with managed(reader, card=card) as manager:
        for key in "aba":
            copies.sizes.clear()
            assert draw(manager, catalog.find(key)) == expected[key]
            assert card.held <= 1.9 * SIZE
        assert 0 < len(copies.sizes) < 3, "what had not left for b was still there"
        manager.make_room(catalog.find("a"))
        assert card.held == 0
        assert draw(manager, catalog.find("a")) == expected["a"]


def test_cancelling_a_load_returns_at_once_and_leaves_nothing(
    reader: Reader, catalog: Catalog, expected: dict[str, bytes]
) -> None:
    stop = threading.Event()
    reader.gate.clear()
    with managed(reader) as manager:
        began: list[float] = []

        def cancel() -> None:
            began.append(time.monotonic())
            stop.set()

        threading.Timer(0.2, cancel).start()
        with pytest.raises(Cancelled), manager.lease(catalog.find("a"), stop=stop):
            pass
        assert time.monotonic() - began[0] < 5
        assert eventually(lambda: not manager.report().models)
        reader.gate.set()
        assert manager.report().host == 0
        assert draw(manager, catalog.find("a")) == expected["a"]


def test_a_failed_load_leaves_nothing_and_is_tried_again(
    reader: Reader, catalog: Catalog, expected: dict[str, bytes]
) -> None:
    with managed(reader) as manager:
        reader.error = ModelError("a could not be loaded; download it again.")
        for _ in range(2):
            with pytest.raises(ModelError, match="download it again"):
                draw(manager, catalog.find("a"))
        assert manager.report().models == ()
        reader.error = None
        assert draw(manager, catalog.find("a")) == expected["a"]


def test_a_model_prepared_in_advance_is_there_when_it_is_wanted(reader: Reader, catalog: Catalog) -> None:
    with managed(reader) as manager:
        manager.prepare(catalog.find("a"))
        assert eventually(lambda: held(manager) == ["a"])
        draw(manager, catalog.find("a"))
        assert reader.read == ["a"]


def test_nothing_is_read_in_advance_while_somebody_draws_and_a_picture_never_waits_for_it(
    reader: Reader, catalog: Catalog
) -> None:
    with managed(reader) as manager:
        with manager.lease(catalog.find("a")):
            manager.prepare(catalog.find("b"))
            time.sleep(0.6)
            assert reader.read == ["a"]
        reader.gate.clear()
        assert eventually(lambda: reader.read == ["a", "b"])
        began = time.monotonic()
        with manager.lease(catalog.find("a")):
            assert time.monotonic() - began < 5, "the load stepped aside"
            reader.gate.set()
        assert eventually(lambda: held(manager) == ["b", "a"])


def test_asking_for_another_model_in_advance_stops_the_first(reader: Reader, catalog: Catalog) -> None:
    with managed(reader) as manager:
        reader.gate.clear()
        manager.prepare(catalog.find("a"))
        assert eventually(lambda: reader.read == ["a"])
        assert manager.report().models == (Held("a", "a", "loading"),)
        manager.prepare(catalog.find("b"))
        assert eventually(lambda: reader.read == ["a", "b"])
        manager.prepare(None)
        assert eventually(lambda: not manager.report().models)
        reader.gate.set()
        time.sleep(0.4)
        assert reader.read == ["a", "b"]


def test_what_is_read_in_advance_does_not_drive_out_the_model_used_last(reader: Reader, catalog: Catalog) -> None:
    with managed(reader, int(1.2 * SIZE)) as manager:
        draw(manager, catalog.find("a"))
        manager.prepare(catalog.find("b"))
        time.sleep(0.6)
        assert held(manager) == ["a"]
        assert reader.read == ["a"]


def test_a_model_unloaded_while_it_draws_goes_afterwards(reader: Reader, catalog: Catalog) -> None:
    with managed(reader) as manager:
        with manager.lease(catalog.find("a")) as model:
            manager.unload("a")
            assert picture(model)
        assert manager.report().host == 0
        draw(manager, catalog.find("a"))
        manager.unload("a")
        assert manager.report().models == ()


def test_a_model_replaced_on_disk_is_read_anew(tmp_path: Path) -> None:
    tiny_models.stable_diffusion(tmp_path / "x", seed=1)
    catalog = Catalog(tmp_path / "none", (tmp_path,))
    with managed(Reader()) as manager:
        first = draw(manager, catalog.find("x"))
        tiny_models.stable_diffusion(tmp_path / "x", seed=2)
        second = Reader()
        manager._read = second
        assert draw(manager, catalog.find("x")) != first
        assert second.read == ["x"]
        assert held(manager) == ["x"]


def test_a_picture_that_fails_leaves_the_weights_as_they_were(
    reader: Reader, catalog: Catalog, expected: dict[str, bytes]
) -> None:
    with managed(reader, card=Card(CPU, torch.clone)) as manager:
        for mode in ON_CARD[:3]:
            with pytest.raises(torch.OutOfMemoryError):
                fail(manager, catalog.find("a"), mode)
            with manager.lease(catalog.find("a"), mode=mode) as model:
                assert picture(model) == expected["a"]


def test_changed_weights_are_changed_at_rest_and_put_back_before_they_rest_elsewhere(
    reader: Reader, catalog: Catalog, expected: dict[str, bytes]
) -> None:
    """As LoRAs do: merged into the weights where they lie, left there for the next picture."""
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def rest() -> None:
        for live, before in kept:
            live.copy_(before)
        kept.clear()

    @contextmanager
    def dressed(model: Model) -> Iterator[None]:
        weight = model.pipe.unet.conv_in.weight.data
        if not kept:
            kept.append((weight, weight.clone()))
            weight.mul_(3)
        yield

    card = Card(CPU, torch.clone)
    manager = PipelineManager(reader, card, itemsize=lambda spec: 4, moving=rest)
    with ExitStack() as stack:
        stack.callback(manager.close)
        drawn = set()
        for mode in (ON_CARD[0], ON_CARD[1], ON_CARD[2], ON_CARD[0]):
            for _ in range(2):
                with manager.lease(catalog.find("a"), mode=mode, dressed=dressed) as model:
                    drawn.add(picture(model))
        assert len(drawn) == 1
        assert drawn != {expected["a"]}
        rest()
        for mode in ON_CARD[:3]:
            with manager.lease(catalog.find("a"), mode=mode) as model:
                assert picture(model) == expected["a"]


def test_what_drawing_took_is_left_free_for_it_the_next_time(reader: Reader, catalog: Catalog) -> None:
    with managed(reader) as manager:
        spec = catalog.find("a")
        with manager.lease(spec, pixels=64 * 64):
            torch.ones(25_000_000)
        told = manager._holdings.reserve.of("a", 64 * 64, 4)
        assert 90_000_000 < told < 200_000_000
        with pytest.raises(MemoryError), manager.lease(spec, pixels=64 * 64):
            raise MemoryError
        need, room = manager.lacked(spec)
        assert SIZE < need < room
