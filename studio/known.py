"""The well-known models of presets/models.toml: what they are, under which licence, before anything is downloaded."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from studio import families
from studio.request import Defaults, Guidance, Side, Steps

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
