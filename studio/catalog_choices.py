"""What the owner decided about models: the one to start with, how they are run, and notes on any. A small JSON file
among the data."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from studio.catalog_places import read_json
from studio.errors import DiskFull, ReadOnly

FILE: Final = "models.json"
MAX_NOTES: Final = 4000
AUTO: Final = "auto"


class _Stored(BaseModel):
    model_config = ConfigDict(extra="ignore")

    default: str = ""
    notes: dict[str, str] = Field(default_factory=dict)
    modes: dict[str, str] = Field(default_factory=dict)


class Choices:
    """`folder`: where the file lies; None forgets everything at the end."""

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / FILE
        self._lock = threading.Lock()
        self._stored = _Stored()
        if self._file is not None:
            try:
                self._stored = _Stored.model_validate(read_json(self._file) or {})
            except ValueError:  # somebody edited it; what was there is kept until something is decided anew
                self._stored = _Stored()

    @property
    def default(self) -> str:
        """Key of a model; "" for none."""
        return self._stored.default

    @property
    def notes(self) -> Mapping[str, str]:
        """Notes by what they are on (`Entry.id`)."""
        return self._stored.notes

    @property
    def modes(self) -> Mapping[str, str]:
        """The mode a model is run in, by its key, where it is not chosen by the room there is."""
        return self._stored.modes

    def run_in(self, key: str, mode: str) -> None:
        """`auto`: as the room allows.

        Raises:
            DiskFull, ReadOnly: nothing has changed.
        """
        with self._lock:
            modes = {**self._stored.modes, key: mode}
            self._save(
                self._stored.model_copy(update={"modes": {key: name for key, name in modes.items() if name != AUTO}})
            )

    def set_default(self, key: str) -> None:
        """Raises:
        DiskFull, ReadOnly: nothing has changed.
        """
        with self._lock:
            self._save(self._stored.model_copy(update={"default": key}))

    def note(self, entry: str, text: str) -> None:
        """Raises:
        DiskFull, ReadOnly: nothing has changed.
        """
        with self._lock:
            notes = {**self._stored.notes, entry: text.strip()[:MAX_NOTES]}
            self._save(self._stored.model_copy(update={"notes": {key: note for key, note in notes.items() if note}}))

    def _save(self, stored: _Stored) -> None:
        if self._file is not None:
            draft = self._file.with_suffix(".tmp")
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with draft.open("w", encoding="utf-8") as file:
                    file.write(stored.model_dump_json(indent=1))
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(self._file)
            except OSError as denied:
                full = denied.errno in (28, 122)  # ENOSPC, EDQUOT
                why = "The disk is full" if full else f"The folder {self._file.parent.name} cannot be written"
                raise (DiskFull if full else ReadOnly)(
                    f"{why}; this is not remembered. Make room and try again."
                ) from denied
        self._stored = stored
