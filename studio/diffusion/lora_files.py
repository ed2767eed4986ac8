"""LoRA files as kohya, PEFT, diffusers and LyCORIS write them → layers under one kind of name."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open

from studio.errors import ModelError
from studio.headers import read_header
from studio.recognise import recognise

#: The U-Net or transformer; the other parts go by their names in a pipeline: text_encoder, text_encoder_2, …
DENOISER: Final = "denoiser"
_ADAPTER: Final = "lora_adapter_metadata"

#: How a file calls a tensor of a layer → how `lora_math` does.
_ROLES: Final[Mapping[str, str]] = {
    "lora_down.weight": "down",
    "lora_up.weight": "up",
    "lora_mid.weight": "mid",
    "lora_A.weight": "down",
    "lora_B.weight": "up",
    "lora_A.default.weight": "down",
    "lora_B.default.weight": "up",
    "lora_B.bias": "bias",
    "lora.down.weight": "down",
    "lora.up.weight": "up",
    "lora_linear_layer.down.weight": "down",
    "lora_linear_layer.up.weight": "up",
    "dora_scale": "magnitude",
    "lora_magnitude_vector": "magnitude",
    "lora_magnitude_vector.weight": "magnitude",
    "diff": "diff",
    "w_norm": "diff",
    "diff_b": "diff_bias",
    "b_norm": "diff_bias",
    "alpha": "alpha",
    **{name: name for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")},
    **{name: name for name in ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")},
}
#: Before the role of old diffusers files: `…attn1.processor.to_q_lora.down.weight`.
_OLD: Final[Mapping[str, str]] = {"_lora.down.weight": "down", "_lora.up.weight": "up"}
#: Networks that neither diffusers nor peft makes out of such files.
_UNSUPPORTED: Final[Mapping[str, str]] = {
    "oft_blocks": "OFT",
    "oft_diag": "OFT",
    "oft_R.weight": "OFT",
    "boft_R": "BOFT",
    "a1.weight": "GLoRA",
    "a2.weight": "GLoRA",
    "b1.weight": "GLoRA",
    "b2.weight": "GLoRA",
    "on_input": "IA3",
    "lora_embedding_A": "LoRA of an embedding",
    "lora_embedding_B": "LoRA of an embedding",
    "vera_lambda_b": "VeRA",
    "vera_lambda_d": "VeRA",
}
_PARTS: Final[tuple[tuple[str, str], ...]] = (
    ("lora_unet_", DENOISER),
    ("lora_transformer_", DENOISER),
    ("lycoris_", DENOISER),
    ("lora_te_", "text_encoder"),
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("lora_te3_", "text_encoder_3"),
    ("unet.", DENOISER),
    ("transformer.", DENOISER),
    ("model.diffusion_model.", DENOISER),
    ("diffusion_model.", DENOISER),
    ("text_encoder.", "text_encoder"),
    ("text_encoder_2.", "text_encoder_2"),
    ("text_encoder_3.", "text_encoder_3"),
    ("text_encoders.clip_l.transformer.", "text_encoder"),
    ("text_encoders.clip_g.transformer.", "text_encoder_2"),
)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a LoRA. `name`: the path of the module it changes, underscores for dots; `scale`: alpha ÷ rank."""

    part: str
    name: str
    tensors: Mapping[str, torch.Tensor]
    scale: float
    unsupported: str = ""


@dataclass(frozen=True)
class LoraFile:
    """What a file holds. `digest`: the first 12 hex digits of A1111's hash; `families`: those whose models it may be
    for, by key; `strange`: names nobody knows."""

    path: Path
    digest: str
    families: tuple[str, ...]
    layers: tuple[Layer, ...]
    strange: tuple[str, ...]
    tensors: Mapping[str, torch.Tensor]

    @cached_property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for layer in self.layers for tensor in layer.tensors.values())


def read(path: Path, place: torch.device) -> LoraFile:
    """Read all of a file onto `place`.

    Raises:
        ModelError: it is damaged, is no safetensors file, or holds nothing of a LoRA.
    """
    title = path.stem
    if path.suffix.lower() != ".safetensors":
        raise ModelError(f"The LoRA “{title}” is no .safetensors file; other kinds can run programs. Get it as one.")
    try:
        header = read_header(path)
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name).to(place) for name in header.tensors}
        digest = _digest(path, header.metadata)
    except FileNotFoundError as gone:
        raise ModelError(f"The LoRA “{title}” is no longer there; choose another one.") from gone
    except (OSError, SafetensorError, ValueError, RuntimeError) as broken:
        raise ModelError(f"The LoRA “{title}” is damaged and cannot be read; download it again.") from broken
    if not all(bool(torch.isfinite(tensor.float()).all()) for tensor in tensors.values()):
        raise ModelError(f"The LoRA “{title}” holds broken numbers; download it again.")
    layers, strange = layered(tensors, _Adapter.of(path, header.metadata))
    if not layers:
        raise ModelError(f"“{title}” is no LoRA: nothing in it changes a layer of a model.")
    known = recognise(header.tensors, name=title, metadata=header.metadata)
    return LoraFile(path, digest, known.families if known else (), layers, strange, tensors)


