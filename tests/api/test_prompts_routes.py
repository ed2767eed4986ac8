"""Tokens, pictures read, and pictures made again, as the page asks for them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient
from PIL import Image, PngImagePlugin

from studio import image, plan
from studio.access import OWNER
from studio.api import house, prompts
from studio.catalog import Catalog
from studio.gallery import Gallery
from studio.job_store import JobState
from studio.jobs import Jobs
from studio.presets import Presets
from studio.request import GenerationRequest, GenerationResult
from studio.settings import EMBEDDED, PRESETS
from tests.fakes import FakeEngine, until
from tests.weight_files import write

GOLDEN = Path(__file__).parent.parent / "golden"


@dataclass
class Served:
    client: TestClient
    jobs: Jobs
    gallery: Gallery

    def draw(self, **asked: object) -> str:
        """The gallery's name of a new picture."""
        ticket = self.jobs.submit(GenerationRequest.model_validate({"prompt": "a heron", **asked}), OWNER)
        return self.picture(ticket.id)

    def picture(self, job: str) -> str:
        until(lambda: self.jobs.ticket(job).state == JobState.DONE)
        name = self.jobs.ticket(job).pictures[0]
        assert name is not None
        return name


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    engine, gallery = FakeEngine(steps=1), Gallery(tmp_path, "{number:05d}")
    write(tmp_path / "models" / "embeddings" / "Wash.safetensors", {"emb_params": (4, 768)})
    catalog, presets = Catalog(EMBEDDED, (tmp_path / "models",)), Presets(PRESETS, tmp_path)

    def keep(result: GenerationResult, job: str, index: int, owner: str) -> str:
        return gallery.add(result, job=job, index=index, owner=owner, title="mini").id

    jobs = Jobs(
        tmp_path / "jobs.sqlite3",
        engine,
        resolve=lambda request: plan.resolve(request, catalog=catalog, presets=presets),
        keep=keep,
    )

    def owner_of(request: Request) -> str:
        return request.headers.get("x-person", OWNER)

    app = FastAPI()
    house.install(app, APIRouter())
    app.include_router(prompts.router(jobs, gallery, catalog, presets, owner_of))
    with TestClient(app) as client:
        yield Served(client, jobs, gallery)
    jobs.close()
    gallery.close()


def png(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for keyword, text in texts.items():
        info.add_itxt(keyword, text)
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def test_tokens_are_counted_as_they_would_be_drawn(served: Served) -> None:
    asked: dict[str, Any] = {"prompt": "a red boat<lora:ink:1> # note", "negative": "{blur}", "styles": ["none"]}
    answer = served.client.get("/studio/tokens", params={**asked, "styles": []}).json()
    assert answer["model"] == "mini"
    assert (answer["prompt"]["tokens"], answer["prompt"]["chunks"], answer["prompt"]["text"]) == (3, [3], "a red boat")
    assert (answer["negative"]["text"], answer["negative"]["limit"], answer["negative"]["exact"]) == (
        "blur",
        None,
        True,
    )
    long = served.client.get("/studio/tokens", params={"prompt": "red " * 80}).json()
    assert (long["prompt"]["chunks"], long["prompt"]["ignored"]) == ([75, 5], "")
    inverted = served.client.get("/studio/tokens", params={"prompt": "a wash, unwashed"}).json()
    plain = served.client.get("/studio/tokens", params={"prompt": "a , unwashed"}).json()
    assert inverted["prompt"]["tokens"] == plain["prompt"]["tokens"] + 4
    refused = served.client.get("/studio/tokens", params={"prompt": "a __nowhere__"})
    assert refused.status_code == 422
    assert "There is no wildcard __nowhere__" in refused.json()["error"]
    assert served.client.get("/studio/tokens", params={"model": "gone"}).status_code == 404
    assert served.client.get("/studio/tokens", params=asked).status_code == 422
    sent = served.client.post("/studio/tokens", json={"prompt": "狐 " * 10_000}).json()
    assert sum(sent["prompt"]["chunks"]) == sent["prompt"]["tokens"] >= 10_000
    assert served.client.post("/studio/tokens", json={"prompt": "a" * 20_001}).status_code == 422


def test_wildcards_are_listed(served: Served) -> None:
    assert "colours" in served.client.get("/studio/wildcards").json()["names"]


def test_a_picture_of_another_program_is_read_and_what_is_not_here_is_named(served: Served) -> None:
    answer = served.client.post("/studio/read-picture", content=png(parameters=(GOLDEN / "a1111.txt").read_text()))
    told = answer.json()
    assert (answer.status_code, told["program"], told["settings"]["steps"]) == (200, "AUTOMATIC1111", 28)
    assert told["missing"] == [
        "The model “v1-5-pruned-emaonly” (6ce0161689) is not here; the one chosen on the page will draw.",
        "The LoRA “ink wash” is not here; take its tag out of the prompt.",
        "The embedding “easyneg” is not here; its name is read as words.",
        "The VAE “vae-ft-mse.safetensors” is not here; the model’s own decodes.",
    ]
    assert told["settings"]["vae"] is None
    assert told["others"]["Hires upscaler"] == "Latent"
    webp = image.copied(Image.new("RGB", (16, 16)), "WEBP", (GOLDEN / "sdnext.txt").read_text())
    assert served.client.post("/studio/read-picture", content=webp).json()["program"] == "SD.Next"
    assert served.client.post("/studio/read-picture", content=png()).status_code == 404
    assert served.client.post("/studio/read-picture", content=b"<html>").status_code == 415


def test_our_own_picture_restores_its_request_as_it_was_written(served: Served) -> None:
    name = served.draw(prompt="a {red|blue} heron # idea", negative="{dull}", seed=7, steps=9, clip_skip=2)
    told = served.client.post("/studio/read-picture", content=served.gallery.path(name).read_bytes()).json()
    assert told["program"] == "Pochade"
    assert told["missing"] == []
    assert told["settings"]["model"] == "mini"
    request = served.gallery.request(name).as_request()
    assert GenerationRequest.model_validate(told["settings"]) == request
    assert request.prompt == "a {red|blue} heron # idea"


def test_a_picture_made_again_is_compared_with_the_first(served: Served) -> None:
    name = served.draw(prompt="a {red|blue|green} heron", seed=7)
    answer = served.client.post(f"/studio/pictures/{name}/again")
    assert answer.status_code == 202
    again = served.picture(answer.json()["id"])
    assert again != name
    told = served.client.get(f"/studio/pictures/{name}/receipt", params={"again": again}).json()
    assert told == {"verdict": "identical", "psnr": None, "changed": {}}
    other = served.draw(prompt="a heron", seed=8)
    told = served.client.get(f"/studio/pictures/{name}/receipt", params={"again": other}).json()
    assert told["verdict"] == "different"
    assert told["psnr"] < 35
    assert told["changed"]["seed"] == ["7", "8"]
    guest = {"x-person": "guest"}
    assert served.client.post(f"/studio/pictures/{name}/again", headers=guest).status_code == 404
    assert (
        served.client.get(f"/studio/pictures/{name}/receipt", params={"again": again}, headers=guest).status_code == 404
    )
