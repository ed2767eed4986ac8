from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from studio import headless
from studio.catalog import Catalog
from studio.errors import BadRequest
from studio.presets import Presets
from studio.settings import ASSETS, PRESETS


def asked(folder: Path, **parts: object) -> Path:
    file = folder / "request.json"
    file.write_text(json.dumps({"prompt": "a heron", **parts}))
    return file


def test_pictures_and_masks_may_be_paths_beside_the_request(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), "red").save(tmp_path / "red.jpg")
    mask = Image.new("L", (64, 48))
    mask.paste(255, (0, 0, 9, 9))
    mask.save(tmp_path / "mask.png")
    file = asked(tmp_path, init="red.jpg", mask="mask.png", inpaint={"area": "masked"}, outpaint={"left": 8})
    (told,) = headless.read(str(file), Catalog(ASSETS / "mini"), Presets(PRESETS), 1_000_000)
    assert set(told.pictures) == {"init", "mask"}
    assert told.inpaint.area == "masked"
    assert told.outpaint is not None


def test_a_mask_that_is_not_there_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), "red").save(tmp_path / "red.jpg")
    file = asked(tmp_path, init="red.jpg", mask="gone.png")
    with pytest.raises(BadRequest, match=r"Mask 'gone\.png' is not a file that can be read"):
        headless.read(str(file), Catalog(ASSETS / "mini"), Presets(PRESETS), 1_000_000)
