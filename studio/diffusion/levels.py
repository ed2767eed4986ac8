"""Noise levels of schedule types that diffusers has no setting for, as the timesteps that have these levels."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from diffusers.schedulers import AysSchedules
from numpy.typing import NDArray

_TEN: Final = 10


def align_your_steps(steps: int, *, xl: bool) -> NDArray[np.float64]:
    """σ of each step: https://arxiv.org/abs/2404.14507. Other numbers than ten are between these, log-linearly."""
    ten = np.log(AysSchedules["StableDiffusionXLSigmas" if xl else "StableDiffusionSigmas"][:_TEN])
    sigmas: NDArray[np.float64] = np.exp(np.interp(np.linspace(0, 1, steps), np.linspace(0, 1, _TEN), ten))
    return sigmas


def kl_optimal(steps: int, least: float, most: float) -> NDArray[np.float64]:
    """σ of each step, from `most` to `least`: theorem 3.1 of https://arxiv.org/abs/2404.14507."""
    place = np.linspace(0, 1, steps)
    sigmas: NDArray[np.float64] = np.tan(place * np.arctan(least) + (1 - place) * np.arctan(most))
    return sigmas


def timesteps(sigmas: NDArray[np.float64], cumulative: torch.Tensor) -> list[int]:
    """The steps of training at which the noise was nearest to `sigmas`, falling; `cumulative` is ᾱ of each step."""
    levels = ((1 - cumulative.double()) / cumulative.double()).sqrt().log().cpu().numpy()
    found = np.interp(np.log(sigmas), levels, np.arange(len(levels))).round().astype(int)
    # Two steps at one level would be one step too many for a solver that divides by their distance.
    number = np.arange(len(found))
    falling = np.minimum.accumulate(found + number) - number
    return [int(step) for step in falling - min(int(falling[-1]), 0)]
