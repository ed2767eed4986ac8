"""The X-ray of a prompt: what is left out, and how far pictures lie apart."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from studio.errors import BadRequest
from studio.request import GenerationRequest, Picture
from studio.xray import MOST, distance, phrases, plan, without


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a red boat on the sea at sunset, watercolor", ["a red boat", "on the sea", "at sunset", "watercolor"]),
        ("a red cat", ["a", "red", "cat"]),
        ("a (boat on the sea:1.2), [fog:at night:0.5], ink", ["a (boat on the sea:1.2)", "[fog:at night:0.5]", "ink"]),
        ("cat, <lora:ink, pen:0.8>, sea", ["cat", "sea"]),
        ("cat\nwith hat,, ,", ["cat", "with hat"]),
        (r"a \(red, boat\), sea", [r"a \(red", r"boat\)", "sea"]),
        ("", []),
    ],
)
def test_a_prompt_falls_into_the_parts_one_would_name(prompt: str, parts: list[str]) -> None:
    found = phrases(prompt)
    assert [phrase.text for phrase in found] == parts
    assert all(prompt[phrase.start : phrase.end] == phrase.text for phrase in found)


def test_leaving_one_out_leaves_no_trace_of_it() -> None:
    prompt = "a red boat on the sea at sunset, watercolor"
    assert [without(prompt, phrase) for phrase in phrases(prompt)] == [
        "on the sea at sunset, watercolor",
        "a red boat at sunset, watercolor",
        "a red boat on the sea, watercolor",
        "a red boat on the sea at sunset",
    ]


@pytest.mark.parametrize(
    "prompt", ["a, " * 6666, "(" * 20_000, "[(" * 10_000, "\\" * 20_000, "in " * 6666, "<" * 19_999]
)
def test_there_are_never_more_parts_than_pictures_one_would_wait_for(prompt: str) -> None:
    found = phrases(prompt)
    assert len(found) <= MOST
    for phrase in found:
        assert len(without(prompt, phrase)) < len(prompt)


def test_all_of_it_is_drawn_from_one_seed_in_few_steps() -> None:
    found, requests = plan(GenerationRequest(prompt="x", count=4, steps=30), "a boat, at sea", 2**63)
    assert [phrase.text for phrase in found] == ["a boat", "at sea"]
    assert [request.prompt for request in requests] == ["a boat, at sea", "at sea", "a boat"]
    assert {(request.seed, request.steps, request.count) for request in requests} == {(2**63, 8, 1)}


def test_one_word_and_pictures_to_start_from_are_refused() -> None:
    with pytest.raises(BadRequest, match="several words"):
        plan(GenerationRequest(prompt="boat"), "boat", 1)
    started = GenerationRequest(prompt="a boat", init=Picture.from_bytes(_png("red")))
    with pytest.raises(BadRequest, match="words alone"):
        plan(started, "a boat", 1)


def _png(colour: str, size: tuple[int, int] = (96, 64)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def test_distances_are_those_of_colour() -> None:
    assert distance(_png("red"), _png("red")) == 0
    assert distance(_png("black"), _png("white")) == pytest.approx(1)
    assert distance(_png("red"), _png("blue")) == pytest.approx(2 / 3, abs=1e-3)
    assert distance(_png("red"), _png("red", (64, 96))) == 1
