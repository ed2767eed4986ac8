"""LoRAs that cannot be laid over a model: a sentence says why, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from studio.diffusion.load import Model
from studio.diffusion.lora import Loras
from studio.errors import ModelError
from tests import loras
from tests.loras import use

RED = (0.3, -0.3, -0.3)


def refused(worn: Loras, mini: Model, file: Path) -> str:
    before = {name: tensor._version for name, tensor in mini.pipe.unet.named_parameters()}
    with pytest.raises(ModelError) as reason, worn.applied(mini, [(use(), file)]):
        pytest.fail("this LoRA cannot be laid over that model")
    assert before == {name: tensor._version for name, tensor in mini.pipe.unet.named_parameters()}, "nothing is written"
    return str(reason.value)


def test_a_lora_of_another_family_is_refused_by_name(worn: Loras, mini: Model, tmp_path: Path) -> None:
    stem = "lora_unet_input_blocks_7_1_transformer_blocks_3_attn2_to_k"
    xl = {f"{stem}.lora_down.weight": torch.zeros(4, 2048), f"{stem}.lora_up.weight": torch.zeros(1280, 4)}
    said = refused(worn, mini, loras.save(xl, tmp_path / "xl.safetensors"))
    assert "“xl” is for Stable Diffusion XL and does not fit Mini, a model of Pochade Mini" in said
    flux = {
        "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": torch.zeros(4, 3072),
        "transformer.single_transformer_blocks.0.attn.to_q.lora_B.weight": torch.zeros(3072, 4),
    }
    assert "is for FLUX.1" in refused(worn, mini, loras.save(flux, tmp_path / "flux.safetensors"))


def test_a_lora_for_a_larger_model_of_the_family_is_refused(worn: Loras, mini: Model, tmp_path: Path) -> None:
    pairs = {
        path: (torch.zeros(4, 192 if ".attn2.to_k" in path else 320), torch.zeros(320, 4))
        for path in loras.attention(mini)
    }
    said = refused(worn, mini, loras.save(loras.kohya(pairs), tmp_path / "large.safetensors"))
    assert f"another size than Mini, though both are of Pochade Mini: of its {len(pairs)} layers none find" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"\x80\x04\x95 pickled", "pickle"),
        (b'\x10\0\0\0\0\0\0\0{"a":{"dtype"', "cannot be used"),
        (b"<!doctype html><title>404</title>", "web page"),
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence(
    worn: Loras, mini: Model, tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "broken.safetensors"
    file.write_bytes(content)
    assert said in refused(worn, mini, file)


def test_a_file_cut_short_or_full_of_nothing_is_refused(worn: Loras, mini: Model, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(loras.save(loras.tint(mini, RED), tmp_path / "red.safetensors").read_bytes()[:-7])
    assert "“cut.safetensors” cannot be used" in refused(worn, mini, cut)
    tensors = loras.tint(mini, RED)
    tensors["lora_unet_conv_out.lora_up.weight"][1] = torch.nan
    assert "broken numbers" in refused(worn, mini, loras.save(tensors, tmp_path / "nan.safetensors"))
    other = loras.save({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    assert "is no LoRA" in refused(worn, mini, other)
    assert "no longer there" in refused(worn, mini, tmp_path / "gone.safetensors")
    assert "is no .safetensors file" in refused(worn, mini, cut.rename(tmp_path / "old.pt"))
    oft = loras.save({"lora_unet_conv_in.oft_blocks": torch.zeros(2, 2, 2)}, tmp_path / "oft.safetensors")
    assert "of a kind that is not supported (OFT)" in refused(worn, mini, oft)
