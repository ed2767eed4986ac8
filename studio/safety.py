"""The safety check: where its model is, and what is said when a picture is held back.

None is shipped: a checker is weights of their own, and comes with many Stable Diffusion 1.x models as their
`safety_checker` folder. Where none is found nothing is checked, and the page says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from studio.errors import ModelError
from studio.request import GenerationResult, Verdict

WEIGHTS: Final = "model.safetensors"
HELD_BACK: Final = (
    "The studio's safety check held this picture back, and nothing of it was kept; change the prompt and try again."
)
NOT_CHECKED: Final = (
    "This picture could not be checked, so it was not kept; ask the studio's owner to look at the safety check."
)
_ARCHITECTURE: Final = "StableDiffusionSafetyChecker"
_SUBFOLDERS: Final = ("", "safety_checker")


def find(folders: Iterable[Path], chosen: Path | None = None) -> Path | None:
    """The folder of a checker: `chosen`, or the first in the model folders or in a model directly below them.

    Raises:
        ModelError: `chosen` is none.
    """
    if chosen is not None:
        found = next(filter(_is_one, (chosen / name for name in _SUBFOLDERS)), None)
        if found is None:
            raise ModelError(
                f"{chosen} holds no safety checker: a folder with config.json and {WEIGHTS} of a {_ARCHITECTURE}."
            )
        return found
    return next(filter(_is_one, _places(folders)), None)


def objection(result: GenerationResult) -> str:
    """Why somebody whose pictures are checked does not get this one; "" if they do."""
    return {Verdict.PASSED: "", Verdict.FLAGGED: HELD_BACK, Verdict.UNCHECKED: NOT_CHECKED}[result.verdict]


def _places(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        try:
            below = sorted(entry for entry in folder.iterdir() if entry.is_dir())
        except OSError:
            continue
        yield from (model / name for model in below for name in _SUBFOLDERS)


def _is_one(folder: Path) -> bool:
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return (
        isinstance(config, dict) and _ARCHITECTURE in str(config.get("architectures")) and (folder / WEIGHTS).is_file()
    )
