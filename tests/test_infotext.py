from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from studio import __version__, infotext
from studio.prompt import extract_loras
from studio.request import GenerationRequest, GenerationResult, LoraReport, LoraUse, Picture, ResolvedRequest

A1111 = (
    "a cat <lora:ink:0.8>\nNegative prompt: blurry\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7,"
    " Seed: 42, Size: 512x768, Model hash: 6ce0161689, Model: v1-5, "
    'Lora hashes: "ink: 1a2b3c4d5e6f, wash: 0f", Version: v1.10.1'
)


def result(**changes: Any) -> GenerationResult:
    fields: dict[str, Any] = {
        "prompt": "a cat",
        "full_prompt": "a cat",
        "full_negative": "",
        "model": "mini",
        "sampler": "DPM++ 2M",
        "scheduler": "Karras",
        "steps": 20,
        "guidance": 7.0,
        "width": 512,
        "height": 768,
        "seed": 42,
    }
    request = ResolvedRequest.model_validate({**fields, **changes})
    return GenerationResult(request, 512, 768, b"", 1.5, "6ce0161689", "cpu")


def test_the_text_is_laid_out_as_a1111_lays_it_out() -> None:
    assert infotext.write(result(full_prompt="a cat, ink", full_negative="blurry"), "v1-5") == (
        "a cat, ink\nNegative prompt: blurry\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, "
        "Seed: 42, Size: 512x768, Model hash: 6ce0161689, Model: v1-5, RNG: CPU, Version: Pochade v" + __version__
    )


def test_the_negative_line_is_there_even_when_empty() -> None:
    assert "\nNegative prompt: \nSteps: 20, " in infotext.write(result(), "v1-5")
    assert "\nNegative prompt: \nSteps: 20, " in infotext.write(result(full_prompt=""), "v1-5")


def test_loras_stand_in_the_prompt_and_with_their_hashes_as_a1111_writes_them() -> None:
    worn = [LoraUse(name="styles/ink wash.safetensors", weight=0.8), LoraUse(name="hands", weight=1, text_weight=0.5)]
    told = (
        LoraReport("styles/ink wash.safetensors", "1a2b3c4d5e6f", 192, 72, ("3 OFT layers, which are not supported",)),
        LoraReport("hands", "0123456789ab", 1, 0),
    )
    text = infotext.write(replace(result(full_loras=worn), loras=told), "v1-5")
    assert text.startswith("a cat <lora:ink wash:0.8> <lora:hands:0.5:1>\nNegative prompt: \nSteps: 20, ")
    assert 'Lora hashes: "ink wash: 1a2b3c4d5e6f, hands: 0123456789ab"' in text
    read = infotext.parse(text)
    assert extract_loras(read[infotext.PROMPT])[1] == (LoraUse(name="ink wash", weight=0.8), worn[1])
    assert read["Lora layers"] == "ink wash: 192 layers and 72 of the text encoder, hands: 1 layer"


def test_image_to_image_says_how_strongly() -> None:
    text = infotext.write(result(init=Picture.from_bytes(b"x"), strength=0.45), "v1-5")
    assert "Denoising strength: 0.45" in text
    assert "Denoising" not in infotext.write(result(), "v1-5")


def test_values_are_quoted_only_where_they_would_not_come_back() -> None:
    text = infotext.write(result(guidance=7.5), 'inks: "wet", old')
    assert r'Model: "inks: \"wet\", old"' in text
    assert "CFG scale: 7.5," in text
    assert "Model: wet ink v2," in infotext.write(result(), "wet ink v2")


def test_what_a1111_wrote_is_read() -> None:
    fields = infotext.parse(A1111)
    assert fields[infotext.PROMPT] == "a cat <lora:ink:0.8>"
    assert fields[infotext.NEGATIVE] == "blurry"
    assert fields["Lora hashes"] == "ink: 1a2b3c4d5e6f, wash: 0f"
    assert infotext.as_settings(fields) == {
        "prompt": "a cat <lora:ink:0.8>",
        "negative": "blurry",
        "sampler": "DPM++ 2M",
        "scheduler": "Karras",
        "steps": 20,
        "seed": 42,
        "guidance": 7.0,
        "width": 512,
        "height": 768,
    }


