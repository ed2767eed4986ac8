"""Styles brought in from A1111 and Fooocus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.errors import BadRequest
from studio.presets import Presets, Style
from studio.style_files import keep, parse

A1111 = 'name,prompt,negative_prompt\nInk,"{prompt}, in ink, ""dry"" brush",colour\n#group,,\nEmpty,,\n'
FOOOCUS = [
    {"name": "sai-anime", "prompt": "anime artwork {prompt} . vibrant", "negative_prompt": "photo"},
    {"name": "only negative", "negative_prompt": "ugly"},
    {"prompt": "nameless"},
    "no style",
]


def test_a_styles_csv_of_a1111_is_read_as_it_was_written() -> None:
    styles, faults = parse(A1111.encode("utf-8-sig"), "styles.csv")
    assert styles == (Style("Ink", '{prompt}, in ink, "dry" brush', "colour", ""),)
    assert len(faults) == 1
    assert "“Empty” is empty" in faults[0]


def test_a_fooocus_list_is_read_and_what_is_no_style_is_named() -> None:
    styles, faults = parse(json.dumps(FOOOCUS).encode(), "sdxl_styles_sai.json")
    assert [style.name for style in styles] == ["sai-anime", "only negative"]
    assert styles[0].negative == "photo"
    assert len(faults) == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "There are no styles"),
        (b"\xff\xfe\x00\x01", "UTF-8"),
        (b"[{", "damaged"),
        (b"[" * 100_000, "damaged"),
        (b"a,b\n1,2\n", "no columns name and prompt"),
        (b"name,prompt\nx," + b"y" * 30_000 + b"\n", "too long"),
        (b'{"name": "x"}', "Entry 1"),
    ],
)
def test_what_is_no_list_of_styles_is_refused_in_a_sentence(data: bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        parse(data, "styles.csv")


def test_styles_brought_in_join_those_that_are_there_and_survive_a_restart(tmp_path: Path) -> None:
    keep([Style("Ink", "{prompt}, ink", "", ""), Style("Wash", "{prompt}, wash", "", "Mine")], tmp_path)
    keep([Style("Ink", '{prompt}, "wet"\nink', "dry, flat", "")], tmp_path)
    there = {style.name: style for style in Presets(tmp_path).styles()}
    assert there == {
        "Ink": Style("Ink", '{prompt}, "wet"\nink', "dry, flat", ""),
        "Wash": Style("Wash", "{prompt}, wash", "", "Mine"),
    }
    assert "{prompt}, ink" in (tmp_path / "styles.csv.bak").read_text("utf-8")
