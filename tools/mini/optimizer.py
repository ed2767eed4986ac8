"""What moves the weights of a denoiser: orthogonal steps for matrices, Adam for the rest."""

from collections.abc import Mapping
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.99)
ENDS = ("conv_in.", "conv_out.", "heads.", "cells.")
"""The first and last layers, whose inputs or outputs are latents or classes: Muon is for what lies between."""


class Optimizer(Protocol):
    """What the training loop needs of one; those of torch have it."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...

    def zero_grad(self) -> None: ...

    def step(self) -> object: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


def _adam(parameters: list[nn.Parameter], rate: float, decay: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, rate, betas=BETAS, weight_decay=decay, fused=True)


def adam(model: nn.Module, rate: float, decay: float) -> torch.optim.AdamW:
    """AdamW for all of `model` that is trained."""
    return _adam([parameter for parameter in model.parameters() if parameter.requires_grad], rate, decay)


def _matrix(weight: Tensor, like: Tensor | None = None) -> Tensor:
    """A matrix or the weights of a convolution as the matrix of its outputs by everything else, in the order in which
    `like`, or else `weight` itself, lies in memory."""
    last = weight.ndim == 4 and (weight if like is None else like).is_contiguous(memory_format=torch.channels_last)
    return (weight.permute(0, 2, 3, 1) if last else weight).flatten(1)


class Muon:
    """Muon (Jordan et al., 2024) for matrices and convolutions, Adam for norms, biases and both ends of a network.

    A convolution is the matrix of its outputs by everything else. Steps are as large as Adam's (Liu et al.,
    arXiv:2502.16982), so that one learning rate fits both.
    """

    def __init__(self, model: nn.Module, rate: float, decay: float) -> None:
        trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        inner = {name for name, parameter in trained if parameter.ndim > 1 and not name.startswith(ENDS)}
        self._whole = [parameter for name, parameter in trained if name in inner]
        # torch's takes matrices only: these share their memory with the parameters.
        self._flat = [nn.Parameter(_matrix(parameter.detach())) for parameter in self._whole]
        self._adam = _adam([parameter for name, parameter in trained if name not in inner], rate, decay)
        self._muon = torch.optim.Muon(self._flat, rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [*self._muon.param_groups, *self._adam.param_groups]

    def zero_grad(self) -> None:
        for parameter in chain(self._whole, *(group["params"] for group in self._adam.param_groups)):
            parameter.grad = None

    def step(self) -> None:
        for whole, flat in zip(self._whole, self._flat, strict=True):
            flat.grad = None if whole.grad is None else _matrix(whole.grad, like=whole)
        self._muon.step()  # type: ignore[no-untyped-call]
        self._adam.step()

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self._muon.state_dict(), "adam": self._adam.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self._muon.load_state_dict(state_dict["muon"])
        self._adam.load_state_dict(state_dict["adam"])
