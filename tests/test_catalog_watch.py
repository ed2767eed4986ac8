from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio import hashes
from studio.catalog import Catalog
from studio.catalog_watch import Watch
from tests.fakes import until
from tests.test_catalog_files import LORA, SDXL
from tests.weight_files import write


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Catalog]:
    (tmp_path / "models").mkdir()
    catalog = Catalog(Path("nowhere"), (tmp_path / "models",), tmp_path / "data")
    watch = Watch(catalog, every=0.05)
    try:
        yield catalog
    finally:
        watch.close()
        catalog.close()


def test_what_is_added_moved_or_deleted_shows_by_itself(tmp_path: Path, followed: Catalog) -> None:
    assert followed.loras() == ()
    file = write(tmp_path / "models" / "ink" / "a.safetensors", LORA)
    until(lambda: [lora.key for lora in followed.loras()] == ["ink/a"])
    revision = followed.revision
    file.rename(tmp_path / "models" / "b.safetensors")
    until(lambda: [lora.key for lora in followed.loras()] == ["b"])
    assert followed.revision > revision
    (tmp_path / "models" / "b.safetensors").unlink()
    until(lambda: followed.loras() == ())


def test_a_folder_that_is_not_there_yet_shows_when_it_comes(tmp_path: Path) -> None:
    catalog = Catalog(Path("nowhere"), (tmp_path / "disk",))
    watch = Watch(catalog, every=0.05)
    try:
        assert catalog.loras() == ()
        write(tmp_path / "disk" / "a.safetensors", LORA)
        until(lambda: len(catalog.loras()) == 1)
    finally:
        watch.close()


def test_hashes_come_by_themselves_and_are_those_of_a1111(tmp_path: Path, followed: Catalog) -> None:
    lora = write(tmp_path / "models" / "a.safetensors", LORA)
    model = write(tmp_path / "models" / "b.safetensors", SDXL)
    until(lambda: [lora.key for lora in followed.loras() if lora.digest] == ["a"])
    until(lambda: [spec.title for spec in followed.models() if spec.digest] == ["b"])
    data = lora.read_bytes()
    tensors = data[8 + int.from_bytes(data[:8], "little") :]
    assert followed.lora("a").digest == hashlib.sha256(tensors).hexdigest()[:12]
    whole = hashlib.sha256(model.read_bytes()).hexdigest()
    assert followed.find("b").digest == whole[:10]
    stat = model.stat()
    assert followed.index.hash(model, stat.st_size, stat.st_mtime_ns, hashes.SHA256) == whole


def test_hashing_ends_at_once_with_the_studio(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    write(tmp_path / "models" / "a.safetensors", {**SDXL, "large": (2**35,)}, dtype="U8")
    catalog = Catalog(Path("nowhere"), (tmp_path / "models",))
    watch = Watch(catalog)
    time.sleep(0.3)
    before = time.perf_counter()
    watch.close()
    assert time.perf_counter() - before < 5  # to its end it would take half a minute


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="priorities of threads are Linux's")
def test_hashing_gives_way_to_others(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    write(tmp_path / "models" / "a.safetensors", {**SDXL, "large": (2**35,)}, dtype="U8")
    watch = Watch(Catalog(Path("nowhere"), (tmp_path / "models",)))
    try:
        (thread,) = (one for one in threading.enumerate() if one.name == "models-hash")
        assert thread.native_id is not None
        until(lambda: os.getpriority(os.PRIO_PROCESS, thread.native_id or 0) == 10)
        assert os.getpriority(os.PRIO_PROCESS, os.getpid()) < 10
    finally:
        watch.close()
