"""Words, styles, presets and the X-ray, as the page asks for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient
from starlette.types import Message

from studio import plan
from studio.access import OWNER
from studio.api import house, presets, words, xray
from studio.catalog import Catalog
from studio.errors import Cancelled
from studio.gallery import Gallery
from studio.jobs import Jobs
from studio.own_presets import OwnPresets
from studio.presets import Presets
from studio.prompt_help import Rules
from studio.request import GenerationResult, ModelSpec
from studio.settings import EMBEDDED, PRESETS
from studio.vocabulary import Vocabulary
from tests.fakes import FakeEngine, until


@dataclass
class Served:
    client: TestClient
    jobs: Jobs
    folder: Path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    engine, gallery = FakeEngine(steps=1), Gallery(tmp_path, "{number:05d}")
    catalog, styles = Catalog(EMBEDDED), Presets(PRESETS, tmp_path)
    vocabulary = Vocabulary(PRESETS, tmp_path, styles)

    def keep(result: GenerationResult, job: str, index: int, owner: str) -> str:
        return gallery.add(result, job=job, index=index, owner=owner, title="mini").id

    def owner_of(request: Request) -> str:
        return request.headers.get("x-person", OWNER)

    jobs = Jobs(
        tmp_path / "jobs.sqlite3",
        engine,
        lambda request: plan.resolve(request, catalog=catalog, presets=styles),
        keep,
    )
    app, routes = FastAPI(), APIRouter()
    routes.include_router(words.router(catalog, styles, vocabulary, Rules(vocabulary)))
    routes.include_router(presets.router(styles, OwnPresets(tmp_path), PRESETS, tmp_path, owner_of))
    routes.include_router(xray.router(jobs, gallery, styles, owner_of))
    house.install(app, routes)
    with TestClient(app) as client:
        yield Served(client, jobs, tmp_path)
    jobs.close()
    gallery.close()


def test_words_come_once_and_again_only_when_they_changed(served: Served) -> None:
    first = served.client.get("/studio/words")
    assert "heron" in first.json()["facets"]["Subject"]
    assert "small/colours" in first.json()["wildcards"]
    mark = {"if-none-match": first.headers["etag"]}
    assert served.client.get("/studio/words", headers=mark).status_code == 304
    (served.folder / "wildcards").mkdir()
    (served.folder / "wildcards" / "boats.txt").write_text("sloop\n")
    assert "boats" in served.client.get("/studio/words", headers=mark).json()["wildcards"]


def test_surprises_negatives_and_help_are_for_the_model(served: Served) -> None:
    surprises = {served.client.get("/studio/surprise").json()["prompt"] for _ in range(6)}
    assert len(surprises) > 3
    assert not any("_" in text for text in surprises)
    assert "sunny day" in served.client.get("/studio/negatives?model=mini").json()["words"]
    told = served.client.post("/studio/prompt-help", json={"text": "a boat"}).json()
    assert told["prompt"].startswith("a boat, ")
    assert told["by"] == "the vocabulary"
    assert served.client.post("/studio/prompt-help", json={"text": " "}).status_code == 422
    assert served.client.get("/studio/surprise?model=nothing").status_code == 404


class Waiting:
    """Helps only those who leave."""

    title = "nobody"

    def __init__(self) -> None:
        self.left = False

    def rewrite(self, text: str, model: ModelSpec, turn: int, stop: threading.Event | None = None) -> str:
        assert stop is not None
        self.left = stop.wait(60)
        raise Cancelled("Nobody is there.")

    def close(self) -> None:
        pass


def test_help_is_stopped_when_whoever_asked_has_left(tmp_path: Path) -> None:
    styles, helper, app = Presets(PRESETS, tmp_path), Waiting(), FastAPI()
    house.install(app, words.router(Catalog(EMBEDDED), styles, Vocabulary(PRESETS, tmp_path, styles), helper))
    messages = [{"type": "http.request", "body": b'{"text": "a boat"}'}]
    path = "/studio/prompt-help"
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
    }

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        pass

    asyncio.run(app(scope, receive, send))
    assert helper.left


def test_styles_are_the_owner_s_to_add_and_everybody_s_to_use(served: Served) -> None:
    file = b'name,prompt,negative_prompt\nMine,"{prompt}, mine",\n'
    assert served.client.post("/studio/styles", content=file, headers={"x-person": "guest"}).status_code == 403
    assert served.client.post("/studio/styles", content=file).json() == {"added": ["Mine"], "faults": []}
    listed = served.client.get("/studio/styles", headers={"x-person": "guest"}).json()["styles"]
    assert listed[-1] == {"name": "Mine", "prompt": "{prompt}, mine", "negative": "", "category": "", "sample": 0}
    assert served.client.post("/studio/styles", content=b"nonsense").status_code == 422
    drawn = next(style for style in listed if style["name"] == "Watercolor wash")
    picture = served.client.get("/studio/styles/sample", params={"name": drawn["name"]})
    assert (picture.headers["content-type"], picture.content[8:12]) == ("image/webp", b"WEBP")


def test_presets_are_everybody_s_own(served: Served) -> None:
    kept = served.client.post("/studio/presets", json={"name": "Birds", "values": {"steps": 9}}).json()
    assert served.client.get("/studio/presets", headers={"x-person": "guest"}).json() == {"presets": []}
    assert served.client.post(f"/studio/presets/{kept['id']}/rename", json={"name": " "}).status_code == 422
    renamed = served.client.post(f"/studio/presets/{kept['id']}/rename", json={"name": "Boats"}).json()
    assert served.client.get("/studio/presets").json()["presets"] == [renamed]
    assert served.client.post("/studio/presets", json={"name": "x", "values": {"a": {}}}).status_code == 422
    assert served.client.post(f"/studio/presets/{kept['id']}/remove").json() == {}
    assert served.client.post(f"/studio/presets/{kept['id']}/remove").status_code == 404


def test_an_x_ray_draws_one_picture_for_all_and_one_without_each_phrase(served: Served) -> None:
    asked = {"prompt": "a {red|red} boat, at sea # note", "width": 64, "height": 64, "seed": 2**63, "steps": 40}
    told = served.client.post("/studio/xray", json=asked).json()
    assert (told["prompt"], told["seed"]) == ("a red boat, at sea", str(2**63))
    assert [phrase["text"] for phrase in told["phrases"]] == ["a red boat", "at sea"]
    tickets = [served.jobs.ticket(job) for job in (told["base"], *(phrase["job"] for phrase in told["phrases"]))]
    assert [ticket.request.prompt for ticket in tickets if ticket.request] == [
        "a red boat, at sea",
        "at sea",
        "a red boat",
    ]
    assert {ticket.request.steps for ticket in tickets if ticket.request} == {8}
    until(lambda: all(served.jobs.ticket(ticket.id).pictures[:1] for ticket in tickets))
    base, *others = [served.jobs.ticket(ticket.id).pictures[0] for ticket in tickets]
    found = served.client.get("/studio/xray", params={"base": base, "other": others}).json()
    assert found == {"distances": [0, 0]}  # a fake draws by the seed alone
    assert served.client.get("/studio/xray", params={"base": base, "other": ["nothing"]}).status_code == 404
    assert served.client.post("/studio/xray", json={"prompt": "boat"}).status_code == 422
