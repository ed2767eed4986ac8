"""Which words of a prompt work: the same picture without each phrase in turn, and how far it moves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageChops, ImageStat

from studio import image
from studio.errors import BadRequest
from studio.request import MAX_PROMPT, GenerationRequest

MOST: Final = 12
STEPS: Final = 8
#: Pixels of the longer side at which pictures are compared: what one sees from afar.
_SIDE: Final = 64
_LARGEST: Final = 2**28
_TOKEN: Final = re.compile(r"\\.|[()\[\]{}<>,\n]|[^\s\\()\[\]{}<>,]+", re.DOTALL)
_BEGINS: Final = {
    *("on", "in", "at", "by", "with", "under", "over", "near", "beside", "behind", "before", "between", "among", "and"),
    *("during", "through", "across", "above", "below", "inside", "outside", "against", "towards", "while", "wearing"),
}


@dataclass(frozen=True, slots=True)
class Phrase:
    """The characters from `start` to `end` of the prompt."""

    start: int
    end: int
    text: str


def phrases(prompt: str) -> tuple[Phrase, ...]:
    """The parts a reader would name: between commas and before prepositions, outside of brackets and tags; the words
    of a prompt that has only one. At most `MOST`; the last takes the rest."""
    cut = _cut(prompt, _BEGINS)
    return cut if len(cut) > 1 else _cut(prompt, None)


def _cut(prompt: str, begins: set[str] | None) -> tuple[Phrase, ...]:
    """`begins`: the words before which is cut; None: every word."""
    edges: list[tuple[int, int]] = []
    depth = 0
    start = last = None
    for token in _TOKEN.finditer(prompt):
        word = token[0]
        if depth == 0 and start is not None and last is not None:
            new = word.lower() in begins if begins is not None else word not in ",\n)]}>"
            if word in (",", "\n") or (new and len(edges) < MOST - 1):
                edges.append((start, last))
                start = None
        depth = max(0, depth + (word in ("(", "[", "{", "<")) - (word in (")", "]", "}", ">")))
        if word in (",", "\n") and depth == 0:
            continue
        start = token.start() if start is None else start
        last = token.end()
    if start is not None and last is not None:
        edges.append((start, last))
    if len(edges) > MOST:
        edges = [*edges[: MOST - 1], (edges[MOST - 1][0], edges[-1][1])]
    return tuple(Phrase(first, end, prompt[first:end]) for first, end in edges if not _is_tag(prompt[first:end]))


def _is_tag(text: str) -> bool:
    return text.startswith("<") and text.endswith(">")


def without(prompt: str, phrase: Phrase) -> str:
    """The prompt as if the phrase had never been written."""
    before, after = prompt[: phrase.start].rstrip(), prompt[phrase.end :].lstrip()
    if after.startswith(",") and (not before or before.endswith((",", "\n"))):
        after = after[1:].lstrip()
    elif before.endswith(",") and (not after or after.startswith("\n")):
        before = before[:-1]
    return f"{before}{'' if after.startswith(',') else ' '}{after}".strip()


def plan(request: GenerationRequest, prompt: str, seed: int) -> tuple[tuple[Phrase, ...], list[GenerationRequest]]:
    """The phrases of `prompt`, and the requests to draw: the whole prompt first, then without each phrase.

    Raises:
        BadRequest: a prompt with nothing to leave out, or one that starts from a picture.
    """
    if request.init is not None:
        raise BadRequest("The X-ray looks at words alone; open it in the Text room.")
    found = phrases(prompt)
    if len(found) < 2 or len(prompt) > MAX_PROMPT:
        raise BadRequest("There is nothing to leave out yet; write a prompt of several words.")
    few = min(request.steps or STEPS, STEPS)
    base = request.model_copy(update={"prompt": prompt, "seed": seed, "count": 1, "steps": few})
    rest = [base.model_copy(update={"prompt": without(prompt, phrase)}) for phrase in found]
    return found, [base, *rest]


def distance(one: bytes, other: bytes) -> float:
    """How far apart two pictures are, 0 to 1: the mean difference of their colours, seen small."""
    first, second = (_small(data) for data in (one, other))
    if first.size != second.size:
        return 1.0
    return sum(ImageStat.Stat(ImageChops.difference(first, second)).mean) / 3 / 255


def _small(data: bytes) -> Image.Image:
    picture = image.decode(data, _LARGEST).convert("RGB")
    picture.thumbnail((_SIDE, _SIDE))
    return picture
