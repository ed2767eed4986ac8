"""The commands an artist types, run as the artist runs them."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.infotext import parse
from studio.request import GenerationRequest
from tests.running import ROOT, Studio, running

SMALL = {"prompt": "a red boat on the sea", "steps": 2, "width": 64, "height": 64}


def app(*flags: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "app.py", *flags]
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=240, check=False)


def test_help_names_every_setting() -> None:
    from studio.settings import Settings

    text = app("--help").stdout
    for name, field in Settings.model_fields.items():
        assert f"--{(field.alias or name).replace('_', '-')}" in text


def test_schema_describes_every_field_of_a_request() -> None:
    schema = json.loads(app("--schema").stdout)
    assert schema["properties"].keys() == GenerationRequest.model_fields.keys()
    assert all("description" in field for field in schema["properties"].values())


@pytest.mark.parametrize(
    ("flags", "stdin", "complaint"),
    [
        (("--port", "99999"), "", "Port must be at most 65535"),
        (("--once", "-"), "{", "not readable as JSON"),
        (("--once", "-"), "7", "must be an object"),
        (("--once", "nowhere.json"), "", "Cannot read nowhere.json"),
        (("--once", "-"), '{"prompt": ""}', "The prompt is empty"),
        (("--once", "-"), '{"prompt": "x", "width": 100000}', "Width must be at most 4096"),
        (("--once", "-"), '{"prompt": "x", "guidance": NaN}', "Guidance must be a number"),
        (("--once", "-"), '{"prompt": "x", "brush": 3}', "Brush is not a setting"),
        (("--once", "-"), '{"prompt": "x", "model": "nonesuch"}', "nonesuch"),
        (("--once", "-"), '[{"prompt": "x"}, {"prompt": "y", "seed": 1e400}]', "Request 2: Seed"),
        (("--once", "-"), '{"prompt": "x", "init": "missing.png"}', "not a file that can be read"),
        (("--once", "-"), '{"prompt": "x", "init": "app.py"}', "picture"),
    ],
)
def test_bad_input_is_one_sentence_and_an_exit_code(flags: tuple[str, ...], stdin: str, complaint: str) -> None:
    done = app(*flags, stdin=stdin)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_once_draws_every_request_and_says_where_it_is(tmp_path: Path) -> None:
    requests = [{**SMALL, "count": 2, "seed": 5}, {**SMALL, "prompt": "夜の船 🌙", "seed": 2**64 - 1}]
    done = app("--once", "-", "--out", str(tmp_path / "new"), stdin=json.dumps(requests))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["seed"] for line in lines] == [5, 6, 2**64 - 1]
    for line, prompt in zip(lines, [SMALL["prompt"], SMALL["prompt"], "夜の船 🌙"], strict=True):
        with Image.open(line["path"]) as picture:
            assert picture.size == (line["width"], line["height"]) == (64, 64)
            assert isinstance(picture, Image.Image)
            assert picture.info["parameters"] == line["metadata"]
        assert parse(line["metadata"])["Prompt"] == prompt
        assert line["seconds"] > 0


def test_a_picture_named_by_its_path_is_where_drawing_starts(tmp_path: Path) -> None:
    Image.new("RGB", (96, 64), (250, 40, 30)).save(tmp_path / "red.jpg", quality=95)
    (tmp_path / "request.json").write_text(json.dumps({"init": "red.jpg", "strength": 0, "steps": 4}))
    done = app("--once", str(tmp_path / "request.json"), "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    with Image.open(json.loads(done.stdout)["path"]) as picture:
        assert picture.size == (96, 64)
        assert np.abs(np.asarray(picture).mean((0, 1)) - (250, 40, 30)).max() < 3


def test_the_web_process_never_loads_torch_and_a_job_becomes_a_picture(tmp_path: Path) -> None:
    with running(tmp_path) as studio:
        ticket = studio.wait(studio.submit(**SMALL, seed=3))
        assert ticket["state"] == "done"
        first = studio.picture(ticket["pictures"][0])
        maps = Path(f"/proc/{studio.process.pid}/maps")
        if maps.exists():
            assert "libtorch" not in maps.read_text()
    with running(tmp_path) as studio:
        again = studio.wait(studio.submit(**SMALL, seed=3))
        assert _pixels(studio.picture(again["pictures"][0])) == _pixels(first)
        assert studio.picture(ticket["pictures"][0]) == first


def _pixels(png: bytes) -> str:
    with Image.open(io.BytesIO(png)) as picture:
        return hashlib.sha256(picture.tobytes()).hexdigest()


def test_two_studios_do_not_share_a_folder_or_a_port(tmp_path: Path) -> None:
    with running(tmp_path / "one") as studio:
        same_folder = app("--port", "0", "--data-dir", str(tmp_path / "one"))
        assert same_folder.returncode == 2
        assert "Another Pochade is using" in same_folder.stderr
        port = studio.address.rpartition(":")[2]
        same_port = app("--port", port, "--data-dir", str(tmp_path / "two"))
        assert same_port.returncode == 2
        assert f"port {port}" in same_port.stderr


def test_a_data_folder_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = app("--port", "0", "--data-dir", str(tmp_path / "file" / "data"))
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_open_to_the_network_it_is_private(tmp_path: Path) -> None:
    with running(tmp_path, "--host", "0.0.0.0") as studio:
        for path in ("/", "/config", "/studio/pictures", "/studio/events", "/gradio_api/info", "/nonsense"):
            bare = studio.address.partition("/?")[0]
            answer = studio.client.get(bare + path)
            assert (answer.status_code, "mini" in answer.text) == (401, False)
        home, _, key = studio.address.partition("/?key=")
        entered = studio.client.post(f"{home}/studio/enter", data={"key": key})
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        assert studio.client.get(f"{home}/studio/pictures").status_code == 200
        code, log = studio.stop()
    assert (code, key in log) == (0, False)


@pytest.mark.parametrize(
    "flags",
    [("--host", "0.0.0.0"), ("--share",), ("--allowed-host", "studio.example"), ("--root-path", "/pochade")],
)
def test_where_others_could_come_along_it_does_not_start_without_signing_in(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    done = app("--port", "0", "--data-dir", str(tmp_path), "--sign-in", "off", *flags)
    assert done.returncode == 2
    assert "leave out --sign-in off" in done.stderr


def test_a_backup_of_a_running_studio_becomes_the_same_studio(tmp_path: Path) -> None:
    with running(tmp_path / "data") as studio:
        ticket = studio.wait(studio.submit(**SMALL, seed=3))
        picture = studio.picture(ticket["pictures"][0])
        done = app("--data-dir", str(tmp_path / "data"), "--backup", str(tmp_path / "all.zip"))
        assert done.returncode == 0, done.stderr
    done = app("--data-dir", str(tmp_path / "new"), "--restore", str(tmp_path / "all.zip"))
    assert (done.returncode, "files are now in" in done.stdout) == (0, True)
    with running(tmp_path / "new") as again:
        assert again.picture(ticket["pictures"][0]) == picture
        assert again.job(ticket["id"])["state"] == "done"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_ends_quietly_and_the_job_waits_for_the_next_start(tmp_path: Path, how: signal.Signals) -> None:
    studio = Studio(tmp_path)
    job = studio.submit(**{**SMALL, "steps": 150, "count": 16})
    studio.wait(job, "running")
    assert studio.stop(how) == (0, "")
    with running(tmp_path) as again:
        assert again.job(job)["state"] in ("queued", "running")
        again.client.post(f"/studio/jobs/{job}/cancel")
        assert again.wait(job)["state"] == "cancelled"
