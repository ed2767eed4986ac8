from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, AutoPipelineForText2Image
from PIL import Image
from torch.nn import functional

from studio.diffusion import preview
from studio.diffusion.preview import Preview
from studio.settings import ASSETS

GREY = Preview(torch.zeros(4, 3), torch.full((3,), 0.5))


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(256, 256, (256, 256)), (1024, 512, (512, 256)), (512, 4096, (64, 512)), (4096, 64, (512, 8)), (64, 64, (64, 64))],
)
def test_a_preview_has_the_pictures_shape_and_at_most_512_pixels(
    width: int, height: int, size: tuple[int, int]
) -> None:
    jpeg = preview.jpeg(GREY.picture(torch.zeros(1, 4, height // 8, width // 8)), width, height, preview.LONGEST)
    with Image.open(io.BytesIO(jpeg)) as shown:
        assert shown.size == size


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_latents_of_any_precision_and_any_value_can_be_shown(dtype: torch.dtype) -> None:
    latents = torch.tensor([0.0, 1.0, -60000.0, float("nan"), float("inf"), float("-inf")], dtype=dtype)
    shown = Preview(torch.eye(4)[:, :3], torch.zeros(3)).picture(latents.reshape(1, 1, 2, 3).repeat(1, 4, 1, 1))
    assert shown.size == (3, 2)
    assert shown.getpixel((1, 0)) == (255, 255, 255)
    assert shown.getpixel((2, 0)) == (0, 0, 0)


@pytest.mark.parametrize(
    "stated",
    ["{", "[]", '{"matrix": 3, "bias": 1}', '{"matrix": [[1,2,3]], "bias": [0,0,0]}', '{"matrix": "x", "bias": null}'],
)
def test_a_nonsensical_statement_is_replaced_by_a_fit(tmp_path: Path, tiny: Path, stated: str) -> None:
    pipe = AutoPipelineForText2Image.from_pretrained(tiny, local_files_only=True, dtype=torch.float32)
    (tmp_path / "preview.json").write_text(stated)
    fitted, expected = preview.of(pipe, tmp_path), preview.fit(pipe.vae)
    assert fitted is not None
    assert torch.equal(fitted.matrix, expected.matrix)


def test_what_the_maker_states_is_used(tmp_path: Path, tiny: Path) -> None:
    pipe = AutoPipelineForText2Image.from_pretrained(tiny, local_files_only=True, dtype=torch.float32)
    (tmp_path / "preview.json").write_text(json.dumps({"matrix": [[0, 0, 0]] * 4, "bias": [1, 0, 0]}))
    stated = preview.of(pipe, tmp_path)
    assert stated is not None
    assert stated.picture(torch.randn(1, 4, 8, 8)).getpixel((3, 3)) == (255, 0, 0)


def test_a_fit_comes_close_to_what_the_vae_decodes() -> None:
    """On the embedded model's real VAE, for latents of a picture it has not been fitted to."""
    vae = AutoencoderKL.from_pretrained(ASSETS / "mini" / "vae", dtype=torch.float32, local_files_only=True)
    scene = torch.full((1, 3, 128, 128), -0.6)
    scene[:, 2, :64] = 0.7
    scene[:, 0, 40:90, 40:90] = 0.9
    with torch.no_grad():
        latents = vae.encode(scene).latent_dist.mode() * vae.config.scaling_factor
        decoded = vae.decode(latents / vae.config.scaling_factor).sample / 2 + 0.5
    small = functional.interpolate(decoded, latents.shape[-2:], mode="area")[0].permute(1, 2, 0).reshape(-1, 3)
    fitted = preview.fit(vae)
    shown = latents[0].permute(1, 2, 0).reshape(-1, 4) @ fitted.matrix + fitted.bias
    spread = float((small - small.mean(0)).pow(2).mean().sqrt())
    assert float((shown - small).pow(2).mean().sqrt()) < 0.6 * spread
