"""What an artist might type to get a scene: many phrasings of the truth, never more than it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tools.mini.scene import COLORS, FLYING, INDOORS, LORA_STYLES, PLACES, STYLES, SUBJECTS, SWIMMING, Scene, Thing
from tools.mini.vocabulary import (
    ADJECTIVES,
    COLOR_WORDS,
    FILLERS,
    GENERAL,
    MOONLIT,
    NOUNS,
    OPENERS,
    PEOPLE,
    PLACE_NOUNS,
    PLACE_PHRASES,
    POSE_PHRASES,
    SIZE_WORDS,
    STYLE_WORDS,
    TIME_PHRASES,
)

assert set(NOUNS) | {"person"} == set(SUBJECTS)
assert set(PLACE_NOUNS) == set(PLACES)
assert set(STYLE_WORDS) == set(STYLES) | set(LORA_STYLES)
assert set(COLOR_WORDS) == set(COLORS)


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _usual(rng: np.random.Generator, options: Sequence[str], share: float = 0.6) -> str:
    """The first option mostly, any of them otherwise."""
    return options[0] if rng.random() < share else _pick(rng, options)


def _with_article(rng: np.random.Generator, words: str) -> str:
    article = _pick(rng, ("a", "a", "a", "a", "the", "one", ""))
    if article == "a" and words[0] in "aeiou8":
        article = "an"
    return f"{article} {words}".strip()


def _an(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou8' else 'a'} {words}"


def _clothing(rng: np.random.Generator, thing: Thing, color: str) -> str:
    many = thing.count > 1
    options = [f"in {color}", f"in {color} clothes", f"wearing {color}", f"dressed in {color}"]
    if thing.look == "woman":
        options += [f"in {color} dresses"] * 4 if many else [f"in {_an(color + ' dress')}"] * 4
    else:
        options += [f"in {color} shirts"] * 2 if many else [f"in {_an(color + ' shirt')}"] * 2
    return _pick(rng, options)


def _noun_phrase(thing: Thing, size: str | None, rng: np.random.Generator) -> str:
    color = _usual(rng, COLOR_WORDS[thing.color], 0.75) if rng.random() < 0.94 else ""
    one, many = PEOPLE[thing.look] if thing.name == "person" else NOUNS[thing.name]
    index = 0 if rng.random() < 0.6 else int(rng.integers(len(one)))
    noun = one[index] if thing.count == 1 else many[index]
    adjectives = [_usual(rng, SIZE_WORDS[size], 0.4) if size and rng.random() < 0.96 else ""]
    if rng.random() < 0.05:
        adjectives.append(_pick(rng, ADJECTIVES))
    after = ""
    if thing.name == "person":
        pose = _usual(rng, POSE_PHRASES[thing.pose], 0.5) if thing.pose in POSE_PHRASES and rng.random() < 0.92 else ""
        dressed = _clothing(rng, thing, color) if color else ""
        pair = [pose, dressed] if pose.split(" ")[0].endswith("ing") and rng.random() < 0.35 else [dressed, pose]
        after = " ".join(part for part in pair if part)
    else:
        adjectives.append(color)
    words = " ".join(part for part in (*adjectives, noun, after) if part)
    if thing.count == 1:
        return _with_article(rng, words)
    counts = (
        ("two", "two", "two", "2", "a pair of")
        if thing.count == 2
        else ("three", "three", "three", "3", "a group of three")
    )
    return f"{_pick(rng, counts)} {words}"


def things(scene: Scene, rng: np.random.Generator) -> str:
    phrases = [_noun_phrase(thing, scene.size, rng) for thing in scene.things]
    if len(phrases) == 2:
        first, second = phrases
        relation = rng.random()
        if relation < 0.55:
            return f"{first} and {second}"
        if relation < 0.66:
            return f"{first} on the left and {second} on the right"
        return first + _pick(rng, (" next to ", " beside ", " with ", " and also ", ", ", " to the left of ")) + second
    if scene.position is not None and rng.random() < 0.96:
        where = ("on the {}", "on the {}", "on the {} side", "to the {}", "at the {}", "on the {} of the picture")
        return f"{phrases[0]} {_pick(rng, where).format(scene.position)}"
    return phrases[0]


def _place_kind(scene: Scene) -> str:
    names = {thing.name for thing in scene.things}
    if names <= FLYING and scene.place not in INDOORS:
        return "over"
    return "afloat" if names <= SWIMMING and scene.place in ("sea", "lake") else "at"


def _setting(scene: Scene, rng: np.random.Generator) -> list[str]:
    """The place and the time, each left out now and then, sometimes woven into one phrase."""
    if scene.plain is not None:
        color = _usual(rng, COLOR_WORDS[scene.plain], 0.8)
        colored = (f"on {_an(color)} background", f"{color} background", f"on a plain {color} background",
                   f"against {_an(color)} background", f"on plain {color}")  # fmt: skip
        return [_pick(rng, colored)] if rng.random() < 0.95 else []
    assert scene.place is not None
    assert scene.time is not None
    kind = _place_kind(scene)
    tell_place, tell_time = rng.random() < 0.9, rng.random() < 0.88 and scene.place != "space"
    weather = TIME_PHRASES[scene.time]
    indoors = scene.place in INDOORS
    if tell_place and tell_time and weather.adjectives and not indoors and rng.random() < 0.22:
        preposition = {"over": ("over", "above"), "afloat": ("on",), "at": PLACE_NOUNS[scene.place][0]}[kind]
        noun = _pick(rng, PLACE_NOUNS[scene.place][1])
        return [f"{_pick(rng, preposition)} {_an(_pick(rng, weather.adjectives) + ' ' + noun)}"]
    phrases = []
    if tell_place:
        if kind == "over" and rng.random() < 0.6 and scene.place != "space":
            phrases.append(
                " ".join(
                    (
                        _pick(rng, ("over", "above")),
                        _usual(rng, ("the", "a"), 0.75),
                        _pick(rng, PLACE_NOUNS[scene.place][1]),
                    )
                )
            )
        else:
            phrases.append(_usual(rng, PLACE_PHRASES[scene.place]["afloat" if kind == "afloat" else "at"], 0.35))
    if tell_time:
        options = list(weather.anywhere)
        if not indoors:
            options += weather.outdoors
            if scene.time == "night" and all(thing.name != "moon" for thing in scene.things):
                options += MOONLIT
        phrases.append(_usual(rng, options, 0.3))
    if rng.random() < 0.25:
        phrases.reverse()
    return phrases


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One sentence about `scene`, in lower case, of `WORDS` only."""
    named, setting = things(scene, rng), _setting(scene, rng)
    style = _usual(rng, STYLE_WORDS[scene.style], 0.3)
    tell_style = rng.random() < (0.94 if scene.style != "flat" else 0.6)
    form = rng.random()
    if form < 0.1:  # tags
        parts = [named, *setting, style] if tell_style else [named, *setting]
        if rng.random() < 0.3:
            parts = [parts[-1], *parts[:-1]]
        return ", ".join(parts)
    glue = ", " if rng.random() < 0.15 else " "
    body = glue.join([named, *setting])
    if setting and rng.random() < 0.14:
        body = ", ".join([setting[-1], " ".join([named, *setting[:-1]])])
    elif rng.random() < 0.06:
        body = f"{_pick(rng, OPENERS)} {body}"
    if tell_style:
        if form < 0.52:
            body = f"{body}, {style}"
        elif form < 0.62:
            body = f"{body} in {style} style" if "style" not in style else f"{body} in {style}"
        elif form < 0.82:
            medium = (
                style if style.split(" ")[-1] in _MEDIA else f"{style} {_pick(rng, ('picture', 'illustration', 'art'))}"
            )
            article = "" if rng.random() < 0.4 or medium.endswith(" art") else _an(medium).split(" ")[0] + " "
            body = f"{article}{medium} of {' '.join([named, *setting])}"
        elif form < 0.93:
            body = f"{style}, {body}"
        else:
            body = f"{body}, {style}, {_pick(rng, FILLERS)}"
    elif form < 0.15:
        body = f"{body}, {_pick(rng, FILLERS)}"
    return body


