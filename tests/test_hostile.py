"""What an attacker sends, and what they get: each row of the threats as an actual input to the whole studio."""

from __future__ import annotations

import base64
import io
import json
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.private import PrivateStudio, private_studio

HF_TOKEN = "hf_ThisIsNobodysBusiness1234567890"


class _Bomb:
    """A pickle that leaves a mark when it is opened."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self._marker,)


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outside") / "opened"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, marker: Path) -> Iterator[PrivateStudio]:
    folder = tmp_path_factory.mktemp("hostile")
    models = folder / "models"
    models.mkdir()
    for name in ("evil.ckpt", "evil.safetensors", "evil.bin", "evil.pt"):
        (models / name).write_bytes(pickle.dumps(_Bomb(marker)))
    (marker.parent / "secret.safetensors").write_bytes(b"outside")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", HF_TOKEN)
        with private_studio(folder, models_dir=(models,)) as studio:
            yield studio


@pytest.fixture(scope="module")
def guest(studio: PrivateStudio) -> Iterator[httpx.Client]:
    client = studio.guest("Mallory")
    yield client
    client.close()


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> str:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return as_url(file.getvalue())


def as_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def ask(guest: httpx.Client, **wish: object) -> httpx.Response:
    return guest.post("/studio/jobs", json={"prompt": "a heron", "width": 64, "height": 64, "steps": 2, **wish})


def assert_refused(answer: httpx.Response, status: int | tuple[int, ...], words: str = "") -> None:
    """With one plain sentence, and nothing about the inside."""
    statuses = (status,) if isinstance(status, int) else status
    assert answer.status_code in statuses, answer.text[:300]
    told = answer.json()["error"]
    assert words in told
    assert "Traceback" not in told
    assert "/studio/" not in told
    assert len(told) < 400


def test_weights_that_run_code_are_never_opened(guest: httpx.Client, marker: Path) -> None:
    listed = guest.get("/studio/models", params={"limit": 200}).json()["items"]
    usable = {item["key"] for item in listed if not item["refused"]}
    assert not any("evil" in key for key in usable)
    for name in ("evil", "evil.ckpt", "evil.safetensors", "../outside/secret"):
        assert_refused(ask(guest, model=name), (404, 422))
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/secret",
        "..\\..\\x",
        "..%5c..%5cx",
        "C:x",
        "%00",
        "a%00.png",
        "~root",
    ],
)
@pytest.mark.parametrize(
    "route", ["/studio/pictures/{}/file", "/studio/pictures/{}", "/studio/jobs/{}", "/page/{}/x.js"]
)
def test_a_name_that_climbs_is_like_one_that_does_not_exist(guest: httpx.Client, route: str, name: str) -> None:
    climbing = guest.get(route.format(name))
    assert climbing.status_code == guest.get(route.format("nothing")).status_code == 404
    assert len(climbing.content) < 200


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=data/people.sqlite3",
        "/gradio_api/file=http://169.254.169.254/latest/meta-data/",
        "/gradio_api/proxy=http://169.254.169.254/",
        "/gradio_api/upload_progress?upload_id=x",
        "/gradio_api/queue/data?session_hash=x",
        "/gradio_api/heartbeat/x",
        "/gradio_api/info",
        "/gradio_api/startup-events",
        "/monitoring/summary",
        "/openapi.json",
        "/docs",
        "/static/../people.sqlite3",
        "/assets/%2e%2e/%2e%2e/app.py",
        "/.env",
    ],
)
def test_gradios_back_doors_are_not_there(guest: httpx.Client, path: str) -> None:
    assert guest.get(path).status_code == 404


def test_nothing_can_be_uploaded_to_gradio(guest: httpx.Client) -> None:
    answer = guest.post("/gradio_api/upload", files={"files": ("x.html", b"<script>alert(1)</script>", "text/html")})
    assert answer.status_code == 404
    for path in ("/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset", "/gradio_api/component_server"):
        assert guest.post(path, json={"session_hash": "x", "data": [], "fn_index": 0}).status_code == 404


@pytest.mark.parametrize(
    "prompt",
    [
        "<lora:../../outside/secret:1>",
        "<lora:/etc/passwd:1>",
        "<lora:..\\..\\x:1>",
        "__../../../etc/passwd__",
        "__/etc/*__",
    ],
)
def test_names_in_a_prompt_are_looked_up_never_opened(guest: httpx.Client, prompt: str) -> None:
    answer = ask(guest, prompt=prompt)
    assert b"root:" not in answer.content
    if answer.status_code == 202:  # text that means nothing stays text
        assert guest.get(f"/studio/jobs/{answer.json()['id']}").json()["request"]["prompt"] == prompt
    else:
        assert_refused(answer, (404, 422))


@pytest.mark.parametrize(
    "source",
    [
        "http://169.254.169.254/",
        "http://[::1]/",
        "file:///etc/passwd",
        "/etc/passwd",
        "ftp://x/y",
        "data:text/html,x",
        "",
    ],
)
def test_a_picture_is_sent_never_fetched(guest: httpx.Client, source: str) -> None:
    assert_refused(ask(guest, init=source), (415, 422))


def test_a_picture_that_swells_is_refused_before_it_does(guest: httpx.Client) -> None:
    bomb = encoded(Image.new("1", (13_300, 13_300)), optimize=True)
    assert len(bomb) < 60_000
    began = time.process_time()
    assert_refused(ask(guest, init=bomb), 413)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "data",
    [
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"<html><script>alert(1)</script></html>",
        b"%PDF-1.7",
        b"8BPS" + bytes(100),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        pickle.dumps({}),
    ],
)
def test_what_is_no_picture_of_a_known_kind_is_refused(guest: httpx.Client, data: bytes) -> None:
    assert_refused(ask(guest, init=as_url(data)), (415, 422))


def test_where_a_photograph_was_taken_is_forgotten(studio: PrivateStudio, guest: httpx.Client) -> None:
    exif = Image.Exif()
    exif[0x010E] = "at home"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    photograph = encoded(Image.new("RGB", (96, 64), "green"), "JPEG", exif=exif)
    assert b"Exif" in base64.b64decode(photograph.partition(",")[2])
    made = studio.drawn(guest, init=photograph, strength=0.5)
    picture = made["pictures"][0]
    for part in ("file", "thumb", "inputs/init"):
        content = guest.get(f"/studio/pictures/{picture}/{part}").content
        for trace in (b"Exif", b"eXIf", b"at home", b"GPS"):
            assert trace not in content, part


XSS = "<img src=x onerror=alert(1)>\"'></script><script>alert(2)</script>"


def test_markup_in_a_prompt_stays_text_in_every_answer(studio: PrivateStudio, guest: httpx.Client) -> None:
    made = studio.drawn(guest, prompt=XSS, negative=XSS)
    picture = made["pictures"][0]
    for path in (f"/studio/jobs/{made['id']}", f"/studio/pictures/{picture}", "/studio/pictures", "/studio/facets"):
        answer = guest.get(path)
        assert answer.headers["content-type"].startswith("application/json")
        assert answer.headers["x-content-type-options"] == "nosniff"
    file = guest.get(f"/studio/pictures/{picture}/file")
    assert file.headers["content-type"] == "image/png"
    assert "<" not in file.headers["content-disposition"]
    assert XSS in guest.get(f"/studio/pictures/{picture}").json()["prompt"]


@pytest.mark.parametrize(
    "prompt",
    [
        "a" * 20_000,
        " " * 20_000,
        "(" * 20_000,
        "[a:" * 6_600,
        "<a:" * 6_600,
        "{a|" * 6_600,
        "__" * 10_000,
        "\\" * 20_000,
    ],
)
def test_a_prompt_made_to_stall_does_not(guest: httpx.Client, prompt: str) -> None:
    began = time.process_time()
    answer = ask(guest, prompt=prompt)
    assert time.process_time() - began < 2
    assert answer.status_code in (202, 422, 429)
    if answer.status_code == 202:
        guest.post(f"/studio/jobs/{answer.json()['id']}/cancel")


@pytest.mark.parametrize(
    "wish",
    [
        '{"prompt": "x", "width": 1000000000}',
        '{"prompt": "x", "count": 1000000}',
        '{"prompt": "x", "steps": -1}',
        '{"prompt": "x", "guidance": NaN}',
        '{"prompt": "x", "guidance": 1e999}',
        '{"prompt": "x", "seed": 1e30}',
        '{"prompt": "x", "width": "64; rm -rf"}',
        '{"prompt": {"$ne": 1}}',
        '{"prompt": "x", "__proto__": {"owner": "owner"}}',
        '{"prompt": "x", "owner": "owner"}',
        "[" * 100_000,
        '{"a":' * 50_000,
        '"' + "\\ud800" + '"',
        "\x00",
    ],
)
def test_an_impossible_wish_is_refused_at_once(studio: PrivateStudio, guest: httpx.Client, wish: str) -> None:
    before, began = studio.engine.asked, time.process_time()
    answer = guest.post("/studio/jobs", content=wish, headers={"content-type": "application/json"})
    assert_refused(answer, 422)
    assert time.process_time() - began < 2
    assert studio.engine.asked == before


def test_another_page_can_neither_act_nor_read(studio: PrivateStudio, guest: httpx.Client) -> None:
    wish = {"prompt": "x"}
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": studio.address + ".evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        assert_refused(guest.post("/studio/jobs", json=wish, headers=headers), 403, "Another web page")
        form = guest.post("/studio/enter", data={"key": "x"}, headers=headers)
        assert (form.status_code, "set-cookie" in form.headers) == (403, False)
    for host in (
        "evil.example",
        "127.0.0.1.evil.example",
        "evil.example:7860",
        "user@127.0.0.1",
        "127.0.0.1, evil.example",
    ):
        assert guest.get("/studio/me", headers={"host": host}).status_code in (400, 403)
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for path in ("/studio/jobs", "/gradio_api/run/predict", "/"):
        preflight = guest.options(path, headers=asked)
        assert preflight.status_code >= 400
        assert not [name for name in preflight.headers if name.startswith("access-control")]
        got = guest.get(path, headers={"origin": "https://evil.example"})
        assert not [name for name in got.headers if name.startswith("access-control")]


def test_a_body_without_end_is_cut_off(guest: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(70):
            yield b" " * 2**20

    assert_refused(guest.post("/studio/jobs", content=endless()), 413)


def test_no_secret_of_the_machine_is_on_the_page(studio: PrivateStudio, guest: httpx.Client) -> None:
    with studio.stranger() as stranger:
        for client in (guest, stranger):
            for path in (
                "/",
                "/config",
                "/studio/me",
                "/studio/models",
                "/studio/status",
                "/studio/engine",
                "/nothing",
            ):
                answer = client.get(path, headers={"accept": "text/html"})
                assert HF_TOKEN not in answer.text
                assert str(Path.home()) not in answer.text or str(Path.home()) == "/"
                assert "Traceback" not in answer.text


def test_what_a_stranger_learns_is_that_the_studio_is_private(studio: PrivateStudio) -> None:
    with studio.stranger() as stranger:
        told = {
            (answer.status_code, answer.content)
            for path in (
                "/config",
                "/studio/models",
                "/studio/me",
                "/gradio_api/info",
                "/page/x/y",
                "/nothing",
                "/metrics",
            )
            for answer in (stranger.get(path), stranger.post(path, json={}))
        }
    assert len(told) == 1, "the same answer whatever is asked for"
    ((status, content),) = told
    assert status == 401
    assert json.loads(content) == {"error": "This studio is private. Open it with the link you were given."}
