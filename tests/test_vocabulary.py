"""Words for the builder, for surprises and for completions."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.presets import Presets
from studio.settings import PRESETS
from studio.vocabulary import MOST_TAGS, TAGS, Vocabulary
from tools.mini import vocabulary as taught


@pytest.fixture
def words(tmp_path: Path) -> Vocabulary:
    return Vocabulary(PRESETS, tmp_path, Presets(PRESETS, tmp_path))


def test_every_side_of_a_picture_has_words_and_none_is_left_to_chance(words: Vocabulary) -> None:
    facets = words.facets()
    assert list(facets) == [
        *("Subject", "Setting", "Style", "Medium", "Lighting", "Composition", "Camera", "Mood"),
    ]
    assert sum(map(len, facets.values())) > 250
    for listed in facets.values():
        assert len(listed) >= 10
        assert not any(set(word) & set("{}|_$<>") for word in listed)


def test_a_surprise_suits_the_model(words: Vocabulary, tmp_path: Path) -> None:
    wild = Presets(PRESETS, tmp_path).wildcards
    known = {part for phrase in _known_phrases() for part in phrase.split()}
    small = {wild.resolve(words.surprise("mini", "sd15"), seed) for seed in range(40)}
    assert len(small) > 30
    for text in small:
        assert set(text.replace(",", "").split()) <= known | {"a", "two", "three"}, text
    assert words.surprise("anything", "sdxl") == "__surprise__"


def _known_phrases() -> list[str]:
    return [
        *(name for names in taught.NOUNS.values() for number in names for name in number),
        *(name for names in taught.COLOR_WORDS.values() for name in names),
        *(name for kinds in taught.PLACE_PHRASES.values() for names in kinds.values() for name in names),
        *(name for names in taught.STYLE_WORDS.values() for name in names),
        *(name for time in taught.TIME_PHRASES.values() for name in (*time.anywhere, *time.outdoors)),
    ]


def test_negatives_are_those_of_the_model_then_of_its_family(words: Vocabulary) -> None:
    assert "sunny day" in words.negatives("mini", "sd15")
    assert "bad anatomy" in words.negatives("other", "sd15")
    assert words.negatives("other", "unheard-of") == words.negatives("default")


def test_a_list_of_tags_is_read_most_used_first_and_broken_rows_do_no_harm(words: Vocabulary, tmp_path: Path) -> None:
    (tmp_path / TAGS).mkdir()
    rows = ["1girl,0,5000000,", 'long_hair,0,4000000,"hair_long"', "#comment,0,9,", ",,,", f"{'x' * 200},0,9,", "rare"]
    (tmp_path / TAGS / "danbooru.csv").write_text("\n".join(rows), "utf-8")
    (tmp_path / TAGS / "broken.csv").write_bytes(b"\xff\xfe\x00broken")
    assert words.tags() == [("1girl", 5_000_000), ("long hair", 4_000_000), ("rare", 0)]
    (tmp_path / TAGS / "huge.csv").write_text("\n".join(f"t{i},0,1" for i in range(MOST_TAGS + 10)), "utf-8")
    assert len(words.tags()) == MOST_TAGS


def test_a_file_of_the_artist_s_own_that_cannot_be_read_leaves_the_others(words: Vocabulary, tmp_path: Path) -> None:
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards" / "moods.txt").write_bytes(b"\xff\xfe\xfa")
    (tmp_path / "wildcards" / "lighting.txt").write_text("moonbeams\n{a|b}\n", "utf-8")
    fresh = Vocabulary(PRESETS, tmp_path, Presets(PRESETS, tmp_path)).facets()
    assert fresh["Mood"] == ()
    assert fresh["Lighting"] == ("moonbeams",)
    assert fresh["Subject"] == words.facets()["Subject"]
