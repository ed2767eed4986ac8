from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import BadRequest
from studio.settings import PRESETS
from studio.wildcards import FOLDER, Wildcards

SHIPPED = Wildcards(PRESETS / FOLDER)
NONE = Wildcards()


def files(folder: Path, **texts: str) -> Wildcards:
    for name, text in texts.items():
        file = folder / f"{name.replace('_in_', '/')}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    return Wildcards(folder)


def outcomes(wildcards: Wildcards, text: str, seeds: int = 400) -> Counter[str]:
    return Counter(wildcards.resolve(text, seed) for seed in range(seeds))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cat", {"a cat"}),
        ("{red|blue}", {"red", "blue"}),
        ("a {red|blue} cat", {"a red cat", "a blue cat"}),
        ("{red}", {"red"}),
        ("{a|}b", {"ab", "b"}),
        ("{{a|b}|c}", {"a", "b", "c"}),
        ("{a{1|2}|b}", {"a1", "a2", "b"}),
        ("{2$$a|b}", {"a, b", "b, a"}),
        ("{2$$ and $$ a | b }", {"a and b", "b and a"}),
        ("{3$$a|b}", {"a, b", "b, a"}),
        ("{1-2$$a|b}", {"a", "b", "a, b", "b, a"}),
        ("{-2$$a|b}", {"a", "b", "a, b", "b, a"}),
        ("{2-$$-$$a|b}", {"a-b", "b-a"}),
        ("{0-1$$a}", {"", "a"}),
        ("{$$a|b}", {"a", "b"}),
        ("{0::a|b}", {"b"}),
        ("{0::a|0::b}", {""}),
        ("{1::a|2.5::b}", {"a", "b"}),
        ("[a|b]", {"[a|b]"}),
        ("{[a|b]|c}", {"[a|b]", "c"}),
        ("{[a|b}", {"[a", "b"}),
        ("{a", {"{a"}),
        ("a}", {"a}"}),
        ("{a|{b}", {"{a|b"}),
        (r"\{a|b\}", {r"\{a|b\}"}),
        (r"{a\|b|c}", {r"a\|b", "c"}),
        ("_____", {"_____"}),
        ("snake_case __ x", {"snake_case __ x"}),
    ],
)
def test_every_choice_is_made_and_no_other(text: str, expected: set[str]) -> None:
    assert set(outcomes(NONE, text, 60)) == expected


def test_weights_say_how_often() -> None:
    drawn = outcomes(NONE, "{3::a|b}")
    assert 0.66 < drawn["a"] / 400 < 0.84
    assert 0.4 < outcomes(NONE, "{a|b}")["a"] / 400 < 0.6


def test_several_options_are_never_the_same_one_twice() -> None:
    for text in outcomes(NONE, "{3$$a|b|c|d}"):
        assert len(set(text.split(", "))) == 3


def test_a_line_of_a_file_is_chosen_and_what_it_refers_to_too(tmp_path: Path) -> None:
    wildcards = files(
        tmp_path,
        colour="red\n\n# not this\n  blue  \n",
        beast="{big|small} cat\n__colour__ dog\n",
        deep_in_hue="green",
        often="9::a\nb",
    )
    assert set(outcomes(wildcards, "a __colour__ hat", 40)) == {"a red hat", "a blue hat"}
    assert set(outcomes(wildcards, "__beast__", 80)) == {"big cat", "small cat", "red dog", "blue dog"}
    assert wildcards.resolve("__deep/hue__, __DEEP/HUE__", 1) == "green, green"
    assert outcomes(wildcards, "__often__")["a"] > 320
    assert set(outcomes(wildcards, "{__colour__|__deep/hue__}", 40)) == {"red", "blue", "green"}
    assert set(outcomes(wildcards, "__*/h*__, __c*r__", 40)) == {"green, red", "green, blue"}
    assert wildcards.names() == ("beast", "colour", "deep/hue", "often")


def test_the_users_folder_counts_before_ours(tmp_path: Path) -> None:
    (tmp_path / "colours.txt").write_text("octarine", "utf-8")
    assert Wildcards(PRESETS / FOLDER, tmp_path).resolve("__colours__", 3) == "octarine"


def test_files_that_come_and_change_are_noticed(tmp_path: Path) -> None:
    wildcards = files(tmp_path, a="one")
    assert wildcards.resolve("__a__", 1) == "one"
    (tmp_path / "a.txt").write_text("another", "utf-8")
    (tmp_path / "b.txt").write_text("new", "utf-8")
    assert wildcards.resolve("__a__ __b__", 1) == "another new"
    (tmp_path / "a.txt").unlink()
    with pytest.raises(BadRequest, match="no wildcard __a__"):
        wildcards.resolve("__a__", 1)


def test_what_cannot_be_resolved_is_told_in_a_sentence(tmp_path: Path) -> None:
    wildcards = files(tmp_path, a="__b__", b="x __c__", c="__a__", empty="# nothing\n", grows="__more__" * 99)
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe\xff")
    files(tmp_path, more="a" * 5000)
    for text, said in (
        ("__x__", "There is no wildcard __x__; add wildcards/x.txt"),
        ("__no*__", "no wildcard"),
        ("__../../etc/passwd__", "no wildcard"),
        ("__a__", "leads back to itself (a → b → c → a)"),
        ("__empty__", "has no entries"),
        ("__latin__", "cannot be read; save it as UTF-8"),
        ("__grows__", "too long"),
    ):
        with pytest.raises(BadRequest) as fault:
            wildcards.resolve(text, 1)
        assert said in str(fault.value)


def test_a_seed_means_the_same_choices_in_every_version_of_python() -> None:
    assert [NONE.resolve("{a|b|c|d} {2$$, $$1|2|3}", seed) for seed in (0, 1, 2**64 - 1)] == [
        "d 3, 1",
        "a 3, 1",
        "d 1, 2",
    ]


@pytest.mark.parametrize("name", SHIPPED.names())
def test_every_shipped_wildcard_varies_with_the_seed_and_repeats_with_it(name: str) -> None:
    drawn = [SHIPPED.resolve(f"__{name}__", seed) for seed in range(30)]
    assert len(set(drawn)) > 5
    assert drawn == [SHIPPED.resolve(f"__{name}__", seed) for seed in range(30)]
    assert not any("__" in text or "{" in text for text in drawn)


def test_a_dozen_wildcards_are_shipped() -> None:
    assert len(SHIPPED.names()) >= 12


@given(st.text(st.sampled_from("ab {}|[]$:\\12-_"), max_size=80), st.integers(0, 2**64 - 1))
def test_any_text_resolves_to_what_needs_no_resolving_twice_the_same_way(text: str, seed: int) -> None:
    try:
        resolved = NONE.resolve(text, seed)
    except BadRequest:
        return
    assert resolved == NONE.resolve(text, seed)


@pytest.mark.parametrize(
    "hostile", ["{", "{|", "{[|", "{a|b}", "_", "__", "__a", "{2$$", "{1::", "[{", "\\{", "{}", "|"]
)
def test_a_hostile_prompt_ends_in_a_text_or_a_sentence(hostile: str) -> None:
    many = hostile * (10_000 // len(hostile))
    for text in (many, f"{{{many}}}", many + "}" * len(many)):
        with suppress(BadRequest):
            assert len(NONE.resolve(text, 1)) <= len(text) * 2
