from __future__ import annotations

import re
from pathlib import Path

import pytest

from studio.errors import BadRequest
from studio.presets import Presets, Style
from studio.settings import PRESETS

HOUSE = Presets(PRESETS)
#: The embedded model's own styles, and its times of day: the words its captions use for them.
TAUGHT = (
    *("flat vector", "watercolor", "pixel art", "ink", "neon", "paper cut", "oil painting", "chalk"),
    *("sunny day", "at sunset", "at night", "storm", "snow", "fog"),
)


def presets(folder: Path, text: str, encoding: str = "utf-8") -> Presets:
    (folder / "styles.csv").write_text(text, encoding=encoding)
    return Presets(folder)


def test_the_house_brings_more_than_forty_styles_all_readable() -> None:
    assert HOUSE.faults == ()
    assert len(HOUSE.styles()) >= 40
    for style in HOUSE.styles():
        assert style.category
        assert style.prompt.count("{prompt}") == 1
        assert not set(style.prompt + style.negative) - set(" ,.'-{}") - set(map(chr, range(48, 123)))
        full, negative = HOUSE.apply("a fox", "blurry", [style.name])
        assert "a fox" in full
        assert negative.startswith("blurry")


def test_every_word_the_embedded_model_was_taught_has_a_style() -> None:
    simple = [style for style in HOUSE.styles() if style.category in ("Small and simple", "Times and weather")]
    assert len(simple) >= 12
    for words in TAUGHT:
        assert any(re.search(rf"\b{words}\b", style.prompt) for style in simple), words


@pytest.mark.parametrize(
    ("names", "full", "negative"),
    [
        ([], "a fox", "bad"),
        (["wrap"], "an etching of a fox, old paper", "bad"),
        (["end"], "a fox, in ink", "bad, colour"),
        (["wrap", "end"], "an etching of a fox, old paper, in ink", "bad, colour"),
        (["end", "wrap"], "an etching of a fox, in ink, old paper", "bad, colour"),
        (["end", "end"], "a fox, in ink, in ink", "bad, colour, colour"),
        (["only negative"], "a fox", "ugly bad ugly"),
    ],
)
def test_styles_are_laid_around_the_prompt_in_order(tmp_path: Path, names: list[str], full: str, negative: str) -> None:
    given = presets(
        tmp_path,
        "name,prompt,negative_prompt\n"
        'wrap,"an etching of {prompt}, old paper",\n'
        "end,in ink,colour\n"
        "only negative,,ugly {prompt} ugly\n",
    )
    assert given.apply("a fox", "bad", names) == (full, negative)


def test_an_empty_prompt_leaves_no_loose_comma() -> None:
    assert HOUSE.apply("", "", ["Pixel art"]) == ("pixel art", "")


def test_braces_and_formats_in_a_prompt_are_only_text() -> None:
    odd = "a {fox} {0} {prompt} %s \\1"
    assert HOUSE.apply(odd, "", ["Pixel art"])[0] == f"{odd}, pixel art"


def test_an_unknown_style_is_a_sentence() -> None:
    with pytest.raises(BadRequest, match="no style “Nope”"):
        HOUSE.apply("a fox", "", ["Pixel art", "Nope"])


def test_styles_cannot_blow_a_prompt_up(tmp_path: Path) -> None:
    bomb = presets(tmp_path, "name,prompt,negative_prompt\nbomb,{prompt} {prompt} {prompt},\n")
    with pytest.raises(BadRequest, match="too long"):
        bomb.apply("x" * 20_000, "", ["bomb"] * 16)


def test_files_of_a1111_are_read_with_their_old_column_comments_and_mark(tmp_path: Path) -> None:
    old = presets(tmp_path, "name,text\n# my styles,,\n,,\nink,in ink\n", "utf-8-sig")
    assert old.styles() == (Style("ink", "in ink", "", ""),)
    assert old.faults == ()


def test_broken_rows_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    given = presets(
        tmp_path,
        "name,prompt,negative_prompt\nfirst,one,\n,nameless,\nempty,,\ntoo,many,columns,here\n"
        + "x" * 201
        + ",y,\nlast,two,\n",
    )
    assert [style.name for style in given.styles()] == ["first", "last"]
    assert [re.search(r"line (\d+)", fault)[1] for fault in given.faults] == ["3", "4", "5", "6"]  # type: ignore[index]


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\x00", b"a,b\n1,2\n", b"name,prompt\n\xff\xff,x\n", b"name,prompt\na\0b,x\n"]
)
def test_a_broken_file_is_named_and_not_fatal(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "styles.csv").write_bytes(data)
    given = Presets(PRESETS, tmp_path)
    assert given.styles()[: len(HOUSE.styles())] == HOUSE.styles()


def test_no_file_is_no_fault(tmp_path: Path) -> None:
    assert Presets(tmp_path).styles() == ()
    assert Presets(tmp_path).faults == ()


def test_an_artists_own_style_takes_the_place_of_the_houses(tmp_path: Path) -> None:
    own = presets(tmp_path, "name,prompt,negative_prompt\nPixel art,my pixels,\nMine,all mine,\n")
    both = Presets(PRESETS, tmp_path)
    assert both.apply("a fox", "", ["Pixel art"])[0] == "a fox, my pixels"
    assert len(both.styles()) == len(HOUSE.styles()) + 1
    (tmp_path / "styles.csv").unlink()
    both.refresh()
    assert both.styles() == HOUSE.styles()
    assert len(own.styles()) == 2
