"""What artists keep to use again: the whole form or parts of it under a name; a file for each person."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from studio import small_files
from studio.errors import BadRequest, NotFound
from studio.request import MAX_PROMPT, GenerationRequest

FOLDER: Final = "presets"
MOST: Final = 300
_LONGEST: Final = 100_000


def _line(name: str) -> str:
    line = " ".join(GenerationRequest(prompt=name).prompt.split())
    if not line:
        raise ValueError("must not be empty")
    return line


Name = Annotated[str, Field(max_length=100), AfterValidator(_line)]
Value = bool | Annotated[str, Field(max_length=MAX_PROMPT)] | float | list[Annotated[str, Field(max_length=200)]] | None


class OwnPreset(BaseModel):
    """`values` by the names of the form's controls; what it leaves out stays as it is when it is used."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field("", pattern=r"^[0-9a-f]{0,16}$")
    name: Name
    values: dict[Annotated[str, Field(max_length=40)], Value] = Field(max_length=60)


_All: Final = TypeAdapter(list[OwnPreset])


class OwnPresets:
    """In `presets/` of `data_dir`. Of two presets of one person with one name, the later one's stays."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER
        self._lock = threading.Lock()

    def of(self, owner: str) -> list[OwnPreset]:
        try:
            return _All.validate_json(self._file(owner).read_bytes())
        except (OSError, ValidationError):  # somebody edited it; what was there is kept until something new is
            return []

    def keep(self, owner: str, preset: OwnPreset) -> OwnPreset:
        """Raises:
        BadRequest: too large, or too many.
        DiskFull, ReadOnly: nothing has changed.
        """
        if len(json.dumps(preset.values)) > _LONGEST:
            raise BadRequest("This preset is too large to be kept; leave the prompt out.")
        with self._lock:
            others = [known for known in self.of(owner) if known.name != preset.name]
            if len(others) >= MOST:
                raise BadRequest(f"You have {MOST} presets already; remove one first.")
            kept = preset.model_copy(update={"id": secrets.token_hex(8)})
            self._save(owner, [*others, kept])
        return kept

    def rename(self, owner: str, preset: str, name: str) -> OwnPreset:
        """Raises:
        NotFound: no such preset of this person.
        """
        with self._lock:
            there = self.of(owner)
            renamed = OwnPreset(id=preset, name=name, values=_one(there, preset).values)
            others = [known for known in there if known.name != renamed.name or known.id == preset]
            self._save(owner, [renamed if known.id == preset else known for known in others])
        return renamed

    def remove(self, owner: str, preset: str) -> None:
        """Raises:
        NotFound: no such preset of this person.
        """
        with self._lock:
            there = self.of(owner)
            gone = _one(there, preset)
            self._save(owner, [known for known in there if known != gone])

    def _file(self, owner: str) -> Path:
        return self._folder / f"{hashlib.sha256(owner.encode()).hexdigest()[:24]}.json"

    def _save(self, owner: str, presets: list[OwnPreset]) -> None:
        small_files.write(self._file(owner), _All.dump_json(presets, indent=1).decode())


def _one(presets: list[OwnPreset], wanted: str) -> OwnPreset:
    found = next((preset for preset in presets if preset.id == wanted), None)
    if found is None:
        raise NotFound("There is no such preset any more.")
    return found
