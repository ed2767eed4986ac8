"""What grows out of a finished picture: variations of it, and views beyond its edges, as requests of their own."""

from __future__ import annotations

from typing import Final, Literal

from studio import geometry, image
from studio.request import GenerationRequest, Outpaint, Picture, ResolvedRequest

#: The denoising strength with which a variation starts from the picture.
VARIATIONS: Final[dict[Literal["subtle", "strong"], float]] = {"subtle": 0.35, "strong": 0.7}


def variation(request: GenerationRequest, result: Picture, how: Literal["subtle", "strong"]) -> GenerationRequest:
    """Another picture like `result`, which `request` made: the same settings, a new seed, no mask and no margins."""
    return _from(request, init=result, strength=VARIATIONS[how])


def panned(request: GenerationRequest, result: Picture, across: int, down: int, max_pixels: int) -> GenerationRequest:
    """The view moved over `result` by so many pixels to the right and downwards; what comes into it is outpainted.

    Raises:
        TooLarge, UnreadablePicture: `result`.
    """
    whole = image.decode(result.data, max_pixels)
    kept, margins = geometry.pan(whole.size, across, down)
    return _from(request, init=Picture.from_bytes(image.png(whole.crop(kept))), outpaint=margins)


def zoomed_out(request: GenerationRequest, result: Picture, factor: float, max_pixels: int) -> GenerationRequest:
    """`result` with surroundings that make it `factor` times as wide and as high.

    Raises:
        TooLarge, UnreadablePicture: `result`.
    """
    size = image.decode(result.data, max_pixels).size
    return _from(request, init=result, outpaint=geometry.zoom_out(size, factor))


def _from(
    request: GenerationRequest, *, init: Picture, strength: float | None = None, outpaint: Outpaint | None = None
) -> GenerationRequest:
    asked = request.as_request() if isinstance(request, ResolvedRequest) else request
    changes: dict[str, object] = {"init": init, "strength": strength, "outpaint": outpaint, "resize": "keep"}
    left_open = dict.fromkeys(("mask", "seed", "width", "height"))
    return asked.model_copy(update={**changes, **left_open, "loops": 1, "count": 1})
