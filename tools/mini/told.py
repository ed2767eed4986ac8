"""Which attributes of a scene a caption speaks of, so that nothing is graded that the words leave out."""

import re
from collections.abc import Iterable, Mapping

from tools.mini.scene import NAMES, POSES, Scene, labels
from tools.mini.vocabulary import (
    COLOR_WORDS,
    MOONLIT,
    PLACE_NOUNS,
    PLACE_PHRASES,
    POSE_PHRASES,
    SIZE_WORDS,
    STYLE_WORDS,
    TIME_PHRASES,
)

ALWAYS = frozenset({"subject", "subject2", "count", "look"})
"""No caption leaves these out."""


def _place(name: str) -> Iterable[str]:
    return [*PLACE_NOUNS[name][1], *(phrase for phrases in PLACE_PHRASES[name].values() for phrase in phrases)]


def _time(name: str) -> Iterable[str]:
    words = TIME_PHRASES[name]
    return [*words.anywhere, *words.outdoors, *words.adjectives, *(MOONLIT if name == "night" else ())]


def phrases(attribute: str, name: str) -> Iterable[str]:
    """All words for a class of `attribute`."""
    if attribute == "place":
        return _place(name)
    if attribute == "time":
        return _time(name)
    tables: dict[str, Mapping[str, tuple[str, ...]]] = {
        "color": COLOR_WORDS,
        "plain": COLOR_WORDS,
        "style": STYLE_WORDS,
        "size": SIZE_WORDS,
        "pose": {pose: POSE_PHRASES[pose] for pose in POSES},
    }
    return tables[attribute][name] if attribute in tables else (name,)


def said(scene: Scene, caption: str) -> frozenset[str]:
    """The attributes of `scene` that `caption` names; those the scene does not have are not among them."""
    found = set()
    for attribute, number in labels(scene).items():
        if number == 0:
            continue
        if attribute in ALWAYS:
            found.add(attribute)
            continue
        words = phrases(attribute.removesuffix("2"), NAMES[attribute][number - 1])
        if any(re.search(rf"\b{re.escape(phrase)}\b", caption) for phrase in words):
            found.add(attribute)
    return frozenset(found)
