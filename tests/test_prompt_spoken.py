from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.prompt_spoken import spoken


@pytest.mark.parametrize(
    ("prompt", "sentence", "lost"),
    [
        ("a red cat (the big one) [sic]", "a red cat (the big one) [sic]", ()),
        ("a (red:1.3) cat", "a red cat", ("weights",)),
        ("a ((red:1.3) cat)", "a (red cat)", ("weights",)),
        ("in 16:9, at 10:30", "in 16:9, at 10:30", ()),
        ("a BREAK b", "a\nb", ("BREAK",)),
        ("a AND b :1.2", "a, b", ("AND",)),
        ("a [red:blue:0.5] cat", "a blue cat", ("words that change between steps",)),
        ("[a|b]", "b", ("words that change between steps",)),
        (r"\(sic\) \[a\]", "(sic) [a]", ()),
        ("", "", ()),
    ],
)
def test_a_sentence_loses_what_is_written_for_clip(prompt: str, sentence: str, lost: tuple[str, ...]) -> None:
    assert spoken(prompt, 10) == (sentence, lost)


@given(st.text(st.characters(exclude_characters="\\:|")).filter(lambda text: "AND" not in text and "BREAK" not in text))
def test_what_has_no_syntax_is_said_as_it_is(prompt: str) -> None:
    assert spoken(prompt, 10) == (prompt, ())
