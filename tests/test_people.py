from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.access import OWNER, Scope
from studio.errors import BadRequest, NotFound, ReadOnly
from studio.people import DAY, EVERYONE, IDLE, LONGEST, People
from studio.people_store import Invitation
from studio.throttle import Throttle
from tests.fakes import no_room


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "people.sqlite3"


@pytest.fixture
def people(file: Path, clock: Clock) -> Iterator[People]:
    people = People(file, clock)
    yield people
    people.close()


def guest_of(invitation: Invitation) -> str:
    assert invitation.person is not None
    return invitation.person


def test_a_key_lets_as_many_browsers_in_as_it_says(people: People) -> None:
    invitation, key = people.invite("Ann", Scope.GENERATE, browsers=2)
    first, second = people.enter(key, "Firefox"), people.enter(key)
    assert first is not None
    assert second is not None
    assert first.session.person == second.session.person
    assert (first.session.person.name, first.session.person.scope) == ("Ann", Scope.GENERATE)
    assert people.enter(key) is None
    assert people.invitations()[0].used == 2
    assert people.session(first.token) == first.session
    assert first.token != second.token
    assert invitation.id == first.session.invitation


def test_in_a_group_every_browser_is_a_person_of_its_own(people: People) -> None:
    _, key = people.invite("Club", Scope.REMIX, browsers=None, group=True)
    entries = [people.enter(key) for _ in range(3)]
    persons = {entry.session.person.id: entry.session.person.name for entry in entries if entry}
    assert sorted(persons.values()) == ["Club 1", "Club 2", "Club 3"]


def test_an_invitation_expires_and_its_sessions_with_it(people: People, clock: Clock) -> None:
    _, key = people.invite("Ann", Scope.GENERATE, lasts=DAY, browsers=None)
    entry = people.enter(key)
    assert entry is not None
    clock.now += DAY - 1
    assert people.session(entry.token) is not None
    assert people.left(entry.session.id) == pytest.approx(1, abs=0.01)
    clock.now += 1
    assert people.enter(key) is None
    assert people.session(entry.token) is None
    assert people.left(entry.session.id) == 0


def test_a_session_seen_now_and_then_lasts_but_not_forever(people: People, clock: Clock) -> None:
    _, key = people.invite("Ann", Scope.GENERATE, lasts=None)
    entry = people.enter(key)
    assert entry is not None
    began = clock.now
    while clock.now < began + LONGEST - IDLE / 2:
        clock.now += IDLE / 2
        if clock.now < began + LONGEST:
            assert people.session(entry.token) is not None
    clock.now = began + LONGEST
    assert people.session(entry.token) is None


def test_a_clock_set_back_ends_nothing(people: People, clock: Clock) -> None:
    _, key = people.invite("Ann", Scope.GENERATE)
    entry = people.enter(key)
    assert entry is not None
    clock.now -= DAY
    assert people.session(entry.token) is not None


def test_everything_but_a_key_survives_a_restart(file: Path, clock: Clock) -> None:
    first = People(file, clock)
    invitation, key = first.invite("Ann", Scope.GENERATE, browsers=5)
    entry = first.enter(key)
    assert entry is not None
    first.show("a picture", EVERYONE)
    first.set_password(guest_of(invitation), "Ann", "correct horse")
    first.close()
    for part in file.parent.iterdir():
        held = part.read_bytes()
        for secret in (key, entry.token, "correct horse"):
            assert secret.encode() not in held
    assert file.stat().st_mode & 0o077 == 0, "nobody else's business"
    again = People(file, clock)
    try:
        assert again.session(entry.token) == entry.session
        assert again.is_shown("a picture", "anybody")
        assert again.sign_in("ANN ", "correct horse") is not None
        assert again.enter(key) is not None
    finally:
        again.close()


def test_revoking_is_told_to_whoever_listens(people: People) -> None:
    ended: list[str] = []
    people.on_end(ended.append)
    invitation, key = people.invite("Ann", Scope.GENERATE, browsers=2)
    entries = [people.enter(key), people.enter(key)]
    people.revoke_invitation(invitation.id)
    assert sorted(ended) == sorted(entry.session.id for entry in entries if entry)
    assert people.invitations()[0].revoked
    with pytest.raises(NotFound):
        people.revoke_invitation("nothing")


def test_whoever_is_shown_the_door_has_no_way_back(people: People) -> None:
    invitation, key = people.invite("Ann", Scope.GENERATE, browsers=None)
    ann = guest_of(invitation)
    people.set_password(ann, "ann", "correct horse")
    entry = people.enter(key)
    people.revoke_person(ann)
    assert entry is not None
    assert people.session(entry.token) is None
    assert people.enter(key) is None
    assert people.sign_in("ann", "correct horse") is None
    assert ann not in [person.id for person in people.people()]
    with pytest.raises(NotFound):
        people.person(ann)
    with pytest.raises(BadRequest, match="cannot be shown the door"):
        people.revoke_person(OWNER)


def test_the_terminals_keys_are_new_at_every_start_and_the_old_ones_void(people: People) -> None:
    owner, friends = people.terminal_keys()
    entry, friend = people.enter(owner), people.enter(friends)
    assert entry is not None
    assert friend is not None
    assert (entry.session.person.id, friend.session.person.scope) == (OWNER, Scope.GENERATE)
    people.terminal_keys()
    assert people.enter(owner) is None
    assert people.enter(friends) is None
    assert people.session(entry.token) is not None, "who is in stays in"


