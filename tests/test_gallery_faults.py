"""What the gallery promises when the disk, the database or the power gives out: no torn picture, no lost one."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studio import image
from studio.errors import DiskFull, NotFound, ReadOnly, StudioError
from studio.gallery import Gallery
from studio.request import Picture
from tests.galleries import OWNER, PATTERN, drawn, is_whole, kept, leftovers, pngs

ROOT = Path(__file__).resolve().parent.parent
RESULT = drawn("the second", seed=2, film=2, init=Picture.from_bytes(b"an input picture"))
CALLS = ("write", "fsync", "link", "unlink", "replace", "rename", "mkdir", "open")


class PowerCut(BaseException):
    """Nobody handles it, as nobody handles kill -9."""


class Faults:
    """Lets the `at`-th system call fail, and those after it as well while `lasting`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = self.calls = 0
        self.fault: Callable[[], BaseException] = PowerCut
        self.failed = ""
        for name in CALLS:
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))
        real = sqlite3.connect
        faults = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
                if sql in ("COMMIT", "BEGIN IMMEDIATE"):
                    faults.count(sql, sqlite3.OperationalError("disk I/O error"))
                return super().execute(sql, *parameters)

        monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: real(*args, factory=Connection, **options))

    def set(self, at: int, fault: Callable[[], BaseException]) -> None:
        self.at, self.calls, self.fault, self.failed = at, 0, fault, ""

    def off(self) -> None:
        self.at = 0

    def count(self, name: str, instead: BaseException | None = None) -> None:
        self.calls += 1
        if self.calls == self.at:
            self.failed = name
            fault = self.fault()
            raise instead if instead and isinstance(fault, OSError) else fault

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if name != "open" or args[1] & os.O_CREAT:
                self.count(name)
            return real(*args, **options)

        return call


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    faults = Faults(monkeypatch)
    yield faults
    faults.off()


def rows(gallery: Gallery) -> list[tuple[str, str, int]]:
    return gallery._database.read(
        lambda db: [tuple(row) for row in db.execute("SELECT path, job, missing FROM pictures ORDER BY id")]
    )


def assert_sound(gallery: Gallery, folder: Path) -> None:
    for file in pngs(folder):
        assert is_whole(file)
    for path, _, missing in rows(gallery):
        assert missing or (folder / path).is_file()


KINDS = {
    errno.ENOSPC: DiskFull,
    errno.EDQUOT: DiskFull,
    errno.EFBIG: DiskFull,
    errno.EROFS: ReadOnly,
    errno.EIO: StudioError,
}


@pytest.mark.parametrize("code", KINDS)
def test_whichever_call_fails_nothing_torn_is_left_and_saving_again_works(
    tmp_path: Path, faults: Faults, code: int
) -> None:
    failed = set()
    for at in range(1, 100):
        folder = tmp_path / str(at)
        gallery = Gallery(folder, PATTERN)
        earlier = gallery.path(kept(gallery).id).read_bytes()
        said: StudioError | None = None
        faults.set(at, lambda: OSError(code, os.strerror(code)))
        try:
            gallery.add(RESULT, job="x", index=0, owner=OWNER)
            if not faults.failed:
                break
        except StudioError as refused:
            said = refused
        failed.add(faults.failed)
        faults.off()
        if said is not None:
            assert str(said).endswith(".")
            if faults.failed in CALLS:
                assert str(folder) in str(said)
                assert type(said) is KINDS[code]
        assert_sound(gallery, folder)
        if faults.failed != "unlink":
            assert leftovers(folder) == []
        again = gallery.add(RESULT, job="x", index=0, owner=OWNER)
        assert gallery.path(again.id).is_file()
        assert len(pngs(folder)) == len(rows(gallery)) == 2
        assert gallery.path(gallery.of_job("job-1")[0].id).read_bytes() == earlier
        assert gallery.reconcile().adopted == 0
        gallery.close()
    else:
        pytest.fail("the calls never end")
    assert failed >= {"write", "fsync", "link", "unlink", "replace", "mkdir", "open", "COMMIT", "BEGIN IMMEDIATE"}