def test_old_sampler_names_fall_apart_into_sampler_and_schedule() -> None:
    old = infotext.as_settings(infotext.parse("x\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7"))
    assert (old["sampler"], old["scheduler"]) == ("DPM++ 2M", "Karras")
    plain = infotext.as_settings(infotext.parse("x\nSteps: 20, Sampler: Euler a, CFG scale: 7"))
    assert (plain["sampler"], plain["scheduler"]) == ("Euler a", "Automatic")
    assert "sampler" not in infotext.as_settings(infotext.parse("x\nSteps: 20, Sampler: Magic, CFG scale: 7"))
    near = infotext.as_settings(infotext.parse("x\nSteps: 20, Sampler: DPM++ 2S a Karras, CFG scale: 7"))
    assert (near["sampler"], near["scheduler"]) == ("DPM++ SDE", "Karras")


@pytest.mark.parametrize(
    ("text", "prompt", "negative"),
    [
        ("", "", ""),
        ("only a prompt, with: one pair", "only a prompt, with: one pair", ""),
        ("two\nlines", "two\nlines", ""),
        ("Negative prompt: bad\nSteps: 1, Seed: 2, Size: 8x8", "", "bad"),
        ("a\r\nNegative prompt: b\r\nSteps: 1, Seed: 2, Size: 8x8", "a", "b"),
        ("a\nNegative prompt: b\nc\nSteps: 1, Seed: 2, Size: 8x8", "a", "b\nc"),
        ("a\nSteps: 1, Seed: 2, Size: 8x8", "a", ""),
    ],
)
def test_prompt_and_negative_are_told_apart(text: str, prompt: str, negative: str) -> None:
    fields = infotext.parse(text)
    assert (fields[infotext.PROMPT], fields[infotext.NEGATIVE]) == (prompt, negative)


def test_nonsense_values_are_left_out() -> None:
    fields = infotext.parse("x\nSteps: many, Seed: -1, CFG scale: nan, Size: bigxsmall, Denoising strength: 1e400")
    assert infotext.as_settings(fields) == {"prompt": "x", "negative": ""}


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=60) | st.text(
    st.sampled_from('ab ,:"\\\n-🦊狐שלום'), max_size=60
)


@given(prompt=texts, negative=texts, title=texts)
@example(prompt="Steps: 1, Sampler: x, Seed: 2", negative="\n\n", title='"quoted"')
@example(prompt="a\nSteps: 1, a: b, c: d", negative="x\u2028y\x85z", title="\\")
def test_what_is_written_is_read_back(prompt: str, negative: str, title: str) -> None:
    clean = GenerationRequest(prompt=prompt, negative=negative)
    written = result(full_prompt=clean.prompt, full_negative=clean.negative)
    fields = infotext.parse(infotext.write(written, title))
    if f"\n{infotext.NEGATIVE}:" not in f"\n{clean.prompt}":
        assert fields[infotext.PROMPT] == clean.prompt
        assert fields[infotext.NEGATIVE] == clean.negative
    assert fields.get("Model", "") == title
    assert fields["Model hash"] == "6ce0161689"
    assert fields["Seed"] == "42"
    assert fields["Version"] == f"Pochade v{__version__}"


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    infotext.as_settings(infotext.parse(text))


