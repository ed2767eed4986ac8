from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path

import pytest
from PIL import Image

from studio import image
from studio.access import Scope
from studio.engine import Engine
from studio.errors import BadRequest, DiskFull, Forbidden, NotFound, StudioError, TooManyRequests
from studio.job_store import JobState, Ticket
from studio.jobs import Jobs
from studio.quotas import Limits, QuietHours
from studio.request import GenerationResult, Picture, ResolvedRequest
from tests.fakes import ENDED, FakeEngine, ask, gradient, no_room, resolve, until


@dataclass
class Shelf:
    """Where the pictures go: idempotent by job and place, as the gallery is; `fault` is raised instead when set."""

    results: dict[tuple[str, int], GenerationResult] = field(default_factory=dict)
    order: list[tuple[str, str]] = field(default_factory=list)
    fault: Exception | None = None

    def keep(self, result: GenerationResult, job: str, index: int, owner: str) -> str:
        if self.fault is not None:
            raise self.fault
        if (job, index) not in self.results:
            self.order.append((owner, result.request.prompt))
        self.results[job, index] = result
        return f"{job}-{index}"

    def of(self, ticket: Ticket) -> list[GenerationResult]:
        return [self.results[ticket.id, index] for index in range(ticket.count) if (ticket.id, index) in self.results]


@dataclass
class House:
    folder: Path
    engine: FakeEngine = field(default_factory=FakeEngine)
    shelf: Shelf = field(default_factory=Shelf)

    @contextmanager
    def open(
        self,
        *,
        limits: Callable[[str], Limits] = lambda owner: Limits(),
        quiet: QuietHours | None = None,
        checks: Callable[[str], bool] = lambda owner: False,
        turn_seconds: float = 10.0,
        max_held: int = 2**29,
        retry_every: float = 60.0,
    ) -> Iterator[Jobs]:
        jobs = Jobs(
            self.folder / "jobs.sqlite3",
            self.engine,
            resolve,
            self.shelf.keep,
            limits=limits,
            quiet=quiet,
            checks=checks,
            turn_seconds=turn_seconds,
            max_held=max_held,
            retry_every=retry_every,
        )
        try:
            yield jobs
        finally:
            jobs.close()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def ended(jobs: Jobs, ticket: Ticket, seconds: float = 30.0) -> Ticket:
    until(lambda: jobs.ticket(ticket.id).state in ENDED, seconds)
    return jobs.ticket(ticket.id)


def running(jobs: Jobs, owner: str = "ann") -> bool:
    return jobs.board(owner).running is not None


def test_a_job_is_drawn_one_picture_at_a_time_with_seeds_that_count_up(house: House) -> None:
    with house.open() as jobs:
        ticket = ended(jobs, jobs.submit(ask(count=3, seed=2**64 - 2), "ann"))
    assert ticket.state is JobState.DONE
    assert ticket.pictures == tuple(f"{ticket.id}-{index}" for index in range(3))
    assert [result.request.seed for result in house.shelf.of(ticket)] == [2**64 - 2, 2**64 - 1, 0]
    assert [result.rgb for result in house.shelf.of(ticket)] == [
        gradient(seed, 64, 64) for seed in (2**64 - 2, 2**64 - 1, 0)
    ]


def test_an_accepted_job_is_in_the_file_when_submit_returns(house: House) -> None:
    house.engine.gate.clear()
    with house.open() as jobs:
        first, second = jobs.submit(ask("one"), "ann"), jobs.submit(ask("two"), "ann")
        with sqlite3.connect(house.folder / "jobs.sqlite3") as other:
            assert [job for (job,) in other.execute("SELECT id FROM job ORDER BY number")] == [first.id, second.id]
            assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        other.close()


def test_owners_take_turns_however_many_jobs_one_of_them_has(house: House) -> None:
    house.engine.step_seconds = 0.002
    house.engine.gate.clear()
    with house.open() as jobs:
        many = [jobs.submit(ask(f"ann {number}"), "ann") for number in range(6)]
        few = [jobs.submit(ask(f"bob {number}"), "bob") for number in range(2)]
        house.engine.gate.set()
        for ticket in many + few:
            ended(jobs, ticket)
    drawn = [prompt for _, prompt in house.shelf.order]
    assert [prompt for prompt in drawn if prompt.startswith("ann")] == [f"ann {number}" for number in range(6)]
    assert max(drawn.index("bob 0"), drawn.index("bob 1")) <= 4, drawn