def test_wherever_the_power_goes_the_next_start_finds_everything_once(tmp_path: Path, faults: Faults) -> None:
    adopted = 0
    for at in range(1, 100):
        folder = tmp_path / str(at)
        gallery = Gallery(folder, PATTERN)
        kept(gallery)
        faults.set(at, PowerCut)
        try:
            gallery.add(RESULT, job="x", index=0, owner=OWNER)
            break
        except PowerCut:
            faults.off()
        again = Gallery(folder, PATTERN)
        outcome = again.reconcile()
        assert outcome.missing == 0
        assert outcome.unreadable == ()
        adopted += outcome.adopted
        assert_sound(again, folder)
        record = again.add(RESULT, job="x", index=0, owner=OWNER)
        assert again.request(record.id) == RESULT.request
        assert len(pngs(folder)) == len(rows(again)) == 2
        again.close()
        gallery.close()
    else:
        pytest.fail("the calls never end")
    assert adopted > 0, "at least once the file was there and its row was not"


@pytest.mark.parametrize("move", ["trash", "restore"])
@pytest.mark.parametrize("kind", ["fault", "power cut"])
def test_a_move_is_whole_or_undone(tmp_path: Path, faults: Faults, move: str, kind: str) -> None:
    for at in range(1, 50):
        folder = tmp_path / str(at)
        gallery = Gallery(folder, PATTERN)
        record = kept(gallery)
        gallery.favourite(record.id, True)
        if move == "restore":
            gallery.trash(record.id)
        faults.set(at, PowerCut if kind == "power cut" else lambda: OSError(errno.EIO, "I/O error"))
        try:
            getattr(gallery, move)(record.id)
            if not faults.failed:
                break
        except (StudioError, PowerCut):
            pass
        faults.off()
        again = Gallery(folder, PATTERN)
        again.reconcile()
        found = again.record(record.id)
        assert found.favourite
        assert not found.missing
        assert is_whole(folder / found.path)
        assert getattr(again, move)(record.id).trashed == (move == "trash")
        again.close()
        gallery.close()
    else:
        pytest.fail("the calls never end")


_ZYGOTE = """
import os, sys
from pathlib import Path
from studio.gallery import Gallery
from tests.galleries import OWNER, PATTERN, drawn

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        gallery = Gallery(Path(sys.argv[1]), PATTERN)
        gallery.reconcile()
        number = 0
        while True:
            job = f"{line.strip()}-{number}"
            record = gallery.add(drawn(seed=number, film=1), job=job, index=0, owner=OWNER)
            os.write(1, f"kept {job} {record.id}\\n".encode())
            number += 1
    os.write(1, f"pid {child}\\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"dead 0\\n")
"""


