"""Poses ready to be taken: a folder of OpenPose files, each with a title, and a small picture of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from studio import image, pose
from studio.errors import NotFound, StudioError
from studio.pose import Pose

FOLDER: Final = "poses"
#: Pixels of a small picture's longer side.
_SMALL: Final = 192


@dataclass(frozen=True)
class Preset:
    """`key` is the file's name without its ending."""

    key: str
    title: str
    pose: Pose

    @cached_property
    def picture(self) -> bytes:
        """The skeleton as a small PNG."""
        scale = _SMALL / max(self.pose.width, self.pose.height)
        return image.png(pose.draw(self.pose, round(self.pose.width * scale), round(self.pose.height * scale)))


class Shelf:
    """The poses of several folders, by title; of two with one name, the later folder's counts.

    `faults` names, in a sentence each, the files that could not be read; the others are there.
    """

    def __init__(self, *folders: Path) -> None:
        found: dict[str, Preset] = {}
        faults: list[str] = []
        for file in (file for folder in folders for file in sorted((folder / FOLDER).glob("*.json"))):
            try:
                found[file.stem] = _read(file)
            except (OSError, StudioError) as unreadable:
                faults.append(f"{file}: {unreadable}")
        self._presets = found
        self.faults = tuple(faults)

    def presets(self) -> tuple[Preset, ...]:
        return tuple(sorted(self._presets.values(), key=lambda preset: preset.title.casefold()))

    def find(self, key: str) -> Preset:
        """Raises:
        NotFound: there is no such pose.
        """
        if key not in self._presets:
            raise NotFound("There is no such pose on the shelf.")
        return self._presets[key]


def _read(file: Path) -> Preset:
    text = file.read_bytes()
    read = pose.read_openpose(text)
    title = json.loads(text)
    named = title.get("title") if isinstance(title, dict) else None
    return Preset(file.stem, str(named or file.stem.replace("-", " ").capitalize())[:80], read)
