from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from studio import image
from studio.errors import TooLarge, UnreadablePicture
from studio.infotext_foreign import Found, read
from studio.request import GenerationRequest

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> str:
    return (GOLDEN / name).read_text("utf-8")


def told(texts: dict[str, str]) -> Found:
    found = read(texts)
    assert found is not None
    assert GenerationRequest.model_validate(found.settings)
    return found


def test_a1111() -> None:
    found = told({"parameters": golden("a1111.txt")})
    assert (found.program, found.model, found.model_hash) == ("AUTOMATIC1111", "v1-5-pruned-emaonly", "6ce0161689")
    assert found.settings == {
        "prompt": "portrait of a (heron:1.2), <lora:ink wash:0.8> [mist]\nin the reeds",
        "negative": "blurry, (text:1.3)",
        "sampler": "DPM++ 2M",
        "scheduler": "Karras",
        "steps": 28,
        "guidance": 6.5,
        "seed": 1234567890,
        "width": 512,
        "height": 768,
        "strength": 0.4,
        "clip_skip": 2,
        "vae": "vae-ft-mse.safetensors",
    }
    assert found.loras == ("ink wash",)
    assert found.others == {
        "VAE hash": "735e4c3a44",
        "Hires upscale": "2",
        "Hires upscaler": "Latent",
        "Lora hashes": "ink wash: 1a2b3c4d5e6f",
        "TI hashes": "easyneg: c74b4e810b03",
        "Version": "v1.10.1",
    }


def test_forge() -> None:
    found = told({"parameters": golden("forge.txt")})
    assert (found.program, found.model) == ("Forge", "flux1-dev-bnb-nf4")
    assert found.settings["scheduler"] == "SGM Uniform"
    assert found.others["Distilled CFG Scale"] == "3.5"
    assert found.others["Module 1"] == "ae"


def test_sd_next() -> None:
    found = told({"parameters": golden("sdnext.txt")})
    assert (found.program, found.model, found.model_hash) == ("SD.Next", "sd_xl_base_1.0", "31e35c80fc")
    assert found.settings["sampler"] == "UniPC"
    assert (found.settings["width"], found.settings["guidance"], found.settings["negative"]) == (1024, 6.0, "people")
    assert found.others["Operations"] == "txt2img"


@pytest.mark.parametrize("key", ["parameters", "UserComment"])
def test_fooocus(key: str) -> None:
    found = told({key: golden("fooocus.json"), "fooocus_scheme": "fooocus"})
    assert (found.program, found.model, found.model_hash) == ("Fooocus", "juggernautXL_v8Rundiffusion", "aeb7e9e689")
    assert found.settings == {
        "prompt": "a fox <lora:sd_xl_offset_example-lora_1.0:0.1>",
        "negative": "text",
        "sampler": "DPM++ 2M SDE",
        "scheduler": "Karras",
        "steps": 30,
        "guidance": 4.5,
        "seed": 8284967131543250012,
        "width": 1152,
        "height": 896,
        "clip_skip": 2,
    }
    assert found.others["styles"] == "['Fooocus V2', 'SAI Cinematic']"
    assert found.others["sharpness"] == "2"
    assert "lora_combined_1" not in found.others


def test_fooocus_in_a1111s_words() -> None:
    found = told({"parameters": golden("fooocus_a1111.txt")})
    assert (found.program, found.settings["sampler"], found.settings["scheduler"]) == (
        "Fooocus",
        "DPM++ 2M SDE",
        "Karras",
    )
    assert found.settings["width"] == 1152


def test_invoke() -> None:
    found = told({"invokeai_metadata": golden("invoke.json")})
    assert (found.program, found.model) == ("InvokeAI", "Dreamshaper XL")
    assert found.settings == {
        "prompt": "a tin robot in a meadow <lora:tin toys:0.65>",
        "negative": "rust",
        "sampler": "DPM++ 2M",
        "scheduler": "Karras",
        "steps": 32,
        "guidance": 5.5,
        "seed": 2381675423,
        "width": 1216,
        "height": 832,
        "clip_skip": 1,
    }
    assert found.others["rand_device"] == "cpu"
    old = told({"sd-metadata": golden("invoke_old.json")})
    assert (old.settings["prompt"], old.settings["negative"]) == ("a windmill", "blurry, dark")
    assert (old.settings["sampler"], old.settings["height"], old.model) == ("Euler a", 640, "stable-diffusion-1.5")


