"""The process of a language model that helps with prompts; what it says is played by a fake."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from studio import prompt_writer
from studio.catalog import Catalog
from studio.errors import BadRequest, Cancelled, ModelError
from studio.prompt_help import HelpFailed
from studio.prompt_writer import Local
from studio.settings import EMBEDDED
from tests.weight_files import write

MINI = Catalog(EMBEDDED).find(None)
FAKE = "tests.fake_writer:FakeWriter"


@pytest.fixture(scope="module")
def shared() -> Iterator[Local]:
    helper = Local(Path("small"), build=FAKE)
    yield helper
    helper.close()


@pytest.fixture
def started() -> Iterator[Callable[..., Local]]:
    helpers: list[Local] = []

    def start(folder: str = "small", **times: float) -> Local:
        helpers.append(Local(Path(folder), build=FAKE, **times))  # type: ignore[arg-type]
        return helpers[-1]

    yield start
    for helper in helpers:
        helper.close()


def test_the_answer_comes_without_chatter_and_with_the_loras(shared: Local) -> None:
    assert shared.rewrite("a <lora:ink:0.8> heron", MINI, 3) == "a heron, 3 <lora:ink:0.8>"
    assert "commas" in shared.rewrite("task", MINI, 0)
    assert shared.title == "small"
    with pytest.raises(BadRequest, match="write a few words"):
        shared.rewrite("<lora:ink:0.8>", MINI, 0)


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("much", "a boat, at sea"),
        ("a boat", "a boat, at sea"),
        ("a red", "a red boat"),
        ("a sun", "a sunset"),
    ],
)
def test_what_was_cut_short_ends_with_a_whole_phrase_and_what_goes_on_follows_on(
    shared: Local, text: str, becomes: str
) -> None:
    assert shared.rewrite(text, MINI, 0) == becomes


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nothing", "gave no prompt back"),
        ("think", "gave no prompt back"),
        ("ramble", "came to no end; try once more"),
        ("refuse", "Not this one"),
    ],
)
def test_what_is_no_prompt_is_a_sentence(shared: Local, text: str, reason: str) -> None:
    pid = shared.rewrite("pid", MINI, 0)
    with pytest.raises((HelpFailed, BadRequest), match=reason):
        shared.rewrite(text, MINI, 0)
    assert shared.rewrite("pid", MINI, 0) == pid


@pytest.mark.parametrize(("text", "reason"), [("die", "ended unexpectedly"), ("fail", r"broke \(RuntimeError\)")])
def test_after_a_broken_one_the_next_prompt_has_a_new_process(shared: Local, text: str, reason: str) -> None:
    pid = shared.rewrite("pid", MINI, 0)
    with pytest.raises(HelpFailed, match=reason):
        shared.rewrite(text, MINI, 0)
    assert shared.rewrite("pid", MINI, 0) != pid


def test_whoever_leaves_stops_the_writing_and_the_model_stays(shared: Local) -> None:
    pid = shared.rewrite("pid", MINI, 0)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Cancelled):
        shared.rewrite("wait", MINI, 0, stop)
    assert shared.rewrite("pid", MINI, 0) == pid


def test_others_wait_their_turn_and_may_leave_meanwhile(shared: Local) -> None:
    shared.rewrite("pid", MINI, 0)
    first, second = threading.Event(), threading.Event()
    told: list[str] = []

    def ask(text: str, stop: threading.Event) -> None:
        try:
            told.append(shared.rewrite(text, MINI, 0, stop))
        except Cancelled:
            told.append(f"{text} left")

    busy = threading.Thread(target=ask, args=("wait", first))
    waiting = threading.Thread(target=ask, args=("heron", second))
    busy.start()
    waiting.start()
    second.set()
    waiting.join()
    assert told == ["heron left"]
    first.set()
    busy.join()
    assert told == ["heron left", "wait left"]


def test_one_that_takes_too_long_is_ended(started: Callable[..., Local], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_writer, "_GRACE", 0.2)
    helper = started(writing=0.2)
    pid = int(helper.rewrite("pid", MINI, 0))
    with pytest.raises(HelpFailed, match="took too long"):
        helper.rewrite("hang", MINI, 0)
    assert not psutil.pid_exists(pid)
    with pytest.raises(HelpFailed, match="took too long"):
        started("endless", loading=0.2).rewrite("heron", MINI, 0)


def test_one_that_cannot_be_loaded_says_why_each_time(started: Callable[..., Local]) -> None:
    helper = started("broken")
    for _ in range(2):
        with pytest.raises(ModelError, match="This one is broken"):
            helper.rewrite("heron", MINI, 0)


def test_loading_can_be_left_as_well(started: Callable[..., Local]) -> None:
    helper, stop = started("endless"), threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(Cancelled):
        helper.rewrite("heron", MINI, 0, stop)
    assert helper.pid is None


def test_its_memory_is_given_back_when_nobody_asks_any_more(started: Callable[..., Local]) -> None:
    helper = started(idle=0.1)
    pid = helper.rewrite("pid", MINI, 0)
    until = time.monotonic() + 60
    while helper.pid is not None:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert helper.rewrite("pid", MINI, 1) != pid
    helper.close()
    until = time.monotonic() + 60
    while helper.pid is not None:
        assert time.monotonic() < until
        time.sleep(0.02)


def folder(place: Path, *files: str, config: object = None) -> Path:
    place.mkdir()
    told = {"architectures": ["LlamaForCausalLM"]} if config is None else config
    (place / "config.json").write_text(json.dumps(told))
    for name in files:
        if name.endswith(".safetensors"):
            write(place / name, {"weight": (2, 2)})
        else:
            (place / name).write_bytes(b"\x80\x02}q\x00.")
    return place


def test_a_folder_of_safetensors_is_found_whole_or_in_shards(tmp_path: Path) -> None:
    whole = folder(tmp_path / "whole", "model.safetensors", "pytorch_model.bin")
    assert prompt_writer.find(str(whole)) == whole
    shards = folder(tmp_path / "shards", "model-1.safetensors", "model-2.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (shards / "model.safetensors.index.json").write_text(json.dumps(index))
    assert prompt_writer.find(str(shards)) == shards
    (shards / "model-2.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be read; download the model again"):
        prompt_writer.find(str(shards))
    (shards / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../whole/model.safetensors"}}')
    with pytest.raises(ModelError, match="names weights elsewhere"):
        prompt_writer.find(str(shards))


def test_a_name_of_the_hub_is_looked_up_in_its_cache_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "models--small--writer" / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    folder(snapshot, "model.safetensors")
    refs = tmp_path / "models--small--writer" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert prompt_writer.find("small/writer") == snapshot
    assert Local(snapshot).title == "small/writer"
    with pytest.raises(ModelError, match="“small/other” is neither an address nor a folder"):
        prompt_writer.find("small/other")


@pytest.mark.parametrize(
    ("files", "config", "reason"),
    [
        (["pytorch_model.bin"], None, "pickle files, which can run programs"),
        ([], None, "cannot be read; download the model again"),
        (["model.safetensors"], {}, "no language model for transformers"),
        (["model.safetensors"], [], "no language model for transformers"),
        (["model.safetensors"], {"architectures": ["BertModel", 7]}, "no language model for transformers"),
        (["adapter_config.json"], {}, "holds an adapter"),
        (["model.safetensors", "adapter_config.json"], None, "an adapter beside its model"),
    ],
)
def test_a_folder_that_cannot_help_is_refused_in_a_sentence(
    tmp_path: Path, files: list[str], config: object, reason: str
) -> None:
    with pytest.raises(ModelError, match=reason):
        prompt_writer.find(str(folder(tmp_path / "model", *files, config=config)))


def test_damaged_weights_and_names_without_sense_are_refused(tmp_path: Path) -> None:
    damaged = folder(tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"\x80\x04\x95 a pickle in disguise")
    with pytest.raises(ModelError):
        prompt_writer.find(str(damaged))
    for name in ("no such folder", "a/b/c", "../x", "\0"):
        with pytest.raises(ModelError, match="neither an address nor a folder"):
            prompt_writer.find(name)
