"""What the owner decides on the page about the studio as a whole; kept in one small file."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio import gallery_files
from studio.access import OWNER
from studio.errors import BadRequest

_FILE: Final = "rules.json"
Days = Annotated[int, Field(ge=1, le=3650)]


class Rules(BaseModel):
    """`guest_days`: days after which guests' pictures go to the trash; `trash_days`: after which what lies in the trash
    is deleted. None: never."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    credentials: bool = True
    watermark: bool = True
    check: Literal["guests", "everyone", "nobody"] = "guests"
    guest_days: Days | None = None
    trash_days: Days | None = None

    def checks(self, owner: str) -> bool:
        """Whether this person's pictures are looked at before anybody sees them."""
        return self.check == "everyone" or (self.check == "guests" and owner != OWNER)


class RuleBook:
    """Thread-safe.

    Raises:
        BadRequest: the file there cannot be read; nothing is decided in its stead.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / _FILE
        self._changing = threading.Lock()
        try:
            self._rules = Rules.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            self._rules = Rules()
        except (OSError, ValidationError) as unreadable:
            raise BadRequest(
                f"The studio's rules in {self._file} cannot be read; mend the file, or move it away to start afresh."
            ) from unreadable

    @property
    def rules(self) -> Rules:
        return self._rules

    def decide(self, **changes: object) -> Rules:
        """Change these, and only these.

        Raises:
            ValidationError: no such rule, or no such value.
            DiskFull, ReadOnly: the old ones stay.
        """
        with self._changing, gallery_files.sentences(self._file.parent):
            rules = Rules.model_validate(self._rules.model_dump() | changes)
            gallery_files.make_folder(self._file.parent)
            gallery_files.write_over(self._file, rules.model_dump_json(indent=1).encode())
            self._rules = rules
            return rules