def test_comfy() -> None:
    found = told({"prompt": golden("comfy.json"), "workflow": golden("comfy_workflow.json")})
    assert (found.program, found.model) == ("ComfyUI", "v1-5-pruned-emaonly")
    assert found.settings == {
        "prompt": "a glass bottle with a galaxy in it <lora:ink:0.7>",
        "negative": "text, watermark",
        "sampler": "DPM++ 2M",
        "scheduler": "Karras",
        "steps": 20,
        "guidance": 8.0,
        "seed": 156680208700286,
        "width": 512,
        "height": 768,
        "clip_skip": 2,
    }


def test_comfy_with_parted_samplers() -> None:
    found = told({"prompt": golden("comfy_flux.json")})
    assert found.model == "flux1-dev"
    assert found.settings == {
        "prompt": "a paper boat",
        "negative": "",
        "sampler": "Euler",
        "scheduler": "SGM Uniform",
        "steps": 24,
        "guidance": 3.5,
        "seed": 219670278747233,
        "width": 1024,
        "height": 768,
    }


@pytest.mark.parametrize("key", ["workflow", "Make", "ImageDescription"])
def test_a_comfy_workflow_as_the_editor_saves_it(key: str) -> None:
    found = told({key: f"workflow:{golden('comfy_workflow.json')}" if key == "Make" else golden("comfy_workflow.json")})
    assert (found.settings["prompt"], found.settings["negative"]) == ("a snail on a leaf", "frame")
    assert (found.settings["seed"], found.settings["steps"], found.settings["guidance"]) == (42, 18, 7.5)
    assert (found.settings["sampler"], found.settings["width"]) == ("Euler a", 640)
    assert found.model == "dreamshaper_8"


def test_our_own_text_says_everything_but_the_pictures() -> None:
    request = {
        "prompt": "a {red|blue} cat",
        "model": "mini",
        "steps": 9,
        "full_prompt": "a red cat",
        "init": "sha256:abc",
    }
    text = json.dumps({"version": 1, "digest": "0123", "request": {**request, "loops": 3, "inpaint": {"mask_blur": 3}}})
    found = told({"pochade": text, "parameters": golden("a1111.txt")})
    assert (found.program, found.model, found.model_hash) == ("Pochade", "mini", "0123")
    assert found.settings["prompt"] == "a {red|blue} cat"
    assert found.settings["inpaint"]["mask_blur"] == 3
    assert found.others["init"].startswith("a picture kept in its gallery")
    assert found.others["loops"] == "3"


def test_what_no_request_may_say_is_listed_and_the_rest_kept() -> None:
    odd = {"prompt": "x", "steps": 9999, "seed": -5, "cfg_scale": 1e9, "width": 1023, "height": 7, "app_version": "5"}
    found = told({"invokeai_metadata": json.dumps(odd | {"scheduler": "magic"})})
    assert found.settings == {"prompt": "", "negative": "", "width": 1024, "height": 64}
    assert {"steps", "seed", "guidance"} <= set(found.others)


def test_a_text_encoded_several_times_is_unpacked() -> None:
    twice = json.dumps(json.dumps(golden("invoke.json")))
    assert told({"invokeai_metadata": twice}).settings["steps"] == 32


def test_hostile_texts_stay_plain_text() -> None:
    script = '<script>alert(1)</script><img src=x onerror="alert(2)">'
    pairs = f"Steps: 1, Seed: 2, Size: 64x64, Note: {script}, Model: {script}"
    text = f"{script}\nNegative prompt: \x1b[31m\u202eevil\n{pairs}"
    found = told({"parameters": text})
    assert found.settings["prompt"] == script
    assert found.settings["negative"] == "[31mevil"
    assert found.others["Note"] == script


