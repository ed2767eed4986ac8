"""Styles on their way in: the `styles.csv` of A1111, the JSON of Fooocus, into the artist's own `styles.csv`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from studio import small_files
from studio.errors import BadRequest
from studio.presets import STYLES, Style, read_table
from studio.request import MAX_PROMPT

MAX_FILE: Final = 4_000_000
MOST: Final = 5_000
_FAULTS_TOLD: Final = 20


def parse(data: bytes, name: str) -> tuple[tuple[Style, ...], tuple[str, ...]]:
    """The styles of a file, whatever its suffix says it is, and a sentence for each that is left out.

    Raises:
        BadRequest: neither of the two formats, or nothing in it.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise BadRequest("This file of styles is no UTF-8 text; save it as UTF-8 and try again.") from wrong
    styles: dict[str, Style] = {}
    faults: list[str] = []
    if text.lstrip()[:1] in ("[", "{"):
        _read_json(text, styles, faults)
    else:
        try:
            read_table(io.StringIO(text, newline=""), name, styles, faults)
        except csv.Error as broken:
            faults.append(f"{name} cannot be read further ({broken}); its other styles are left out.")
    found = tuple(style for style in styles.values() if _fits(style, faults))[:MOST]
    if not found:
        reason = faults[0] if faults else "It must be a styles.csv of A1111 or a JSON file of Fooocus."
        raise BadRequest(f"There are no styles in this file. {reason}")
    return found, tuple(faults[:_FAULTS_TOLD])


def _read_json(text: str, styles: dict[str, Style], faults: list[str]) -> None:
    """Fooocus: a list of `{name, prompt, negative_prompt}`."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as wrong:
        raise BadRequest("This file looks like JSON, but it is damaged; export it anew.") from wrong
    for number, entry in enumerate(told if isinstance(told, list) else [told], 1):
        said = entry if isinstance(entry, dict) else {}
        name, prompt, negative = (str(said.get(key) or "").strip() for key in ("name", "prompt", "negative_prompt"))
        if name and (prompt or negative):
            styles[name] = Style(name, prompt, negative, str(said.get("category") or ""))
        else:
            faults.append(f"Entry {number} has no name or says nothing; it is left out.")


def _fits(style: Style, faults: list[str]) -> bool:
    if len(style.name) <= 200 and max(len(style.prompt), len(style.negative)) <= MAX_PROMPT:
        return True
    faults.append(f"The style “{style.name[:80]}” is too long; it is left out.")
    return False


def keep(styles: Iterable[Style], folder: Path) -> None:
    """Add `styles` to the `styles.csv` in `folder`, in the place of those with the same names; the file as it was stays
    beside it as `styles.csv.bak`, as with A1111.

    Raises:
        DiskFull, ReadOnly: nothing has changed.
    """
    file = folder / STYLES
    known: dict[str, Style] = {}
    if file.is_file():
        before = file.read_text("utf-8-sig")
        read_table(io.StringIO(before, newline=""), str(file), known, [])
        small_files.write(file.with_suffix(".csv.bak"), before)
    known |= {style.name: style for style in styles}
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(("name", "prompt", "negative_prompt", "category"))
    table.writerows((style.name, style.prompt, style.negative, style.category) for style in known.values())
    small_files.write(file, text.getvalue())
