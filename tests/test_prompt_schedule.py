from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.prompt_schedule import Fork, Mark, Schedule, at, parse, render, texts


@pytest.mark.parametrize(
    ("prompt", "held"),
    [
        ("test", [(10, "test")]),
        ("", [(10, "")]),
        # [to:when] adds after so many steps, or after that share of them
        ("a [b:3]", [(3, "a "), (10, "a b")]),
        ("a [b: 3]", [(3, "a "), (10, "a b")]),
        ("a [b:3 ]", [(3, "a "), (10, "a b")]),
        ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
        ("a [b:0.3]", [(3, "a "), (10, "a b")]),
        ("a [b:0.39]", [(3, "a "), (10, "a b")]),
        ("a [b:0]", [(10, "a b")]),
        ("a [b:0.0]", [(10, "a b")]),
        ("a [b:-1]", [(10, "a b")]),
        ("a [b:10]", [(10, "a ")]),
        ("a [b:99]", [(10, "a ")]),
        ("a [b:1.0]", [(10, "a ")]),  # as in v1.10: with a point it is a share
        ("a [b:1.5]", [(10, "a ")]),
        # [from:to:when] and [from::when]
        ("[from:to:0.4]", [(4, "from"), (10, "to")]),
        ("[from:to:4]", [(4, "from"), (10, "to")]),
        ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
        ("[a::8] b", [(8, "a b"), (10, " b")]),
        ("[::5]x", [(10, "x")]),
        ("[a:b:+2]", [(2, "a"), (10, "b")]),
        ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
        ("[[a:b:2]:[c:d:8]:5]", [(2, "a"), (5, "b"), (8, "c"), (10, "d")]),
        ("[a::2][b:7]", [(2, "a"), (7, ""), (10, "b")]),
        # brackets within
        ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
        ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
        ("[(a:1.2):(b:0.8):3]", [(3, "(a:1.2)"), (10, "(b:0.8)")]),
        ("([a:b:3]:1.3)", [(3, "(a:1.3)"), (10, "(b:1.3)")]),
        ("[(a|b):c:3]", [(3, "(a|b)"), (10, "c")]),
        # alternation, one step each
        ("[a|b]", [(n, "ab"[(n - 1) % 2]) for n in range(1, 11)]),
        ("[a|b|c]", [(n, "abc"[(n - 1) % 3]) for n in range(1, 11)]),
        ("[fe|]male", [(n, "male" if n % 2 == 0 else "female") for n in range(1, 11)]),
        ("[fe|||]male", [(1, "female"), (4, "male"), (5, "female"), (8, "male"), (9, "female"), (10, "male")]),
        ("[a|(b:1.1)]", [(n, "(b:1.1)" if n % 2 == 0 else "a") for n in range(1, 11)]),
        ("[a|b:c]", [(n, "b:c" if n % 2 == 0 else "a") for n in range(1, 11)]),
        ("[[a|b]::2]", [(1, "a"), (2, "b"), (10, "")]),
        # what is no schedule stays as it is
        ("a [b] c", [(10, "a [b] c")]),
        ("[a:b]", [(10, "[a:b]")]),
        ("[a:b:c]", [(10, "[a:b:c]")]),
        ("[a:b:c:3]", [(10, "[a:b:c:3]")]),
        ("[a:1e3]", [(10, "[a:1e3]")]),
        ("[a:b:]", [(10, "[a:b:]")]),
        ("a: 5", [(10, "a: 5")]),
        ("a | b", [(10, "a | b")]),
        ("(a|b:1.2)", [(10, "(a|b:1.2)")]),
        ("[]", [(10, "[]")]),
        ("a [unbalanced", [(10, "a [unbalanced")]),
        ("a] b [c:2]", [(2, "a] b "), (10, "a] b c")]),
        ("a [{b|d{:.5] c", [(5, "a  c"), (10, "a {b|d{ c")]),
        ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
        ("[(a:b:3]", [(10, "[(a:b:3]")]),
        ("[a):b:3]", [(10, "[a):b:3]")]),
        # escapes
        (r"\[a:b:3]", [(10, r"\[a:b:3]")]),
        (r"[a\:b:c:3]", [(3, r"a\:b"), (10, "c")]),
        (r"[a\]:b:3]", [(3, r"a\]"), (10, "b")]),
        (r"[a\|b]", [(10, r"[a\|b]")]),
        ("\\", [(10, "\\")]),
        ("[a\n:b\n:3]", [(3, "a\n"), (10, "b\n")]),
    ],
)
def test_the_text_of_every_step_follows_the_grammar(prompt: str, held: list[tuple[int, str]]) -> None:
    schedule = parse(prompt)
    assert texts(schedule, 10) == held
    for last, text in held:
        assert at(schedule, last, 10) == text
        assert at(parse(render(schedule)), last, 10) == text


