from __future__ import annotations

import pytest
import torch
from diffusers import Flux2Pipeline, FluxPipeline, QwenImagePipeline

from studio.diffusion import latents

SIZES = [(64, 64), (96, 64), (64, 160), (1024, 768), (1216, 832)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pipeline", [FluxPipeline, QwenImagePipeline])
def test_packed_latents_lie_in_the_plane_again(pipeline: type[FluxPipeline], size: tuple[int, int]) -> None:
    rows, columns = size[1] // 8, size[0] // 8
    plain = torch.randn(1, 16, rows, columns)
    packed = pipeline._pack_latents(plain, 1, 16, rows, columns)
    found = latents.plane(packed, 16, size)
    assert found is not None
    assert torch.equal(found, plain)


@pytest.mark.parametrize("size", SIZES)
def test_so_do_tokens_of_four_latents_that_are_seen_as_one(size: tuple[int, int]) -> None:
    plain = torch.randn(1, 32, size[1] // 8, size[0] // 8)
    patches = Flux2Pipeline._patchify_latents(plain)
    found = latents.plane(Flux2Pipeline._pack_latents(patches), 128, size)
    assert found is not None
    assert torch.equal(found, patches)
    assert torch.equal(found, torch.nn.functional.pixel_unshuffle(plain, 2))


@pytest.mark.parametrize("shape", [(1, 5, 8, 8), (1, 30, 17), (1, 30, 64, 2, 2)])
def test_foreign_latents_have_no_place(shape: tuple[int, ...]) -> None:
    assert latents.plane(torch.zeros(shape), 16, (64, 64)) is None