def test_a_job_of_many_pictures_gives_way_after_its_turn_and_is_finished_later(house: House) -> None:
    house.engine.step_seconds = 0.01
    with house.open(turn_seconds=0.05) as jobs:
        long = jobs.submit(ask("long", count=12), "ann")
        until(lambda: running(jobs))
        short = ended(jobs, jobs.submit(ask("short"), "bob"))
        assert short.state is JobState.DONE
        assert 0 < len(jobs.ticket(long.id).pictures) < 12
        long = ended(jobs, long)
    assert long.state is JobState.DONE
    assert len(long.pictures) == 12
    assert long.attempts == 0
    assert house.engine.asked == 13, "no picture was drawn twice"


def test_who_comes_late_starts_level_with_who_was_served_before(house: House) -> None:
    house.engine.step_seconds = 0.01
    with house.open() as jobs:
        for _ in range(3):
            ended(jobs, jobs.submit(ask("earlier"), "ann"))
        house.engine.gate.clear()
        tickets = [jobs.submit(ask(f"{owner} {n}"), owner) for owner in ("bob", "ann") for n in range(3)]
        house.engine.gate.set()
        for ticket in tickets:
            ended(jobs, ticket)
    late = [owner for owner, _ in house.shelf.order[3:]]
    assert "ann" in late[:3], late


def test_cancelling_a_running_job_stops_the_engine_and_keeps_the_finished_pictures(house: House) -> None:
    def wait_on_second(request: ResolvedRequest, n: int) -> str:
        return "hang" if n == 2 else "draw"

    house.engine.script = wait_on_second
    with house.open() as jobs:
        ticket = jobs.submit(ask(count=4), "ann")
        until(lambda: house.engine.asked == 2)
        began = time.monotonic()
        assert jobs.cancel(ticket.id, "ann").state is JobState.CANCELLED
        assert time.monotonic() - began < 2
        until(lambda: len(house.engine.cancelled) == 1)
        assert jobs.cancel(ticket.id, "ann").state is JobState.CANCELLED, "twice is as good as once"
        after = ended(jobs, jobs.submit(ask("next", seed=5), "ann"))
        assert jobs.ticket(ticket.id).pictures == (f"{ticket.id}-0",)
    assert house.shelf.of(after)[0].rgb == gradient(5, 64, 64)


def test_a_waiting_job_that_is_cancelled_is_never_drawn(house: House) -> None:
    house.engine.gate.clear()
    with house.open() as jobs:
        first, second = jobs.submit(ask("one"), "ann"), jobs.submit(ask("two"), "ann")
        until(lambda: running(jobs))
        jobs.cancel(second.id, "ann")
        house.engine.gate.set()
        ended(jobs, first)
        assert jobs.ticket(second.id).state is JobState.CANCELLED
    assert [prompt for _, prompt in house.shelf.order] == ["one"]


def test_cancelling_what_is_done_changes_nothing(house: House) -> None:
    with house.open() as jobs:
        ticket = ended(jobs, jobs.submit(ask(), "ann"))
        assert jobs.cancel(ticket.id, "ann") == ticket


def test_the_job_of_another_owner_cannot_be_cancelled(house: House) -> None:
    house.engine.gate.clear()
    with house.open() as jobs:
        ticket = jobs.submit(ask(), "ann")
        with pytest.raises(NotFound) as theirs:
            jobs.cancel(ticket.id, "bob")
        with pytest.raises(NotFound) as missing:
            jobs.cancel("nothing", "bob")
        assert str(theirs.value) == str(missing.value)
        assert jobs.ticket(ticket.id).state is not JobState.CANCELLED


