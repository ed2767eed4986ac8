"""Downloads from a hub on this machine, over a real socket that breaks."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.catalog import Catalog
from studio.downloads import INCOMING, RESERVE, Download, Downloads
from studio.errors import BadRequest, DiskFull, Forbidden, NotFound
from studio.hub import Hub, Offer, parse
from studio.known import Known, Likes
from tests import fake_hub
from tests.fake_hub import FakeHub
from tests.fakes import until
from tests.test_catalog_files import SDXL
from tests.weight_files import write

WEIGHTS = random.Random(1).randbytes(3_000_000)
INDEX = json.dumps({"_class_name": "StableDiffusionXLPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}).encode()
FILES = {"model_index.json": INDEX, "unet/config.json": b"{}", "unet/diffusion_pytorch_model.safetensors": WEIGHTS}


@pytest.fixture
def server() -> Iterator[FakeHub]:
    with fake_hub.running(org__name=FILES) as hub:
        yield hub


def downloads(hub: FakeHub, folder: Path, **options: object) -> Downloads:
    known = {"org/name": Known(repo="org/name", family="sdxl", licence="mit", commercial="yes", like=Likes(steps=8))}
    return Downloads(Hub(hub.endpoint, token=False), folder, known, waits=(0.01, 0.01, 0.01), **options)  # type: ignore[arg-type]


def offer(hub: FakeHub, text: str = "org/name") -> Offer:
    return Hub(hub.endpoint, token=False).look(parse(text))


def state(found: Downloads) -> Download:
    (one,) = found.all()
    return one


def test_a_model_arrives_whole_and_is_found_by_the_catalogue(server: FakeHub, tmp_path: Path) -> None:
    catalog, arrived = Catalog(Path("nowhere"), (tmp_path,)), threading.Event()
    found = downloads(server, tmp_path, arrived=arrived.set)
    assert catalog.models() == ()
    found.start(offer(server))
    assert arrived.wait(10)
    assert (state(found).state, state(found).done_bytes) == ("done", sum(map(len, FILES.values())))
    spec = catalog.find("org/name")
    assert (spec.family, spec.defaults.steps) == ("sdxl", 8)
    assert (spec.path / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS
    assert not list((tmp_path / INCOMING).iterdir())
    with pytest.raises(BadRequest, match="is there already"):
        found.start(offer(server))
    found.close()


def test_a_single_file_lies_where_models_lie(server: FakeHub, tmp_path: Path) -> None:
    data = write(tmp_path / "x" / "a.safetensors", SDXL).read_bytes()
    server.repos["org/file"] = {"deep/a.safetensors": data}
    folder = tmp_path / "models"
    found = downloads(server, folder)
    found.start(offer(server, "org/file/deep/a.safetensors"))
    until(lambda: state(found).state == "done")
    assert Catalog(Path("nowhere"), (folder,)).find("a").family == "sdxl"
    found.close()


def test_a_connection_that_breaks_is_taken_up_where_it_broke(server: FakeHub, tmp_path: Path) -> None:
    server.breaks = [None, None, 1_000_000, 0, 500_000]
    found = downloads(server, tmp_path)
    found.start(offer(server))
    until(lambda: state(found).state == "done")
    begins = [begin for name, begin in server.served if name.startswith("unet/diffusion")]
    assert begins[0] == 0
    assert begins == sorted(begins)
    assert begins[-1] > 1_000_000
    assert (tmp_path / "org" / "name" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS
    found.close()


def test_a_server_that_knows_no_ranges_sends_it_all_again(server: FakeHub, tmp_path: Path) -> None:
    server.breaks, server.ignores_ranges = [None, None, 1_000_000], True
    found = downloads(server, tmp_path)
    found.start(offer(server))
    until(lambda: state(found).state == "done")
    assert (tmp_path / "org" / "name" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS
    found.close()


def test_a_connection_that_keeps_breaking_can_go_on_later_even_after_a_restart(server: FakeHub, tmp_path: Path) -> None:
    server.breaks = [None, None, 2_000_000, *[0] * 10]
    found = downloads(server, tmp_path)
    found.start(offer(server))
    until(lambda: state(found).state == "failed")
    assert "go on later" in state(found).reason
    found.close()
    server.breaks, server.served = [], []
    again = downloads(server, tmp_path)
    assert (state(again).state, state(again).done_bytes) == ("paused", len(INDEX) + 2 + 2_000_000)
    again.resume(state(again).id)
    until(lambda: state(again).state == "done")
    assert server.served == [("unet/diffusion_pytorch_model.safetensors", 2_000_000)]
    assert (tmp_path / "org" / "name" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS
    again.close()


def test_bytes_other_than_announced_are_noticed(server: FakeHub, tmp_path: Path) -> None:
    server.swapped["unet/diffusion_pytorch_model.safetensors"] = WEIGHTS[:-1] + b"?"
    found = downloads(server, tmp_path)
    found.start(offer(server))
    until(lambda: state(found).state == "failed")
    assert "arrived damaged" in state(found).reason
    assert not (tmp_path / "org").exists()
    server.swapped["unet/diffusion_pytorch_model.safetensors"] = WEIGHTS + bytes(10)
    found.resume(state(found).id)
    until(lambda: state(found).state == "failed")
    assert "longer than announced" in state(found).reason
    server.swapped.clear()
    found.resume(state(found).id)
    until(lambda: state(found).state == "done")
    found.close()


def test_cancelling_is_immediate_and_leaves_nothing(server: FakeHub, tmp_path: Path) -> None:
    server.flowing.clear()
    found = downloads(server, tmp_path)
    name = found.start(offer(server)).id
    until(lambda: state(found).state == "running")
    found.cancel(name)
    assert found.all() == ()
    server.flowing.set()
    until(lambda: not list((tmp_path / INCOMING).iterdir()))
    assert not (tmp_path / "org").exists()
    with pytest.raises(NotFound):
        found.cancel(name)
    found.close()


def test_too_little_room_is_told_before_it_starts(server: FakeHub, tmp_path: Path) -> None:
    found = downloads(server, tmp_path, free=lambda place: RESERVE + 1000)
    with pytest.raises(DiskFull, match=r"needs 0\.0 GB and one to spare; 1\.1 GB are free"):
        found.start(offer(server))
    assert found.all() == ()
    assert server.served == []
    found.close()


def test_a_locked_model_never_starts(server: FakeHub, tmp_path: Path) -> None:
    server.gated.add("org/name")
    found = downloads(server, tmp_path)
    with pytest.raises(Forbidden, match="HF_TOKEN"):
        found.start(offer(server))
    found.close()


def test_progress_counts_bytes_and_speed(server: FakeHub, tmp_path: Path) -> None:
    server.breaks = [None, None, 1_500_000]
    found = Downloads(Hub(server.endpoint, token=False), tmp_path, {}, waits=(0.5,))
    found.start(offer(server))
    until(lambda: state(found).done_bytes > 1_000_000)
    assert 0 < state(found).done_bytes <= state(found).offer.size_bytes
    until(lambda: state(found).state == "done")
    found.close()
