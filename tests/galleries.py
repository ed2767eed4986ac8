"""Finished pictures to keep, and galleries to keep them in."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from studio.gallery import Gallery
from studio.gallery_db import Record
from studio.request import GenerationResult, ResolvedRequest
from tests.fakes import gradient

PATTERN = "{number:05d}-{seed}-{prompt}"
OWNER = "ann"


def drawn(prompt: str = "a red fox", seed: int = 1, film: int = 0, size: int = 64, **changes: Any) -> GenerationResult:
    """A picture only `seed` gives, with a film of so many frames."""
    fields: dict[str, Any] = {
        "prompt": prompt,
        "full_prompt": f"{prompt}, ink drawing",
        "full_negative": "blurry",
        "model": "mini",
        "sampler": "Euler",
        "scheduler": "Automatic",
        "steps": 5,
        "guidance": 7.0,
        "width": size,
        "height": size,
        "seed": seed,
        **changes,
    }
    request = ResolvedRequest.model_validate(fields)
    rgb = gradient(seed % 2**32, size, size)
    return GenerationResult(request, size, size, rgb, 0.5, "abcdef0123", "cpu", (frame(),) * film)


def frame() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), "teal").save(out, "JPEG")
    return out.getvalue()


def kept(gallery: Gallery, number: int = 1, **changes: Any) -> Record:
    """The `number`-th picture of its own job."""
    return gallery.add(drawn(seed=number, **changes), job=f"job-{number}", index=0, owner=OWNER)


def pngs(folder: Path) -> list[Path]:
    return sorted((folder / "pictures").rglob("*.png"))


def leftovers(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.part"))


def is_whole(file: Path) -> bool:
    with Image.open(file) as picture:
        picture.load()
        return picture.format == "PNG" and "parameters" in picture.info
