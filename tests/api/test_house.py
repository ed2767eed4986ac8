"""The routes as a browser uses them: over a real socket, several people at once."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from PIL import Image

from studio import image
from studio.access import OWNER
from studio.api import house, stream
from studio.credentials import Credentials
from studio.errors import DiskFull
from studio.gallery import Gallery
from studio.jobs import Jobs
from studio.marks import Marks
from studio.request import GenerationResult, Outpaint
from studio.rules import Rules
from tests.fakes import FakeEngine, gradient, resolve, until

FILENAME = "{number:05d}-{seed}-{prompt}"
Json = dict[str, Any]


def owner_of(request: Request) -> str:
    """What the gate does with cookies, in one header."""
    return request.headers.get("x-person", OWNER)


@dataclass
class Served:
    engine: FakeEngine
    gallery: Gallery
    marks: Marks
    jobs: Jobs
    address: str
    full: bool = False

    def client(self, person: str = OWNER) -> httpx.Client:
        return httpx.Client(base_url=self.address, headers={"x-person": person}, timeout=10)

    @contextmanager
    def messages(self, person: str = OWNER) -> Iterator[Iterator[Json]]:
        """The events one page hears, comments left out."""
        with self.client(person) as client, client.stream("GET", "/studio/events") as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    marks = Marks(Credentials(tmp_path / "credentials"), lambda: Rules(watermark=False))
    engine, gallery = FakeEngine(), Gallery(tmp_path, FILENAME, marks.finish)

    def keep(result: GenerationResult, job: str, index: int, owner: str) -> str:
        if studio.full:
            raise DiskFull("The disk is full; make room and save again.")
        return gallery.add(result, job=job, index=index, owner=owner).id

    jobs = Jobs(tmp_path / "jobs.sqlite3", engine, resolve, keep, retry_every=60.0)
    app = FastAPI()
    house.install(app, house.router(jobs, gallery, owner_of, lambda: engine.status, marks))
    listener = socket.create_server(("127.0.0.1", 0))
    studio = Served(engine, gallery, marks, jobs, f"http://127.0.0.1:{listener.getsockname()[1]}")
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until(lambda: server.started)
    try:
        yield studio
    finally:
        engine.gate.set()
        jobs.close()
        server.should_exit = True
        thread.join()
        listener.close()
        gallery.close()


def submit(client: httpx.Client, prompt: str = "a heron at dawn", **parts: object) -> Json:
    answer = client.post("/studio/jobs", json={"prompt": prompt, **parts})
    assert answer.status_code == 202, answer.text
    ticket: Json = answer.json()
    return ticket


def drawn(client: httpx.Client, **parts: Any) -> Json:
    """A finished job."""
    return until_done(client, submit(client, **parts)["id"])


def until_done(client: httpx.Client, job: str) -> Json:
    ticket: Json = {}

    def has_ended() -> bool:
        ticket.update(client.get(f"/studio/jobs/{job}").json())
        return ticket["state"] in ("done", "failed", "cancelled")

    until(has_ended)
    return ticket


def heard(messages: Iterator[Json], true: Callable[[Json], bool]) -> list[Json]:
    """All messages up to the first that fulfils the condition."""
    before: list[Json] = []
    for message in messages:
        before.append(message)
        if true(message):
            return before
    raise AssertionError("the stream ended early")


def test_a_request_becomes_a_picture_that_can_be_fetched(served: Served) -> None:
    with served.client() as client:
        ticket = drawn(client, seed=2**63 + 1, count=2)
        assert (ticket["state"], ticket["reason"], ticket["unsaved"]) == ("done", "", False)
        assert ticket["request"]["seed"] == str(2**63 + 1), "JavaScript would round a number"
        details = client.get(f"/studio/pictures/{ticket['pictures'][1]}").json()
        assert details["seed"] == details["request"]["seed"] == str(2**63 + 2)
        assert details["prompt"] == "a heron at dawn"
        assert "a heron at dawn" in details["infotext"]
        file = client.get(f"/studio/pictures/{ticket['pictures'][1]}/file")
    assert file.headers["content-type"] == "image/png"
    assert file.headers["x-content-type-options"] == "nosniff"
    assert file.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert file.headers["content-disposition"].startswith("inline")
    with Image.open(io.BytesIO(file.content)) as picture:
        assert picture.convert("RGB").tobytes() == gradient(2**63 + 2, 64, 64)


def test_a_download_carries_the_file_name(served: Served) -> None:
    with served.client() as client:
        picture = drawn(client, prompt="鷺 at dawn")["pictures"][0]
        answer = client.get(f"/studio/pictures/{picture}/file", params={"download": 1})
        assert answer.headers["content-disposition"].startswith("attachment")
        name = client.get(f"/studio/pictures/{picture}").json()["name"]
        assert name.startswith("00001-0-")
        assert name.endswith(".png")


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_copy_in_any_format_is_signed_and_says_how_it_was_made_if_it_may(
    tmp_path: Path, served: Served, kind: str
) -> None:
    with served.client() as client, served.client("bob") as bob:
        picture = drawn(client, width=128)["pictures"][0]
        path = f"/studio/pictures/{picture}/file"
        for quiet in (False, True):
            copy = client.get(path, params={"kind": kind, "quiet": quiet, "download": True})
            assert (copy.status_code, copy.headers["content-type"]) == (200, f"image/{kind}")
            assert copy.headers["content-disposition"].startswith("attachment; filename")
            assert image.decode(copy.content, 10_000).size == (128, 64)
            assert bool(image.texts(copy.content)) is not quiet
            found = Credentials(tmp_path / "credentials").read(copy.content)
            assert found is not None
            assert (found.state, found.drawn) == ("ours", True)
        assert client.get(path, params={"kind": "gif"}).status_code == 422
        assert bob.get(path, params={"kind": kind}).status_code == 404


def test_many_who_want_copies_wait_for_each_other_and_nobody_for_them(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, making, most = threading.Lock(), 0, 0
    go = threading.Event()

    def slow(png: bytes, kind: str, *, quiet: bool) -> bytes:
        nonlocal making, most
        with counting:
            making += 1
            most = max(most, making)
        go.wait(60)
        with counting:
            making -= 1
        return png

    monkeypatch.setattr(served.marks, "copied", slow)
    with served.client() as client:
        picture = drawn(client)["pictures"][0]
        statuses: list[int] = []

        def want() -> None:
            with served.client() as one:
                answer = one.get(f"/studio/pictures/{picture}/file", params={"quiet": True}, timeout=90)
                statuses.append(answer.status_code)

        wanting = [threading.Thread(target=want) for _ in range(45)]  # more than the web server has threads
        for thread in wanting:
            thread.start()
        until(lambda: making == 2)
        assert client.get("/studio/facets").status_code == 200
        go.set()
        for thread in wanting:
            thread.join()
    assert (most, statuses) == (2, [200] * 45)


def test_thumbnails_are_small_jpegs_and_a_picture_without_a_film_says_so(served: Served) -> None:
    with served.client() as client:
        picture = drawn(client, width=1024, height=512)["pictures"][0]
        thumb = client.get(f"/studio/pictures/{picture}/thumb")
        assert (thumb.headers["content-type"], thumb.headers["x-content-type-options"]) == ("image/jpeg", "nosniff")
        assert "immutable" in thumb.headers["cache-control"]
        with Image.open(io.BytesIO(thumb.content)) as small:
            assert small.size == (256, 128)
        film = client.get(f"/studio/pictures/{picture}/film")
        assert (film.status_code, film.json()) == (404, {"error": "This picture has no film."})


def test_the_gallery_is_listed_newest_first_in_pages_and_searched(served: Served) -> None:
    with served.client() as client:
        for prompt in ("a red barn", "a blue boat", "a red kite"):
            drawn(client, prompt=prompt)
        first = client.get("/studio/pictures", params={"limit": 2}).json()
        assert [item["prompt"] for item in first["items"]] == ["a red kite", "a blue boat"]
        assert first["health"] == "ok"
        second = client.get("/studio/pictures", params={"limit": 2, "before": first["next"]}).json()
        assert [item["prompt"] for item in second["items"]] == ["a red barn"]
        assert second["next"] is None
        red = client.get("/studio/pictures", params={"text": "red"}).json()["items"]
        assert [item["prompt"] for item in red] == ["a red kite", "a red barn"]
        assert client.get("/studio/pictures", params={"model": "other"}).json()["items"] == []
        facets = client.get("/studio/facets").json()
        assert facets["models"][0][0] == "mini"
        assert facets["models"][0][2] == 3


def test_pictures_can_be_favoured_trashed_and_restored(served: Served) -> None:
    with served.client() as client:
        picture = drawn(client)["pictures"][0]
        assert client.post(f"/studio/pictures/{picture}/favourite", json={"on": True}).json()["favourite"] is True
        assert len(client.get("/studio/pictures", params={"favourite": True}).json()["items"]) == 1
        assert client.post(f"/studio/pictures/{picture}/favourite", json={"on": False}).json()["favourite"] is False
        assert client.post(f"/studio/pictures/{picture}/trash").json()["trashed"] is True
        assert client.get("/studio/pictures").json()["items"] == []
        assert len(client.get("/studio/pictures", params={"trashed": True}).json()["items"]) == 1
        assert client.get(f"/studio/pictures/{picture}/file").status_code == 200
        assert client.post(f"/studio/pictures/{picture}/restore").json()["trashed"] is False
        assert len(client.get("/studio/pictures").json()["items"]) == 1
        assert client.post("/studio/gallery/rebuild").json() == {"health": "ok"}
        assert len(client.get("/studio/pictures").json()["items"]) == 1


JOB_ROUTES = (("GET", "/studio/jobs/{job}"), ("POST", "/studio/jobs/{job}/cancel"), ("POST", "/studio/jobs/{job}/save"))
PICTURE_ROUTES = (
    ("GET", "/studio/pictures/{picture}"),
    ("GET", "/studio/pictures/{picture}/file"),
    ("GET", "/studio/pictures/{picture}/thumb"),
    ("GET", "/studio/pictures/{picture}/film"),
    ("POST", "/studio/pictures/{picture}/favourite"),
    ("POST", "/studio/pictures/{picture}/trash"),
    ("POST", "/studio/pictures/{picture}/restore"),
    ("GET", "/studio/pictures/{picture}/inputs/{field}"),
    ("POST", "/studio/pictures/{picture}/variation"),
    ("POST", "/studio/pictures/{picture}/pan"),
    ("POST", "/studio/pictures/{picture}/zoom"),
)
BODIES: dict[str, Json] = {
    "favourite": {"on": True},
    "variation": {"how": "strong"},
    "pan": {"across": 8},
    "zoom": {"factor": 2},
}


def test_what_belongs_to_another_is_answered_like_what_does_not_exist(served: Served) -> None:
    with served.client("ann") as ann, served.client("bob") as bob:
        ticket = drawn(ann)
        theirs = {"job": ticket["id"], "picture": ticket["pictures"][0]}
        for method, route in (*JOB_ROUTES, *PICTURE_ROUTES):
            body = BODIES.get(route.rpartition("/")[2])
            refused = bob.request(method, route.format(**theirs, field="init"), json=body)
            missing = bob.request(method, route.format(job="nothing", picture="nothing", field="init"), json=body)
            assert refused.status_code == missing.status_code == 404, route
            assert refused.content == missing.content, route
        for nothing in ("..%2f..%2fetc%2fpasswd", "%00", "a" * 5000, "..%5c..", "C:x"):
            for method, route in (*JOB_ROUTES, *PICTURE_ROUTES):
                body = BODIES.get(route.rpartition("/")[2])
                answer = ann.request(method, route.format(job=nothing, picture=nothing, field="init"), json=body)
                assert answer.status_code == 404, (route, nothing)
        assert bob.get("/studio/pictures").json()["items"] == []
        assert bob.get("/studio/facets").json()["models"] == []
        assert bob.post("/studio/gallery/rebuild").status_code == 403
        untouched = ann.get("/studio/pictures").json()["items"]
        assert [(item["favourite"], item["trashed"]) for item in untouched] == [(False, False)]


def test_every_route_about_a_job_or_picture_is_in_the_matrix(served: Served) -> None:
    routes = house.router(served.jobs, served.gallery, owner_of, lambda: served.engine.status, served.marks)
    app = FastAPI()
    house.install(app, routes)
    paths = app.openapi()["paths"]
    named = {(method.upper(), path) for path, methods in paths.items() for method in methods if "{" in path}
    assert named == {*JOB_ROUTES, *PICTURE_ROUTES}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"prompt": "x", "width": 100000}', "Width must be at most 4096, not 100000."),
        ('{"prompt": "x", "steps": -1}', "Steps must be at least 1, not -1."),
        ('{"prompt": "x", "guidance": NaN}', "Guidance must be a number"),
        ('{"prompt": "x", "count": "many"}', "Count must be a whole number, not “many”."),
        ('{"prompt": "x", "stepz": 3}', "Stepz is not a setting"),
        ('{"prompt": 3}', "Prompt must be text."),
        ("[]", "The request must be an object"),
        ("{", "not readable as JSON"),
        ("", "not readable as JSON"),
        ('{"prompt": "\\ud800"}', "not readable as JSON"),
        (json.dumps({"prompt": "x" * 10_000_000}), "Prompt may have at most 20000 characters."),
        ('{"prompt": "x", "seed": ' + "9" * 50 + "}", "Seed must be less than 18446744073709551616, not 9999"),
        ('{"prompt": "x", "seed": ' + "9" * 5000 + "}", "not readable as JSON"),
    ],
)
def test_an_impossible_request_is_answered_with_a_sentence_at_once(served: Served, body: str, words: str) -> None:
    with served.client() as client:
        began = time.process_time()
        answer = client.post("/studio/jobs", content=body)
        assert time.process_time() - began < 2
    assert answer.status_code == 422, answer.text[:300]
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]
    assert len(answer.json()["error"]) < 300
    assert served.engine.asked == 0


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/studio/pictures?limit=many", None),
        ("GET", "/studio/pictures?limit=100000", None),
        ("GET", "/studio/pictures?favourite=perhaps", None),
        ("POST", "/studio/pictures/x/favourite", b'{"on": 1}'),
        ("POST", "/studio/pictures/x/favourite", b"{}"),
    ],
)
def test_other_invalid_input_gets_a_sentence_too(served: Served, method: str, path: str, body: bytes | None) -> None:
    with served.client() as client:
        answer = client.request(method, path, content=body)
    assert answer.status_code == 422
    assert answer.json()["error"].endswith(".")


def test_a_body_beyond_the_limit_is_refused_while_it_arrives(served: Served) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(house.MAX_JOB // 2**20 + 2):
            yield b" " * 2**20

    with served.client() as client:
        answer = client.post("/studio/jobs", content=endless())
    assert answer.status_code == 413
    assert "64 MB" in answer.json()["error"]


def test_too_many_waiting_pictures_are_refused_with_a_time_to_come_back(served: Served) -> None:
    served.engine.gate.clear()
    with served.client() as client:
        for _ in range(12):
            submit(client, count=16)
        answer = client.post("/studio/jobs", json={"prompt": "x", "count": 16})
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        assert "waiting" in answer.json()["error"]


def test_a_running_job_can_be_cancelled_and_the_answer_comes_at_once(served: Served) -> None:
    served.engine.gate.clear()
    with served.client() as client:
        job = submit(client)["id"]
        until(lambda: client.get(f"/studio/jobs/{job}").json()["state"] == "running")
        # While the gate is closed the engine hears of nothing, so this did not wait for it.
        assert client.post(f"/studio/jobs/{job}/cancel").json()["state"] == "cancelled"
        assert client.post(f"/studio/jobs/{job}/cancel").json()["state"] == "cancelled"


def test_an_unsaved_picture_can_be_saved_when_there_is_room(served: Served) -> None:
    served.full = True
    with served.client() as client:
        ticket = drawn(client)
        assert (ticket["state"], ticket["unsaved"]) == ("failed", True)
        refused = client.post(f"/studio/jobs/{ticket['id']}/save")
        assert (refused.status_code, refused.json()["error"]) == (507, ticket["reason"])
        served.full = False
        saved = client.post(f"/studio/jobs/{ticket['id']}/save").json()
        assert (saved["state"], saved["unsaved"]) == ("done", False)
        assert client.get(f"/studio/pictures/{saved['pictures'][0]}/file").status_code == 200


def test_a_page_is_told_everything_from_waiting_to_done(served: Served) -> None:
    served.engine.steps, served.engine.step_seconds = 60, 0.04
    with served.client() as client, served.messages() as messages:
        empty = next(messages)
        assert empty["engine"] == {"state": "ready", "detail": "", "device": "cpu", "model": "fake", "mode": ""}
        assert (empty["running"], empty["waiting"], empty["recent"]) == (None, [], [])
        job, waiting = submit(client, seed=2**60), submit(client, prompt="later")
        story = heard(messages, lambda message: len(message["recent"]) == 2)
    running = [message["running"] for message in story if message["running"] and message["running"]["id"] == job["id"]]
    steps = [now["step"] for now in running]
    assert steps == sorted(steps)
    assert len(set(steps)) >= 4
    assert running[-1]["request"]["seed"] == str(2**60)
    previews = [now for now in running if "preview" in now]
    numbers = [now["preview_number"] for now in previews]
    assert len(numbers) == len(set(numbers)) >= 2, "each preview is sent once"
    head, data = previews[-1]["preview"].split(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as preview:
        assert preview.size == (64, 64)
    assert any(message["waiting"] and message["waiting"][0]["position"] == 1 for message in story)
    last = story[-1]
    assert [(ticket["id"], ticket["state"]) for ticket in last["recent"]] == [
        (waiting["id"], "done"),
        (job["id"], "done"),
    ]
    assert len(last["recent"][0]["pictures"]) == 1
    assert last["running"] is None


def test_messages_are_told_together_when_much_happens(served: Served) -> None:
    served.engine.steps, served.engine.step_seconds = 300, 0.003
    with served.client() as client, served.messages() as messages:
        next(messages)
        began = time.monotonic()
        submit(client)
        story = heard(messages, lambda message: bool(message["recent"]))
    assert len(story) <= (time.monotonic() - began) / stream.PERIOD + 2


def test_a_reloaded_page_finds_its_running_job_with_preview(served: Served) -> None:
    served.engine.steps, served.engine.step_seconds = 2000, 0.02  # it does not end before it is looked at
    with served.client() as client:
        with served.messages() as messages:
            next(messages)
            job = submit(client)["id"]
            heard(messages, lambda message: bool(message["running"]) and message["running"]["step"] >= 4)
            served.engine.gate.clear()
        with served.messages() as messages:
            again = next(messages)["running"]
            assert again["id"] == job
            assert again["step"] >= 4
            assert again["preview"].startswith("data:image/jpeg;base64,")
            client.post(f"/studio/jobs/{job}/cancel")
            heard(messages, lambda message: bool(message["recent"]))


def test_a_page_hears_only_of_its_own_jobs(served: Served) -> None:
    served.engine.gate.clear()
    with served.client("ann") as ann, served.client("bob") as bob:
        submit(ann, prompt="a secret of ann's")
        mine = submit(bob)["id"]
        with served.messages("bob") as messages:
            message = next(messages)
            assert "secret" not in json.dumps(message)
            assert [(waiting["id"], waiting["position"]) for waiting in message["waiting"]] == [(mine, 1)]


def test_the_state_of_the_engine_is_told_though_no_job_changes(served: Served) -> None:
    from studio.engine import State

    with served.messages() as messages:
        next(messages)
        served.engine.state = State.RESTARTING
        assert next(messages)["engine"]["state"] == "restarting"
    with served.client() as client:
        assert client.get("/studio/status").json()["state"] == "restarting"


def test_a_hundred_pages_hold_no_threads_and_leave_nothing_behind(served: Served) -> None:
    before = threading.active_count()
    with served.client() as client:
        answers = []
        for _ in range(100):
            answer = client.send(client.build_request("GET", "/studio/events"), stream=True)
            lines = answer.iter_lines()
            assert any(line.startswith("data: ") for line in lines)
            answers.append((answer, lines))
        assert threading.active_count() - before <= 41, "the pool of the web server at most"
        assert len(served.jobs._ledger._subscribers) == 100
        for answer, _ in answers:
            answer.close()
        until(lambda: not served.jobs._ledger._subscribers)
        assert drawn(client)["state"] == "done"


def test_a_silent_stream_says_that_it_is_alive(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "KEEP_ALIVE", 0.5)
    monkeypatch.setattr(stream, "LOOK", 0.2)
    with served.client() as client, client.stream("GET", "/studio/events") as answer:
        assert next(line for line in answer.iter_lines() if line.startswith(": "))


def test_streams_end_when_the_studio_closes(served: Served) -> None:
    with served.messages() as messages:
        next(messages)
        served.jobs.close()
        assert list(messages) == []
    with served.client() as client:
        assert client.post("/studio/jobs", json={"prompt": "x"}).status_code == 503


def test_a_picture_is_gone_on_from_and_says_what_it_was_made_from(served: Served) -> None:
    with served.client() as client, served.client("guest") as guest:
        first = drawn(client, seed=7, width=128, height=64)["pictures"][0]
        steps = {
            "variation": {"how": "subtle"},
            "pan": {"across": 32},
            "zoom": {"factor": 1.5},
        }
        for name, told in steps.items():
            answer = client.post(f"/studio/pictures/{first}/{name}", json=told)
            assert answer.status_code == 202, answer.text
            made = until_done(client, answer.json()["id"])
            request = made["request"]
            assert request["init"].startswith("sha256:"), name
            assert request["prompt"] == "a heron at dawn"
            assert guest.post(f"/studio/pictures/{first}/{name}", json=told).status_code == 404
        assert served.engine.drawn[-1].outpaint == Outpaint(left=32, top=16, right=32, bottom=16)
        last = made["pictures"][0]
        init = client.get(f"/studio/pictures/{last}/inputs/init")
        with Image.open(io.BytesIO(init.content)) as source:
            assert source.convert("RGB").tobytes() == gradient(7, 128, 64)
        assert client.get(f"/studio/pictures/{last}/inputs/mask").status_code == 404
        assert client.get(f"/studio/pictures/{first}/inputs/init").status_code == 404
        assert guest.get(f"/studio/pictures/{last}/inputs/init").status_code == 404
        refused = client.post(f"/studio/pictures/{first}/zoom", json={"factor": 9})
        assert refused.json() == {"error": "Factor must be at most 4, not 9."}