@pytest.mark.parametrize(
    "text",
    ["a", " ", ":", ",", "a:", "a,", '"', 'a:"', "a: \\", ",,,:", '\\"', "\nNegative prompt:", 'a:"\\",', ":,", '"a:"'],
)
def test_reading_takes_linear_time(text: str) -> None:
    def seconds(size: int) -> float:
        hostile = "x\n" + text * (size // len(text))
        began = time.process_time()
        infotext.parse(hostile)
        return time.process_time() - began

    short, long = (min(seconds(size) for _ in range(3)) for size in (40_000, 400_000))
    assert long < 40 * short + 0.02


def test_repainting_is_told_in_a1111s_words_and_read_back() -> None:
    inpaint = {"mask_blur": 9, "invert": True, "start": "noise", "area": "masked", "padding": 48, "soft": True}
    given = {
        "strength": 0.75,
        "resize": "keep",
        "loops": 3,
        "loop_decay": 0.5,
        "inpaint": {**inpaint, "match_colour": False},
        "outpaint": {"left": 64, "top": 0, "right": 8, "bottom": 0},
    }
    text = infotext.write(result(init=Picture.from_bytes(b"x"), mask=Picture.from_bytes(b"y"), **given), "v1-5")
    for pair in (
        "Denoising strength: 0.75, RNG: CPU, Resize mode: Keep size, Loops: 3, Loop decay: 0.5, Mask blur: 9",
        "Mask mode: Inpaint not masked, Masked content: latent noise, Inpaint area: Only masked",
        "Masked area padding: 48, Soft inpainting enabled: True, Match colours: False",
        "Outpaint: left 64 top 0 right 8 bottom 0",
    ):
        assert pair in text
    told = infotext.as_settings(infotext.parse(text))
    assert {name: told[name] for name in given} == given
    assert GenerationRequest.model_validate(told).inpaint.padding == 48


def test_clip_skip_templates_and_notes_are_told() -> None:
    made = result(prompt="a {red|blue} cat", negative="__mess__", full_negative="blur", clip_skip=2)
    text = infotext.write(replace(made, notes=("One, two.", "Three.")), "v1-5")
    assert "Model: v1-5, Clip skip: 2, RNG: CPU, Template: a {red|blue} cat, Negative Template: __mess__, " in text
    assert 'Notes: "One, two. Three.", Version' in text
    assert infotext.as_settings(infotext.parse(text))["clip_skip"] == 2
    assert "clip_skip" not in infotext.as_settings({"Clip skip": "99"})
    assert "Template" not in infotext.write(result(), "v1-5")


def test_a_vae_is_read_back_where_one_is_named() -> None:
    text = infotext.write(result(vae="vae/sharper"), "v1-5")
    assert infotext.as_settings(infotext.parse(text))["vae"] == "vae/sharper"
    for none in ("", "None", "Automatic", "x" * 401):
        assert "vae" not in infotext.as_settings({"VAE": none})


def test_what_loras_did_and_what_was_not_followed_is_told_in_sentences() -> None:
    reports = (LoraReport("a/ink", "0123456789ab", 56, 16), LoraReport("grain", "0123456789ab", 1, 0))
    text = infotext.write(replace(result(), loras=reports, notes=("Left out: one, two.",)), "v1-5")
    assert infotext.effects(text) == (
        "The LoRA ink changed 56 layers and 16 of the text encoder.",
        "The LoRA grain changed 1 layer.",
        "Left out: one, two.",
    )
    assert infotext.effects(infotext.write(result(), "v1-5")) == ()
    assert infotext.effects("") == ()


def test_without_a_picture_nothing_is_told_about_masks() -> None:
    text = infotext.write(result(inpaint={"mask_blur": 9}, loops=2), "v1-5")
    assert "Mask" not in text
    assert "Loop" not in text


def test_impossible_mask_settings_are_left_out() -> None:
    wrong = "Mask blur: 900, Inpaint area: Somewhere, Loops: 99, Loop decay: 7, Outpaint: left 1, Resize mode: ?"
    told = infotext.as_settings(infotext.parse(f"x\nSteps: 1, {wrong}"))
    assert told["inpaint"] == {"mask_blur": 64}
    assert not {"loops", "loop_decay", "outpaint", "resize"} & set(told)
