"""What the page may ask of a model, by its family and its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from studio import abilities, families, samplers
from studio.family import GuidanceKind
from studio.request import GenerationRequest, ModelSpec, Outpaint, Picture

PICTURE = Picture.from_bytes(b"any")


def model(family: str, title: str = "Some model") -> ModelSpec:
    return ModelSpec("m", title, Path(), family, 0, "", "", families.known(family).defaults)


@pytest.mark.parametrize(
    ("family", "title", "guidance", "negative"),
    [
        ("sd15", "Paint", "cfg", True),
        ("sdxl", "DreamShaper XL Turbo", "cfg", True),  # turbo in its name, and guided all the same
        ("flux", "flux1-dev", "embedded", False),
        ("flux", "flux1-schnell", "none", False),
        ("z-image", "z_image_turbo_bf16", "none", False),
        ("z-image", "z_image", "cfg", True),
        ("ideogram4", "Ideogram 4", "cfg", False),
        ("unknown", "Something new", "cfg", True),
    ],
)
def test_guidance_and_negative_prompt_are_those_the_model_reads(
    family: str, title: str, guidance: GuidanceKind, negative: bool
) -> None:
    can = abilities.of(model(family, title))
    assert (can.guidance, can.negative) == (guidance, negative)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_its_own_sampler_size_and_start_are_among_what_it_can_do(family: str) -> None:
    row = families.FAMILIES[family]
    can = abilities.of(model(family))
    likes = row.defaults
    assert likes.scheduler in can.schedules[likes.sampler]
    assert set(can.schedules) <= set(samplers.table(flow=row.flow))
    assert all(side % can.multiple == 0 for size in can.sizes for side in size)
    assert len(can.cannot) < 4, "there is a room for every model"


@pytest.mark.parametrize(
    ("family", "refused"),
    [
        ("sd15", set()),
        ("flux-fill", {"guide"}),  # filling all of it is drawing from a text
        ("flux-kontext", {"guide"}),
        ("sdxl-refiner", {"create", "guide"}),
        ("qwen-edit", {"create", "guide"}),
        ("flux2", {"inpaint", "guide"}),
        ("lumina2", {"image", "inpaint", "guide"}),
        ("unknown", {"guide"}),
    ],
)
def test_rooms_are_refused_where_no_pipeline_does_what_they_are_for(family: str, refused: set[str]) -> None:
    assert set(abilities.of(model(family)).cannot) == refused


def test_what_is_asked_of_a_model_that_cannot_is_refused_by_name_with_a_way_out() -> None:
    asked = {
        "create": GenerationRequest(prompt="x"),
        "image": GenerationRequest(prompt="x", init=PICTURE),
        "inpaint": GenerationRequest(prompt="x", init=PICTURE, outpaint=Outpaint(left=8)),
    }
    lumina = model("lumina2", "Lumina")
    assert abilities.refusal(asked["create"], lumina) == ""
    assert abilities.refusal(asked["image"], lumina) == (
        "Lumina cannot start from a picture; remove the picture, or choose another model."
    )
    assert "cannot repaint part of a picture" in abilities.refusal(asked["inpaint"], lumina)
    assert "cannot draw from a text alone; add a picture" in abilities.refusal(asked["create"], model("qwen-edit"))


def test_ten_thousand_models_of_a_family_tell_their_abilities_once() -> None:
    models = (replace(model("sdxl"), key=f"m{number}") for number in range(10_000))
    told = abilities.told(models, lambda spec: f"terms of {spec.key}")
    assert told["defaults"]["m7"]["terms"] == "terms of m7"  # type: ignore[index]
    assert (len(told["defaults"]), len(told["abilities"])) == (10_000, 1)
