"""What the studio brings, drawn with as a request asks for it."""

from __future__ import annotations

from studio.catalog import Catalog
from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions
from studio.plan import resolve
from studio.presets import Presets
from studio.request import GenerationRequest, GenerationResult
from studio.settings import EMBEDDED, PRESETS
from tests.resolved import drawn


class Studio:
    def __init__(self) -> None:
        self.catalog, self.presets = Catalog(EMBEDDED), Presets(PRESETS)
        self.engine = LocalEngine(EngineOptions(EMBEDDED, device="cpu", threads=2, preview_every=0))

    def draw(self, **asked: object) -> GenerationResult:
        request = GenerationRequest.model_validate({"width": 256, "height": 256, **asked})
        return drawn(self.engine, resolve(request, catalog=self.catalog, presets=self.presets))
