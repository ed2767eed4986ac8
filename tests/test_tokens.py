from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import diffusers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from studio import families
from studio.request import Defaults, ModelSpec
from studio.settings import EMBEDDED
from studio.tokens import LIMITS, Count, Counter
from tests.families import builders

COUNTER = Counter()
THEIRS = CLIPTokenizer.from_pretrained(EMBEDDED / "tokenizer")


def spec(path: Path, family: str = "sd15") -> ModelSpec:
    return ModelSpec("m", "M", path, family, 1, "0123456789", "", Defaults())


MINI = spec(EMBEDDED)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """The embedded model with its vocabulary and merges alone, as older models come."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "tokenizer").mkdir()
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(EMBEDDED / "tokenizer" / name, folder / "tokenizer" / name)
    return spec(folder)


WORDS = st.text(st.characters(exclude_characters="()[]:\\|", exclude_categories=["Cs"]), max_size=40)


@given(text=WORDS | st.sampled_from(["a red boat at dawn", "Don't", "x1 22", "狐, שלום 🦊", "<|endoftext|> a", ""]))
def test_it_counts_as_the_models_own_tokenizer_does(bare: ModelSpec, text: str) -> None:
    if "BREAK" in text or "AND" in text:
        return
    expected = len(THEIRS(text, add_special_tokens=False, truncation=False).input_ids)
    assert COUNTER.count(MINI, text).tokens == expected
    assert COUNTER.count(bare, text) == COUNTER.count(MINI, text)


def test_clip_reads_long_prompts_in_chunks_and_ignores_nothing() -> None:
    assert COUNTER.count(MINI, "") == Count(0, (0,), None)
    assert COUNTER.count(MINI, "a cat").chunks == (2,)
    assert COUNTER.count(MINI, "a cat BREAK a cat").chunks == (2, 2)
    assert COUNTER.count(MINI, "a " * 80).chunks == (75, 5)
    assert COUNTER.count(MINI, "(a:1.2) [b]").tokens == 2


def test_the_longest_moment_and_the_longest_of_joined_prompts_count() -> None:
    assert COUNTER.count(MINI, "[a::5][a a a:10]").tokens == 3
    assert COUNTER.count(MINI, "a AND a a a :0.5").tokens == 3


def test_what_a_sentence_reader_will_not_read_is_marked(tmp_path: Path) -> None:
    flux = spec(builders.folder("flux", tmp_path / "flux"), "flux")
    short = COUNTER.count(flux, "a (red:1.5) boat")
    assert (short.limit, short.ignored, short.exact, short.chunks) == (511, "", True, ())
    text = " ".join(f"w{number}" for number in range(600))
    long = COUNTER.count(flux, text)
    assert long.tokens > 511
    assert text.endswith(long.ignored)
    assert COUNTER.count(flux, text.removesuffix(long.ignored)).tokens <= 511 + 1


def test_without_a_tokenizer_the_count_is_called_a_guess(tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{")
    guess = COUNTER.count(spec(tmp_path), "a red boat, 3")
    assert (guess.tokens, guess.exact) == (5, False)
    assert not COUNTER.count(spec(tmp_path / "none", "flux"), "a red boat").exact


@pytest.mark.parametrize("key", [key for key in LIMITS if key != "mini-flow"])  # whose pipeline thinks of a T5
def test_limits_are_those_of_the_pipelines(key: str) -> None:
    pipelines = families.FAMILIES[key].pipelines
    pipeline = getattr(diffusers, pipelines.get("text") or next(iter(pipelines.values())))
    assert inspect.signature(pipeline.__call__).parameters["max_sequence_length"].default == LIMITS[key]
