from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from studio.errors import DiskFull, NotFound, ReadOnly, StudioError
from studio.job_store import KEPT_JOBS, RECENT, JobState, JobStore
from studio.request import Picture
from tests.fakes import ask, no_room, resolve


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite3"


def test_a_ticket_reads_as_it_was_written(path: Path) -> None:
    request = resolve(ask("наброски 🖌 \n שלום", seed=2**64 - 1, count=2))
    with closing(JobStore(path)) as store:
        added = store.add("one", "ann", request)
    with closing(JobStore(path)) as store:
        assert store.ticket("one") == added
        assert added.request == request
        assert (added.number, added.state, added.pictures, added.attempts) == (1, JobState.QUEUED, (), 0)
        assert store.request("one") == request
        with pytest.raises(NotFound):
            store.ticket("two")


def test_jobs_keep_the_order_they_came_in_whatever_the_clock_says(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(["2026-11-21T10:00:00+00:00", "2026-11-20T10:00:00+00:00", "1970-01-01T00:00:00+00:00"])
    with closing(JobStore(path)) as store:
        monkeypatch.setattr("studio.job_store._now", lambda: next(times))
        for job in ("a", "b", "c"):
            store.add(job, "ann", resolve(ask()))
        assert [ticket.id for ticket in store.active()] == ["a", "b", "c"]


def test_a_kept_picture_clears_earlier_crashes(path: Path) -> None:
    with closing(JobStore(path)) as store:
        store.add("one", "ann", resolve(ask(count=2)))
        store.start("one")
        store.requeue("one", attempts=1)
        assert store.ticket("one").attempts == 1
        store.kept("one", 1, "second")
        store.kept("one", 0, "first")
        store.kept("one", 0, "first")
        ticket = store.ticket("one")
        assert (ticket.attempts, ticket.pictures) == (0, ("first", "second"))
        assert store.places("one") == {0, 1}


def test_nothing_is_half_written_when_the_disk_is_full(path: Path) -> None:
    with closing(JobStore(path)) as store:
        store.add("one", "ann", resolve(ask()))
        with no_room():
            for write in (
                lambda: store.add("two", "ann", resolve(ask())),
                lambda: store.start("one"),
                lambda: store.kept("one", 0, "picture"),
                lambda: store.requeue("one", 1),
            ):
                with pytest.raises(StudioError, match="disk"):
                    write()
        assert [(ticket.id, ticket.state, ticket.pictures) for ticket in store.active()] == [
            ("one", JobState.QUEUED, ())
        ]
        store.add("three", "ann", resolve(ask()))
        assert [ticket.id for ticket in store.active()] == ["one", "three"]


def test_an_end_that_cannot_be_written_is_known_at_once_and_written_later(path: Path) -> None:
    with closing(JobStore(path)) as store:
        ticket = store.add("one", "ann", resolve(ask()))
        with no_room():
            store.end(ticket, JobState.FAILED, "The disk is full.")
            assert (store.ticket("one").state, store.ticket("one").reason) == (JobState.FAILED, "The disk is full.")
            assert [ticket.id for ticket in store.recent("ann")] == ["one"]
            assert not store.write_late()
        assert store.write_late()
    with closing(JobStore(path)) as store:
        assert store.recent("ann")[0].reason == "The disk is full."
        assert store.active() == ()


def test_a_full_database_says_that_the_disk_is_full(path: Path) -> None:
    with closing(JobStore(path)) as store:
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(DiskFull, match="Make room"):
            store.add("one", "ann", resolve(ask("x" * 20_000)))


def test_a_list_in_use_by_another_program_is_said_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(JobStore(path)) as store:
        store._db.execute("PRAGMA busy_timeout = 50")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(ReadOnly, match="another program"):
                store.add("one", "ann", resolve(ask()))
            other.execute("ROLLBACK")
        assert store.add("one", "ann", resolve(ask())).number == 1


def test_a_list_from_a_newer_version_is_left_alone(path: Path) -> None:
    with closing(JobStore(path)) as store:
        store.add("one", "ann", resolve(ask()))
        store._db.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(ReadOnly, match="newer Pochade"):
        JobStore(path)
    assert path.read_bytes() == before


def test_a_list_with_a_damaged_page_is_set_aside_with_its_log(path: Path) -> None:
    with closing(JobStore(path)) as store:
        for number in range(50):
            store.add(f"{number}", "ann", resolve(ask("x" * 3000)))
    broken = bytearray(path.read_bytes())
    broken[4096 * 3 : 4096 * 9] = b"\xff" * (4096 * 6)
    path.write_bytes(broken)
    with closing(JobStore(path)) as store:
        assert store.active() == ()
        store.add("one", "ann", resolve(ask()))
    assert (path.parent / "jobs.sqlite3.damaged-1").read_bytes() == bytes(broken)


def test_old_jobs_are_forgotten_and_the_pictures_only_they_started_from(path: Path) -> None:
    old, new = Picture.from_bytes(b"old"), Picture.from_bytes(b"new")
    with closing(JobStore(path)) as store:
        store._db.execute("PRAGMA synchronous = OFF")  # five hundred jobs wait for the disk long enough
        for number in range(KEPT_JOBS + 5):
            request = resolve(ask(init=(old if number < 5 else new).root))
            store.end(store.add(f"{number}", "ann", request), JobState.DONE)
        waiting = store.add("waiting", "ann", resolve(ask(init=new.root)))
    with closing(JobStore(path)) as store:
        assert store._db.execute("SELECT count(*) FROM job").fetchone() == (KEPT_JOBS + 1,)
        assert store._db.execute("SELECT png FROM input").fetchall() == [(b"new",)]
        assert store.request(waiting.id).init == new
        assert [ticket.id for ticket in store.recent("ann")] == [f"{KEPT_JOBS + 4 - back}" for back in range(RECENT)]
