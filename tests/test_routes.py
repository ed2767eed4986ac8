"""Every route of the whole app, Gradio's included, asked by everybody there can be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

from studio.access import Scope
from studio.signin import ENTER, LEAVE
from studio.ui import fence
from tests.fakes import until
from tests.private import PrivateStudio, pressed, private_studio

#: Ann drew the picture in question; the owner, another guest, one who may only look, and a stranger ask too.
ASKING: Final = ("ann", "owner", "bob", "viewer", "stranger")
EVERYONE: Final = (200, 200, 200, 200, 401)
HERS: Final = (200, 200, 404, 404, 401)  # hers, and the owner sees everything
HERS_ALONE: Final = (200, 404, 404, 404, 401)
OWNERS: Final = (403, 200, 403, 403, 401)
OWNERS_NOTHING: Final = (403, 404, 403, 403, 401)  # the owner's, and there is no such thing
GOING_ON: Final = (202, 202, 404, 404, 401)
CLOSED: Final = (404, 404, 404, 404, 401)

#: Method and path → what each of `ASKING` is answered. A new route of ours without a row fails the test.
TABLE: Final[dict[tuple[str, str], tuple[int, ...]]] = {
    ("POST", "/studio/jobs"): (202, 202, 202, 403, 401),
    ("GET", "/studio/jobs/{job}"): HERS,
    ("POST", "/studio/jobs/{job}/cancel"): HERS,
    ("POST", "/studio/jobs/{job}/save"): HERS,
    ("GET", "/studio/events"): EVERYONE,
    ("GET", "/studio/status"): EVERYONE,
    ("GET", "/studio/pictures"): EVERYONE,
    ("GET", "/studio/words"): EVERYONE,
    ("GET", "/studio/surprise"): EVERYONE,
    ("GET", "/studio/negatives"): EVERYONE,
    ("POST", "/studio/prompt-help"): EVERYONE,
    ("POST", "/studio/xray"): (202, 202, 202, 403, 401),
    ("GET", "/studio/xray"): HERS_ALONE,
    ("GET", "/studio/styles"): EVERYONE,
    ("GET", "/studio/styles/sample"): CLOSED,  # of a style there is none of
    ("POST", "/studio/styles"): (403, 200, 403, 403, 401),
    ("GET", "/studio/presets"): EVERYONE,
    ("POST", "/studio/presets"): (201, 201, 201, 201, 401),
    ("POST", "/studio/presets/{preset}/rename"): CLOSED,  # of a preset there is none of
    ("POST", "/studio/presets/{preset}/remove"): CLOSED,
    ("GET", "/studio/facets"): EVERYONE,
    ("GET", "/studio/pictures/{picture}"): HERS,
    ("GET", "/studio/pictures/{picture}/file"): HERS,
    ("GET", "/studio/pictures/{picture}/thumb"): HERS,
    ("GET", "/studio/pictures/{picture}/inputs/{field}"): HERS,
    ("GET", "/studio/pictures/{picture}/film"): CLOSED,  # this one has none
    ("POST", "/studio/pictures/{picture}/favourite"): HERS_ALONE,
    ("POST", "/studio/pictures/{picture}/trash"): HERS,
    ("POST", "/studio/pictures/{picture}/restore"): HERS,
    ("POST", "/studio/pictures/{picture}/variation"): GOING_ON,
    ("POST", "/studio/pictures/{picture}/pan"): GOING_ON,
    ("POST", "/studio/pictures/{picture}/zoom"): GOING_ON,
    ("GET", "/studio/pictures/{picture}/shown"): HERS,
    ("POST", "/studio/pictures/{picture}/show"): HERS,
    ("GET", "/studio/rules"): EVERYONE,
    ("POST", "/studio/rules"): OWNERS,
    ("POST", "/studio/verify"): (415, 415, 415, 415, 401),  # no picture is sent
    ("GET", "/studio/upkeep"): OWNERS,
    ("POST", "/studio/upkeep/tidy"): OWNERS,
    ("POST", "/studio/gallery/rebuild"): OWNERS,
    ("GET", "/studio/me"): EVERYONE,
    ("POST", "/studio/me/password"): EVERYONE,
    ("GET", "/studio/sessions"): EVERYONE,
    ("POST", "/studio/sessions/{session}/end"): HERS,
    ("GET", "/studio/people"): OWNERS,
    ("POST", "/studio/people/{person}/revoke"): OWNERS,
    ("GET", "/studio/invitations"): OWNERS,
    ("POST", "/studio/invitations"): (403, 201, 403, 403, 401),
    ("POST", "/studio/invitations/{invitation}/revoke"): OWNERS,
    ("GET", "/studio/shown"): EVERYONE,
    ("GET", "/studio/queue"): OWNERS,
    ("POST", "/studio/queue/pause"): OWNERS,
    ("POST", "/studio/queue/order"): OWNERS,
    ("POST", "/studio/queue/clear"): OWNERS,
    ("GET", "/studio/disk"): OWNERS,
    ("GET", "/studio/engine"): EVERYONE,
    ("POST", "/studio/engine/prepare"): (202, 202, 202, 403, 401),
    ("POST", "/studio/engine/unload"): (403, 202, 403, 403, 401),
    ("POST", "/studio/engine/pin"): (403, 202, 403, 403, 401),
    ("POST", "/studio/engine/mode"): (403, 202, 403, 403, 401),
    ("GET", "/studio/models"): EVERYONE,
    ("GET", "/studio/models/revision"): EVERYONE,
    ("GET", "/studio/models/entry"): CLOSED,  # of a model there is none of
    ("GET", "/studio/models/preview"): CLOSED,
    ("POST", "/studio/models/refresh"): OWNERS,
    ("POST", "/studio/models/default"): OWNERS_NOTHING,
    ("POST", "/studio/models/note"): OWNERS_NOTHING,
    ("POST", "/studio/models/trash"): OWNERS_NOTHING,
    ("POST", "/studio/models/restore"): OWNERS_NOTHING,
    ("GET", "/studio/models/likes"): EVERYONE,
    ("GET", "/studio/annotators"): EVERYONE,
    ("GET", "/studio/controlnets"): EVERYONE,
    ("POST", "/studio/maps"): (200, 200, 200, 403, 401),
    ("GET", "/studio/poses"): EVERYONE,
    ("GET", "/studio/poses/{key}/picture"): CLOSED,  # of a pose there is none of
    ("POST", "/studio/poses"): (422, 422, 422, 403, 401),  # of what is no pose
    ("POST", "/studio/poses/found"): (415, 415, 415, 403, 401),  # no picture is sent
    ("POST", "/studio/poses/openpose"): (200, 200, 200, 403, 401),
    ("POST", "/studio/sketches"): (415, 415, 415, 403, 401),  # no picture is sent
    ("GET", "/studio/hub/known"): OWNERS,
    ("GET", "/studio/hub/offer"): (403, 422, 403, 403, 401),  # of what is no name
    ("GET", "/studio/hub/downloads"): OWNERS,
    ("POST", "/studio/hub/downloads"): (403, 422, 403, 403, 401),  # of what was not looked at
    ("POST", "/studio/hub/downloads/{download}/resume"): OWNERS_NOTHING,
    ("POST", "/studio/hub/downloads/{download}/cancel"): OWNERS_NOTHING,
    ("GET", "/studio/tokens"): EVERYONE,
    ("POST", "/studio/tokens"): EVERYONE,
    ("GET", "/studio/wildcards"): EVERYONE,
    ("POST", "/studio/read-picture"): (415, 415, 415, 415, 401),  # of what is no picture
    ("POST", "/studio/pictures/{picture}/again"): (202, 404, 404, 404, 401),
    ("GET", "/studio/pictures/{picture}/receipt"): HERS_ALONE,
    ("GET", "/healthz"): (200, 200, 200, 200, 200),
    ("GET", "/metrics"): OWNERS,
    # Gradio's, as far as the page needs them; what else it has is closed to everybody, see below.
    ("GET", "/"): EVERYONE,
    ("HEAD", "/"): EVERYONE,
    ("GET", "/config"): EVERYONE,
    ("GET", "/theme.css"): EVERYONE,
    ("GET", "/favicon.ico"): EVERYONE,
    ("GET", "/manifest.json"): EVERYONE,
    ("GET", "/robots.txt"): EVERYONE,
    ("GET", "/static/{path:path}"): CLOSED,  # of a file there is none of
    ("GET", "/assets/{path:path}"): CLOSED,
    ("GET", "/page/{digest}/{name}"): CLOSED,
    ("HEAD", "/page/{digest}/{name}"): CLOSED,
    ("POST", "/gradio_api/run/{api_name}"): EVERYONE,  # Generate; what it answers is looked at below
}
QUERIES: Final = {
    "/studio/models/entry": "?id=nothing",
    "/studio/models/preview": "?id=nothing",
    "/studio/hub/offer": "?model=%20",
    "/studio/styles/sample": "?name=nothing",
    "/studio/xray": "?base={picture}&other={picture}",
    "/studio/pictures/{picture}/receipt": "?again={picture}",
}
BODIES: Final[dict[str, object]] = {
    "/studio/engine/prepare": {"model": None},
    "/studio/engine/unload": {"model": "mini"},
    "/studio/engine/pin": {"model": "mini", "on": False},
    "/studio/engine/mode": {"model": "mini", "mode": "auto"},
    "/studio/maps": {"unit": {"pose": {"people": [], "width": 64, "height": 64}}, "width": 64, "height": 64},
    "/studio/models/default": {"id": "nothing"},
    "/studio/prompt-help": {"text": "a heron"},
    "/studio/xray": {"prompt": "a heron", "width": 64, "height": 64, "steps": 1},
    "/studio/styles": {"name": "Wash", "prompt": "{prompt}, in ink"},
    "/studio/presets": {"name": "Mine", "values": {}},
    "/studio/presets/{preset}/rename": {"name": "Yours"},
    "/studio/models/note": {"id": "nothing", "text": ""},
    "/studio/models/trash": {"id": "nothing"},
    "/studio/tokens": {"prompt": "a heron"},
    "/studio/models/restore": {"id": "nothing"},
    "/studio/hub/downloads": {"model": "no/such", "revision": "0" * 40},
    "/studio/jobs": {"prompt": "a heron", "width": 64, "height": 64, "steps": 2},
    "/studio/pictures/{picture}/favourite": {"on": True},
    "/studio/pictures/{picture}/variation": {"how": "strong"},
    "/studio/pictures/{picture}/pan": {"across": 8},
    "/studio/pictures/{picture}/zoom": {"factor": 2},
    "/studio/pictures/{picture}/show": {"on": False},
    "/studio/invitations": {"name": "Eve"},
    "/studio/rules": {},
    "/studio/queue/pause": {"on": False},
    "/studio/queue/order": {"jobs": []},
    "/studio/queue/clear": {},
    "/studio/poses/openpose": {"people": [], "width": 64, "height": 64},
}


@dataclass
class Asking:
    studio: PrivateStudio
    clients: dict[str, httpx.Client]
    picture: str
    job: str
    ann: str

    def fresh(self, path: str) -> str:
        """The path with real things of ann's in it, new ones where asking may use them up."""
        things = {"picture": self.picture, "job": self.job, "field": "init", "kind": "webp", "api_name": "predict"}
        if "{session}" in path:
            _, key = self.studio.people.invite("Ann", Scope.GENERATE, person=self.ann)
            entry = self.studio.people.enter(key)
            assert entry is not None
            things["session"] = entry.session.id
        if "{person}" in path or "{invitation}" in path:
            invitation, _ = self.studio.people.invite("Eve", Scope.GENERATE)
            assert invitation.person is not None
            things |= {"person": invitation.person, "invitation": invitation.id}
        asked = path + QUERIES.get(path, "")
        return re.sub(r"{(\w+)(:\w+)?}", lambda named: things.get(named[1], "nothing"), asked)

    def body(self, who: str, path: str) -> object:
        if path == "/studio/me/password":
            return {"name": who, "password": "long enough"}
        if path == "/gradio_api/run/{api_name}":
            return pressed(self.clients["ann"])
        return BODIES.get(path)

    def status(self, who: str, method: str, path: str, body: object = None) -> int:
        with self.clients[who].stream(method, path, json=body) as answer:  # some answers never end
            return answer.status_code


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    with private_studio(tmp_path_factory.mktemp("routes")) as studio, ExitStack() as stack:
        _, group = studio.people.invite("Ann", Scope.GENERATE)
        clients = {
            "ann": studio.enter(group),
            "owner": studio.owner(),
            "bob": studio.guest("Bob"),
            "viewer": studio.guest("Eva", Scope.VIEW),
            "remixer": studio.guest("Rem", Scope.REMIX),
            "stranger": studio.stranger(),
        }
        for client in clients.values():
            stack.callback(client.close)
        first = studio.drawn(clients["ann"])["pictures"][0]
        made = clients["ann"].post(f"/studio/pictures/{first}/variation", json={"how": "subtle"}).json()["id"]
        until(lambda: clients["ann"].get(f"/studio/jobs/{made}").json()["state"] == "done")
        ticket = clients["ann"].get(f"/studio/jobs/{made}").json()
        yield Asking(studio, clients, ticket["pictures"][0], made, clients["ann"].get("/studio/me").json()["id"])