_MEDIA = frozenset({"painting", "illustration", "drawing", "sketch", "print", "watercolor", "watercolour", "collage",
                    "cutout", "art", "window", "woodcut", "linocut", "blueprint", "aquarelle", "image",
                    "picture"})  # fmt: skip


def split_words(text: str) -> list[str]:
    """The words of a caption, lower case, without punctuation."""
    return re.findall(r"[a-z]+|[0-9]+", text.lower())


def _all_words() -> frozenset[str]:
    tables: list[str] = [
        "a an the one two three 2 3 pair group of in clothes wearing dressed dress dresses shirt shirts and also next "
        "to beside with on left right side at picture illustration art style background plain against over above "
        "moonlight under moon",
        *GENERAL, *FILLERS, *OPENERS, *ADJECTIVES, *(w for ws in COLOR_WORDS.values() for w in ws),
        *(w for one, many in (*NOUNS.values(), *PEOPLE.values()) for w in (*one, *many)),
        *(w for before, nouns in PLACE_NOUNS.values() for w in (*before, *nouns)),
        *(w for kinds in PLACE_PHRASES.values() for ws in kinds.values() for w in ws),
        *(w for ws in POSE_PHRASES.values() for w in ws), *(w for ws in SIZE_WORDS.values() for w in ws),
        *(w for ws in STYLE_WORDS.values() for w in ws),
        *(w for t in TIME_PHRASES.values() for w in (*t.anywhere, *t.outdoors, *t.adjectives)),
    ]  # fmt: skip
    return frozenset(word for text in tables for word in split_words(text))


WORDS: frozenset[str] = _all_words()
