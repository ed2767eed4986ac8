"""Help with prompts: by rules, and by a language model that a small server of ours plays."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from studio.catalog import Catalog
from studio.errors import BadRequest
from studio.presets import Presets
from studio.prompt_help import MAX_TEXT, Endpoint, HelpFailed, Rules, checked
from studio.settings import EMBEDDED, PRESETS
from studio.vocabulary import Vocabulary

MINI = Catalog(EMBEDDED).find(None)


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    return Rules(Vocabulary(PRESETS, tmp_path, Presets(PRESETS, tmp_path)))


def test_rules_keep_what_is_said_and_add_what_is_left_open(rules: Rules) -> None:
    text = "a red boat <lora:ink:0.8>"
    proposed = rules.rewrite(text, MINI, 0)
    assert proposed.startswith(f"{text}, ")
    assert proposed.count(",") == 3
    assert rules.rewrite(text, MINI, 0) == proposed
    assert len({rules.rewrite(text, MINI, turn) for turn in range(8)}) > 4


def test_rules_add_nothing_that_is_said_already(rules: Rules) -> None:
    full = "a red boat on the sea, at night, watercolor"
    assert rules.rewrite(full, MINI, 0) == full
    assert "pixel art" not in rules.rewrite("A boat, Watercolor", MINI, 3)


@dataclass
class Fake:
    """A server that speaks OpenAI's chat completions; `answer` says what."""

    address: str = ""
    answer: Callable[[dict[str, Any]], tuple[int, bytes]] = lambda asked: (200, b"")
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)

    def says(self, content: object, status: int = 200) -> None:
        told = {"choices": [{"message": {"role": "assistant", "content": content}}]}
        self.answer = lambda asked: (status, json.dumps(told).encode())


@pytest.fixture
def fake() -> Iterator[Fake]:
    played = Fake()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            played.asked.append((self.path, dict(self.headers), asked))
            status, content = played.answer(asked)
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    played.address = f"http://127.0.0.1:{server.server_port}/v1"
    yield played
    server.shutdown()
    server.server_close()


def test_a_language_model_is_asked_and_its_prompt_taken_out_of_the_chatter(fake: Fake) -> None:
    fake.says('<think>hm</think>\nPrompt: a red boat at dawn,\u0000 "calm"')
    helper = Endpoint(fake.address + "/", "small-model", "secret")
    assert helper.rewrite("a boat <lora:ink:0.8>", MINI, 3) == 'a red boat at dawn, "calm" <lora:ink:0.8>'
    path, headers, asked = fake.asked[0]
    assert (path, headers["Authorization"], asked["model"]) == ("/v1/chat/completions", "Bearer secret", "small-model")
    assert asked["messages"][1] == {"role": "user", "content": "a boat <lora:ink:0.8>"}
    assert "commas" in asked["messages"][0]["content"]


def test_one_in_quotation_marks_is_taken_out_of_them(fake: Fake) -> None:
    fake.says('"a red boat"')
    assert Endpoint(fake.address, "").rewrite("boat", MINI, 0) == "a red boat"


@pytest.mark.parametrize("content", [None, "", 7, ["x"], {"a": 1}, "   "])
def test_an_answer_without_a_prompt_is_no_prompt(fake: Fake, content: object) -> None:
    fake.says(content)
    with pytest.raises(HelpFailed, match="gave no prompt"):
        Endpoint(fake.address, "m").rewrite("boat", MINI, 0)


@pytest.mark.parametrize(
    ("status", "content", "reason"),
    [(401, b"{}", r"refused \(401\)"), (200, b"<html>", "no prompt"), (200, b"x" * (2**20 + 1), "more than")],
)
def test_a_server_that_behaves_badly_is_told_of(fake: Fake, status: int, content: bytes, reason: str) -> None:
    fake.answer = lambda asked: (status, content)
    with pytest.raises(HelpFailed, match=reason):
        Endpoint(fake.address, "m").rewrite("boat", MINI, 0)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "no address", "http://[::1", ""])
def test_an_address_where_nobody_answers_is_told_of(address: str) -> None:
    with pytest.raises(HelpFailed, match="does not answer"):
        Endpoint(address, "m").rewrite("boat", MINI, 0)


def test_there_must_be_something_to_help_with() -> None:
    with pytest.raises(BadRequest, match="write a few words"):
        checked(" \n")
    with pytest.raises(BadRequest, match=f"at most {MAX_TEXT}"):
        checked("x" * (MAX_TEXT + 1))