def every_route(studio: PrivateStudio) -> set[tuple[str, str]]:
    app: Any = studio.gate
    while hasattr(app, "app"):
        app = app.app
    return set(_walked(app.routes))


def _walked(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        if hasattr(route, "effective_candidates"):
            yield from _walked(route.effective_candidates(), prefix)
        elif getattr(route, "methods", None):
            for method in route.methods:
                yield method, prefix + route.path
        else:
            assert hasattr(route, "routes"), f"a kind of route this test does not know: {route}"
            yield from _walked(route.routes, prefix + getattr(route, "path", ""))


def is_ours(path: str) -> bool:
    return path.startswith(("/studio", "/healthz", "/metrics", "/page"))


def test_every_route_is_in_the_table_or_closed_to_everybody(asking: Asking) -> None:
    routes = every_route(asking.studio)
    assert len(routes) > 100, "Gradio's are among them"
    missing = {route for route in routes - TABLE.keys() if is_ours(route[1])}
    assert not missing, "new routes need a row: who may use them?"
    assert TABLE.keys() <= routes, "rows of routes that are gone"
    for method, path in sorted(routes - TABLE.keys()):
        asked = asking.fresh(path)
        statuses = tuple(asking.status(who, method, asked, {}) for who in ASKING)
        assert statuses == CLOSED, (method, path)


@pytest.mark.parametrize(("method", "path"), list(TABLE))
def test_everybody_gets_what_is_theirs(asking: Asking, method: str, path: str) -> None:
    statuses = tuple(asking.status(who, method, asking.fresh(path), asking.body(who, path)) for who in ASKING)
    assert statuses == TABLE[method, path], ASKING


def test_a_picture_shown_can_be_seen_and_remixed_but_not_changed(asking: Asking) -> None:
    ann, viewer, remixer = (asking.clients[who] for who in ("ann", "viewer", "remixer"))
    picture = f"/studio/pictures/{asking.picture}"
    assert viewer.get("/studio/shown").json()["items"] == []
    ann.post(f"{picture}/show", json={"on": True})
    assert [item["id"] for item in viewer.get("/studio/shown").json()["items"]] == [asking.picture]
    for part in ("", "/file", "/thumb"):
        assert asking.status("viewer", "GET", picture + part) == 200
    assert asking.status("viewer", "GET", f"{picture}/inputs/init") == 404, "that was not shown"
    assert asking.status("stranger", "GET", f"{picture}/file") == 401
    for part in ("favourite", "trash", "restore", "show"):
        body = BODIES.get(f"/studio/pictures/{{picture}}/{part}")
        assert asking.status("bob", "POST", f"{picture}/{part}", body) == 404
    assert asking.status("viewer", "POST", f"{picture}/variation", {"how": "strong"}) == 403
    assert asking.status("remixer", "POST", f"{picture}/variation", {"how": "strong"}) == 202
    refused = remixer.post("/studio/jobs", json={"prompt": "my own"})
    assert (refused.status_code, "vary pictures" in refused.json()["error"]) == (403, True)
    ann.post(f"{picture}/trash")
    assert asking.status("viewer", "GET", f"{picture}/file") == 404
    ann.post(f"{picture}/restore")
    ann.post(f"{picture}/show", json={"on": False})
    assert asking.status("viewer", "GET", f"{picture}/file") == 404


def test_whoever_is_shown_a_picture_is_told_its_prompt_only_if_asked(asking: Asking) -> None:
    ann, viewer = asking.clients["ann"], asking.clients["viewer"]
    picture = f"/studio/pictures/{asking.picture}"

    def told() -> str:
        listed = next(item for item in viewer.get("/studio/shown").json()["items"] if item["id"] == asking.picture)
        return f"{listed}{viewer.get(picture).json()}{viewer.get(f'{picture}/file').content!r}"

    ann.post(f"{picture}/show", json={"on": True})
    assert "heron" not in told()
    assert "heron" in f"{ann.get(picture).json()}"
    assert b"heron" in ann.get(f"{picture}/file").content
    assert b"heron" not in ann.get(f"{picture}/file?quiet=1").content
    ann.post(f"{picture}/show", json={"on": True, "prompt": True})
    assert "heron" in told()
    assert asking.status("viewer", "GET", f"{picture}/inputs/init") == 200
    assert ann.get(f"{picture}/shown").json()["choices"][0] == {
        "id": "*",
        "name": "Everyone who comes in",
        "on": True,
        "prompt": True,
    }
    ann.post(f"{picture}/show", json={"on": False})


def test_the_owner_lists_everybodys_pictures_and_others_only_their_own(asking: Asking) -> None:
    owner, bob = asking.clients["owner"], asking.clients["bob"]
    assert asking.picture in [item["id"] for item in owner.get("/studio/pictures", params={"of": "*"}).json()["items"]]
    assert asking.picture in [
        item["id"] for item in owner.get("/studio/pictures", params={"of": asking.ann}).json()["items"]
    ]
    assert asking.picture not in [item["id"] for item in owner.get("/studio/pictures").json()["items"]]
    for of in ("*", asking.ann, "owner"):
        assert bob.get("/studio/pictures", params={"of": of}).status_code == 403
    assert bob.get("/studio/people").json() == {"error": "Only the studio's owner can do that."}


def test_the_pages_own_events_obey_the_scopes_too(asking: Asking) -> None:
    """Generate is an event of Gradio's; it goes through the same door as `POST /studio/jobs`."""
    for who, refused in (("viewer", True), ("bob", False)):
        answer = asking.clients[who].post("/gradio_api/run/predict", json=pressed(asking.clients[who]))
        assert answer.status_code == 200, answer.text
        told = answer.json()["data"][0]
        assert ("look, not draw" in str(told)) is refused, told


@pytest.mark.parametrize("path", [ENTER, LEAVE])
def test_the_doors_themselves_let_nobody_in_unasked(asking: Asking, path: str) -> None:
    with asking.studio.stranger() as stranger:
        assert stranger.post(path).status_code == 401
        assert stranger.get("/studio/me").status_code == 401


def test_the_fence_opens_nothing_by_spelling_it_differently() -> None:
    for path in (
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/run/predict/",
        "/gradio_api//run/predict",
        "//gradio_api/upload",
        "/assets/../gradio_api/upload",
        "/static/..",
        "/page/../config",
        "/studiox",
        "/Config",
    ):
        assert not fence.is_open("GET", path), path
        assert not fence.is_open("POST", path), path
    assert not fence.is_open("POST", "/")
    assert not fence.is_open("OPTIONS", "/studio/jobs")
