"""A picture dropped on the page → the settings it was made with, as far as this studio can follow them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from studio import gallery_origin, image, infotext_foreign
from studio.catalog import Catalog
from studio.errors import ModelError, NotFound
from studio.infotext_foreign import Found


@dataclass(frozen=True, slots=True)
class Reading:
    """`settings` in the field names of a request. `missing`: a sentence for every model, LoRA and embedding that is not
    here; `others`: what the picture says besides, which has no place in a request; `picture`: the id that a picture of
    ours says it has."""

    program: str
    settings: dict[str, Any]
    missing: tuple[str, ...] = ()
    others: dict[str, str] = field(default_factory=dict)
    picture: str = ""


def picture(data: bytes, catalog: Catalog) -> Reading:
    """Raises:
    UnreadablePicture: no PNG, JPEG or WebP.
    NotFound: a picture that does not say how it was made.
    """
    texts = image.texts(data)
    found = infotext_foreign.read(texts)
    if found is None:
        raise NotFound(
            "This picture does not say how it was made: its texts are gone, or it was never drawn by a model."
        )
    model, missing = _model(found, catalog)
    for name in found.loras:
        missing += _missing(catalog.lora, name, f"The LoRA “{name}” is not here; take its tag out of the prompt.")
    for name in _embeddings(found):
        missing += _missing(catalog.embedding, name, f"The embedding “{name}” is not here; its name is read as words.")
    vae, absent = _vae(found, catalog)
    own = gallery_origin.identity(texts) if found.program == "Pochade" else ""
    return Reading(found.program, found.settings | model | vae, (*missing, *absent), found.others, own)


def _model(found: Found, catalog: Catalog) -> tuple[dict[str, str], list[str]]:
    """By its hash if possible: the same file may be called otherwise here."""
    for name in (found.model_hash, found.model):
        if name:
            try:
                return {"model": catalog.find(name).key}, []
            except (NotFound, ModelError):
                continue
    if not found.model:
        return {}, []
    known = f" ({found.model_hash})" if found.model_hash else ""
    return {}, [f"The model “{found.model}”{known} is not here; the one chosen on the page will draw."]


def _vae(found: Found, catalog: Catalog) -> tuple[dict[str, str | None], list[str]]:
    name = found.settings.get("vae")
    if not name:
        return {}, []
    told = _missing(catalog.vae, name, f"The VAE “{name}” is not here; the model’s own decodes.")
    return {"vae": None if told else catalog.vae(name).key}, told


def _missing(look: Callable[[str], object], name: str, otherwise: str) -> list[str]:
    try:
        look(name)
    except NotFound:
        return [otherwise]
    except ModelError as reason:
        return [str(reason)]
    return []


def _embeddings(found: Found) -> list[str]:
    """A1111 names those a prompt used: `name: hash, name: hash`."""
    pairs = found.others.get("TI hashes", "").split(",")
    return [name for pair in pairs if (name := pair.partition(":")[0].strip())]