def layered(
    tensors: Mapping[str, torch.Tensor], adapter: _Adapter | None = None
) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """The layers, and the names that belong to none."""
    grouped: dict[tuple[str, str], dict[str, torch.Tensor]] = {}
    dotted: dict[tuple[str, str], str] = {}
    unsupported: dict[tuple[str, str], str] = {}
    strange: list[str] = []
    for key, tensor in tensors.items():
        found = _split(key)
        if found is None:
            strange.append(key)
            continue
        written, role = found
        part, path = _part(written)
        at = part, _plain(path)
        dotted[at] = path
        if role in _ROLES.values():
            # PEFT writes a magnitude for each output, as LyCORIS one for each input: 1 × n × 1 × 1.
            grouped.setdefault(at, {})[role] = tensor.flatten() if "lora_magnitude_vector" in key else tensor
        else:
            unsupported[at] = role
            grouped.setdefault(at, {})
    layers = []
    for at, roles in grouped.items():
        alpha = roles.pop("alpha", None)
        stated = None if alpha is None or alpha.numel() != 1 else float(alpha)
        if stated is None and adapter is not None:
            scale = adapter.scale(*at, dotted[at], rank(roles))
        else:
            scale = 1.0 if stated is None or rank(roles) is None else stated / (rank(roles) or 1)
        layers.append(Layer(*at, roles, scale, unsupported.get(at, "")))
    return tuple(layers), tuple(strange)


def rank(roles: Mapping[str, torch.Tensor]) -> int | None:
    """The inner dimension that alpha is divided by; None where alpha means nothing."""
    for name, axis in (("down", 0), ("hada_w1_b", 0), ("lokr_w2_b", 0), ("lokr_w1_b", 0)):
        if name in roles and roles[name].ndim:
            return roles[name].shape[axis]
    return None


def _split(key: str) -> tuple[str, str] | None:
    """The layer, and the role of this tensor in it."""
    for suffix, role in _ROLES.items():
        if key.endswith(f".{suffix}"):
            return key.removesuffix(f".{suffix}"), role
    for suffix, role in _OLD.items():
        if key.endswith(suffix):
            return key.removesuffix(suffix), role
    for suffix, name in _UNSUPPORTED.items():
        if key.endswith(f".{suffix}"):
            return key.removesuffix(f".{suffix}"), name
    return None


def _part(written: str) -> tuple[str, str]:
    path = written.removeprefix("base_model.model.")
    for prefix, part in _PARTS:
        if path.startswith(prefix):
            return part, path.removeprefix(prefix)
    return DENOISER, path


def _plain(path: str) -> str:
    """One spelling for `a.b_c`, `a_b_c`, the processors of old diffusers files, and CLIP with and without its shell."""
    name = path.replace(".processor.", ".").replace(".", "_").removeprefix("text_model_")
    block, clip, kind = name.partition("_self_attn_to_")
    if clip:
        return f"{block}_self_attn_{kind}_proj"
    return name


def _digest(path: Path, metadata: Mapping[str, str]) -> str:
    """As A1111 does: what the trainer wrote down, or the SHA-256 of the tensors without the header."""
    said = metadata.get("sshs_model_hash", "")
    if len(said) >= 12 and all(digit in "0123456789abcdef" for digit in said):
        return said[:12]
    total = hashlib.sha256()
    with path.open("rb") as opened:
        opened.seek(int.from_bytes(opened.read(8), "little") + 8)
        while block := opened.read(2**22):
            total.update(block)
    return total.hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class _Adapter:
    """PEFT's settings, kept beside the tensors: in the header (diffusers) or in `adapter_config.json` (PEFT)."""

    settings: Mapping[str, Mapping[str, object]]

    @classmethod
    def of(cls, path: Path, metadata: Mapping[str, str]) -> _Adapter | None:
        if _ADAPTER in metadata:
            said = _object(metadata[_ADAPTER])
            settings: dict[str, dict[str, object]] = {}
            for key, value in said.items():
                prefix, dot, name = key.partition(".")
                part = DENOISER if prefix in ("unet", "transformer") else prefix
                settings.setdefault(part if dot else DENOISER, {})[name if dot else key] = value
            return cls(settings)
        beside = path.with_name("adapter_config.json")
        if path.stem == "adapter_model" and beside.is_file() and beside.stat().st_size < 2**20:
            return cls({DENOISER: _object(beside.read_text("utf-8", "replace"))})
        return None

    def scale(self, part: str, name: str, dotted: str, inner: int | None) -> float:
        said = self.settings.get(part)
        if said is None or inner is None:
            return 1.0
        alpha = said.get("lora_alpha", said.get("alpha", inner))
        own = said.get("alpha_pattern")
        if isinstance(own, dict):
            alpha = next((own[key] for key in own if f".{dotted}".endswith(f".{key}")), alpha)
        if not isinstance(alpha, int | float):
            return 1.0
        return alpha / (math.sqrt(inner) if said.get("use_rslora") is True else inner)


def _object(text: str) -> dict[str, object]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
