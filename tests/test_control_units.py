"""Guides before they reach the engine: which ControlNet suits, what is refused, how they are stored and told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from pydantic import ValidationError

from studio import control, control_plan, image, infotext, infotext_foreign
from studio.annotators import ANNOTATORS, SHOWS
from studio.catalog import Catalog
from studio.errors import BadRequest, NotFound, StudioError
from studio.gallery import Gallery
from studio.gallery_origin import PARAMETERS, POCHADE
from studio.job_store import JobStore
from studio.pose import Person, Pose
from studio.request import MAX_CONTROLS, ControlUnit, GenerationRequest, Picture, ResolvedRequest
from studio.specs import ControlNetSpec
from tests import galleries
from tests.weight_files import write

SD15 = {
    "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320, 768),
}
SDXL = {
    "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
    "add_embedding.linear_1.weight": (1280, 2816),
}
CHECKPOINT = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "model.diffusion_model.out.2.weight": (4, 320, 3, 3),
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    "cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,),
}


def picture(colour: str = "black") -> Picture:
    page = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(page).ellipse((10, 10, 50, 50), outline=colour, width=3)
    return Picture.from_bytes(image.png(page))


POSE = Pose(people=(Person.model_validate({"body": [(30.0, 30.0), *([None] * 17)]}),), width=64, height=64)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    folder = tmp_path_factory.mktemp("models")
    write(folder / "checkpoints" / "paint.safetensors", CHECKPOINT)
    for name in ("control_v11p_sd15_canny", "control_v11p_sd15_openpose", "control_sd15_mystery"):
        write(folder / "controlnet" / f"{name}.safetensors", SD15)
    write(folder / "controlnet" / "controlnet-union-sdxl.safetensors", SDXL | {"task_embedding": (6, 320)})
    catalog = Catalog(folder / "none", (folder,))
    yield catalog
    catalog.close()


def settled(catalog: Catalog, *units: ControlUnit) -> tuple[ControlUnit, ...]:
    return control_plan.settled(units, catalog.find("checkpoints/paint.safetensors"), catalog, 2**24)


@pytest.mark.parametrize(
    ("unit", "net"),
    [
        ({"annotator": "canny"}, "canny"),
        ({"annotator": "openpose"}, "openpose"),
        ({"image": None, "pose": POSE}, "openpose"),
        ({"annotator": "lineart_standard"}, "canny"),  # its kin: lines on black as well
        ({"annotator": "depth_midas"}, "mystery"),  # nothing says what it is for
        ({"annotator": "none"}, "mystery"),
    ],
)
def test_a_controlnet_that_suits_is_found(catalog: Catalog, unit: dict[str, Any], net: str) -> None:
    (found,) = settled(catalog, ControlUnit(**{"image": picture(), **unit}))
    assert found.model is not None
    assert net in found.model
    assert settled(catalog, found) == (found,)


def net(title: str, **more: Any) -> ControlNetSpec:
    return ControlNetSpec(title, title, Path(f"{title}.safetensors"), ("sd15",), 1, "", **more)


@pytest.mark.parametrize(
    ("title", "kinds"),
    [
        ("control_v11f1p_sd15_depth", ("depth",)),
        ("control_v11p_sd15s2_lineart_anime", ("anime", "lineart")),
        ("diffusers_xl_canny_mid", ("canny",)),
        ("t2i-adapter-sketch-sdxl-1.0", ("scribble",)),
        ("control_v11f1e_sd15_tile", ("tile",)),
        ("my own", ()),
    ],
)
def test_names_tell_what_a_controlnet_follows(title: str, kinds: tuple[str, ...]) -> None:
    assert control.made_for(net(title)) == kinds
    assert set(control.annotators_of(net(title))) <= set(ANNOTATORS)


def test_one_that_says_what_it_was_trained_on_is_believed() -> None:
    assert control.made_for(net("depth", annotator="scribble")) == ("scribble",)
    assert control.made_for(net("x", annotator="openpose")) == ("pose",)
    assert "canny" in control.annotators_of(net("anything", content="union"))
    nets = (net("union", content="union"), net("canny"), net("pose", annotator="openpose"))
    assert [control.suiting(nets, kind) for kind in ("canny", "pose", "depth")] == [nets[1], nets[2], nets[0]]
    assert control.suiting((), "canny") is None
    assert {row.kind for row in ANNOTATORS.values() if row.kind} <= SHOWS.keys()


@pytest.mark.parametrize(
    ("unit", "sentence"),
    [
        ({"image": None}, "Guide 1: it has neither an image nor a pose"),
        ({"image": None, "pose": Pose(people=(), width=64, height=64)}, "Guide 1: its pose has nobody in it"),
        ({"model": "nothing"}, "Guide 1: there is no ControlNet “nothing”"),
        (
            {"model": "controlnet/controlnet-union-sdxl"},
            "“controlnet-union-sdxl” is for Stable Diffusion XL, and paint is a model of Stable Diffusion 1.5",
        ),
        ({"annotator": "guess"}, "Guide 1: there is no annotator “guess”"),
        ({"annotator": "canny", "parameters": {"low_threshold": 0}}, "weakest edge of Canny edges must be between"),
        ({"image": Picture.from_bytes(b"GIF89a nothing")}, "Guide 1: this is a GIF file"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_its_number(
    catalog: Catalog, unit: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(StudioError) as refused:
        settled(catalog, ControlUnit(**{"image": picture(), **unit}))
    assert sentence in str(refused.value)


def test_a_giant_picture_is_refused(catalog: Catalog) -> None:
    model = catalog.find("checkpoints/paint.safetensors")
    with pytest.raises(StudioError, match="Guide 1: this picture is 64×64 pixels; scale it down"):
        control_plan.settled((ControlUnit(image=picture()),), model, catalog, 1000)


def test_a_guide_that_does_nothing_needs_nothing(catalog: Catalog) -> None:
    idle = ControlUnit(weight=0, model="nothing", annotator="guess")
    assert settled(catalog, idle) == (idle,)


def test_without_a_controlnet_it_says_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path / "checkpoints" / "paint.safetensors", CHECKPOINT)
    bare = Catalog(tmp_path / "none", (tmp_path,))
    with pytest.raises(BadRequest, match=r"no ControlNet here for Stable Diffusion 1\.5 that follows depths"):
        settled(bare, ControlUnit(image=picture(), annotator="depth_zoe"))
    with pytest.raises(NotFound, match="Guide 1"):
        settled(bare, ControlUnit(image=picture(), model="x"))
    bare.close()


def test_numbers_out_of_range_and_too_many_guides_are_refused() -> None:
    for wrong in ({"weight": 2.1}, {"weight": float("nan")}, {"start": -0.1}, {"end": 1.1}, {"mode": "loud"}):
        with pytest.raises(ValidationError):
            ControlUnit.model_validate(wrong)
    with pytest.raises(ValidationError, match="an image or a pose, not both"):
        ControlUnit(image=picture(), pose=POSE)
    with pytest.raises(ValidationError):
        GenerationRequest(prompt="x", controls=(ControlUnit(),) * (MAX_CONTROLS + 1))


# ── Stored and told ────────────────────────────────────────────────────────────────────────────────────────────────

UNITS = (
    ControlUnit(image=picture(), annotator="canny", model="controlnet/edges", weight=0.75, end=0.5, mode="control"),
    ControlUnit(pose=POSE, model="controlnet/pose", start=0.25, resize="fill"),
    ControlUnit(image=picture("red"), weight=0),
)


def test_pictures_of_guides_are_kept_with_the_picture_and_given_back(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path, galleries.PATTERN)
    result = galleries.drawn(controls=UNITS, init=picture("blue"))
    record = gallery.add(result, job="j", index=0, owner=galleries.OWNER, title="Mini")
    assert set(record.inputs) == {"init", "control1", "control3"}
    assert gallery.request(record.id) == result.request
    assert gallery.input(record.id, "control1").read_bytes() == picture().data
    texts = image.texts(gallery.path(record.id).read_bytes())
    assert len(texts[POCHADE]) < 8000, "pictures are named in it, not held"
    kept = json.loads(texts[POCHADE])["request"]["controls"]
    assert kept[0]["image"] == f"sha256:{picture().sha256}"
    found = infotext_foreign.read(texts)
    assert found is not None
    assert [unit["model"] for unit in found.settings["controls"]] == ["controlnet/pose"]
    gallery.close()


def test_a_job_keeps_the_pictures_of_its_guides(tmp_path: Path) -> None:
    request = galleries.drawn(controls=UNITS).request
    store = JobStore(tmp_path / "jobs.db")
    store.add("a", "ann", request)
    assert store.ticket("a").inputs.keys() == {"control1", "control3"}
    assert store.request("a") == request
    store.close()


def test_the_text_of_a_picture_tells_of_guides_as_a1111s_extension_does() -> None:
    result = galleries.drawn(controls=UNITS)
    fields = infotext.parse(infotext.write(result, "Mini"))
    assert fields["ControlNet 0"] == (
        "Module: canny, Model: edges, Weight: 0.75, Resize Mode: Crop and Resize, Threshold A: 100, Threshold B: 200, "
        "Guidance Start: 0, Guidance End: 0.5, Control Mode: ControlNet is more important"
    )
    assert fields["ControlNet 1"].startswith("Module: pose, Model: pose, Weight: 1, Resize Mode: Resize and Fill")
    assert "ControlNet 2" not in fields
    assert PARAMETERS == "parameters"


def test_a_resolved_request_without_its_pictures_is_still_one() -> None:
    request = galleries.drawn(controls=UNITS).request
    parted = request.with_pictures(dict.fromkeys(request.pictures))
    assert parted.pictures == {}
    again = ResolvedRequest.model_validate_json(parted.model_dump_json()).with_pictures(request.pictures)
    assert again == request