def test_a_picture_that_cannot_be_drawn_fails_its_job_and_the_next_one_is_drawn(house: House) -> None:
    house.engine.script = lambda request, n: "fail" if request.prompt == "bad" else "draw"
    with house.open() as jobs:
        bad, good = jobs.submit(ask("bad"), "ann"), jobs.submit(ask("good"), "ann")
        assert ended(jobs, bad).reason == "The engine was told to fail."
        assert ended(jobs, good).state is JobState.DONE
    assert house.engine.asked == 2, "the artist's mistake is not tried again"


@pytest.mark.parametrize("way", ["crash", "silence"])
def test_after_one_crash_of_the_engine_the_job_is_drawn_all_the_same(house: House, way: str) -> None:
    house.engine.script = lambda request, n: way if n == 2 else "draw"
    with house.open() as jobs:
        ticket = ended(jobs, jobs.submit(ask(count=3), "ann"))
    assert ticket.state is JobState.DONE
    assert [result.request.seed for result in house.shelf.of(ticket)] == [0, 1, 2]
    assert house.engine.asked == 4, "only the picture that crashed was drawn again"


def test_a_picture_that_crashes_the_engine_twice_fails_its_job_alone(house: House) -> None:
    house.engine.script = lambda request, n: "crash" if request.prompt == "poison" else "draw"
    with house.open() as jobs:
        poison, good = jobs.submit(ask("poison"), "ann"), jobs.submit(ask("good"), "ann")
        assert ended(jobs, poison).state is JobState.FAILED
        assert ended(jobs, poison).reason
        assert ended(jobs, good).state is JobState.DONE
    assert house.engine.asked == 3


