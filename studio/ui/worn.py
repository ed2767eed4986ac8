"""The LoRAs chosen on the page, which travel between it and a request as one text: what our own script writes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pydantic import TypeAdapter

from studio import recognise
from studio.abilities import Abilities
from studio.catalog import Catalog
from studio.errors import BadRequest, StudioError
from studio.families import UNKNOWN
from studio.request import LoraUse

_Uses: Final = TypeAdapter(tuple[LoraUse, ...])
_LONGEST: Final = 40_000


def read(text: object) -> tuple[LoraUse, ...]:
    """Raises:
    BadRequest: this is not what the page writes.
    """
    if text in (None, ""):
        return ()
    try:
        if not isinstance(text, str) or len(text) > _LONGEST:
            raise ValueError("no text of ours")
        return _Uses.validate_json(text)
    except ValueError as broken:
        raise BadRequest("The list of LoRAs could not be read; remove them and choose them anew.") from broken


def write(uses: Iterable[LoraUse], catalog: Catalog) -> str:
    """By their keys, as far as they are here; "" for none."""
    named = tuple(use.model_copy(update={"name": _key(use.name, catalog)}) for use in uses)
    return _Uses.dump_json(named, exclude_none=True, exclude_defaults=True).decode() if named else ""


def settle(text: object) -> str:
    """What a browser remembered, if it still makes sense."""
    try:
        read(text)
    except BadRequest:
        return ""
    return str(text or "")


def fitting(uses: Iterable[LoraUse], can: Abilities, catalog: Catalog) -> tuple[LoraUse, ...]:
    """Without those made for other models, which the page shows as left out. Whatever is not here stays, to be told."""
    return tuple(use for use in uses if can.lora and _fits(use.name, can.family, catalog))


def _fits(name: str, family: str, catalog: Catalog) -> bool:
    try:
        lora = catalog.lora(name)
    except StudioError:
        return True
    return not lora.families or family == UNKNOWN.key or recognise.fits(lora.families, family)


def _key(name: str, catalog: Catalog) -> str:
    try:
        return catalog.lora(name).key
    except StudioError:
        return name
