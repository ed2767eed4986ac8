from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.prompt_weights import Passage, Run, composed, escaped, parse, render

UP, DOWN = 1.1, 1 / 1.1


@pytest.mark.parametrize(
    ("prompt", "runs"),
    [
        ("normal text", [("normal text", 1)]),
        ("", []),
        ("an (important) word", [("an ", 1), ("important", UP), (" word", 1)]),
        ("((a))", [("a", UP**2)]),
        ("(((a)))", [("a", UP**3)]),
        ("[a]", [("a", DOWN)]),
        ("[[a]]", [("a", DOWN**2)]),
        ("([a])", [("a", 1)]),
        ("(a:1.2)", [("a", 1.2)]),
        ("(a:0.25)", [("a", 0.25)]),
        ("(a:.5)", [("a", 0.5)]),
        ("(a:2)", [("a", 2)]),
        ("(a:2.)", [("a", 2)]),
        ("(a:0)", [("a", 0)]),
        ("(a:-0.5)", [("a", -0.5)]),
        ("(a:+1.5)", [("a", 1.5)]),
        ("(a : 1.2 )", [("a ", 1.2)]),
        ("((a:1.5))", [("a", 1.5 * UP)]),
        ("((a:1.5) b:2)", [("a", 3), (" b", 2)]),
        ("[(a:1.5)]", [("a", 1.5 * DOWN)]),
        ("(a [b:1.5)", [("a ", 1.5), ("b", 1.5 * DOWN)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", UP)]),
        ("(unbalanced", [("unbalanced", UP)]),
        ("[unbalanced", [("unbalanced", DOWN)]),
        ("a) b", [("a) b", 1)]),
        ("a] b", [("a] b", 1)]),
        ("a:1.2) b", [("a:1.2) b", 1)]),
        ("(a b:c)", [("a b:c", UP)]),
        ("(a:b:1.2)", [("a:b", 1.2)]),
        ("(a:1.2.3)", [("a:1.2.3", UP)]),
        ("(a:)", [("a:", UP)]),
        ("(:1.2)", []),
        ("()", []),
        ("[a:1.2]", [("a:1.2", DOWN)]),
        (r"\(literal\]", [("(literal]", 1)]),
        (r"\(a\) (b\):1.2)", [("(a) ", 1), ("b)", 1.2)]),
        (r"\\(a)", [("\\", 1), ("a", UP)]),
        (r"a\b", [("a\\b", 1)]),
        (r"\#1 \[x\:y\]", [("#1 [x:y]", 1)]),
        (r"\__name__", [("__name__", 1)]),
        ("a, (b:1.2), c", [("a, ", 1), ("b", 1.2), (", c", 1)]),
        ("(a:1.3)(b:1.3)", [("ab", 1.3)]),
        ("(a\nb:1.2)", [("a\nb", 1.2)]),
        ("(狐:1.2)", [("狐", 1.2)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1),
                ("house", 1.3 * UP**2),
                (" ", UP),
                ("on", 1),
                (" a ", UP),
                ("hill", 0.5 * UP),
                (", sun, ", UP),
                ("sky", UP**4),
                (".", UP),
            ],
        ),
    ],
)
def test_weights_are_those_of_the_grammar(prompt: str, runs: list[tuple[str, float]]) -> None:
    (found,) = parse(prompt)
    assert [text for text, _ in found] == [text for text, _ in runs]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in runs], abs=1e-6)


@pytest.mark.parametrize(
    ("prompt", "passages"),
    [
        ("a BREAK b", [[("a", 1)], [("b", 1)]]),
        ("a\nBREAK\nb", [[("a", 1)], [("b", 1)]]),
        ("BREAK", [[], []]),
        ("a BREAK BREAK b", [[("a", 1)], [], [("b", 1)]]),
        ("BREAKFAST aBREAK", [[("BREAKFAST aBREAK", 1)]]),
        ("(a BREAK b:1.5)", [[("a", 1.5)], [("b", 1.5)]]),
        ("(a:1.5) BREAK b", [[("a", 1.5)], [("b", 1)]]),
        ("a, BREAK (b:2) c", [[("a,", 1)], [("b", 2), (" c", 1)]]),
    ],
)
def test_break_ends_a_passage(prompt: str, passages: list[list[tuple[str, float]]]) -> None:
    assert [[tuple(run) for run in passage] for passage in parse(prompt)] == passages


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a cat", [("a cat", 1)]),
        ("a cat :1.5", [("a cat :1.5", 1)]),
        ("a film in 16:9", [("a film in 16:9", 1)]),
        ("a cat AND a dog", [("a cat", 1), ("a dog", 1)]),
        ("a cat :1.2 AND a dog AND a penguin :2.2", [("a cat", 1.2), ("a dog", 1), ("a penguin", 2.2)]),
        ("a AND b:-0.5", [("a", 1), ("b", -0.5)]),
        ("a AND b: .5 ", [("a", 1), ("b", 0.5)]),
        ("(a:1.3) AND b", [("(a:1.3)", 1), ("b", 1)]),
        ("a\nAND\nb", [("a", 1), ("b", 1)]),
        ("a AND", [("a", 1)]),
        ("AND", [("", 1)]),
        ("SAND and ANDES", [("SAND and ANDES", 1)]),
    ],
)
def test_prompts_joined_by_and_have_weights_of_their_own(prompt: str, parts: list[tuple[str, float]]) -> None:
    assert [tuple(part) for part in composed(prompt)] == parts


def runs(weights: st.SearchStrategy[float]) -> st.SearchStrategy[Passage]:
    """Neighbours of different weight; words that may hold anything but the space around a `BREAK`."""
    words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.text(
        st.sampled_from("a ()[]{}\\:|#1."), min_size=1, max_size=12
    )
    words = words.filter(lambda text: "BREAK" not in text and text.strip() == text)
    return st.lists(st.builds(Run, words, weights), max_size=6).map(
        lambda found: tuple(next(group) for _, group in itertools.groupby(found, key=lambda run: run.weight))
    )


@given(st.lists(runs(st.integers(-5000, 5000).map(lambda thousandths: thousandths / 1000)), min_size=1, max_size=4))
def test_passages_that_were_rendered_are_read_back(passages: list[Passage]) -> None:
    assert parse(render(tuple(passages))) == tuple(passages)


@given(st.text(max_size=60) | st.text(st.sampled_from("ab (:)[]\\1.2BREAK"), max_size=60))
def test_whatever_is_written_has_weights(prompt: str) -> None:
    for passage in parse(prompt):
        assert all(run.text and -100 <= run.weight <= 100 for run in passage)
        assert all(one.weight != other.weight for one, other in itertools.pairwise(passage))


@given(st.text(max_size=60))
def test_escaped_words_are_words(words: str) -> None:
    words = words.replace("BREAK", "break")
    assert "".join(run.text for run in parse(escaped(words))[0]) == words


@pytest.mark.parametrize(
    "hostile", ["(", "[", "(]", ":", ":1", "(a:1.1)", "\\", " ", "a BREAK ", "((a:9)", ")", "(a:  "]
)
def test_a_hostile_prompt_gives_no_more_runs_than_it_has_characters(hostile: str) -> None:
    prompt = hostile * (20_000 // len(hostile))
    passages = parse(prompt)
    assert sum(len(run.text) for passage in passages for run in passage) <= len(prompt)
    composed(prompt)
