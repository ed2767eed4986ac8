"""Those who keep doors open: uploads that trickle in, and browsers that come and go by the thousand."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from studio.access import Scope
from studio.signin import ENTER, LEAVE
from tests.fakes import until
from tests.private import PrivateStudio, pressed, private_studio

UPLOADS = 50
VISITORS = 2100


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[PrivateStudio]:
    with private_studio(tmp_path) as opened:
        yield opened


def trickle(address: str, cookie: str, answers: list[bytes], over: threading.Event) -> None:
    """A job that is sent at ten bytes a second."""
    host = urlsplit(address).netloc
    head = f"POST /studio/jobs HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nContent-Length: 1000000\r\n\r\n"
    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port)) as connection:
        connection.sendall(head.encode())
        connection.settimeout(1)
        while not over.is_set():
            try:
                connection.sendall(b" " * 10)
                answers.append(connection.recv(4096))
                return
            except TimeoutError:
                continue
            except OSError:
                answers.append(b"closed")
                return


def test_fifty_uploads_that_trickle_in_disturb_nobody_and_are_ended(studio: PrivateStudio) -> None:
    studio.gate.patience = 6.0
    ann, bob = studio.guest("Ann"), studio.guest("Bob")
    cookie = "; ".join(f"{name}={value}" for name, value in ann.cookies.items())
    answers: list[bytes] = []
    over = threading.Event()
    slow = [threading.Thread(target=trickle, args=(studio.address, cookie, answers, over)) for _ in range(UPLOADS)]
    try:
        for thread in slow:
            thread.start()
        time.sleep(1)
        assert not answers, "they are all still sending"
        assert studio.drawn(bob)["state"] == "done"
        for path in ("/studio/pictures", "/studio/facets", "/studio/me", "/"):
            assert bob.get(path).status_code == 200
        until(lambda: len(answers) == UPLOADS, seconds=60)
    finally:
        over.set()
        for thread in slow:
            thread.join()
        ann.close()
        bob.close()
    told = [answer for answer in answers if answer not in (b"", b"closed")]  # a reset may overtake the sentence
    assert told
    assert all(answer.startswith(b"HTTP/1.1 408") for answer in told)


def test_an_upload_that_goes_on_is_not_too_slow(studio: PrivateStudio) -> None:
    studio.gate.patience = 2.0
    wish = b'{"prompt": "a heron", "width": 64, "height": 64, "steps": 1}'

    def parts() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 8192
            time.sleep(0.2)  # 4 seconds in all
        yield wish

    with closing(studio.guest("Ann")) as ann:
        assert ann.post("/studio/jobs", content=parts()).status_code == 202


def test_pages_that_come_and_go_leave_nothing_with_gradio_and_old_ones_go_on(studio: PrivateStudio) -> None:
    """Each page is a session to Gradio, which by itself keeps ten thousand of them: two gigabytes."""
    inside: Any = studio.gate
    while hasattr(inside, "app"):
        inside = inside.app
    (gradio,) = [route.app for route in inside.routes if hasattr(getattr(route, "app", None), "state_holder")]
    with closing(studio.owner()) as owner:
        asked = pressed(owner) | {"data": []}
        for number in range(100):
            owner.post("/gradio_api/run/predict", json={**asked, "session_hash": f"page {number}"})
        assert 0 < len(gradio.state_holder.session_data) <= 64
        # A page whose session is forgotten may show what was not there when the studio started.
        assert owner.post("/studio/styles", json={"name": "Wash", "prompt": "{prompt}, in ink"}).status_code == 200
        answer = owner.post("/gradio_api/run/predict", json=pressed(owner, "forgotten", styles=["Wash"]))
        job = answer.json()["data"][0]["job"]
        assert owner.get(f"/studio/jobs/{job}").json()["request"]["styles"] == ["Wash"]


def test_nonsense_in_the_place_of_what_the_page_sends_is_answered_with_a_sentence(studio: PrivateStudio) -> None:
    with closing(studio.owner()) as owner:
        asked = pressed(owner)
        nonsense: tuple[Any, ...] = (None, [], {}, {"a": [1]}, 3, True, "\x00", [[[]]], 1e308)
        for value in nonsense:
            answer = owner.post("/gradio_api/run/predict", json={**asked, "data": [value] * len(asked["data"])})
            assert answer.status_code == 200, (value, answer.text)
            told = answer.json()["data"][0]
            assert "job" in told or (told["error"] and "Something went wrong" not in told["error"]), (value, told)


@pytest.mark.slow
def test_thousands_who_come_and_go_leave_nothing_behind(studio: PrivateStudio) -> None:
    _, key = studio.people.invite("Fair", Scope.GENERATE, group=True, browsers=None)
    before = len(studio.people.sessions())
    with closing(studio.stranger()) as client:
        for _ in range(VISITORS):
            assert client.post(ENTER, data={"key": key}).status_code == 303
            assert client.get("/studio/me").status_code == 200
            assert client.post(LEAVE).status_code in (200, 303)
            client.cookies.clear()
    assert len(studio.people.sessions()) == before
    with closing(studio.guest("Ann")) as ann:
        assert studio.drawn(ann)["state"] == "done"
