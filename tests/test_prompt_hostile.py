"""Whatever somebody types, reading it takes time in proportion to its length: 20,000 characters well below a blink."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from studio import prompt, prompt_schedule, prompt_spoken, prompt_weights
from studio.errors import BadRequest
from studio.prompt_chunks import chunks
from studio.wildcards import Wildcards

CHANCE = Wildcards()
READERS: dict[str, Callable[[str], object]] = {
    "comments": prompt.without_comments,
    "LoRA tags": prompt.extract_loras,
    "wildcards": lambda text: CHANCE.resolve(text, 1),
    "schedules": lambda text: prompt_schedule.at(prompt_schedule.parse(text), 1, 20),
    "weights": prompt_weights.parse,
    "AND": prompt_weights.composed,
    "sentences": lambda text: prompt_spoken.spoken(text, 20),
    "chunks": lambda text: chunks(
        [(prompt_weights.Run(text, 1.0),)], lambda words: [len(word) for word in words.split()], None, {"aa aa": 3}
    ),
}
HOSTILE = [
    *(
        "(",
        "[",
        "{",
        "((",
        "[(",
        "({[",
        ")]",
        "|",
        ":",
        "\\",
        "#",
        " #",
        "<",
        "<lora:",
        "<lora:a:1>",
        "_",
        "__a",
        "a__",
    ),
    *(
        "[a:",
        "[a|",
        "[a:1]",
        "[a:b:0.5",
        "(a:1.1)",
        ":1",
        ":  1",
        "{a|b}",
        "{2$$",
        "{1::",
        "BREAK ",
        "AND :",
        "a ",
        " ",
    ),
]


def best_of_three(work: Callable[[], object]) -> float:
    """Seconds of this thread alone, whatever else the machine does."""
    times = []
    for _ in range(3):
        began = time.thread_time()
        work()
        times.append(time.thread_time() - began)
    return min(times)


def slowness() -> float:
    """How much longer than on an idle core of a small server (8 ms) plain Python takes here and now; at least 1."""
    return max(1.0, best_of_three(lambda: sum(number * number for number in range(200_000))) / 0.008)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_twenty_thousand_characters_are_read_in_linear_time(reader: str, hostile: str) -> None:
    def seconds(size: int) -> float:
        text = hostile * (size // len(hostile))

        def read() -> None:
            with suppress(BadRequest):
                READERS[reader](text)

        return best_of_three(read)

    long = seconds(20_000)
    if long < 0.05:
        return
    assert long < 0.05 * slowness()
    # Four times the text; sixteen times the time would be quadratic.
    assert long < 10 * seconds(5_000)
