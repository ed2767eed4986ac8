"""What the browser hands over as guides becomes units of a request, or one sentence."""

from __future__ import annotations

import json

import pytest

from studio.errors import BadRequest
from studio.request import GenerationRequest
from studio.ui import guide

POSE = {"people": [{"body": [[1, 2]] * 18}], "width": 64, "height": 64}


def test_no_guides_are_nothing_and_a_browser_without_scripts_has_none() -> None:
    for sent in (None, "", "[]", guide.PLACE):
        assert guide.read(sent) == []


def test_units_arrive_as_a_request_takes_them() -> None:
    sent = [{"annotator": "none", "parameters": {}, "model": None, "weight": 0.5, "pose": POSE, "mode": "control"}]
    (unit,) = GenerationRequest.model_validate({"controls": guide.read(json.dumps(sent))}).controls
    assert unit.pose is not None
    assert (unit.weight, unit.mode, unit.pose.people[0].body[17]) == (0.5, "control", (1, 2))


def test_what_is_missing_is_said_in_the_words_of_the_page() -> None:
    with pytest.raises(BadRequest, match="Nothing is drawn on guide 2 yet"):
        guide.read(json.dumps([{"pose": POSE}, {"problem": "Nothing is drawn on guide 2 yet; draw something."}]))


@pytest.mark.parametrize("sent", ["{", "{}", "[3]", '["a"]', 7, json.dumps([{}] * 5)])
def test_what_our_scripts_do_not_send_is_refused(sent: object) -> None:
    with pytest.raises(BadRequest, match="did not arrive"):
        guide.read(sent)


def test_a_sentence_counts_guides_as_the_page_does() -> None:
    sent = json.dumps([{"pose": POSE, "place": 2}, {"pose": POSE, "place": 4}])
    assert [unit.keys() for unit in guide.read(sent)] == [{"pose"}, {"pose"}]
    assert guide.placed("Guide 2: it has no ControlNet.", sent) == "Guide 4: it has no ControlNet."
    for sentence, given in (
        ("Guide 3: it is not there.", sent),
        ("Steps: 3 to 4.", sent),
        ("Guide 1: no.", "[{}]"),
        ("Guide 1: no.", None),
    ):
        assert guide.placed(sentence, given) == sentence
