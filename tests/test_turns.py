from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.turns import Pace, Place, Shares, Waiter, first, foresee
from tests.fakes import ask, resolve

Job = tuple[str, int, int]  # owner, pictures, urgency


def drawn(jobs: list[Job], turn: float, each: float) -> list[str]:
    """What a queue that follows `first` does with jobs that all wait already: who is drawn, picture by picture."""
    shares = Shares()
    left = {f"{number}": pictures for number, (_, pictures, _) in enumerate(jobs)}
    order: list[str] = []
    while any(left.values()):
        waiting = [
            Waiter(job, jobs[int(job)][0], int(job), pictures, each, jobs[int(job)][2])
            for job, pictures in left.items()
            if pictures
        ]
        job = first(waiting, shares)
        assert job is not None
        owner, _, urgency = jobs[int(job)]
        lasted = 0.0
        while left[job]:
            order.append(job)
            left[job] -= 1
            lasted += each
            shares.charge(owner, each)
            others = [shares.of(other.owner) for other in waiting if other.job != job and other.urgency == urgency]
            if lasted >= turn and any(had < shares.of(owner) for had in others):
                break
    return order


OWNERS = st.sampled_from(["ann", "bob", "eve"])
JOBS = st.lists(st.tuples(OWNERS, st.integers(1, 6), st.integers(0, 2)), min_size=1, max_size=12)
PLAIN = st.lists(st.tuples(OWNERS, st.integers(1, 6), st.just(0)), min_size=1, max_size=12)


@given(JOBS, st.sampled_from([0.0, 1.0, 2.0, 100.0]))
def test_the_line_is_foreseen_as_it_will_be_served(jobs: list[Job], turn: float) -> None:
    waiters = [Waiter(f"{n}", owner, n, pictures, 1.0, urgency) for n, (owner, pictures, urgency) in enumerate(jobs)]
    places = foresee(waiters, Shares(), turn)
    order = drawn(jobs, turn, 1.0)
    starts = sorted(range(len(jobs)), key=lambda n: order.index(f"{n}"))
    assert {job: place.before for job, place in places.items()} == {f"{n}": at for at, n in enumerate(starts)}
    assert {job: place.seconds for job, place in places.items()} == {f"{n}": order.index(f"{n}") for n in starts}


@given(PLAIN)
def test_between_two_pictures_of_one_owner_others_get_two_at_most(jobs: list[Job]) -> None:
    order = [jobs[int(job)][0] for job in drawn(jobs, turn=1.0, each=1.0)]
    for at, owner in enumerate(order):
        rest = order[at + 1 :]
        if owner in rest:
            gap = rest[: rest.index(owner)]
            assert all(gap.count(other) <= 2 for other in gap), order


def test_the_running_job_comes_before_all_and_its_current_picture_is_partly_done() -> None:
    running = Waiter("now", "ann", 1, 3, 4.0)
    places = foresee([Waiter("next", "bob", 2, 1, 4.0)], Shares(), turn=10.0, running=running, elapsed=3.0)
    assert places["next"] == Place(before=1, seconds=9.0)


def test_after_something_never_measured_nobody_knows_when_their_turn_comes() -> None:
    waiters = [Waiter("a", "ann", 1, 1, 2.0), Waiter("b", "ann", 2, 1, None), Waiter("c", "ann", 3, 1, 2.0)]
    places = foresee(waiters, Shares(), turn=10.0)
    assert places == {"a": Place(0, 0.0), "b": Place(1, 2.0), "c": Place(2, None)}


def test_coming_late_gives_neither_credit_nor_debt() -> None:
    shares = Shares()
    shares.arrive("ann")
    for _ in range(5):
        shares.turn("ann")
        shares.charge("ann", 10.0)
    shares.arrive("bob")
    assert shares.of("ann") - shares.of("bob") == 10.0, "only the turn that is under way counts"


def test_ten_times_as_many_jobs_are_foreseen_in_about_ten_times_as_long() -> None:
    def seconds(count: int) -> float:
        waiters = [Waiter(f"{n}", f"owner {n % 50}", n, 1, 1.0) for n in range(count)]
        began = time.process_time()
        assert len(foresee(waiters, Shares(), 10.0)) == count
        return time.process_time() - began

    def best(count: int) -> float:
        return min(seconds(count) for _ in range(5))  # Python may clean up its memory in the midst of one

    assert best(10_000) < 40 * best(1_000)


def test_pace_is_learnt_by_size_and_carried_over_to_other_sizes_steps_and_samplers() -> None:
    pace = Pace()
    small = resolve(ask(width=256, height=256, steps=20))
    assert pace.picture(small) is None
    pace.learn(small, 2.0)
    assert pace.picture(small) == pytest.approx(2.0)
    assert pace.picture(resolve(ask(width=256, height=256, steps=40))) == pytest.approx(4.0)
    assert pace.picture(resolve(ask(width=512, height=256, steps=20))) == pytest.approx(4.0)
    assert pace.picture(small.model_copy(update={"sampler": "Heun"})) == pytest.approx(4.0)
    assert pace.picture(small.model_copy(update={"strength": 0.5}), from_picture=True) == pytest.approx(1.0)
    rounds = small.model_copy(update={"strength": 0.5, "loops": 3, "loop_decay": 0.5})
    assert pace.picture(rounds, from_picture=True) == pytest.approx(1.0 + 0.5 + 0.25)
    assert pace.picture(small.model_copy(update={"model": "other"})) is None
    pace.learn(small, 4.0)
    assert pace.picture(small) == pytest.approx(3.0), "the new measurement and the old one both count"
