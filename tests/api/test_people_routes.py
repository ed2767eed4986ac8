"""Inviting, revoking and looking after the queue, as the people of a private studio do it over HTTP."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from studio.access import Scope
from studio.signin import ENTER
from tests.fakes import until
from tests.private import PrivateStudio, key_of, private_studio


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateStudio]:
    with private_studio(tmp_path_factory.mktemp("people"), guest_jobs=3) as studio:
        yield studio


@pytest.fixture
def owner(studio: PrivateStudio) -> Iterator[httpx.Client]:
    with_key = studio.owner()
    yield with_key
    with_key.close()


def test_an_invitation_is_a_link_and_a_picture_of_it_told_once(studio: PrivateStudio, owner: httpx.Client) -> None:
    made = owner.post("/studio/invitations", json={"name": "Ann", "scope": "generate", "days": 2}).json()
    assert made["link"].startswith(f"{studio.address}/?key=")
    assert len(base64.urlsafe_b64decode(key_of(made["link"]) + "=")) == 32, "256 bits"
    assert made["qr"].startswith("data:image/svg+xml")
    listed = next(item for item in owner.get("/studio/invitations").json()["items"] if item["id"] == made["id"])
    assert not {"link", "qr", "key"} & listed.keys()
    assert (listed["name"], listed["scope"], listed["used"], listed["revoked"]) == ("Ann", "generate", 0, False)
    with studio.stranger() as ann:
        assert ann.get("/", params={"key": key_of(made["link"])}).status_code == 200
        assert ann.post(ENTER, data={"key": key_of(made["link"])}).status_code == 303
        me = ann.get("/studio/me").json()
        assert (me["name"], me["scope"], me["id"]) == ("Ann", "generate", made["person"])


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"name": ""},
        {"name": "x" * 81},
        {"name": "Ann", "scope": "god"},
        {"name": "Ann", "days": 0},
        {"name": "Ann", "days": 1e9},
        {"name": "Ann", "browsers": 0},
        {"name": "Ann", "person": "guest-none"},
        {"name": "Ann", "surprise": 1},
    ],
)
def test_an_invitation_that_cannot_be_is_refused_with_a_sentence(owner: httpx.Client, wish: dict[str, object]) -> None:
    answer = owner.post("/studio/invitations", json=wish)
    assert answer.status_code in (404, 422), answer.text
    assert answer.json()["error"].endswith(".")


def test_a_revoked_guest_is_out_at_once_streams_and_jobs_included(studio: PrivateStudio, owner: httpx.Client) -> None:
    ann, bob = studio.guest("Ann"), studio.guest("Bob")
    ended = threading.Event()

    def listen() -> None:
        with ann.stream("GET", "/studio/events", timeout=30) as answer:
            for _ in answer.iter_lines():
                pass
        ended.set()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        until(lambda: len(studio.jobs._ledger._subscribers) >= 1)
        studio.engine.gate.clear()
        job = ann.post("/studio/jobs", json={"prompt": "x", "width": 64, "height": 64}).json()["id"]
        person = ann.get("/studio/me").json()["id"]
        began = time.monotonic()
        told = owner.post(f"/studio/people/{person}/revoke").json()
        assert told == {"revoked": person, "cancelled": 1}
        assert ended.wait(20)
        assert time.monotonic() - began < 6
        assert ann.get("/studio/me").status_code == 401
        assert owner.get(f"/studio/jobs/{job}").json()["state"] == "cancelled"
        assert bob.get("/studio/me").status_code == 200
    finally:
        studio.engine.gate.set()
        listener.join(10)
        ann.close()
        bob.close()


def test_an_account_brings_one_back_without_a_link(studio: PrivateStudio) -> None:
    ann = studio.guest("Ann")
    assert ann.post("/studio/me/password", json={"name": "ann", "password": "short"}).status_code == 422
    assert ann.post("/studio/me/password", json={"name": "ann", "password": "correct horse"}).status_code == 200
    with studio.stranger() as elsewhere:
        assert elsewhere.post(ENTER, data={"name": "Ann", "password": "wrong horse!"}).status_code == 401
        assert elsewhere.post(ENTER, data={"name": "Ann", "password": "correct horse"}).status_code == 303
        assert elsewhere.get("/studio/me").json() == ann.get("/studio/me").json()
        browsers = ann.get("/studio/sessions").json()["items"]
        assert len(browsers) == 2
        other = next(browser["id"] for browser in browsers if not browser["here"])
        assert ann.post(f"/studio/sessions/{other}/end").status_code == 200
        assert elsewhere.get("/studio/me").status_code == 401
    ann.close()


def test_a_guest_beyond_the_limit_is_told_when_to_come_back_and_others_go_on(studio: PrivateStudio) -> None:
    ann, bob = studio.guest("Ann"), studio.guest("Bob")
    studio.engine.gate.clear()
    wish = {"prompt": "x", "width": 64, "height": 64, "steps": 2}
    statuses = [ann.post("/studio/jobs", json=wish).status_code for _ in range(5)]
    assert statuses == [202] * 3 + [429] * 2
    refused = ann.post("/studio/jobs", json=wish)
    assert int(refused.headers["retry-after"]) > 0
    assert "3 jobs waiting" in refused.json()["error"]
    job = bob.post("/studio/jobs", json=wish).json()["id"]
    studio.engine.gate.set()
    until(lambda: bob.get(f"/studio/jobs/{job}").json()["state"] == "done")
    ann.close()
    bob.close()


def test_the_owner_looks_after_the_queue(studio: PrivateStudio, owner: httpx.Client) -> None:
    ann = studio.guest("Ann")
    wish = {"prompt": "x", "width": 64, "height": 64, "steps": 2}
    assert owner.post("/studio/queue/pause", json={"on": True}).json() == {"paused": True}
    first, second = (ann.post("/studio/jobs", json=wish).json()["id"] for _ in range(2))
    queue = owner.get("/studio/queue").json()
    assert (queue["paused"], [job["id"] for job in queue["waiting"]]) == (True, [first, second])
    assert queue["waiting"][0]["owner"] == ann.get("/studio/me").json()["id"]
    assert queue["waiting"][0]["seconds"] is None, "nobody knows how long a pause lasts"
    owner.post("/studio/queue/order", json={"jobs": [second]})
    assert [job["id"] for job in owner.get("/studio/queue").json()["waiting"]] == [second, first]
    assert owner.post("/studio/queue/order", json={"jobs": ["nothing"]}).status_code == 422
    assert owner.post("/studio/queue/clear", json={}).json() == {"cancelled": 2}
    owner.post("/studio/queue/pause", json={"on": False})
    until(lambda: ann.get(f"/studio/jobs/{first}").json()["state"] == "cancelled")
    usage = {item["id"]: item for item in owner.get("/studio/people").json()["items"]}
    assert usage[ann.get("/studio/me").json()["id"]]["jobs"] == 2
    assert owner.get("/studio/disk").json()["total"] > 0
    ann.close()


def test_machines_learn_whether_it_works_and_only_the_owners_more(studio: PrivateStudio, owner: httpx.Client) -> None:
    studio.drawn(owner)
    with studio.stranger() as stranger:
        assert (stranger.get("/healthz").status_code, stranger.get("/healthz").json()) == (200, {"ok": True})
        assert stranger.get("/metrics").status_code == 401
    text = owner.get("/metrics").text
    for line in ("pochade_jobs_waiting 0.0", 'pochade_engine{state="ready"} 1.0', "pochade_pictures_total"):
        assert line in text
    assert 'pochade_answer_seconds_count{method="GET",status="2xx"}' in text
    assert "a heron" not in text


def test_where_nobody_signs_in_there_is_nothing_to_invite_to(tmp_path: Path) -> None:
    with private_studio(tmp_path, sign_in="off") as studio, studio.stranger() as owner:
        assert owner.get("/studio/me").json()["scope"] == Scope.OWNER
        refused = owner.post("/studio/invitations", json={"name": "Ann"})
        assert (refused.status_code, "--share" in refused.json()["error"]) == (422, True)
