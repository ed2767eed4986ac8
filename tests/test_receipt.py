from __future__ import annotations

import json

from PIL import Image

from studio import image
from studio.receipt import compare


def made(level: int, size: int = 16, *, version: str = "Pochade v1", **origin: object) -> bytes:
    picture = Image.new("RGB", (size, size), (100, 100, 100))
    picture.paste((100 + level, 100, 100), (0, 0, size, size))
    parameters = f"x\nNegative prompt: \nSteps: 1, Seed: 2, Size: 16x16, Version: {version}"
    text = json.dumps({"device": "CPU", "digest": "0", "request": {"steps": 5}, **origin})
    return image.png(picture, {"parameters": parameters, "pochade": text})


def test_equal_pixels_are_identical_whatever_else_changed() -> None:
    told = compare(made(0), made(0, version="Pochade v2", device="H200", request={"steps": 5, "eta": 0.5}))
    assert (told.verdict, told.psnr) == ("identical", None)
    assert told.changed == {
        "Version": ("Pochade v1", "Pochade v2"),
        "Device": ("CPU", "H200"),
        "eta": ("", "0.5"),
    }


def test_nearly_equal_pixels_are_close_and_the_distance_is_told_in_decibels() -> None:
    told = compare(made(0), made(1))
    assert (told.verdict, told.psnr) == ("close", 52.9)  # 10 log10(255² / (1/3))
    assert compare(made(0), made(40)).verdict == "different"


def test_another_size_is_different() -> None:
    assert compare(made(0), made(0, 24)).verdict == "different"
    assert compare(made(0), made(0, 24)).psnr is None


def test_without_texts_only_pixels_are_compared() -> None:
    bare = image.png(Image.new("RGB", (16, 16), (100, 100, 100)))
    assert compare(bare, bare).changed == {}
    assert compare(made(0), bare).verdict == "identical"
