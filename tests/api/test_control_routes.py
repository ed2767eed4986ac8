"""Annotators, ControlNets and maps as the page asks for them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from studio.api import control, house
from studio.catalog import Catalog
from studio.errors import BadRequest
from studio.request import ControlUnit
from tests.fakes import FakeEngine
from tests.test_control_units import CHECKPOINT, SD15, SDXL, picture
from tests.weight_files import write


class Refusing(FakeEngine):
    def trace(self, unit: ControlUnit, width: int, height: int) -> bytes:
        if unit.annotator == "refused":
            raise BadRequest("Not this one.")
        return super().trace(unit, width, height)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    write(tmp_path / "checkpoints" / "paint.safetensors", CHECKPOINT)
    write(tmp_path / "controlnet" / "sd15_canny.safetensors", SD15)
    write(tmp_path / "controlnet" / "xl_canny.safetensors", SDXL)
    (tmp_path / "annotators").mkdir()
    (tmp_path / "annotators" / "ControlNetHED.pth").write_bytes(b"weights")
    app = FastAPI()
    catalog = Catalog(tmp_path / "none", (tmp_path,))
    house.install(app, control.router(Refusing(), catalog, (tmp_path,)))
    with TestClient(app) as client:
        yield client
    catalog.close()


def test_annotators_say_what_they_need(client: TestClient) -> None:
    rows = {row["key"]: row for row in client.get("/studio/annotators").json()}
    assert next(iter(rows)) == "none"
    assert rows["canny"]["ready"]
    assert not rows["canny"]["needs_weights"]
    assert rows["canny"]["parameters"][0] == {
        "name": "low_threshold",
        "label": "Weakest edge",
        "min": 1,
        "max": 255,
        "step": 1,
        "default": 100,
    }
    assert rows["softedge_hed"]["ready"], "its weights lie in the folder annotators"
    assert (rows["depth_zoe"]["ready"], rows["depth_zoe"]["size_bytes"]) == (False, 1_443_406_099)
    assert "ZoeD_M12_N.pt (1443.4 MB) from lllyasviel/Annotators" in rows["depth_zoe"]["missing"]
    assert "mmpose" in rows["dwpose"]["missing"]


def test_controlnets_are_those_of_the_models_family(client: TestClient) -> None:
    (row,) = client.get("/studio/controlnets", params={"model": "checkpoints/paint.safetensors"}).json()
    assert (row["key"], row["family"], row["union"]) == ("controlnet/sd15_canny", "Stable Diffusion 1.5", False)
    assert row["annotators"] == ["canny"]
    assert client.get("/studio/controlnets", params={"model": "nothing"}).status_code == 404


def test_a_map_is_a_png(client: TestClient) -> None:
    asked = {"unit": {"image": picture().root, "annotator": "canny"}, "width": 96, "height": 64}
    answer = client.post("/studio/maps", json=asked)
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as shown:
        assert shown.size == (96, 64)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"width": 64, "height": 64}, "Unit is missing."),
        ({"unit": {}, "width": 63, "height": 64}, "Width must be"),
        ({"unit": {"weight": 9}, "width": 64, "height": 64}, "Weight must be at most 2, not 9."),
        ({"unit": {"image": "nothing"}, "width": 64, "height": 64}, "as a data URL"),
        ({"unit": {"annotator": "refused"}, "width": 64, "height": 64}, "Not this one."),
    ],
)
def test_bad_units_are_refused_in_a_sentence(client: TestClient, asked: dict[str, object], sentence: str) -> None:
    answer = client.post("/studio/maps", json=asked)
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]


def test_a_giant_upload_is_refused(client: TestClient) -> None:
    much = base64.b64encode(b"\0" * control.MAX_UNIT).decode()
    answer = client.post("/studio/maps", content=f'{{"unit": {{"image": "data:image/png;base64,{much}"}}}}')
    assert (answer.status_code, "send smaller pictures" in answer.json()["error"]) == (413, True)
