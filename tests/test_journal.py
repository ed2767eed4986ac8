from __future__ import annotations

import json
import logging
import sys

import pytest

from studio.journal import JsonLines, PlainLines


def record(message: str, **about: object) -> logging.LogRecord:
    made = logging.LogRecord("studio.jobs", logging.WARNING, "jobs.py", 1, message, (), None)
    vars(made).update(about)
    return made


@pytest.mark.parametrize(
    ("message", "secret"),
    [
        ("GET /?key=Zk3_abcdefghijklmnop&tab=1", "Zk3_abcdefghijklmnop"),
        ('cookie: pochade_session="tok-ABCDEFGHIJKL"', "tok-ABCDEFGHIJKL"),
        ("Authorization: Bearer abc.def-ghi_jkl", "abc.def-ghi_jkl"),
        ("{'name': 'ann', 'password': 'correct-horse'}", "correct-horse"),
    ],
)
def test_secrets_never_reach_a_log(message: str, secret: str) -> None:
    for lines in (PlainLines(), JsonLines()):
        assert secret not in lines.format(record(message))


def test_a_line_of_json_says_which_job_and_person_it_is_about() -> None:
    line = json.loads(JsonLines().format(record("drawn\nwith a second line", job="abc", person="guest-1", seconds=1.5)))
    assert (line["job"], line["person"], line["seconds"], line["level"]) == ("abc", "guest-1", 1.5, "warning")
    assert line["message"] == "drawn\nwith a second line"
    assert "\n" not in JsonLines().format(record("two\nlines"))


def test_a_fault_is_told_with_its_trace_and_without_secrets() -> None:
    made = record("a bug")
    try:
        raise ValueError("token=ABCDEFGHIJKLMN")
    except ValueError:
        made.exc_info = sys.exc_info()
    line = json.loads(JsonLines().format(made))
    assert "ValueError" in line["error"]
    assert "ABCDEFGHIJKLMN" not in line["error"]