def test_one_signs_out_only_oneself_unless_one_is_the_owner(people: People) -> None:
    sessions = []
    for name in ("Ann", "Bob"):
        _, key = people.invite(name, Scope.GENERATE)
        entry = people.enter(key)
        assert entry is not None
        sessions.append(entry.session)
    ann, bob = sessions
    with pytest.raises(NotFound):
        people.end_session(bob.id, ann.person.id)
    people.end_session(ann.id, ann.person.id)
    people.end_session(bob.id)
    assert people.sessions() == ()


def test_an_account_has_one_name_and_the_right_password_only(people: People) -> None:
    (ann, _), (bob, _) = people.invite("Ann", Scope.GENERATE), people.invite("Bob", Scope.GENERATE)
    people.set_password(guest_of(ann), "ann", "first password")
    people.set_password(guest_of(ann), "Anna", "second password")
    assert people.sign_in("ann", "first password") is None
    assert people.sign_in("anna", "second password") is not None
    assert people.sign_in("anna", "") is None
    assert people.sign_in("anna", "x" * 100_000) is None
    with pytest.raises(BadRequest, match="taken"):
        people.set_password(guest_of(bob), "ANNA", "third password")
    for name, password in (("bob", "short"), ("bob", "x" * 257), ("", "long enough"), ("a\x00b", "long enough")):
        with pytest.raises(BadRequest):
            people.set_password(guest_of(bob), name, password)


def test_a_wrong_name_takes_as_long_as_a_wrong_password(people: People) -> None:
    ann, _ = people.invite("Ann", Scope.GENERATE)
    people.set_password(guest_of(ann), "ann", "correct horse")

    def cpu(name: str) -> float:
        began = time.thread_time()
        assert people.sign_in(name, "wrong horse") is None
        return time.thread_time() - began

    known, unknown = (min(cpu(name) for _ in range(3)) for name in ("ann", "nobody"))
    assert unknown > known / 3


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\nb\x07", "\u202egnp"])
def test_a_name_is_printable_and_short(people: People, name: str) -> None:
    with pytest.raises(BadRequest, match="1 to 80"):
        people.invite(name, Scope.VIEW)


def test_nobody_gets_another_scope_by_a_second_invitation(people: People) -> None:
    ann, _ = people.invite("Ann", Scope.VIEW)
    with pytest.raises(BadRequest, match="another scope"):
        people.invite("Ann", Scope.GENERATE, person=guest_of(ann))
    again, key = people.invite("Ann's phone", Scope.VIEW, person=guest_of(ann))
    entry = people.enter(key)
    assert entry is not None
    assert entry.session.person.name == "Ann"
    assert guest_of(again) == guest_of(ann)


def test_a_picture_is_shown_to_whom_it_is_shown(people: People, clock: Clock) -> None:
    (ann, _), (bob, _) = people.invite("Ann", Scope.VIEW), people.invite("Bob", Scope.VIEW)
    people.show("one", guest_of(ann))
    clock.now += 1
    people.show("two", EVERYONE)
    assert people.shown_to(guest_of(ann)) == ("two", "one")
    assert people.shown_to(guest_of(bob)) == ("two",)
    people.show("two", EVERYONE, on=False)
    assert not people.is_shown("two", guest_of(bob))
    with pytest.raises(NotFound):
        people.show("one", "nobody")


def test_thousands_of_sessions_come_and_go(people: People) -> None:
    _, key = people.invite("Fair", Scope.VIEW, browsers=None, group=True)
    tokens = []
    for _ in range(300):
        entry = people.enter(key)
        assert entry is not None
        tokens.append(entry.token)
    began = time.process_time()
    assert all(people.session(token) is not None for token in tokens)
    assert time.process_time() - began < 1, "no disk is touched"
    people.revoke_invitation(people.invitations()[0].id)
    assert people.sessions() == ()


def test_a_full_disk_lets_nobody_in_and_keeps_those_inside(people: People) -> None:
    _, key = people.invite("Ann", Scope.GENERATE, browsers=None)
    entry = people.enter(key)
    assert entry is not None
    with no_room(), pytest.raises(ReadOnly):
        people.enter(key)
    assert people.session(entry.token) is not None
    assert people.enter(key) is not None


def test_a_damaged_list_of_people_is_named_and_never_replaced(file: Path) -> None:
    file.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    held = file.read_bytes()
    with pytest.raises(ReadOnly, match=r"people\.sqlite3 is damaged"):
        People(file)
    assert file.read_bytes() == held


def test_a_list_of_a_newer_version_is_left_alone(file: Path) -> None:
    People(file).close()
    db = sqlite3.connect(file)
    db.execute("PRAGMA user_version = 99")
    db.commit()
    db.close()
    with pytest.raises(ReadOnly, match="newer Pochade"):
        People(file)


def test_a_throttle_forgets_after_a_while_and_remembers_only_so_many() -> None:
    clock = Clock()
    throttle = Throttle(2, 60.0, clock)
    throttle.failed("ann")
    clock.now += 10
    throttle.failed("ann")
    assert throttle.wait("ann") == 50
    assert throttle.wait("bob") == 0
    clock.now += 50
    assert throttle.wait("ann") == 0
    for number in range(20_000):
        throttle.failed(f"{number}")
    assert len(throttle._failures) <= 10_000
