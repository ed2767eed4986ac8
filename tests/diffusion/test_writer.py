"""Language models that help with prompts: tiny ones, in the real format, taught a sentence or nothing at all."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from studio import prompt_writer
from studio.api import house, words
from studio.catalog import Catalog
from studio.diffusion import memory
from studio.diffusion.writer import Writer
from studio.errors import BadRequest, Cancelled, ModelError
from studio.presets import Presets
from studio.prompt_writer import Local
from studio.settings import EMBEDDED, PRESETS
from studio.vocabulary import Vocabulary

MINI = Catalog(EMBEDDED).find(None)
KNOWN = "a red boat, at dawn, calm sea, watercolor"
END = "<|endoftext|>"
CHAT = (
    "{% for said in messages %}{% if said['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    "<|{{ said['role'] }}|>{{ said['content'] }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tokenizer(folder: Path, chat: str | None = None) -> PreTrainedTokenizerFast:
    learnt = ByteLevelBPETokenizer()
    learnt.train_from_iterator([KNOWN] * 4, vocab_size=300, special_tokens=[END], show_progress=False)
    made = PreTrainedTokenizerFast(tokenizer_object=learnt._tokenizer, eos_token=END)
    made.chat_template = chat
    made.save_pretrained(folder)
    return made


@pytest.fixture(scope="module")
def expander(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 that goes on with prompts, as prompt expanders are; it knows one by heart."""
    folder = tmp_path_factory.mktemp("models") / "expander"
    read = tokenizer(folder)
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(read), n_positions=96, n_embd=48, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    )
    lesson = torch.tensor([[*read(KNOWN)["input_ids"], read.eos_token_id]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(80):
        loss = model(lesson, labels=lesson).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights at half precision that holds conversations, without a system in them."""
    folder = tmp_path_factory.mktemp("models") / "talker"
    read = tokenizer(folder, CHAT)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(read), max_position_embeddings=2048, eos_token_id=0, **sizes))
    model.half().save_pretrained(folder)
    return folder


def test_a_prompt_expander_goes_on_with_the_prompt(expander: Path) -> None:
    written = Writer(expander).write("", "a red boat", 1, threading.Event(), 60)
    assert (written.text, written.ended, written.goes_on) == (", at dawn, calm sea, watercolor", True, True)


def test_one_that_talks_is_told_what_to_do_and_differs_by_turn(talker: Path) -> None:
    writer = Writer(talker)
    first, again, other = (writer.write("Be brief.", "a red boat", turn, threading.Event(), 60) for turn in (1, 1, 2))
    assert first == again
    assert first.text != other.text
    assert not first.goes_on
    assert not first.text.startswith("a red boat")


def test_writing_stops_when_told_to_and_when_its_time_is_over(talker: Path) -> None:
    writer, stop = Writer(talker), threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        writer.write("", "a red boat", 0, stop, 60)
    short = writer.write("", "a red boat", 0, threading.Event(), 1e-9)
    assert not short.ended
    assert len(short.text) < 20


def test_a_text_that_leaves_no_room_is_refused(expander: Path) -> None:
    with pytest.raises(BadRequest, match=r"too long for the language model: \d+ of its 96 tokens"):
        Writer(expander).write("", "a red boat, " * 40, 0, threading.Event(), 60)


def test_programs_beside_a_model_are_never_run(talker: Path, tmp_path: Path) -> None:
    folder, proof = tmp_path / "strange", tmp_path / "ran"
    shutil.copytree(talker, folder)
    (folder / "strange.py").write_text(f"open({str(proof)!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    own = {"AutoConfig": "strange.Config", "AutoModelForCausalLM": "strange.Model"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "strange", "auto_map": own}))
    with pytest.raises(ModelError, match=r"The language model strange cannot be loaded \(\w+\)"):
        Writer(folder)
    assert not proof.exists()


def test_one_larger_than_the_memory_there_is_is_not_even_read(talker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "host", lambda: memory.Room(10**9, 10**6))
    with pytest.raises(ModelError, match=r"takes 0\.3 GB of memory, and 0\.0 GB are free"):
        Writer(talker)


@pytest.fixture
def served(expander: Path, tmp_path: Path) -> Iterator[TestClient]:
    styles = Presets(PRESETS, tmp_path)
    app, helper = FastAPI(), Local(prompt_writer.find(str(expander)), threads=1)
    house.install(app, words.router(Catalog(EMBEDDED), styles, Vocabulary(PRESETS, tmp_path, styles), helper))
    with TestClient(app) as client:
        yield client
    helper.close()


@pytest.mark.slow  # a process that loads PyTorch
def test_the_page_is_told_what_a_model_of_this_machine_proposes(served: TestClient) -> None:
    told = served.post("/studio/prompt-help", json={"text": "a <lora:ink:0.8> red boat", "turn": 1})
    assert told.json() == {"prompt": f"{KNOWN} <lora:ink:0.8>", "by": "expander"}
