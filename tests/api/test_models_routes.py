"""The Models tab as its page asks for it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient
from PIL import Image

from studio import known
from studio.access import OWNER
from studio.api import house, models
from studio.api import hub as hub_routes
from studio.catalog import EMBEDDED, Catalog
from studio.downloads import Downloads
from studio.hub import Hub
from studio.settings import PRESETS
from tests import fake_hub
from tests.fakes import until
from tests.test_catalog import folder
from tests.test_catalog_files import CONTROLNET, LORA, SDXL
from tests.weight_files import write


def person(request: Request) -> str:
    return request.headers.get("x-person", OWNER)


@dataclass
class Served:
    client: TestClient
    catalog: Catalog
    folder: Path
    server: fake_hub.FakeHub
    downloads: Downloads


GUEST = {"x-person": "guest"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    place = tmp_path / "models"
    write(place / "checkpoints" / "paint.safetensors", SDXL)
    write(place / "loras" / "ink.safetensors", LORA, {"modelspec.trigger_phrase": "inkwash", "ss_output_name": "sumi"})
    write(place / "loras" / "brush.safetensors", LORA)
    (place / "checkpoints" / "old.ckpt").write_bytes(b"PK")
    Image.new("RGB", (900, 600), (10, 200, 30)).save(place / "loras" / "ink.preview.png")
    (place / "loras" / "brush.png").write_text("<script>alert(1)</script>")
    catalog = Catalog(folder(tmp_path / "mini"), (place, tmp_path / "downloads"), tmp_path / "data")
    row = known.Known(repo="org/name", family="sdxl", licence="apache-2.0", commercial="yes", gb=1.5)
    app = FastAPI()
    house.install(app, APIRouter())
    with fake_hub.running(
        org__name={"a.safetensors": (place / "checkpoints" / "paint.safetensors").read_bytes()}
    ) as server:
        hub = Hub(server.endpoint, token=False)
        downloads = Downloads(hub, tmp_path / "downloads", {"org/name": row}, catalog.refresh)
        app.include_router(models.router(catalog, person, {"org/name": row}))
        app.include_router(hub_routes.router(hub, downloads, catalog, {"org/name": row}, person))
        with TestClient(app) as client:
            yield Served(client, catalog, place, server, downloads)
        downloads.close()
        catalog.close()


def titles(served: Served, **query: str | int) -> list[str]:
    return [card["title"] for card in served.client.get("/studio/models", params=query).json()["items"]]


def test_everything_is_listed_what_cannot_be_used_last(served: Served) -> None:
    told = served.client.get("/studio/models").json()
    assert [card["title"] for card in told["items"]] == ["Mini", "paint", "brush", "ink", "old.ckpt"]
    assert told["groups"] == {"model": 3, "lora": 2}
    assert "pickle" in told["items"][-1]["refused"]
    assert {row["key"] for row in told["families"]} == {"sd15", "sdxl", "unknown"}
    assert [card["default"] for card in told["items"]] == [True, False, False, False, False]


def test_cards_are_searched_by_name_trigger_alias_and_family_and_come_in_pages(served: Served) -> None:
    assert titles(served, text="INKW") == ["ink"]
    assert titles(served, text="sumi") == ["ink"]
    assert titles(served, text="xl loras") == ["brush", "ink"]
    assert titles(served, group="lora") == ["brush", "ink"]
    assert titles(served, group="model", family="sdxl") == ["paint"]
    assert titles(served, limit=2, offset=1) == ["paint", "brush"]
    assert titles(served, text="nothing like it") == []


def test_what_goes_with_a_model_is_found_by_its_family_and_models_tell_what_they_can_do(served: Served) -> None:
    assert titles(served, group="lora", fits="sdxl") == titles(served, group="lora")
    assert titles(served, group="lora", fits="flux") == []
    assert titles(served, group="lora", fits="unknown") == titles(served, group="lora")
    told = served.client.get("/studio/models/likes").json()
    can = told["abilities"][told["defaults"]["checkpoints/paint.safetensors"]["can"]]
    assert (told["loras"], can["kin"], can["negative"], [1152, 896] in can["sizes"]) == (True, "sdxl", True, True)


def test_a_card_tells_what_it_is_and_only_the_owner_where_it_lies(served: Served) -> None:
    card = served.client.get("/studio/models/entry", params={"id": "model:checkpoints/paint.safetensors"}).json()
    assert (card["family_title"], card["kind"], card["precision"]) == ("Stable Diffusion XL", "file", "F16")
    assert card["likes"]["width"] == 1024
    assert "inpainting" in card["can"]
    assert card["path"] == str(served.folder / "checkpoints" / "paint.safetensors")
    guest = served.client.get("/studio/models/entry", params={"id": card["id"]}, headers=GUEST).json()
    assert guest["path"] == "paint.safetensors"
    assert served.client.get("/studio/models/entry", params={"id": "model:../../etc"}).status_code == 404


def test_a_preview_is_drawn_anew_and_small(served: Served) -> None:
    (card,) = [one for one in served.client.get("/studio/models").json()["items"] if one["title"] == "ink"]
    assert card["preview"]
    answer = served.client.get("/studio/models/preview", params={"id": card["id"], "date": card["preview"]})
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.size == (512, 341)
    assert served.client.get("/studio/models/preview", params={"id": "lora:loras/brush"}).status_code == 404


def test_notes_and_the_model_to_start_with_are_kept(served: Served, tmp_path: Path) -> None:
    model = "model:checkpoints/paint.safetensors"
    told = served.client.post("/studio/models/note", json={"id": model, "text": " for <b>portraits</b> "})
    assert told.json()["note"] == "for <b>portraits</b>"
    assert served.client.post("/studio/models/default", json={"id": model}).json()["default"] == model[6:]
    again = Catalog(tmp_path / "mini", (served.folder,), tmp_path / "data")
    assert again.find(None).title == "paint"
    assert again.choices.notes == {model: "for <b>portraits</b>"}
    assert served.client.post("/studio/models/note", json={"id": model, "text": ""}).json()["note"] == ""
    lora = served.client.post("/studio/models/default", json={"id": "lora:loras/ink"})
    assert (lora.status_code, "model one can draw with" in lora.json()["error"]) == (422, True)


def test_a_model_goes_into_the_trash_with_what_lies_beside_it(served: Served) -> None:
    moved = served.client.post("/studio/models/trash", json={"id": "lora:loras/ink"}).json()["moved"]
    assert sorted(file.name for file in Path(moved).iterdir()) == ["ink.preview.png", "ink.safetensors"]
    assert titles(served, group="lora") == ["brush"]
    assert served.client.post("/studio/models/restore", json={"id": "lora:loras/ink"}).status_code == 200
    assert titles(served, group="lora") == ["brush", "ink"]
    assert not Path(moved).exists()
    assert served.client.post("/studio/models/restore", json={"id": "lora:loras/ink"}).status_code == 404
    embedded = served.client.post("/studio/models/trash", json={"id": f"model:{EMBEDDED}"})
    assert "it stays" in embedded.json()["error"]
    assert titles(served, text="mini") == ["Mini"]


def test_a_controlnet_of_a_folder_goes_into_the_trash_as_a_whole(served: Served) -> None:
    """And not the folder around it, where its neighbours are."""
    write(served.folder / "controlnet" / "lines.safetensors", CONTROLNET)
    own = served.folder / "controlnet" / "edges"
    write(own / "diffusion_pytorch_model.safetensors", CONTROLNET)
    (own / "config.json").write_text(json.dumps({"_class_name": "ControlNetModel", "cross_attention_dim": 768}))
    for name in ("pochade.json", "README.md", "edges.json"):
        (own / name).write_text("{}")
    before = sorted(file.name for file in own.iterdir())
    served.client.post("/studio/models/refresh")
    told = {"id": "controlnet:controlnet/edges"}
    moved = Path(served.client.post("/studio/models/trash", json=told).json()["moved"])
    assert [path.name for path in moved.iterdir()] == ["edges"]
    assert sorted(file.name for file in (moved / "edges").iterdir()) == before
    assert not own.exists()
    assert titles(served, group="controlnet") == ["lines"]
    assert served.client.post("/studio/models/restore", json=told).status_code == 200
    assert sorted(file.name for file in own.iterdir()) == before
    assert titles(served, group="controlnet") == ["edges", "lines"]


def test_a_refresh_shows_what_is_new(served: Served) -> None:
    before = served.client.get("/studio/models/revision").json()["revision"]
    write(served.folder / "loras" / "new.safetensors", LORA)
    assert served.client.post("/studio/models/refresh").json()["revision"] > before
    assert "new" in titles(served)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "models/note", {"id": "lora:loras/ink", "text": "mine"}),
        ("POST", "models/default", {"id": "model:mini"}),
        ("POST", "models/trash", {"id": "lora:loras/ink"}),
        ("POST", "models/restore", {"id": "lora:loras/ink"}),
        ("POST", "models/refresh", {}),
        ("GET", "hub/known", None),
        ("GET", "hub/offer?model=org/name", None),
        ("GET", "hub/downloads", None),
        ("POST", "hub/downloads", {"model": "org/name", "revision": "main"}),
        ("POST", "hub/downloads/org--name/cancel", None),
    ],
)
def test_a_guest_may_look_at_models_and_nothing_else(
    served: Served, method: str, path: str, body: dict[str, str] | None
) -> None:
    answer = served.client.request(method, f"/studio/{path}", json=body, headers=GUEST)
    assert answer.status_code == 403
    assert "owner" in answer.json()["error"]
    assert served.client.get("/studio/models", headers=GUEST).json()["owner"] is False
    assert served.server.served == []


def test_a_download_starts_only_after_a_look_at_size_and_licence(served: Served) -> None:
    wish = {"model": "org/name", "revision": fake_hub.COMMIT}
    early = served.client.post("/studio/hub/downloads", json=wish)
    assert (early.status_code, "Look at size and licence" in early.json()["error"]) == (422, True)
    offer = served.client.get("/studio/hub/offer", params={"model": "org/name"}).json()
    assert (offer["licence"], offer["commercial"], offer["files"]) == ("apache-2.0", "yes", 1)
    assert offer["bytes"] == (served.folder / "checkpoints" / "paint.safetensors").stat().st_size
    assert served.client.post("/studio/hub/downloads", json=wish).status_code == 202
    until(lambda: served.client.get("/studio/hub/downloads").json()[0]["state"] == "done")
    assert served.catalog.find("org/name/a.safetensors").family == "sdxl"


def test_the_well_known_are_listed_with_what_one_must_know_first(served: Served) -> None:
    (row,) = served.client.get("/studio/hub/known").json()
    assert (row["repo"], row["licence"], row["commercial"], row["there"]) == ("org/name", "apache-2.0", "yes", False)
    assert len(known.read(PRESETS)) >= 30


def test_a_download_can_be_cancelled(served: Served) -> None:
    served.server.flowing.clear()
    served.client.get("/studio/hub/offer", params={"model": "org/name"})
    wish = {"model": "org/name", "revision": fake_hub.COMMIT}
    name = served.client.post("/studio/hub/downloads", json=wish).json()["id"]
    assert served.client.post(f"/studio/hub/downloads/{name}/cancel").status_code == 200
    assert served.client.get("/studio/hub/downloads").json() == []
    assert served.client.post(f"/studio/hub/downloads/{name}/cancel").status_code == 404
