from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio import prompt
from studio.errors import BadRequest
from studio.request import LoraUse


def use(name: str, weight: float = 1.0, text_weight: float | None = None, blocks: str = "") -> LoraUse:
    return LoraUse(name=name, weight=weight, text_weight=text_weight, blocks=blocks)


@pytest.mark.parametrize(
    ("text", "rest", "uses"),
    [
        ("a cat", "a cat", []),
        ("a cat <lora:ink>", "a cat ", [use("ink")]),
        ("<lora:ink:0.8>a cat", "a cat", [use("ink", 0.8)]),
        ("a <lora:ink:0.5:0.8> cat", "a  cat", [use("ink", 0.8, 0.5)]),
        ("<lora:ink:-1.5><lora:wash:.25>", "", [use("ink", -1.5), use("wash", 0.25)]),
        ("<lora:my ink v1.2 (new):1>", "", [use("my ink v1.2 (new)")]),
        ("<lora:styles/ink:unet=0.8:te=0.1>", "", [use("styles/ink", 0.8, 0.1)]),
        ("<lora:ink:0.5:unet=0.8>", "", [use("ink", 0.8, 0.5)]),
        ("<lora:ink:1:lbw=1,0,0.5>", "", [use("ink", blocks="1,0,0.5")]),
        ("<lyco:ink:0.3>", "", [use("ink", 0.3)]),
        ("5 < 6 <b> <lorax:y>", "5 < 6 <b> <lorax:y>", []),
        ("<<lora:ink:1>>", "<>", [use("ink")]),
        ("<lora:ink", "<lora:ink", []),
    ],
)
def test_lora_tags_are_taken_out_of_a_prompt(text: str, rest: str, uses: list[LoraUse]) -> None:
    assert prompt.extract_loras(text) == (rest, tuple(uses))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<lora:ink:strong>", "“strong” in <lora:ink:strong> is no weight"),
        ("<lora:ink:9>", "weight 9 in <lora:ink:9> is out of range"),
        ("<lora:ink:nan>", "is no weight"),
        ("<lora: :1>", "names no LoRA"),
        ("<lora:ink:1:1:1>", "more than two weights"),
        ("<lora:ink:lbw=XYZ>", "block weights must be numbers"),
        ("<hypernet:x:1>", "knows no hypernetworks"),
    ],
)
def test_a_tag_that_cannot_be_followed_is_named(text: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        prompt.extract_loras(f"a cat {text}")


WEIGHTS = st.integers(-4000, 4000).map(lambda thousandths: thousandths / 1000)


@given(
    st.text(st.characters(exclude_characters="<>:\n\t", exclude_categories=["C", "Z"]), min_size=1, max_size=40),
    WEIGHTS,
    st.none() | WEIGHTS,
    st.sampled_from(["", "1,0,0.5"]),
)
def test_a_tag_that_was_written_is_read_back(name: str, weight: float, text: float | None, blocks: str) -> None:
    given = use(name, weight, text, blocks)
    assert prompt.extract_loras(f"a{prompt.lora_tag(given)}b") == ("ab", (given,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cat", "a cat"),
        ("a cat # with a hat", "a cat"),
        ("# title\na cat\n# end", "a cat"),
        ("a\n  # b\nc", "a\nc"),
        ("key of C#, #ffffff", "key of C#,"),
        (r"song \#1", r"song \#1"),
        ("a\n\nb", "a\n\nb"),
    ],
)
def test_comments_end_with_their_line(text: str, expected: str) -> None:
    assert prompt.without_comments(text) == expected