DEEP = "[" * 200_000
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["inputs", "class_type", "nodes", "links", "image", "prompt", "seed", "loras", "model", "3"]
            )
            | st.text(max_size=6),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)
KEYS = ["pochade", "invokeai_metadata", "sd-metadata", "parameters", "UserComment", "prompt", "workflow", "Make"]


@given(st.sampled_from(KEYS), JSON.map(json.dumps) | st.text() | JSON.map(lambda value: json.dumps({"request": value})))
def test_whatever_stands_in_a_picture_nothing_fails(key: str, text: str) -> None:
    found = read({key: text})
    assert found is None or GenerationRequest.model_validate(found.settings)


@given(
    st.sampled_from(["invoke.json", "comfy.json", "comfy_workflow.json", "fooocus.json", "invoke_old.json"]), st.data()
)
def test_damaged_goldens_are_read_as_far_as_they_go(name: str, data: st.DataObject) -> None:
    def damage(value: Any, depth: int = 0) -> Any:
        if isinstance(value, dict) and depth < 3:
            return {key: damage(inner, depth + 1) for key, inner in value.items() if data.draw(st.integers(0, 9))}
        return data.draw(JSON) if data.draw(st.integers(0, 9)) == 0 else value

    text = json.dumps(damage(json.loads(golden(name))))
    for key in ("invokeai_metadata", "sd-metadata", "parameters", "prompt"):
        found = read({key: text})
        assert found is None or GenerationRequest.model_validate(found.settings)


@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        '{"a":' * 100_000,
        json.dumps(
            {
                str(n): {"class_type": "KSampler", "inputs": {"latent_image": [str((n + 1) % 9000), 0]}}
                for n in range(9000)
            }
        ),
        "a: b, " * 50_000,
        "\nSteps: " * 50_000,
        '"' * 300_000,
        json.dumps({"app_version": "x", **{f"k{n}": "v" * 50 for n in range(20_000)}}),
        "[" * 20_000 + "]" * 20_000,
    ],
)
def test_huge_texts_take_little_time(text: str) -> None:
    began = time.process_time()
    for key in KEYS:
        found = read({key: text})
        assert found is None or len(found.others) <= 201
    assert time.process_time() - began < 8


def test_texts_are_found_in_pictures() -> None:
    blank, info = Image.new("RGB", (8, 8)), PngImagePlugin.PngInfo()
    info.add_itxt("parameters", golden("a1111.txt"), zip=True)
    file = io.BytesIO()
    blank.save(file, "PNG", pnginfo=info)
    text = golden("a1111.txt").replace("heron", "heron 狐")
    for data in (file.getvalue(), image.copied(blank, "JPEG", text), image.copied(blank, "WEBP", text)):
        found = told(image.texts(data))
        assert (found.program, found.settings["seed"]) == ("AUTOMATIC1111", 1234567890)
    assert "狐" in found.settings["prompt"]
    with pytest.raises(TooLarge, match="keep it as PNG"):
        image.copied(blank, "JPEG", "a" * 40_000)


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + "Zitrone 🦊 ü".encode("utf-16-le"),
        b"UNICODE\0" + "Zitrone 🦊 ü".encode("utf-16-be"),
        b"\0" * 8 + "Zitrone 🦊 ü".encode(),
        "Zitrone 🦊 ü".encode(),
    ],
)
def test_comments_are_read_in_whatever_code_they_are(comment: bytes) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)
    assert image.texts(file.getvalue())["UserComment"] == "Zitrone 🦊 ü"


def test_a_packed_text_that_would_burst_is_refused_and_no_picture_is_no_picture() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a" * 20_000_000, zip=True)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    with pytest.raises(UnreadablePicture):
        image.texts(file.getvalue())
    for data in (b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"<html>"):
        with pytest.raises(UnreadablePicture):
            image.texts(data)
    assert read({}) is None
    assert read({"parameters": "only words", "comment": "Made with GIMP", "Software": "x"}) is None
