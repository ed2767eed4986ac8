"""Poses and sketches over HTTP, as the pose editor and the Guide room ask for them."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image, ImageDraw

from studio import image, pose
from studio.api import house, poses
from studio.pose import Pose
from studio.pose_shelf import Shelf
from studio.settings import PRESETS
from tests.fakes import FakeEngine


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(engine: FakeEngine) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(poses.router(Shelf(PRESETS), engine, max_pixels=1_000_000))
    house.install(app)
    with TestClient(app) as client:
        yield client


def test_each_pose_on_the_shelf_comes_with_its_skeleton(client: TestClient) -> None:
    rows = client.get("/studio/poses").json()
    assert len(rows) >= 24
    for row in rows[:3]:
        shown = Image.open(io.BytesIO(client.get(f"/studio/poses/{row['key']}/picture").content))
        assert np.array_equal(np.asarray(shown), np.asarray(pose.draw(Pose(**row["pose"]), *shown.size)))
    assert client.get("/studio/poses/nobody/picture").status_code == 404


def test_a_pose_goes_out_as_openpose_json_and_comes_back_the_same(client: TestClient) -> None:
    here = next(row["pose"] for row in client.get("/studio/poses").json() if row["key"] == "two-talking")
    written = client.post("/studio/poses/openpose", json=here)
    assert client.post("/studio/poses", content=written.content).json() == here


def test_what_is_no_pose_is_refused_with_a_sentence(client: TestClient) -> None:
    refused = client.post("/studio/poses", content=b"{}")
    assert (refused.status_code, refused.json()["error"]) == (
        422,
        "This JSON file holds no people; choose a pose exported as OpenPose JSON.",
    )
    assert client.post("/studio/poses", content=b" " * (pose.LARGEST + 1)).status_code == 413
    assert client.post("/studio/poses?width=9", content=b"{}").status_code == 422
    assert client.post("/studio/poses/openpose", json={"people": [], "width": 9, "height": 9}).status_code == 422


def test_a_photographed_sketch_comes_back_clean(client: TestClient) -> None:
    paper = Image.linear_gradient("L").resize((320, 240)).point(lambda level: 120 + level // 3)
    ImageDraw.Draw(paper).ellipse((80, 60, 240, 180), outline=40, width=4)
    answer = client.post("/studio/sketches", content=image.png(paper.convert("RGB")))
    assert answer.headers["content-type"] == "image/png"
    clean = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert clean[120, 82] < 40
    assert clean[[5, 120, 235], [5, 160, 315]].min() == 255
    large = image.png(Image.new("RGB", (1200, 1000)))
    assert client.post("/studio/sketches", content=large).status_code == 413
    assert client.post("/studio/sketches", content=b"no picture").status_code == 415


def test_people_are_found_in_a_photograph_and_else_a_sentence_is_told(client: TestClient, engine: FakeEngine) -> None:
    photo = image.png(Image.new("RGB", (200, 100)))
    found = Pose.model_validate(client.post("/studio/poses/found", content=photo).json())
    assert (found.width, found.height) == (200, 100)
    assert found.people[0].body[9] == (100, 50)
    assert len(found.people[0].face) == 70
    engine.blind = "OpenPose needs body_pose_model.pth."
    refused = client.post("/studio/poses/found", content=photo)
    assert (refused.status_code, refused.json()["error"]) == (422, engine.blind)
    assert client.post("/studio/poses/found", content=b" " * (2**25 + 1)).status_code == 413
