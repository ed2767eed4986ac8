from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from studio import known
from studio.families import FAMILIES, UNKNOWN
from studio.settings import PRESETS

MODELS = known.read(PRESETS)


def test_every_known_model_is_of_a_family_that_can_be_loaded() -> None:
    for model in MODELS.values():
        assert model.family in FAMILIES, model.repo
        assert not FAMILIES[model.family].missing, model.repo


def test_nearly_every_family_has_a_model_to_begin_with() -> None:
    without = FAMILIES.keys() - {model.family for model in MODELS.values()} - {UNKNOWN.key}
    assert without <= {"ideogram4", "mini", "mini-flow"}
    assert len(MODELS) >= 30


def test_no_model_is_listed_twice() -> None:
    repeated = [name for name, number in Counter(repo.casefold() for repo in MODELS).items() if number > 1]
    assert repeated == []


def test_no_model_promises_more_than_its_licence_and_every_guide_says_how_large_it_is() -> None:
    strictness = ("yes", "conditions", "no")
    for model in MODELS.values():
        licence = known.commercial(model.licence)
        assert licence is None or strictness.index(model.commercial) >= strictness.index(licence), model.repo
        assert model.gb or model.kind != "controlnet", model.repo


def test_what_a_model_likes_is_its_familys_taste_unless_it_says_otherwise() -> None:
    assert MODELS["stabilityai/sdxl-turbo"].defaults.steps == 4
    assert MODELS["black-forest-labs/FLUX.1-schnell"].defaults.guidance == 0
    assert MODELS["Lykon/dreamshaper-xl-v2-turbo"].defaults.steps == 8
    assert MODELS["stabilityai/stable-diffusion-xl-base-1.0"].defaults == FAMILIES["sdxl"].defaults


@pytest.mark.parametrize(
    "line", ['repo = "nobody"', 'commercial = "perhaps"', "gb = -1", "like = { steps = 0 }", "x = 1"]
)
def test_a_mistake_in_the_list_is_noticed(tmp_path: Path, line: str) -> None:
    row = {"repo": '"a/b"', "family": '"sdxl"', "licence": '"mit"', "commercial": '"yes"'}
    key, _, value = line.partition(" = ")
    text = "\n".join(f"{name} = {said}" for name, said in {**row, key: value}.items())
    (tmp_path / known.FILE).write_text(f"[[model]]\n{text}\n")
    with pytest.raises(ValueError, match=key):
        known.read(tmp_path)
