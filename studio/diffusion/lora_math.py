"""What one layer of a LoRA adds to a weight. Everything is computed in float32.

The formulas are those of LyCORIS (LoCon, LoHa, LoKr), which peft follows, and of the DoRA paper (arXiv 2402.09353).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from studio.diffusion.lora_files import Layer

Tensors = Mapping[str, torch.Tensor]


def factors(layer: Layer) -> tuple[torch.Tensor, torch.Tensor] | None:
    """`up` (out × rank) and `down` (rank × in) where the change is nothing but their product; else None."""
    roles = layer.tensors
    if not {"up", "down"} <= roles.keys() or roles.keys() & {"mid", "magnitude"}:
        return None
    return roles["up"].float().flatten(1), roles["down"].float().flatten(1)


def change(layer: Layer, weight: torch.Tensor) -> torch.Tensor:
    """What is added to `weight` at full strength, in float32 and its shape.

    Raises:
        RuntimeError, KeyError: the layer does not fit the weight, or not itself.
    """
    roles = {name: tensor.to(weight.device, torch.float32) for name, tensor in layer.tensors.items()}
    # PEFT and kohya write a 1×1 convolution as a matrix, or the other way round.
    added = (_whole(roles) * layer.scale).reshape(weight.shape)
    return _decomposed(weight.float(), added, roles["magnitude"]) if "magnitude" in roles else added


def change_of_bias(layer: Layer) -> torch.Tensor | None:
    if "bias" in layer.tensors:
        return layer.tensors["bias"].float() * layer.scale
    return layer.tensors["diff_bias"].float() if "diff_bias" in layer.tensors else None


def fits(layer: Layer, weight: torch.Tensor, bias: torch.Tensor | None) -> tuple[str, ...]:
    """Which of `weight` and `bias` the layer changes; none if it does not fit. Computes nothing."""
    roles = {name: tensor.to("meta") for name, tensor in layer.tensors.items()}
    meta = Layer(layer.part, layer.name, roles, layer.scale)
    found: tuple[str, ...] = ()
    if roles.keys() - {"bias", "diff_bias", "magnitude"}:
        try:
            # As many numbers in a matrix of other sides are no fit.
            if _whole(roles).shape[0] != weight.shape[0]:
                return ()
            change(meta, weight.detach().to("meta"))
        except (RuntimeError, KeyError, IndexError):
            return ()
        found = ("weight",)
    own = change_of_bias(meta)
    if own is None:
        return found
    return (*found, "bias") if bias is not None and bias.shape == own.shape else ()


def _whole(roles: Tensors) -> torch.Tensor:
    if "up" in roles or "down" in roles:
        return _low_rank(roles)
    if "hada_w1_a" in roles:
        return _hadamard(roles)
    if "diff" in roles:
        return roles["diff"]
    return _kronecker(roles)


def _low_rank(roles: Tensors) -> torch.Tensor:
    up, down = roles["up"], roles["down"]
    if "mid" in roles:
        return torch.einsum("o r, r s h w, s i -> o i h w", up.flatten(1), roles["mid"], down.flatten(1))
    return up.flatten(1) @ down.flatten(1)


def _hadamard(roles: Tensors) -> torch.Tensor:
    one = _tucker(roles["hada_w1_a"], roles["hada_w1_b"], roles.get("hada_t1"))
    return one * _tucker(roles["hada_w2_a"], roles["hada_w2_b"], roles.get("hada_t2"))


def _tucker(a: torch.Tensor, b: torch.Tensor, core: torch.Tensor | None) -> torch.Tensor:
    return a @ b if core is None else torch.einsum("r s h w, r o, s i -> o i h w", core, a, b)


def _kronecker(roles: Tensors) -> torch.Tensor:
    one = roles["lokr_w1"] if "lokr_w1" in roles else roles["lokr_w1_a"] @ roles["lokr_w1_b"]
    if "lokr_w2" in roles:
        other = roles["lokr_w2"]
    elif "lokr_t2" in roles:
        other = _tucker(roles["lokr_w2_a"], roles["lokr_w2_b"], roles["lokr_t2"])
    else:
        other = roles["lokr_w2_a"] @ roles["lokr_w2_b"].flatten(1)
    return torch.kron(one.reshape(*one.shape, *[1] * (other.ndim - one.ndim)), other.contiguous())


def _decomposed(weight: torch.Tensor, added: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    """DoRA: the sum, brought to its own magnitude for each output (peft, LyCORIS) or each input (older LyCORIS)."""
    whole = weight + added
    if magnitude.ndim < 2 or magnitude.shape[0] == whole.shape[0]:
        norm = whole.flatten(1).norm(dim=1).reshape(-1, *[1] * (whole.ndim - 1))
    else:
        norm = whole.transpose(0, 1).flatten(1).norm(dim=1).reshape(1, -1, *[1] * (whole.ndim - 2))
    change: torch.Tensor = whole * (magnitude.reshape(norm.shape) / norm.clamp_min(1e-12)) - weight
    return change
