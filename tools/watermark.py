"""`python -m tools.watermark PICTURE …`: what the invisible watermark survives, as the table in docs/reliability.md."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from studio import image, marks_pattern

SIDE: Final = 512


def jpeg(quality: int) -> Callable[[Image.Image], Image.Image]:
    def change(picture: Image.Image) -> Image.Image:
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=quality)
        return Image.open(io.BytesIO(out.getvalue())).convert("RGB")

    return change


def scaled(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda picture: picture.resize(
        (round(picture.width * factor), round(picture.height * factor)), Image.Resampling.LANCZOS
    )


def cut(picture: Image.Image) -> Image.Image:
    """The inner 60 % of each side, off the grid of blocks and tiles."""
    width, height = picture.size
    return picture.crop((width // 5 + 3, height // 5 + 5, width * 4 // 5, height * 4 // 5))


CHANGES: Final[dict[str, Callable[[Image.Image], Image.Image]]] = {
    "saved as PNG": lambda picture: picture,
    "JPEG 90": jpeg(90),
    "JPEG 75": jpeg(75),
    "JPEG 50": jpeg(50),
    "cut to 60 %": cut,
    "cut to 60 %, JPEG 75": lambda picture: jpeg(75)(cut(picture)),
    "half the size": scaled(0.5),
    "70 %, JPEG 75": lambda picture: jpeg(75)(scaled(0.7)(picture)),
    "150 %, JPEG 75": lambda picture: jpeg(75)(scaled(1.5)(picture)),
}


def main(files: list[str]) -> None:
    pictures = [image.decode(Path(file).read_bytes(), 10**8) for file in files]
    for picture in pictures:
        picture.thumbnail((SIDE, SIDE))
    marked = [marks_pattern.marked(picture) for picture in pictures]
    errors = [
        np.square(np.asarray(one, np.float64) - np.asarray(other, np.float64)).mean()
        for one, other in zip(pictures, marked, strict=True)
    ]
    print(f"{len(files)} pictures, PSNR {min(10 * np.log10(255**2 / error) for error in errors):.1f} dB or better\n")
    print("| after | found | weakest |\n|---|---|---|")
    for name, change in CHANGES.items():
        seen = [marks_pattern.look(change(picture)) for picture in marked]
        weakest = min((sighting.certainty if sighting else 0.0) for sighting in seen)
        print(f"| {name} | {sum(map(bool, seen))} of {len(seen)} | {weakest:.1f} |", flush=True)
    wrong = [marks_pattern.look(picture) for picture in pictures]
    print(f"| never marked | {sum(map(bool, wrong))} of {len(wrong)} | |")


if __name__ == "__main__":
    main(sys.argv[1:])
