"""Style presets: words wrapped around a prompt, from `styles.csv` files as AUTOMATIC1111 writes them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from studio.errors import BadRequest
from studio.request import MAX_PROMPT
from studio.wildcards import FOLDER as WILDCARDS
from studio.wildcards import Wildcards

STYLES: Final = "styles.csv"
SAMPLES: Final = "samples"
_PLACE: Final = "{prompt}"
_LARGEST: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Style:
    """`prompt` holds `{prompt}` where the artist's words go; without it they come first. `negative` likewise."""

    name: str
    prompt: str
    negative: str
    category: str

    @property
    def slug(self) -> str:
        """What its sample picture is called."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


class Presets:
    """The styles and wildcards of several folders; of two with one name, the later folder's counts.

    `faults` names, in a sentence each, the rows and files that could not be read; the others are there.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self.wildcards = Wildcards(*(folder / WILDCARDS for folder in folders))
        self._styles: dict[str, Style] = {}
        self.faults: tuple[str, ...] = ()
        self.refresh()

    def refresh(self) -> None:
        """Read the files anew."""
        styles: dict[str, Style] = {}
        faults: list[str] = []
        for folder in self._folders:
            styles.update(_read(folder / STYLES, faults))
        self._styles, self.faults = styles, tuple(faults)
        self.wildcards.refresh()

    def styles(self) -> tuple[Style, ...]:
        return tuple(self._styles.values())

    def apply(self, prompt: str, negative: str, names: Sequence[str]) -> tuple[str, str]:
        """`prompt` and `negative` with the styles laid around them, one after the other.

        Raises:
            BadRequest: a style there is not, or a text that grew too long.
        """
        for name in names:
            style = self._styles.get(name)
            if style is None:
                raise BadRequest(f"There is no style “{name[:80]}”; choose one from the list or leave it out.")
            prompt, negative = _wrapped(style.prompt, prompt), _wrapped(style.negative, negative)
            if max(len(prompt), len(negative)) > 2 * MAX_PROMPT:
                raise BadRequest("Prompt and styles together are too long; shorten the prompt or use fewer styles.")
        return prompt, negative


def _wrapped(template: str, text: str) -> str:
    if _PLACE in template:
        # An empty prompt must not leave ", watercolor" behind.
        return template.replace(_PLACE, text) if text.strip() else template.replace(_PLACE, "").strip(" ,")
    return ", ".join(part for part in (text, template) if part.strip())


def _read(file: Path, faults: list[str]) -> dict[str, Style]:
    styles: dict[str, Style] = {}
    try:
        if file.stat().st_size > _LARGEST:
            faults.append(f"{file} is too large for a list of styles; it is left out.")
            return styles
        with file.open(encoding="utf-8-sig", newline="") as lines:
            read_table(lines, str(file), styles, faults)
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError, csv.Error) as broken:
        faults.append(f"{file} cannot be read further ({broken}); its other styles are left out.")
    return styles


def read_table(lines: Iterable[str], where: str, styles: dict[str, Style], faults: list[str]) -> None:
    """Add the rows of a `styles.csv` to `styles`, and a sentence for each that cannot be read to `faults`.

    Raises:
        csv.Error: what follows cannot be read at all.
    """
    table = csv.DictReader(lines)
    columns = {(column or "").strip().lower() for column in table.fieldnames or ()}
    if "name" not in columns or not columns & {"prompt", "text"}:
        faults.append(f"{where} has no columns name and prompt in its first line; it is left out.")
        return
    for row in table:
        _add(row, f"{where}, line {table.line_num}", styles, faults)


def _add(row: dict[str | None, object], where: str, styles: dict[str, Style], faults: list[str]) -> None:
    cells = {(key or "").strip().lower(): value.strip() for key, value in row.items() if isinstance(value, str)}
    name = cells.get("name", "")
    if name.startswith("#") or not any(cells.values()):
        return
    prompt = cells.get("prompt") or cells.get("text", "")
    negative = cells.get("negative_prompt", "")
    if not name:
        faults.append(f"{where}: a style without a name; it is left out.")
    elif len(name) > 200:
        faults.append(f"{where}: a name of more than 200 characters; the style is left out.")
    elif not prompt and not negative:
        # A1111 keeps separators between groups of styles as such rows.
        faults.append(f"{where}: the style “{name[:80]}” is empty; it is left out.")
    elif None in row:
        faults.append(
            f"{where}: the style “{name[:80]}” has too many columns, perhaps a missing quote; it is left out."
        )
    else:
        styles[name] = Style(name, prompt, negative, cells.get("category", ""))