def test_a_bug_in_the_engine_fails_the_job_with_a_sentence_and_the_queue_goes_on(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.engine.script = lambda request, n: "raise" if n == 1 else "draw"
    with house.open() as jobs:
        bad, good = jobs.submit(ask(), "ann"), jobs.submit(ask(), "ann")
        assert ended(jobs, bad).reason.endswith(".")
        assert "ZeroDivision" not in ended(jobs, bad).reason
        assert ended(jobs, good).state is JobState.DONE
    assert "ZeroDivisionError" in caplog.text


def test_a_full_disk_holds_the_finished_picture_until_it_can_be_saved(house: House) -> None:
    house.shelf.fault = DiskFull("The disk is full; make room and save again.")
    with house.open() as jobs:
        ticket = ended(jobs, jobs.submit(ask(seed=7), "ann"))
        assert (ticket.state, ticket.reason) == (JobState.FAILED, "The disk is full; make room and save again.")
        assert ticket.unsaved
        assert jobs.board("ann").recent[0].unsaved
        with pytest.raises(DiskFull):
            jobs.retry_save(ticket.id)
        house.shelf.fault = None
        saved = jobs.retry_save(ticket.id)
        assert (saved.state, saved.reason, saved.unsaved) == (JobState.DONE, "", False)
        assert jobs.retry_save(ticket.id) == saved, "pressed twice"
        assert jobs.board("ann").recent[0] == saved
    assert house.shelf.of(ticket)[0].rgb == gradient(7, 64, 64)
    assert house.engine.asked == 1, "it was not drawn again"


def test_a_job_goes_on_with_its_other_pictures_once_the_held_one_is_saved(house: House) -> None:
    house.shelf.fault = DiskFull("The disk is full.")
    with house.open() as jobs:
        ticket = ended(jobs, jobs.submit(ask(count=3), "ann"))
        house.shelf.fault = None
        assert jobs.retry_save(ticket.id).state in (JobState.QUEUED, JobState.RUNNING)
        until(lambda: jobs.ticket(ticket.id).state is JobState.DONE)
        assert len(jobs.ticket(ticket.id).pictures) == 3
    assert house.engine.asked == 3


def test_the_studio_saves_a_held_picture_by_itself_when_there_is_room_again(house: House) -> None:
    house.shelf.fault = DiskFull("The disk is full.")
    with house.open(retry_every=0.05) as jobs:
        ticket = ended(jobs, jobs.submit(ask(), "ann"))
        house.shelf.fault = None
        until(lambda: jobs.ticket(ticket.id).state is JobState.DONE)


def test_the_queue_stands_rather_than_lose_finished_pictures(house: House) -> None:
    house.shelf.fault = DiskFull("The disk is full.")
    with house.open(max_held=2 * 64 * 64 * 3, retry_every=0.05) as jobs:
        tickets = [jobs.submit(ask(seed=seed), "ann") for seed in range(5)]
        until(lambda: jobs.board("ann").trouble != "")
        assert house.engine.asked == 2
        assert len(jobs.board("ann").waiting) == 3
        house.shelf.fault = None
        for ticket in tickets:
            until(lambda ticket=ticket: jobs.ticket(ticket.id).state is JobState.DONE)  # type: ignore[misc]
        assert jobs.board("ann").trouble == ""
    assert house.engine.asked == 5


def test_a_full_disk_under_the_job_list_stops_the_queue_and_loses_nothing(house: House) -> None:
    house.engine.gate.clear()
    with house.open(retry_every=0.05) as jobs:
        first, second = jobs.submit(ask("first"), "ann"), jobs.submit(ask("second"), "ann")
        until(lambda: running(jobs))
        with no_room():
            house.engine.gate.set()
            assert ended(jobs, first).unsaved
            until(lambda: jobs.board("ann").trouble != "")
            with pytest.raises(StudioError, match="disk"):
                jobs.submit(ask("third"), "ann")
            assert jobs.ticket(second.id).state is JobState.QUEUED
        until(lambda: jobs.ticket(second.id).state is JobState.DONE)
        until(lambda: jobs.ticket(first.id).state is JobState.DONE)
        assert jobs.board("ann").trouble == ""
    assert [prompt for _, prompt in house.shelf.order] == ["first", "second"]
    assert house.engine.asked == 2


def test_a_bug_while_saving_loses_neither_the_picture_nor_the_queue(house: House) -> None:
    house.shelf.fault = ZeroDivisionError("a bug in the gallery")
    with house.open() as jobs:
        ticket = ended(jobs, jobs.submit(ask(), "ann"))
        assert ticket.unsaved
        assert "ZeroDivision" not in ticket.reason
        house.shelf.fault = None
        assert jobs.retry_save(ticket.id).state is JobState.DONE


def test_nothing_unsaved_means_nothing_to_save(house: House) -> None:
    house.engine.script = lambda request, n: "fail"
    with house.open() as jobs:
        ticket = ended(jobs, jobs.submit(ask(), "ann"))
        with pytest.raises(NotFound, match="no unsaved picture"):
            jobs.retry_save(ticket.id)


def test_one_owner_cannot_fill_the_queue(house: House) -> None:
    house.engine.gate.clear()
    with house.open(limits=lambda owner: Limits(pictures=10)) as jobs:
        jobs.submit(ask(count=6), "ann")
        with pytest.raises(TooManyRequests, match="6 pictures waiting"):
            jobs.submit(ask(count=5), "ann")
        jobs.submit(ask(count=4), "ann")
        assert jobs.submit(ask(count=10), "bob").state is JobState.QUEUED


def test_ten_thousand_jobs_of_one_guest_leave_the_line_as_it_is_for_others(house: House) -> None:
    guest = Limits(jobs=4, pictures=8)
    house.engine.gate.clear()
    with house.open(limits=lambda owner: guest if owner == "ann" else Limits()) as jobs:
        accepted = []
        for number in range(10_000):
            with suppress(TooManyRequests):
                accepted.append(jobs.submit(ask(f"flood {number}"), "ann"))
        assert len(accepted) == 4
        other = jobs.submit(ask("a heron"), "bob")
        assert jobs.ticket(other.id).position == 1  # after the one being drawn
        house.engine.gate.set()
        assert ended(jobs, other).state is JobState.DONE
        assert [ended(jobs, ticket).state for ticket in accepted] == [JobState.DONE] * 4
    assert house.shelf.order.index(("bob", "a heron")) <= 2


def test_a_guest_beyond_a_limit_is_refused_and_others_go_on(house: House) -> None:
    house.engine.gate.clear()
    guest = Limits(scope=Scope.GENERATE, jobs=2, hourly=5, pixels=64 * 64, steps=8)
    with house.open(limits=lambda owner: guest if owner == "ann" else Limits()) as jobs:
        jobs.submit(ask(), "ann")
        second = jobs.submit(ask(count=3), "ann")
        with pytest.raises(TooManyRequests, match="2 jobs waiting"):
            jobs.submit(ask(), "ann")
        jobs.cancel(second.id, "ann")
        with pytest.raises(BadRequest, match="larger than guests may draw"):
            jobs.submit(ask(width=128), "ann")
        with pytest.raises(BadRequest, match="8 steps"):
            jobs.submit(ask(steps=9), "ann")
        bobs = jobs.submit(ask(count=10, width=128), "bob")
        house.engine.gate.set()
        assert ended(jobs, bobs).state is JobState.DONE


def test_an_hour_has_room_for_so_many_pictures_and_says_when_there_is_again(house: House) -> None:
    with house.open(limits=lambda owner: Limits(hourly=5)) as jobs:
        ended(jobs, jobs.submit(ask(count=3), "ann"))
        cancelled = jobs.submit(ask(count=2), "ann")
        ended(jobs, cancelled)
        with pytest.raises(TooManyRequests, match="5 pictures an hour; there is room again in 60 minutes") as refused:
            jobs.submit(ask(), "ann")
        assert 3500 < refused.value.retry_after <= 3600
        with pytest.raises(BadRequest, match="ask for fewer"):
            jobs.submit(ask(count=6), "eve")
        assert jobs.submit(ask(count=5), "bob")
    with house.open(limits=lambda owner: Limits(hourly=5)) as again, pytest.raises(TooManyRequests):
        again.submit(ask(), "ann")


def test_what_was_cancelled_before_it_was_drawn_does_not_count(house: House) -> None:
    house.engine.gate.clear()
    with house.open(limits=lambda owner: Limits(hourly=4)) as jobs:
        first, second = jobs.submit(ask(), "ann"), jobs.submit(ask(count=3), "ann")
        jobs.cancel(second.id, "ann")
        jobs.submit(ask(count=3), "ann")
        assert jobs.ticket(first.id).state in (JobState.QUEUED, JobState.RUNNING)


@pytest.mark.parametrize(
    ("scope", "own", "remix"), [(Scope.VIEW, False, False), (Scope.REMIX, False, True), (Scope.GENERATE, True, True)]
)
def test_the_scope_says_who_may_draw(house: House, scope: Scope, own: bool, remix: bool) -> None:
    with house.open(limits=lambda owner: Limits(scope=scope)) as jobs:
        for allowed, as_remix in ((own, False), (remix, True)):
            if allowed:
                jobs.submit(ask(), "ann", remix=as_remix)
            else:
                with pytest.raises(Forbidden, match="ask the studio's owner"):
                    jobs.submit(ask(), "ann", remix=as_remix)


def test_a_paused_queue_finishes_its_picture_and_stays_paused_over_a_restart(house: House) -> None:
    house.engine.gate.clear()
    with house.open() as jobs:
        job = jobs.submit(ask(count=3), "ann")
        until(lambda: jobs.ticket(job.id).state is JobState.RUNNING)
        jobs.pause(True)
        house.engine.gate.set()
        until(lambda: jobs.ticket(job.id).state is JobState.QUEUED)
        assert len(jobs.ticket(job.id).pictures) == 1
        assert "paused" in jobs.board("ann").trouble
        assert jobs.board("ann").waiting[0].seconds is None
    with house.open() as again:
        assert again.paused
        until(lambda: "paused" in again.board("ann").trouble)
        again.pause(False)
        assert len(ended(again, job).pictures) == 3


def test_in_quiet_hours_guests_wait_and_the_owner_does_not(house: House) -> None:
    now = datetime.now()
    quiet = QuietHours((now - timedelta(hours=1)).time(), (now + timedelta(hours=1)).time())
    with house.open(quiet=quiet) as jobs:
        guests = jobs.submit(ask(), "ann")
        assert ended(jobs, jobs.submit(ask(), "owner")).state is JobState.DONE
        until(lambda: "Quiet hours until" in jobs.board("ann").trouble)
        assert jobs.ticket(guests.id).state is JobState.QUEUED


@pytest.mark.parametrize(
    ("text", "at", "quiet"),
    [
        ("22:00-07:30", "23:00", True),
        ("22:00-07:30", "07:29", True),
        ("22:00-07:30", "07:30", False),
        ("22:00-07:30", "12:00", False),
        ("9:00-17:00", "09:00", True),
        ("9:00-17:00", "17:00", False),
    ],
)
def test_quiet_hours_may_pass_midnight(text: str, at: str, quiet: bool) -> None:
    hours = QuietHours.of(text)
    assert hours is not None
    assert hours.is_now(datetime.combine(datetime.min, time_of_day.fromisoformat(at))) is quiet


@pytest.mark.parametrize("text", ["22-7", "25:00-07:00", "22:00", "22:00-07:00-08:00", "a-b"])
def test_quiet_hours_that_are_none_are_named(text: str) -> None:
    with pytest.raises(BadRequest, match="22:00-07:30"):
        QuietHours.of(text)


def test_the_owner_reorders_everybodys_queue(house: House) -> None:
    house.engine.gate.clear()
    with house.open() as jobs:
        running = jobs.submit(ask("now"), "ann")
        until(lambda: jobs.ticket(running.id).state is JobState.RUNNING)
        ids = [jobs.submit(ask(f"{n}"), person).id for n, person in enumerate(("ann", "bob", "ann", "eve"))]
        wish = [ids[2], ids[3], ids[0]]
        jobs.reorder(wish)
        _, waiting = jobs.queue()
        assert [one.ticket.id for one in waiting] == [*wish, ids[1]]
        assert [one.ticket.position for one in waiting] == [1, 2, 3, 4]
        for wrong in ([running.id], [ids[0], ids[0]], ["nothing"]):
            with pytest.raises(BadRequest, match="not waiting"):
                jobs.reorder(wrong)
    with house.open() as again:
        house.engine.gate.set()
        for job in ids:
            until(lambda job=job: again.ticket(job).state in ENDED)  # type: ignore[misc]
    # What ran when the studio closed waits again, without a wish of its own.
    assert [prompt for _, prompt in house.shelf.order if prompt != "now"] == ["2", "3", "0", "1"]


def test_clearing_cancels_what_waits_and_for_one_person_what_runs_too(house: House) -> None:
    house.engine.gate.clear()
    with house.open() as jobs:
        running, waiting, bobs = (jobs.submit(ask(), person) for person in ("ann", "ann", "bob"))
        until(lambda: jobs.ticket(running.id).state is JobState.RUNNING)
        assert jobs.clear("ann") == 2
        assert {jobs.ticket(job.id).state for job in (running, waiting)} == {JobState.CANCELLED}
        assert jobs.ticket(bobs.id).state in (JobState.QUEUED, JobState.RUNNING)
        jobs.submit(ask(), "eve")
        assert jobs.clear() >= 1
        assert "cleared" in jobs.board("eve").recent[0].reason


def test_ten_thousand_wishes_of_one_guest_do_not_keep_another_waiting(house: House) -> None:
    guest = Limits(scope=Scope.GENERATE, jobs=20, hourly=240)
    house.engine.step_seconds = 0.005
    accepted = 0
    with house.open(limits=lambda owner: guest) as jobs:
        for number in range(10_000):
            with suppress(TooManyRequests):
                jobs.submit(ask(), "greedy")
                accepted += 1
            if number == 5_000:
                assert ended(jobs, jobs.submit(ask(), "modest")).state is JobState.DONE
    assert 20 <= accepted <= 240


def test_what_becomes_of_a_job_is_written_down_with_its_id(house: House, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="studio"), house.open() as jobs:
        job = ended(jobs, jobs.submit(ask("a secret wish"), "ann"))
    about = [(line.message.strip(), vars(line)["job"], vars(line)["person"]) for line in caplog.records]
    assert about == [(what, job.id, "ann") for what in ("accepted", "drawn", "done")]
    assert "secret" not in caplog.text


def test_closing_puts_the_running_job_back_and_the_next_start_finishes_it(house: House) -> None:
    house.engine.script = lambda request, n: "hang" if n == 3 else "draw"
    with house.open() as jobs:
        ticket = jobs.submit(ask(count=4), "ann")
        until(lambda: house.engine.asked == 3)
        began = time.monotonic()
    assert time.monotonic() - began < 10
    with house.open() as jobs:
        ticket = ended(jobs, ticket)
    assert (ticket.state, ticket.attempts, len(ticket.pictures)) == (JobState.DONE, 0, 4)
    assert house.engine.asked == 5, "the two finished pictures were not drawn again"


def interrupted(house: House, ticket: Ticket) -> None:
    """Leave the table as a killed process would: the job is written down as running."""
    with sqlite3.connect(house.folder / "jobs.sqlite3") as db:
        db.execute("UPDATE job SET state = 'running' WHERE id = ?", (ticket.id,))
    db.close()


def test_a_job_interrupted_by_a_crash_of_the_studio_is_drawn_once_more_and_then_given_up(house: House) -> None:
    house.engine.gate.clear()
    with house.open() as jobs:
        ticket = jobs.submit(ask(), "ann")
    interrupted(house, ticket)
    with house.open() as jobs:
        assert jobs.ticket(ticket.id).state in (JobState.QUEUED, JobState.RUNNING)
        assert jobs.ticket(ticket.id).attempts == 1
    interrupted(house, ticket)
    house.engine.gate.set()
    with house.open() as jobs:
        ticket = jobs.ticket(ticket.id)
        assert ticket.state is JobState.FAILED
        assert ticket.reason == "The studio stopped twice while it drew this picture."
        assert ended(jobs, jobs.submit(ask(), "ann")).state is JobState.DONE


def test_jobs_of_another_version_fail_with_a_reason_and_harm_nobody(house: House) -> None:
    house.engine.gate.clear()
    with house.open() as jobs:
        old, new = jobs.submit(ask("old"), "ann"), jobs.submit(ask("new"), "ann")
    with sqlite3.connect(house.folder / "jobs.sqlite3") as db:
        db.execute("""UPDATE job SET request = '{"prompt": "old", "magic": 1}' WHERE id = ?""", (old.id,))
    db.close()
    house.engine.gate.set()
    with house.open() as jobs:
        assert ended(jobs, new).state is JobState.DONE
        assert jobs.ticket(old.id).state is JobState.FAILED
        assert "another version" in jobs.ticket(old.id).reason
        assert {ticket.id for ticket in jobs.board("ann").recent} == {old.id, new.id}


def test_a_damaged_job_list_is_set_aside_and_the_studio_starts(house: House) -> None:
    path = house.folder / "jobs.sqlite3"
    path.write_bytes(b"no database at all" * 1000)
    with house.open() as jobs:
        assert ended(jobs, jobs.submit(ask(), "ann")).state is JobState.DONE
    assert (house.folder / "jobs.sqlite3.damaged-1").read_bytes().startswith(b"no database")


def test_input_pictures_survive_a_restart_and_are_stored_once(house: House) -> None:
    picture = Picture.from_bytes(image.png(Image.frombytes("RGB", (96, 64), gradient(5, 96, 64))))
    house.engine.gate.clear()
    with house.open() as jobs:
        tickets = [jobs.submit(ask(init=picture.root), "ann") for _ in range(3)]
        assert tickets[0].inputs == {"init": picture.sha256}
        assert tickets[0].request is not None
        assert tickets[0].request.init is None, "boards do not carry pictures around"
    with sqlite3.connect(house.folder / "jobs.sqlite3") as db:
        assert db.execute("SELECT count(*) FROM input").fetchone() == (1,)
    db.close()
    house.engine.gate.set()
    with house.open() as jobs:
        assert jobs.request(tickets[0].id).init == picture
        for ticket in tickets:
            ended(jobs, ticket)
    assert {request.init for request in house.engine.drawn} == {picture}


def test_the_board_tells_progress_previews_line_and_what_came_out(house: House) -> None:
    house.engine.step_seconds = 0.01
    house.engine.steps = 10
    with house.open() as jobs:
        done = ended(jobs, jobs.submit(ask("measured"), "ann"))
        house.engine.step_seconds = 0.03
        first = jobs.submit(ask("first", count=2), "ann")
        theirs = jobs.submit(ask("theirs"), "bob")
        mine = jobs.submit(ask("mine"), "ann")
        until(lambda: (now := jobs.board("ann").running) is not None and now.preview is not None and now.step >= 4)
        board = jobs.board("ann")
        assert board.running is not None
        assert board.running.ticket.id == first.id
        assert (board.running.index, board.running.count, board.running.steps) == (0, 2, 10)
        assert board.running.preview is not None
        assert board.running.preview.startswith(b"\xff\xd8")
        assert board.running.preview_number >= 2
        assert board.running.seconds_left is not None
        assert 0.01 < board.running.seconds_left < 10
        assert [(waiting.ticket.id, waiting.ticket.position) for waiting in board.waiting] == [(mine.id, 2)]
        assert board.waiting[0].seconds is not None
        assert [ticket.id for ticket in board.recent] == [done.id]
        other = jobs.board("bob")
        assert other.running is None
        assert [(waiting.ticket.id, waiting.ticket.position) for waiting in other.waiting] == [(theirs.id, 1)]
        assert other.recent == ()
        ended(jobs, mine)
        assert [ticket.id for ticket in jobs.board("ann").recent] == [mine.id, first.id, done.id]


def test_a_restart_still_shows_what_came_out(house: House) -> None:
    with house.open() as jobs:
        tickets = [ended(jobs, jobs.submit(ask(f"{number}"), "ann")) for number in range(10)]
    with house.open() as jobs:
        assert jobs.board("ann").recent == tuple(reversed(tickets[2:]))


def test_listeners_hear_of_changes_until_they_unsubscribe_and_their_faults_stay_theirs(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[int] = []

    def broken() -> None:
        raise ZeroDivisionError("a bug in a listener")

    with house.open() as jobs:
        unsubscribe = jobs.subscribe(lambda: heard.append(jobs.board("ann").version))
        jobs.subscribe(broken)
        ended(jobs, jobs.submit(ask(), "ann"))
        until(lambda: bool(heard) and heard[-1] == jobs.board("ann").version)
        assert len(set(heard)) > 4
        unsubscribe()
        unsubscribe()
        count = len(heard)
        assert ended(jobs, jobs.submit(ask(), "ann")).state is JobState.DONE
        assert len(heard) == count
    assert "A listener of the queue failed" in caplog.text


def test_many_artists_at_once_get_exactly_the_pictures_they_asked_for(house: House) -> None:
    tickets: list[tuple[int, Ticket]] = []

    def artist(number: int, jobs: Jobs) -> None:
        for n in range(4):
            tickets.append((number * 10 + n, jobs.submit(ask(seed=number * 10 + n), f"artist {number}")))

    with house.open() as jobs:
        threads = [threading.Thread(target=artist, args=(number, jobs)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for seed, ticket in tickets:
            assert house.shelf.of(ended(jobs, ticket))[0].rgb == gradient(seed, 64, 64)
    assert len(tickets) == 48


def test_the_fake_engine_is_an_engine() -> None:
    engine: Engine = FakeEngine()
    assert engine.status.detail == ""


def test_whose_pictures_are_checked_gets_none_and_sees_none_that_did_not_pass(house: House) -> None:
    """The stand-in looks at nothing, so nothing passes."""
    house.engine.steps, house.engine.preview_every = 4, 1
    previews: dict[str, int] = {}

    with house.open(checks=lambda owner: owner != "owner") as jobs:

        def look() -> None:
            for owner in ("owner", "ann"):
                running = jobs.board(owner).running
                if running is not None and running.preview:
                    previews[owner] = previews.get(owner, 0) + 1

        jobs.subscribe(look)
        mine, hers = jobs.submit(ask("mine"), "owner"), jobs.submit(ask("hers"), "ann")
        until(lambda: all(jobs.ticket(job.id).state in ENDED for job in (mine, hers)))
        assert jobs.ticket(mine.id).state is JobState.DONE
        assert jobs.ticket(hers.id).state is JobState.FAILED
        assert "could not be checked" in jobs.ticket(hers.id).reason
    assert [owner for owner, _ in house.shelf.order] == ["owner"]
    assert previews.keys() == {"owner"}
