"""The form: what its controls say becomes a request, and a request becomes what they show."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import gradio as gr
import pytest

from studio import abilities, families, plan, samplers
from studio.abilities import Abilities
from studio.catalog import Catalog
from studio.errors import BadRequest
from studio.gallery import Gallery
from studio.jobs import Jobs
from studio.presets import Presets
from studio.request import Defaults, GenerationRequest, LoraUse, ModelSpec
from studio.settings import EMBEDDED, PRESETS, Settings
from studio.ui import form, shell
from studio.ui.form import Form, Studio
from tests.fakes import FakeEngine
from tools.mini import vocabulary


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    catalog, presets = Catalog(EMBEDDED), Presets(PRESETS, tmp_path)
    gallery = Gallery(tmp_path, "{number}")
    jobs = Jobs(
        tmp_path / "jobs.sqlite3",
        FakeEngine(),
        lambda request: plan.resolve(request, catalog=catalog, presets=presets),
        lambda result, job, index, owner: gallery.add(result, job=job, index=index, owner=owner).id,
    )
    yield Studio(jobs, catalog, presets, gallery, Settings(), {})
    jobs.close()
    gallery.close()


@pytest.fixture
def controls() -> Form:
    kinds = {"styles": gr.Dropdown, "width": gr.Number, "height": gr.Number}
    return Form(**{name: kinds.get(name, gr.Textbox)() for name in form.NAMES})


def able(family: str, title: str = "Some model") -> Abilities:
    return abilities.of(ModelSpec("m", title, Path(), family, 0, "", "", families.known(family).defaults))


def asked(controls: Form, **values: object) -> GenerationRequest:
    given = {"prompt": "a heron", "count": 1, **values}
    return form.read(controls, {getattr(controls, name): value for name, value in given.items()})


def test_an_emptied_control_is_left_to_the_model(controls: Form) -> None:
    emptied = asked(controls, negative="", styles=[], model=None, width=None, height=None, steps=None, seed=" ")
    assert emptied == GenerationRequest(prompt="a heron")


def test_every_control_reaches_the_request(controls: Form) -> None:
    values = {
        "prompt": "a heron",
        "negative": "fog",
        "styles": ["Pixel art"],
        "model": "mini",
        "width": 320.0,
        "height": 192.0,
        "count": 4.0,
        "seed": "18446744073709551615",
        "sampler": "Euler a",
        "scheduler": "Uniform",
        "steps": 12.0,
        "guidance": 0.0,
        "clip_skip": 2.0,
        "vae": "vae/sharper",
        "loras": '[{"name":"ink","weight":0.5,"blocks":"1,0"}]',
    }
    request = asked(controls, **values)
    assert values.keys() == set(form.NAMES)
    loras = (LoraUse(name="ink", weight=0.5, blocks="1,0"),)
    assert request == GenerationRequest.model_validate({**values, "seed": 2**64 - 1, "loras": loras})


@pytest.mark.parametrize("text", ["", "  ", "-1", None])
def test_an_empty_seed_is_left_to_chance(controls: Form, text: str | None) -> None:
    assert asked(controls, seed=text).seed is None


@pytest.mark.parametrize(
    "text", ["NaN", "1e5", "-2", "18446744073709551616", "9" * 10_000, "0x10", "1_000", "٣", "7.0", "🪶", "1 2"]
)
def test_what_cannot_be_a_seed_is_said_in_a_short_sentence(controls: Form, text: str) -> None:
    with pytest.raises(BadRequest, match="cannot be a seed") as refused:
        asked(controls, seed=text)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("prompt", "x" * 10_000_000, "Prompt may have at most 20000 characters"),
        ("width", 100_000, "Width must be at most 4096, not 100000"),
        ("width", float("nan"), "Width must be a number, not nan"),
        ("height", 256.5, "Height must be a whole number"),
        ("steps", 0, "Steps must be at least 1"),
        ("guidance", float("inf"), "Guidance must be a number"),
        ("count", 17, "Count must be at most 16"),
    ],
)
def test_absurd_values_are_refused_in_a_sentence(controls: Form, name: str, value: object, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint) as refused:
        asked(controls, **{name: value})
    assert "\n" not in str(refused.value)


def test_half_a_surrogate_and_nul_do_not_survive_but_emoji_and_arabic_do(controls: Form) -> None:
    assert asked(controls, prompt="🪶 مالك\0\ud800").prompt == "🪶 مالك"


def test_a_request_shown_and_read_again_is_the_same_request(studio: Studio, controls: Form) -> None:
    request = GenerationRequest(
        prompt="a heron", negative="fog", model="mini", sampler="Euler a", scheduler="Uniform", steps=9, guidance=3.5,
        width=320, height=192, seed=2**64 - 1, count=3, styles=(studio.presets.styles()[0].name,),
        loras=(LoraUse(name="gone", weight=-0.25, text_weight=0.0),),
    )  # fmt: skip
    shown = form.fill(request, studio)
    assert form.read(controls, {getattr(controls, name): shown[name] for name in form.NAMES}) == request


def test_what_the_browser_remembers_comes_back(studio: Studio) -> None:
    kept = {**form.default_values(studio), "prompt": "", "steps": 7, "seed": "42", "width": 320}
    assert form.restore(form.remembered(json.dumps(kept)), studio) == kept


@pytest.mark.parametrize(
    "saved",
    [
        None,
        "",
        "{",
        "[]",
        '{"steps": []}',
        '{"steps": 1e400}',
        '{"prompt": {"a": 1}}',
        '{"model": "gone", "sampler": "gone", "styles": ["gone"], "seed": "NaN", "width": 7, "count": 99}',
        '{"sampler": 3, "scheduler": 4, "unknown": "x"}',
        '{"loras": "<script>"}',
        json.dumps({"loras": '[{"name": "ink", "weight": 1e9}]'}),
        "x" * 1_000_000,
        json.dumps({"prompt": "x" * 30_000}),
    ],
)
def test_memory_that_makes_no_sense_gives_way_to_the_defaults(studio: Studio, saved: str | None) -> None:
    assert form.restore(form.remembered(saved), studio) == form.default_values(studio)


def test_a_schedule_the_sampler_cannot_follow_is_not_restored(studio: Studio) -> None:
    shown = form.restore({"sampler": "Euler a", "scheduler": "Karras"}, studio)
    assert (shown["sampler"], shown["scheduler"]) == ("Euler a", "Automatic")


def test_changing_the_model_changes_only_what_was_not_touched() -> None:
    old, new, can = Defaults(), Defaults("Euler a", "Automatic", 30, 5.0, 1024, 1024), able("sdxl")
    shown = {"sampler": "DPM++ 2M", "scheduler": "Karras", "steps": 12, "guidance": 7.0, "width": None, "height": 640}
    assert form.follow_model(old, new, can, shown) == {
        "sampler": "Euler a",
        "scheduler": "Automatic",
        "steps": 12,
        "guidance": 5.0,
        "width": 1024,
        "height": 640,
    }


def test_a_sampler_the_new_model_does_not_have_gives_way_to_its_own() -> None:
    flux = families.FAMILIES["flux"].defaults
    shown = {**dataclasses.asdict(Defaults()), "sampler": "DDIM", "scheduler": "Uniform"}
    followed = form.follow_model(Defaults(), flux, able("flux"), shown)
    assert (followed["sampler"], followed["scheduler"]) == ("Euler", "Automatic")
    kept = form.follow_model(Defaults(), flux, able("flux"), {**shown, "sampler": "Heun", "scheduler": "Beta"})
    assert (kept["sampler"], kept["scheduler"]) == ("Heun", "Beta")


def test_what_the_page_hides_is_not_asked_of_the_model(controls: Form) -> None:
    values = {getattr(controls, name): value for name, value in
              {"prompt": "a heron", "negative": "fog", "guidance": 9.0, "count": 1}.items()}  # fmt: skip
    assert form.read(controls, values, can=able("sdxl")) == GenerationRequest(
        prompt="a heron", negative="fog", guidance=9.0
    )
    assert form.read(controls, values, can=able("flux")) == GenerationRequest(prompt="a heron", guidance=9.0)
    assert form.read(controls, values, can=able("flux", "flux1-schnell")) == GenerationRequest(prompt="a heron")


def test_the_menus_of_a_model_offer_what_it_follows(studio: Studio) -> None:
    shown = {**form.default_values(studio), "sampler": "Euler", "scheduler": "Karras"}
    told = dict(zip(form.NAMES, form.updates(shown, Defaults(), able("flux")), strict=True))
    menus = ("sampler", "scheduler", "guidance")
    sampler, scheduler, guidance = (cast("dict[str, object]", told[name]) for name in menus)
    assert sampler["choices"] == list(samplers.FLOW)
    assert scheduler["choices"] == list(samplers.FLOW["Euler"].schedules)
    assert guidance["label"] == "Guidance, distilled"


def test_the_examples_are_in_the_words_of_the_embedded_model() -> None:
    trained = set(re.findall(r"[a-z]+", Path(vocabulary.__file__).read_text("utf-8")))
    for example in form.EXAMPLES:
        assert set(re.findall(r"[a-z]+", example)) <= trained


async def test_the_page_is_small_and_lists_nothing_for_strangers(studio: Studio) -> None:
    # async, because Gradio leaves an event loop behind where there is none
    page = shell.build(studio)
    config = cast("dict[str, list[dict[str, object]]]", page.get_config_file())
    assert len(config["components"]) <= 130
    assert page.get_api_info()["named_endpoints"] == {}
    assert not page.api_open
