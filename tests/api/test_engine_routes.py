from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient

from studio.api import engine, house
from studio.engine import Held, Memory, State, Status
from studio.errors import NotFound
from studio.request import Defaults, ModelSpec

SPEC = ModelSpec("xl", "XL", Path("xl"), "sdxl", 1, "", "", Defaults())
LACKS = "The mode “sdnq” needs the Python package sdnq; install it and start the studio anew."


class Keeper:
    def __init__(self) -> None:
        self.wishes: list[tuple[object, ...]] = []

    @property
    def status(self) -> Status:
        held = Held("xl", "XL", "idle", "offload", 2_000_000_000, 7_000_000_000, pinned=True)
        memory = Memory(
            2_000_000_000,
            8_000_000_000,
            7_000_000_000,
            16_000_000_000,
            7_000_000_000,
            (held,),
            ("whole", "offload"),
            missing=(("sdnq", LACKS),),
        )
        return Status(State.READY, "Ready.", "A card", "XL", "offload", memory)

    def prepare(self, model: str | None) -> None:
        self.wishes.append(("prepare", model))

    def unload(self, model: str) -> None:
        self.wishes.append(("unload", model))

    def pin(self, model: str, on: bool) -> None:
        self.wishes.append(("pin", model, on))

    def run_in(self, model: str, mode: str) -> None:
        self.wishes.append(("run_in", model, mode))

    def kept(self, model: str, mode: str) -> None:
        self.wishes.append(("kept", model, mode))


def find(key: str) -> ModelSpec:
    if key != "xl":
        raise NotFound(f"There is no model “{key}”; choose one of xl.")
    return SPEC


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def client(keeper: Keeper) -> TestClient:
    def person(request: Request) -> str:
        return request.headers.get("x-person", "owner")

    app = FastAPI()
    house.install(app, APIRouter())
    app.include_router(engine.router(keeper, person, find, keeper.kept))
    return TestClient(app)


def test_what_is_in_memory_is_told_in_bytes(client: TestClient) -> None:
    told = client.get("/studio/engine").json()
    assert (told["state"], told["model"], told["mode"]) == ("ready", "XL", "offload")
    assert told["memory"] == {
        "card": 2_000_000_000,
        "card_budget": 8_000_000_000,
        "host": 7_000_000_000,
        "host_budget": 16_000_000_000,
        "host_locked": 7_000_000_000,
        "models": [
            {
                "key": "xl",
                "title": "XL",
                "state": "idle",
                "mode": "offload",
                "card": 2_000_000_000,
                "host": 7_000_000_000,
                "pinned": True,
            }
        ],
        "modes": ["whole", "offload"],
        "missing": [["sdnq", LACKS]],
    }


def test_wishes_reach_the_engine(client: TestClient, keeper: Keeper) -> None:
    for path, wish in (
        ("prepare", {"model": "xl"}),
        ("prepare", {"model": None}),
        ("unload", {"model": "xl"}),
        ("pin", {"model": "xl", "on": True}),
        ("mode", {"model": "xl", "mode": "offload"}),
        ("mode", {"model": "xl", "mode": "auto"}),
    ):
        answer = client.post(f"/studio/engine/{path}", json=wish)
        assert (answer.status_code, answer.json()) == (202, wish)
    told = [("kept", "xl", "offload"), ("run_in", "xl", "offload"), ("kept", "xl", "auto"), ("run_in", "xl", "auto")]
    assert keeper.wishes == [("prepare", "xl"), ("prepare", None), ("unload", "xl"), ("pin", "xl", True), *told]


def test_a_mode_that_lacks_something_is_refused_with_what_it_lacks(client: TestClient, keeper: Keeper) -> None:
    answer = client.post("/studio/engine/mode", json={"model": "xl", "mode": "sdnq"})
    assert (answer.status_code, answer.json()["error"], keeper.wishes) == (422, LACKS, [])


def test_guests_may_choose_a_model_and_not_what_stays_in_memory(client: TestClient, keeper: Keeper) -> None:
    guest = {"x-person": "somebody"}
    assert client.post("/studio/engine/prepare", json={"model": "xl"}, headers=guest).status_code == 202
    for path, wish in (
        ("unload", {"model": "xl"}),
        ("pin", {"model": "xl", "on": True}),
        ("mode", {"model": "xl", "mode": "whole"}),
    ):
        answer = client.post(f"/studio/engine/{path}", json=wish, headers=guest)
        assert (answer.status_code, answer.json()) == (
            403,
            {"error": "Only the studio's owner decides what stays in memory."},
        )
    assert keeper.wishes == [("prepare", "xl")]


@pytest.mark.parametrize(
    ("path", "wish", "status"),
    [
        ("prepare", {"model": "other"}, 404),
        ("pin", {"model": "other", "on": True}, 404),
        ("pin", {"model": "xl", "on": "yes"}, 422),
        ("mode", {"model": "xl", "mode": "groups"}, 422),
        ("mode", {"model": "other", "mode": "whole"}, 404),
        ("prepare", {}, 422),
        ("unload", {"model": "x" * 401}, 422),
        ("unload", {"model": "x" * 5000}, 413),
    ],
)
def test_a_wish_that_cannot_be_is_refused_in_a_sentence(
    client: TestClient, keeper: Keeper, path: str, wish: dict[str, object], status: int
) -> None:
    answer = client.post(f"/studio/engine/{path}", json=wish)
    assert answer.status_code == status
    assert answer.json()["error"].endswith(".")
    assert keeper.wishes == []