def test_a_share_is_of_all_the_steps_and_a_number_of_steps_is_not() -> None:
    assert texts(parse("[a:b:0.5]"), 20) == [(10, "a"), (20, "b")]
    assert texts(parse("[a:b:5]"), 20) == [(5, "a"), (20, "b")]
    assert texts(parse("[a:b:0.5]"), 1) == [(1, "b")]


SYNTAX = st.text(st.sampled_from("ab [](){}:|\\.0123456789-\n"), max_size=60)


@given(SYNTAX | st.text(max_size=60))
def test_what_is_rendered_reads_as_the_same_schedule(prompt: str) -> None:
    schedule = parse(prompt)
    assert parse(render(schedule)) == schedule


WORDS = st.text(st.sampled_from("ab ,1"), min_size=1, max_size=5)


def forked(inner: st.SearchStrategy[Schedule]) -> st.SearchStrategy[Schedule]:
    def fork(options: list[Schedule], step: int, share: float | None) -> Schedule:
        if len(options) != 2 or step == 0:
            head, step = Fork(len(options)), 0
        elif share is not None:
            head = Fork(2, share=share)
        else:
            head = Fork(2, step=step)
        middle: list[str | Fork | Mark] = [head]
        for number, option in enumerate(options):
            middle += [Mark.NEXT, *option] if number else option
        return (*middle, Mark.END)

    shares = st.none() | st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
    return st.builds(fork, st.lists(inner, min_size=2, max_size=4), st.integers(0, 150), shares)


TREES: st.SearchStrategy[Schedule] = st.recursive(WORDS.map(lambda text: (text,)), forked, max_leaves=12)


@given(TREES)
def test_a_schedule_that_was_rendered_is_read_back(schedule: Schedule) -> None:
    assert parse(render(schedule)) == schedule


@given(SYNTAX, st.integers(1, 30))
def test_the_texts_cover_every_step_and_say_what_each_step_shows(prompt: str, steps: int) -> None:
    schedule = parse(prompt)
    held = texts(schedule, steps)
    assert held[-1][0] == steps
    step = 1
    for last, text in held:
        while step <= last:
            assert at(schedule, step, steps) == text
            step += 1


@pytest.mark.parametrize(
    "hostile", ["(", "[", "[(", "(]", ":", "[a:", "[a|", "[a|b]", "[a:b:5", "[a:1]", "\\", ")]", "[["]
)
def test_reading_takes_as_many_pieces_as_there_are_characters(hostile: str) -> None:
    prompt = hostile * (20_000 // len(hostile))
    schedule = parse(prompt)
    assert len(schedule) <= 2 * len(prompt)
    assert at(schedule, 1, 150) == at(parse(render(schedule)), 1, 150)


def test_depth_of_nesting_is_no_matter() -> None:
    depth = 5_000
    prompt = "[" * depth + "a" + ":1]" * depth
    assert texts(parse(prompt), 2) == [(1, ""), (2, "a")]
