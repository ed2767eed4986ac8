"""How well the model draws what it is told, judged by a small network that has only ever seen rendered scenes."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tools.mini.captions import caption
from tools.mini.data import SEED, Bucket, held_out_pictures
from tools.mini.judge import Judge, verdicts
from tools.mini.painter import Wish
from tools.mini.scene import LORA_STYLES, NAMES, PLACES, STYLES, TIMES, Scene, labels, sample_held_out, sample_scene
from tools.mini.told import said
from tools.mini.vocabulary import STYLE_WORDS

Hits = Mapping[str, NDArray[np.bool_]]
Paint = Callable[[str, list[Wish]], NDArray[np.uint8]]
"""Draws the pictures wished for; the name is that of the set."""
BOTH = "both subjects and colors"

OFTEN: dict[str, tuple[str, ...]] = {
    "style": tuple(STYLE_WORDS[style][0] for style in STYLES),
    "place": PLACES,
    "time": TIMES,
}
"""What pictures show even if no word asks for it, by class, and what one would type to be rid of it."""


def hits(named: Mapping[str, NDArray[np.int64]], scenes: Sequence[Scene]) -> Hits:
    wanted = [labels(scene) for scene in scenes]
    return {name: found == np.array([row[name] for row in wanted]) for name, found in named.items()}


def shares(right: Hits, told: Sequence[frozenset[str]]) -> dict[str, float]:
    """Per attribute the share of pictures where it is right, over those whose caption speaks of it (`told`)."""
    result = {}
    for name, flags in right.items():
        rows = np.array([name in attributes for attributes in told])
        if rows.any():
            result[name] = float(flags[rows].mean())
    pair = ("subject", "color", "subject2", "color2")
    rows = np.array([attributes.issuperset(pair) for attributes in told])
    if rows.any():
        result[BOTH] = float(np.logical_and.reduce([right[name] for name in pair])[rows].mean())
    return {name: round(value, 3) for name, value in result.items()}


def frechet(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Squared Fréchet distance between the Gaussians fitted to two sets of features (N, D)."""
    mean = float(((a.mean(0) - b.mean(0)) ** 2).sum())
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # tr((AB)^½) is the sum of the roots of the eigenvalues of AB, which are real and not negative.
    roots = np.sqrt(np.clip(np.linalg.eigvals(first @ second).real, 0, None)).sum()
    return mean + float(np.trace(first) + np.trace(second) - 2 * roots)


def held_out_wishes(count: int, seeds: int) -> tuple[list[Scene], list[Wish]]:
    """Captions of `count` held-out scenes with `seeds` seeds each, and the scene of each wish."""
    rng = np.random.default_rng([SEED, 0xCAFE])
    scenes = [sample_held_out(rng) for _ in range(count)]
    texts = [caption(scene, rng) for scene in scenes]
    wishes = [Wish(text, 100_000 * seed + number) for seed in range(seeds) for number, text in enumerate(texts)]
    return scenes * seeds, wishes


def present(scene: Scene) -> frozenset[str]:
    """The attributes that `scene` has, said or not."""
    return frozenset(name for name, number in labels(scene).items() if number > 0)


def trust(judge: Judge, side: int, count: int) -> dict[str, float]:
    """How often the judge is right about held-out renders, over the attributes that each scene has; about the styles of
    LoRAs too."""
    scenes, pictures = held_out_pictures(Bucket(side, side), count, seed=2)
    right = shares(hits(verdicts(judge, pictures)[0], scenes), [present(scene) for scene in scenes])
    scenes, pictures = held_out_pictures(Bucket(side, side), count, seed=4, styles=LORA_STYLES)
    return {**right, "styles of LoRAs": float(hits(verdicts(judge, pictures)[0], scenes)["style"].mean().round(3))}


def grade_prompts(paint: Paint, judge: Judge, side: int, count: int, seeds: int) -> dict[str, float]:
    """Draw `count` captions of held-out scenes with `seeds` seeds each and judge what comes out: the share of pictures
    where each attribute is right, and the Fréchet distance to renders, that of renders to others being 1."""
    scenes, wishes = held_out_wishes(count, seeds)
    pictures = paint("prompts", wishes)
    named, features = verdicts(judge, pictures)
    right = shares(hits(named, scenes), [said(scene, wish.prompt) for scene, wish in zip(scenes, wishes, strict=True)])
    (_, renders), (_, others) = (
        verdicts(judge, held_out_pictures(Bucket(side, side), len(pictures), seed)[1]) for seed in (2, 3)
    )
    return {**right, "distance": round(frechet(features, renders) / frechet(others, renders), 2)}


def bare(scene: Scene) -> str:
    """The first subject and its colour, and nothing else."""
    thing = scene.things[0]
    return f"a person in {thing.color}" if thing.name == "person" else f"a {thing.color} {thing.name}"


def grade_negatives(paint: Paint, judge: Judge, count: int) -> dict[str, float]:
    """Whether a negative prompt takes away what it names.

    Draws `count` subjects with nothing said around them, sees what the judge names there, and draws each once more for
    every such name, with the same seed and that name as the negative prompt. Returns the share of names that are gone,
    of all kinds and of each, and how many there were.
    """
    rng = np.random.default_rng([SEED, 0x4E6])
    free = [Wish(bare(sample_scene(rng)), seed) for seed in range(count)]
    seen, _ = verdicts(judge, paint("free", free))
    asked = [
        (name, int(number), Wish(wish.prompt, wish.seed, words[number - 1]))
        for name, words in OFTEN.items()
        for number, wish in zip(seen[name], free, strict=True)
        if 0 < number <= len(words)
    ]
    left, _ = verdicts(judge, paint("without", [wish for _, _, wish in asked]))
    gone = np.array([left[name][row] != number for row, (name, number, _) in enumerate(asked)])
    kinds = np.array([name for name, _, _ in asked])
    each = {f"removed {name}": round(float(gone[kinds == name].mean()), 3) for name in OFTEN if (kinds == name).any()}
    return {"there": float(len(asked)), "removed": round(float(gone.mean()), 3), **each}


def grade_lora(paint: Paint, judge: Judge, style: str, count: int) -> float:
    """The share of pictures that the judge takes for `style`, of `count` scenes whose words name no style."""
    named, _ = verdicts(judge, paint(f"lora-{style}", unstyled(count)))
    return round(float((named["style"] == NAMES["style"].index(style) + 1).mean()), 3)


def unstyled(count: int) -> list[Wish]:
    """Captions of scenes that name no style."""
    rng = np.random.default_rng([SEED, 0x10B])
    found: list[Wish] = []
    while len(found) < count:
        scene = sample_scene(rng)
        text = caption(scene, rng)
        if "style" not in said(scene, text):
            found.append(Wish(text, len(found)))
    return found
