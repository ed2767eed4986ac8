"""LoRAs of every family: their layers find their place, in the names of diffusers and in those of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from studio.diffusion.load import Model
from studio.diffusion.lora import Loras
from studio.diffusion.lora_match import parts
from studio.errors import ModelError
from studio.families import FAMILIES
from studio.request import Defaults, LoraReport, LoraUse, ModelSpec
from tests import loras
from tests.families import builders

USE = LoraUse(name="it")


def model_of(key: str) -> Model:
    spec = ModelSpec(key, key, Path("nowhere"), key, 0, "", "", Defaults())
    return Model(spec, builders.pipeline(key), None, "", torch.device("cpu"))


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def told(model: Model, file: Path) -> LoraReport:
    """What the LoRA did; afterwards everything is as before."""
    before = {name: weights(part) for name, part in parts(model).items()}
    shelf = Loras()
    with shelf.applied(model, [(USE, file)]) as reports:
        pass
    shelf.rest()
    for name, part in parts(model).items():
        assert all(torch.equal(tensor, before[name][key]) for key, tensor in weights(part).items())
    return reports[0]


@pytest.mark.filterwarnings("ignore:.FluxPosEmbed. is deprecated:FutureWarning")
@pytest.mark.parametrize("key", [key for key in builders.BUILDERS if FAMILIES[key].lora])
def test_every_layer_of_a_lora_finds_its_place_in_its_family(key: str, tmp_path: Path) -> None:
    model = model_of(key)
    denoiser = parts(model)["denoiser"]
    part = "unet" if hasattr(model.pipe, "unet") else "transformer"
    tensors: dict[str, torch.Tensor] = {}
    for path, module in denoiser.named_modules():
        if isinstance(module, nn.Linear):
            tensors[f"{part}.{path}.lora_A.weight"] = torch.randn(2, module.in_features) * 0.1
            tensors[f"{part}.{path}.lora_B.weight"] = torch.randn(module.out_features, 2) * 0.1
    report = told(model, loras.save(tensors, tmp_path / "it.safetensors"))
    assert report.layers == len(tensors) // 2 > 1
    assert report.skipped == ()


def test_kohya_names_of_flux_say_what_diffusers_makes_of_them(tmp_path: Path) -> None:
    model = model_of("flux")
    wide = model.pipe.transformer.inner_dim
    names = {
        "lora_unet_double_blocks_0_img_attn_qkv": (wide, 3 * wide),
        "lora_unet_double_blocks_0_txt_attn_proj": (wide, wide),
        "lora_unet_double_blocks_0_img_mlp_0": (wide, 4 * wide),
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj": (model.pipe.text_encoder.config.hidden_size,) * 2,
    }
    tensors: dict[str, torch.Tensor] = {}
    for name, (inner, outer) in names.items():
        tensors[f"{name}.lora_down.weight"] = torch.randn(4, inner)
        tensors[f"{name}.lora_up.weight"] = torch.randn(outer, 4)
        tensors[f"{name}.alpha"] = torch.tensor(2.0)
    file = loras.save(tensors, tmp_path / "kohya.safetensors")
    for _ in range(2):  # some of diffusers' converters write into what they are given
        shelf = Loras()
        with shelf.applied(model, [(USE, file)]) as reports:
            ours = weights(model.pipe.transformer)
        shelf.rest()
        assert (reports[0].layers, reports[0].text_layers) == (5, 1)
    pipe: Any = model.pipe
    pipe.transformer.load_lora_adapter(pipe.lora_state_dict(str(file)), prefix="transformer")
    pipe.transformer.fuse_lora()
    pipe.transformer.unload_lora()
    for name, tensor in weights(pipe.transformer).items():
        torch.testing.assert_close(tensor, ours[name], rtol=1e-4, atol=1e-5)


def test_what_cannot_be_translated_is_said_so(tmp_path: Path) -> None:
    name = "lora_unet_double_blocks_0_img_attn_proj"
    lokr = {f"{name}.lokr_w1": torch.zeros(2, 2), f"{name}.lokr_w2": torch.zeros(8, 8)}
    with pytest.raises(ModelError, match=r"is for FLUX\.1, but gives its layers names that diffusers cannot translate"):
        told(model_of("flux"), loras.save(lokr, tmp_path / "lokr.safetensors"))


def test_a_lora_is_refused_by_every_other_architecture(tmp_path: Path) -> None:
    xl = loras.kohya(
        {
            "unet.down_blocks.2.attentions.0.transformer_blocks.0.attn2.to_k": (
                torch.zeros(2, 2048),
                torch.zeros(1280, 2),
            )
        }
    )
    file = loras.save(xl, tmp_path / "xl.safetensors")
    for key in ("sd15", "flux", "sana"):
        with pytest.raises(ModelError, match=f"Stable Diffusion XL .*{FAMILIES[key].title}"):
            told(model_of(key), file)