@pytest.mark.parametrize("rounds", [20, pytest.param(80, marks=pytest.mark.slow)])
def test_a_killed_writer_loses_nothing_it_had_kept(tmp_path: Path, rounds: int) -> None:
    folder = tmp_path / "data"
    chance = random.Random(rounds)
    promised: dict[str, str] = {}
    with subprocess.Popen(
        [sys.executable, "-c", _ZYGOTE, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as writers:
        assert writers.stdin
        assert writers.stdout
        for round_ in range(rounds):
            writers.stdin.write(f"{round_}\n")
            writers.stdin.flush()
            writer, kept, before = 0, 0, chance.choice((0, 0, 1, 3))  # it dies at any moment after so many pictures
            while True:
                kind, what, *picture = writers.stdout.readline().split()
                if kind == "dead":
                    break
                if kind == "pid":
                    writer = int(what)
                else:
                    promised[what] = picture[0]
                    kept += 1
                if writer and kept == before:
                    time.sleep(chance.uniform(0, 0.12))
                    os.kill(writer, signal.SIGKILL)
                    writer = 0
            after = Gallery(folder, PATTERN)
            outcome = after.reconcile()
            assert after.health == "ok"
            assert (outcome.missing, outcome.unreadable) == (0, ())
            number = sum(job.startswith(f"{round_}-") for job in promised)
            cut = f"{round_}-{number}"
            promised[cut] = after.add(drawn(seed=number, film=1), job=cut, index=0, owner=OWNER).id
            after.close()
        writers.stdin.close()
    assert len(promised) > rounds
    gallery = Gallery(folder, PATTERN)
    for job, identifier in promised.items():
        record = gallery.record(identifier)
        assert (record.job, record.missing) == (job, False)
    by_job = Counter(json.loads(image.png_texts(file.read_bytes())[1]["pochade"])["job"] for file in pngs(folder))
    assert by_job == Counter(promised.keys())
    assert_sound(gallery, folder)
    gallery.close()


_LIMITED = """
import json, resource, sys
from pathlib import Path
from studio.errors import DiskFull
from studio.gallery import Gallery
from tests.galleries import PATTERN, drawn, kept, leftovers, pngs

folder = Path(sys.argv[1])
gallery = Gallery(folder, PATTERN)
first = kept(gallery, 1)
before = gallery.path(first.id).read_bytes()
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
large = drawn(seed=9, size=256)
noise = __import__("random").Random(1).randbytes(256 * 256 * 3)
large = type(large)(large.request, 256, 256, noise, 1.0, "", "cpu")
said = []
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
try:
    gallery.add(large, job="large", index=0, owner="ann")
except DiskFull as full:
    said.append(str(full))
files_after_large = len(pngs(folder))
added = 0
try:
    while added < 2000:
        kept(gallery, 1000 + added)
        added += 1
except DiskFull as full:
    said.append(str(full))
parts = len(leftovers(folder))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
kept(gallery, 1000 + added)
gallery.add(large, job="large", index=0, owner="ann")
print(json.dumps({"said": said, "files": files_after_large, "parts": parts, "added": added, "health": gallery.health,
    "same": gallery.path(first.id).read_bytes() == before, "pictures": len(gallery.search(limit=500).items),
    "pngs": len(pngs(folder)), "adopted": gallery.reconcile().adopted}))
"""


def in_own_process(script: str, *arguments: str) -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert isinstance(answer, dict)
    return answer


def test_a_full_disk_is_named_and_saving_again_works_once_there_is_room(tmp_path: Path) -> None:
    answer = in_own_process(_LIMITED, str(tmp_path / "data"))
    picture, database = answer["said"]
    assert str(tmp_path / "data") in picture
    assert str(tmp_path / "data") in database
    assert answer["files"] == 1
    assert answer["parts"] == 0
    assert answer["same"]
    assert answer["health"] == "ok"
    assert answer["pictures"] == answer["pngs"] == answer["added"] + 3
    assert answer["adopted"] == 0


def test_a_database_without_room_keeps_the_file_for_the_next_try(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path, PATTERN)
    db = gallery._database._db
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    full = None
    for number in range(100):
        try:
            kept(gallery, number)
        except DiskFull as said:
            full = said
            break
    assert "free some space" in str(full)
    assert len(pngs(tmp_path)) == number + 1
    db.execute("PRAGMA max_page_count = 100000")
    kept(gallery, number)
    assert len(pngs(tmp_path)) == len(rows(gallery)) == number + 1
    gallery.close()


def test_a_locked_database_is_named_and_the_picture_waits_on_the_disk(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path, PATTERN)
    gallery._database._db.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(tmp_path / "gallery.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ReadOnly, match="locked"):
        kept(gallery)
    assert len(pngs(tmp_path)) == 1
    other.execute("ROLLBACK")
    other.close()
    kept(gallery)
    assert len(pngs(tmp_path)) == len(rows(gallery)) == 1
    gallery.close()


_AS_NOBODY = """
import json, os, sys
from pathlib import Path
from studio.errors import ReadOnly
from PIL import Image
from studio.gallery import Gallery
from tests.galleries import PATTERN, drawn, kept

Image.init()  # what it would load later, nobody may not read
if os.geteuid() == 0:  # permissions do not bind root
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
folder = Path(sys.argv[1])
assert not os.access(folder, os.W_OK)
gallery = Gallery(folder, PATTERN)
(record,) = gallery.search(text="fox").items
refused = []
for name, change in {
    "add": lambda: kept(gallery, 2), "favourite": lambda: gallery.favourite(record.id, True),
    "trash": lambda: gallery.trash(record.id), "rebuild": gallery.rebuild,
}.items():
    try:
        change()
    except ReadOnly as sentence:
        refused.append([name, str(sentence)])
thumb = gallery.thumb(record.id)
answer = {"health": gallery.health, "refused": refused, "read": len(gallery.path(record.id).read_bytes()),
    "thumb": thumb.stat().st_size, "outside": not thumb.is_relative_to(folder),
    "reconciled": gallery.reconcile().refused, "still": len(gallery.search().items)}
gallery.close()
print(json.dumps({**answer, "cleaned": not thumb.exists()}))
"""


@pytest.mark.parametrize("unmerged", [False, True])
def test_a_folder_that_cannot_be_written_can_still_be_looked_at(unmerged: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        gallery = Gallery(folder, PATTERN)
        kept(gallery)
        if unmerged:  # as a killed studio leaves it: the row is in the log alone
            copy = Path(name) / "copy"
            shutil.copytree(folder, copy)
            assert (copy / "gallery.sqlite3-wal").stat().st_size > 0
            folder = copy
        gallery.close()
        Path(name).chmod(0o755)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            answer = in_own_process(_AS_NOBODY, str(folder))
        finally:
            for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
                path.chmod(0o755)
    assert re.fullmatch(r"read-only: .+ cannot be written.*\.", answer["health"])
    assert answer["reconciled"]
    assert [name for name, _ in answer["refused"]] == ["add", "favourite", "trash", "rebuild"]
    assert all(sentence.endswith(".") for _, sentence in answer["refused"])
    assert answer["read"] > 0
    assert answer["thumb"] > 0
    assert answer["outside"]
    assert answer["cleaned"]
    assert answer["still"] == 1


def test_a_file_where_the_folder_should_be_is_named_and_its_removal_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.write_text("in the way")
    gallery = Gallery(folder, PATTERN)
    assert gallery.health.startswith("read-only: ")
    assert gallery.search().items == ()
    assert gallery.facets().models == ()
    with pytest.raises(ReadOnly, match=re.escape(str(folder))):
        kept(gallery)
    with pytest.raises(StudioError):
        gallery.rebuild()
    assert folder.read_text() == "in the way"
    folder.unlink()
    folder.mkdir()
    record = kept(gallery)
    assert gallery.health == "ok"
    assert gallery.path(record.id).is_file()
    gallery.close()


def test_a_file_in_place_of_todays_folder_is_read_only_not_a_crash(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path, PATTERN)
    day = (tmp_path / kept(gallery).path).parent
    shutil.rmtree(day)
    day.write_text("in the way")
    with pytest.raises(ReadOnly, match=re.escape(str(tmp_path))):
        kept(gallery, 2)
    assert leftovers(tmp_path) == []
    gallery.close()


def damaged(folder: Path, pictures: int, page: int | None = None) -> list[str]:
    """A gallery with every third picture a favourite; one page of its table, or all its database, overwritten."""
    gallery = Gallery(folder, PATTERN)
    ids = [kept(gallery, number).id for number in range(pictures)]
    for identifier in ids[::3]:
        gallery.favourite(identifier, True)
    gallery.close()
    file = folder / "gallery.sqlite3"
    if page is None:
        file.write_bytes(b"no database at all " * 500)
        return ids
    with sqlite3.connect(file) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        leaves = [row[0] for row in db.execute(_LEAVES)] if _has_dbstat(db) else _leaves(file, size)
    db.close()
    data = bytearray(file.read_bytes())
    start = (leaves[page] - 1) * size
    data[start : start + size] = random.Random(1).randbytes(size)
    file.write_bytes(data)
    return ids


_LEAVES = "SELECT pageno FROM dbstat WHERE name = 'pictures' AND pagetype = 'leaf' ORDER BY path"


def _has_dbstat(db: sqlite3.Connection) -> bool:
    try:
        db.execute("SELECT 1 FROM dbstat LIMIT 1")
    except sqlite3.OperationalError:
        return False
    return True


def _leaves(file: Path, size: int) -> list[int]:
    """Without the dbstat table: leaves of tables (type 13) that hold a request's JSON."""
    data = file.read_bytes()
    pages = [data[start : start + size] for start in range(0, len(data), size)]
    return [number for number, page in enumerate(pages, 1) if page[0] == 13 and b'"full_prompt"' in page]


@pytest.mark.parametrize("page", [0, 5, -1])
def test_with_a_broken_page_the_rest_can_be_seen_and_everything_rebuilt(tmp_path: Path, page: int) -> None:
    ids = damaged(tmp_path, 60, page)
    gallery = Gallery(tmp_path, PATTERN)
    assert re.fullmatch(r"read-only: .+ is damaged; rebuild it.+\.", gallery.health)
    seen = [item.id for item in gallery.search(limit=100).items]
    assert 40 <= len(seen) < 60
    assert [item.id for item in gallery.search(text="fox", limit=100).items] == seen
    assert gallery.search(favourite=True).items
    with pytest.raises(ReadOnly, match="rebuild"):
        kept(gallery, 1000)
    with pytest.raises(ReadOnly):
        gallery.favourite(seen[0], True)
    assert len(pngs(tmp_path)) == 60
    assert gallery.reconcile().refused
    assert gallery.thumb(seen[0]).is_file()

    broken = (tmp_path / "gallery.sqlite3").read_bytes()
    outcome = gallery.rebuild()
    assert (outcome.adopted, outcome.unreadable) == (60, ())
    assert gallery.health == "ok"
    assert [item.id for item in gallery.search(limit=100).items] == ids[::-1]
    favourites = {item.id for item in gallery.search(favourite=True, limit=100).items}
    assert favourites == set(ids[::3]) & set(seen)
    (aside,) = (file for file in tmp_path.glob("gallery.sqlite3.broken-*") if not file.name.endswith(("-wal", "-shm")))
    assert aside.read_bytes() == broken
    kept(gallery, 1000)
    gallery.close()
    again = Gallery(tmp_path, PATTERN)
    assert again.health == "ok"
    assert len(again.search(limit=100).items) == 61
    again.close()


@pytest.mark.parametrize("cut", [None, 100, 5000])
def test_a_database_that_is_none_any_more_opens_empty_and_is_rebuilt(tmp_path: Path, cut: int | None) -> None:
    ids = damaged(tmp_path, 5, None if cut is None else 0)
    file = tmp_path / "gallery.sqlite3"
    if cut is not None:
        file.write_bytes(file.read_bytes()[:cut])
    gallery = Gallery(tmp_path, PATTERN)
    assert "damaged" in gallery.health
    assert gallery.search().items == ()
    with pytest.raises(NotFound):
        gallery.path(ids[0])
    gallery.rebuild()
    assert [item.id for item in gallery.search().items] == ids[::-1]
    gallery.close()


def test_damage_that_shows_only_later_turns_the_gallery_read_only(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path, PATTERN)
    ids = [kept(gallery, number).id for number in range(60)]
    db = gallery._database._db
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    leaves = _leaves(tmp_path / "gallery.sqlite3", 4096)
    db.execute("PRAGMA shrink_memory")
    with (tmp_path / "gallery.sqlite3").open("r+b") as file:
        file.seek((leaves[3] - 1) * 4096)
        file.write(b"\xff" * 4096)
    assert gallery.health == "ok"
    seen = [item.id for item in gallery.search(limit=100).items]
    assert 40 <= len(seen) < 60
    assert "damaged" in gallery.health
    gallery.rebuild()
    assert [item.id for item in gallery.search(limit=100).items] == ids[::-1]
    gallery.close()


def test_a_rebuild_that_fails_leaves_everything_as_it_was(
    tmp_path: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = Gallery(tmp_path, PATTERN)
    record = kept(gallery)
    gallery.favourite(record.id, True)
    for at in range(1, 100):
        faults.set(at, lambda: OSError(errno.ENOSPC, "no space"))
        try:
            gallery.rebuild()
            break
        except StudioError:
            pass
        faults.off()
        assert gallery.record(record.id).favourite or not gallery.search().items
        assert is_whole(tmp_path / record.path)
    faults.off()
    assert gallery.record(record.id).favourite
    assert gallery.health == "ok"
    gallery.close()


def test_a_lost_write_ahead_log_costs_no_picture(tmp_path: Path) -> None:
    live = tmp_path / "live"
    gallery = Gallery(live, PATTERN)
    record = kept(gallery)
    shutil.copytree(live, tmp_path / "copy")
    gallery.close()
    for log in ("gallery.sqlite3-wal", "gallery.sqlite3-shm"):
        (tmp_path / "copy" / log).unlink()
    copy = Gallery(tmp_path / "copy", PATTERN)
    assert copy.reconcile().adopted == 1
    assert copy.record(record.id).job == record.job
    copy.close()


def test_a_thumbnail_that_cannot_be_kept_is_still_shown(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path, PATTERN)
    record = kept(gallery)
    (tmp_path / "thumbs").write_text("in the way")
    assert gallery.thumb(record.id).stat().st_size > 0
    gallery.path(record.id).write_bytes(b"damaged afterwards")
    other = kept(gallery, 2)
    gallery.path(other.id).write_bytes(b"damaged afterwards")
    with pytest.raises(StudioError):
        gallery.thumb(other.id)
    gallery.close()
