"""LoRA files for tests, in the layouts of the programs that write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from studio.diffusion import lora_names
from studio.diffusion.load import Model
from studio.request import LoraUse

Tensors = dict[str, torch.Tensor]
#: Part and path of a layer → its factors, down and up.
Pairs = Mapping[str, tuple[torch.Tensor, torch.Tensor]]


def save(tensors: Mapping[str, torch.Tensor], file: Path, **metadata: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, file, metadata or None)
    return file


def tint(model: Model, rgb: tuple[float, float, float], amount: float = 0.05) -> Tensors:
    """A LoCon of rank 1 on the last convolution of the U-Net, in kohya's layout: what is drawn drifts towards `rgb`.

    The features before that convolution are positive on the average, so their sum is nearly a constant, and the
    preview's matrix says which latents are which colour.
    """
    assert model.preview is not None
    direction = torch.linalg.pinv(model.preview.matrix.T) @ torch.tensor(rgb)
    convolution = model.pipe.unet.conv_out
    down = torch.full((1, *convolution.weight.shape[1:]), amount)
    return {
        "lora_unet_conv_out.lora_down.weight": down,
        "lora_unet_conv_out.lora_up.weight": -direction.reshape(-1, 1, 1, 1),
        "lora_unet_conv_out.alpha": torch.tensor(1.0),
    }


def attention(model: Model, seed: int = 0, rank: int = 4, size: float = 0.1) -> Pairs:
    """Random factors (down, up) for every linear layer of the attention, by part and path: `unet.mid_block…to_q`."""
    noise = torch.Generator().manual_seed(seed)
    found = {}
    for part in ("unet", "text_encoder"):
        for path, module in getattr(model.pipe, part).named_modules():
            if isinstance(module, nn.Linear) and "attn" in path:
                down = torch.randn(rank, module.in_features, generator=noise) * size
                up = torch.randn(module.out_features, rank, generator=noise) * size
                found[f"{part}.{path}"] = (down, up)
    return found


def kohya(pairs: Pairs, alpha: float | None = None) -> Tensors:
    tensors: Tensors = {}
    for path, (down, up) in pairs.items():
        name = path.replace("text_encoder.", "lora_te.text_model.").replace("unet.", "lora_unet.").replace(".", "_")
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        if alpha is not None:
            tensors[f"{name}.alpha"] = torch.tensor(alpha)
    return tensors


def first_diffusion(model: Model, pairs: Pairs, stem: str) -> Tensors:
    """In the U-Net's original names: `lora_unet_input_blocks_…` or `diffusion_model.input_blocks.…`."""
    names = lora_names.first_names(model.pipe.unet)
    tensors: Tensors = {}
    for path, (down, up) in pairs.items():
        part, _, inner = path.partition(".")
        if part == "unet" and stem.endswith("_"):
            name = f"{stem}{names.get(inner, inner).replace('.', '_')}"
            tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        elif part == "unet":
            tensors |= {
                f"{stem}{names.get(inner, inner)}.lora_A.weight": down,
                f"{stem}{names.get(inner, inner)}.lora_B.weight": up,
            }
    return tensors


def diffusers(pairs: Pairs) -> Tensors:
    tensors: Tensors = {}
    for path, (down, up) in pairs.items():
        shell = path.replace("text_encoder.", "text_encoder.text_model.")
        tensors |= {f"{shell}.lora_A.weight": down, f"{shell}.lora_B.weight": up}
    return tensors


def old_diffusers(pairs: Pairs) -> Tensors:
    tensors: Tensors = {}
    for path, (down, up) in pairs.items():
        block, _, kind = path.rpartition(".to_")
        if block:
            name = f"{block}.processor.to_{kind.removesuffix('.0')}_lora"
            tensors |= {f"{name}.down.weight": down, f"{name}.up.weight": up}
    return tensors


def peft(pairs: Pairs, folder: Path, alpha: float) -> Path:
    """A folder as PEFT saves one, of the U-Net alone."""
    tensors: Tensors = {}
    for path, (down, up) in pairs.items():
        if path.startswith("unet."):
            name = f"base_model.model.{path.removeprefix('unet.')}"
            tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    rank = next(iter(pairs.values()))[0].shape[0]
    save(tensors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder / "adapter_model.safetensors"


def use(weight: float = 1.0, text_weight: float | None = None, blocks: str = "") -> LoraUse:
    return LoraUse(name="it", weight=weight, text_weight=text_weight, blocks=blocks)


def weights(model: Model) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name}": tensor.detach().clone()
        for part in ("unet", "text_encoder", "vae")
        for name, tensor in getattr(model.pipe, part).state_dict().items()
    }


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())
