from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from studio.prompt_chunks import CHUNK, Vector, chunks
from studio.prompt_weights import parse

COMMA = 1


def words(text: str) -> list[int]:
    """One token a word, its length times ten; a comma by itself is `COMMA`."""
    return [COMMA if word == "," else 10 * len(word) for word in text.replace(",", " , ").split()]


def sizes(prompt: str, **embeddings: int) -> list[int]:
    return [len(chunk) for chunk in chunks(parse(prompt), words, COMMA, embeddings)]


def test_a_prompt_that_fits_is_one_chunk_with_the_weights_of_its_words() -> None:
    assert chunks(parse("a (red:1.5) cat"), words) == [((10, 1.0), (30, 1.5), (30, 1.0))]
    assert chunks(parse(""), words) == [()]
    assert sizes("a " * CHUNK) == [CHUNK]


def test_what_does_not_fit_goes_on_in_the_next_chunk() -> None:
    assert sizes("a " * 76) == [75, 1]
    assert sizes("a " * 200) == [75, 75, 50]


def test_break_fills_up_a_chunk() -> None:
    assert sizes("a b BREAK c") == [2, 1]
    assert sizes("a BREAK BREAK c") == [1, 0, 1]
    assert sizes("a BREAK") == [1]
    assert sizes("BREAK a") == [0, 1]
    assert sizes("a " * 80 + "BREAK b") == [75, 5, 1]


def test_a_full_chunk_ends_after_its_last_comma_where_that_is_near() -> None:
    assert sizes("a " * 60 + ", " + "b " * 20) == [61, 20]
    assert sizes("a " * 55 + ", " + "b " * 25) == [56, 25]
    assert sizes("a " * 54 + ", " + "b " * 25) == [75, 5]
    assert sizes("a " * 74 + ", b") == [75, 1]
    assert sizes("a " * 75 + ", b") == [75, 2]


def test_textual_inversions_stand_in_for_their_name_and_are_never_parted() -> None:
    assert chunks(parse("a (Deep-Ink:1.2), ink"), words, COMMA, {"deep-ink": 2}) == [
        ((10, 1.0), (Vector("deep-ink", 0), 1.2), (Vector("deep-ink", 1), 1.2), (1, 1.0), (30, 1.0))
    ]
    assert sizes("a " * 74 + "ink", ink=2) == [74, 2]
    assert sizes("ink, inks, pink, ink-wash, deep ink", ink=9, **{"deep ink": 5}) == [9 + 7 + 5]
    assert sizes("ink", ink=200) == [CHUNK]


@given(st.text(st.sampled_from("ab, (:1.2)BREAK "), max_size=600))
def test_no_word_is_lost_and_no_chunk_too_long(prompt: str) -> None:
    passages = parse(prompt)
    found = chunks(passages, words, COMMA)
    assert all(len(chunk) <= CHUNK for chunk in found)
    expected = [token for passage in passages for run in passage for token in words(run.text)]
    assert [token for chunk in found for token, _ in chunk] == expected
