"""The well-known models of presets/models.toml: what they are, under which licence, before anything is downloaded."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from studio import abilities, families
from studio.request import Defaults, Guidance, ModelSpec, Side, Steps

if TYPE_CHECKING:
    from studio.catalog import Catalog

FILE: Final = "models.toml"
Commercial = Literal["yes", "no", "conditions"]


class Likes(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Steps | None = None
    guidance: Guidance | None = None
    width: Side | None = None
    height: Side | None = None


class Known(BaseModel):
    """One model of the hub. `gb`: gigabytes (10⁹ bytes) to download, None where nobody is sure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    kind: Literal["model", "controlnet"] = "model"
    family: str
    licence: str
    commercial: Commercial
    gated: bool = False
    gb: float | None = Field(None, gt=0)
    about: str = Field("", max_length=200)
    like: Likes = Likes()

    @property
    def title(self) -> str:
        return self.repo.partition("/")[2]

    @property
    def defaults(self) -> Defaults:
        stated = {name: value for name, value in self.like.model_dump().items() if value is not None}
        return replace(families.known(self.family).variant(self.title).defaults, **stated)


#: Licences by the names that model cards have for them.
_COMMERCIAL: Final[Mapping[str, Commercial]] = {
    **dict.fromkeys(("apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "unlicense"), "yes"),
    **dict.fromkeys(("creativeml-openrail-m", "openrail", "openrail++", "bigscience-openrail-m"), "conditions"),
    **dict.fromkeys(("stabilityai-ai-community", "sai-nc-community", "krea-2-community-license"), "conditions"),
    **dict.fromkeys(("fair-ai-public-license-1.0-sd", "cc-by-sa-4.0", "gpl-3.0", "agpl-3.0"), "conditions"),
    **dict.fromkeys(("flux-1-dev-non-commercial-license", "flux-dev-non-commercial-license"), "no"),
    **dict.fromkeys(("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "NSCL v2-custom"), "no"),
}


def commercial(licence: str) -> Commercial | None:
    """Whether this licence lets one earn money with a model; None when nobody here knows it."""
    folded = licence.casefold()
    return next((use for name, use in _COMMERCIAL.items() if name.casefold() == folded), None)


_USE: Final[Mapping[Commercial, str]] = {
    "yes": "commercial use allowed",
    "conditions": "commercial use has conditions",
    "no": "no commercial use",
}


def terms(spec: ModelSpec, models: Mapping[str, Known]) -> str:
    """What a model may be used for: `openrail, commercial use has conditions`; "" where nothing is known."""
    row = models.get(spec.key) or models.get(spec.title)
    licence = spec.licence or ("" if row is None else row.licence)
    use = commercial(licence) if row is None else row.commercial
    return ", ".join(filter(None, (licence, use and _USE[use])))


def told(catalog: Catalog, models: Mapping[str, Known]) -> dict[str, object]:
    """What the form needs to know of every model in the catalog, and whether there are LoRAs."""
    able = abilities.told(catalog.models(), lambda spec: terms(spec, models))
    return {**able, "loras": bool(catalog.loras())}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: tuple[Known, ...]


def read(folder: Path) -> Mapping[str, Known]:
    """By repository, in the order of the file.

    Raises:
        ValueError: the file is not as it should be; it is ours.
    """
    models = _File.model_validate(tomllib.loads((folder / FILE).read_text("utf-8"))).model
    return {model.repo: model for model in models}
