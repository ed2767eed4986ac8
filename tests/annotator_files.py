"""Weights of annotators in the format of the published files: random, and small, as their tensors share few numbers."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import math
import types
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

Weights = dict[str, torch.Tensor]

#: Numbers that all weights of one scale are cut from, overlapping.
_POOL: Final = 1 << 14


def _part(module: str, name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(importlib.import_module(f"controlnet_aux.{module}"), name)


def _anime() -> nn.Module:
    norm = functools.partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)
    made: nn.Module = _part("lineart_anime", "UnetGenerator")(3, 1, 8, 64, norm_layer=norm, use_dropout=False)
    return made


def _zoe() -> nn.Module:
    config = _part("zoe.zoedepth.utils.config", "get_config")("zoedepth", "infer")
    made: nn.Module = _part("zoe.zoedepth.models.zoedepth.zoedepth_v1", "ZoeDepth").build_from_config(config)
    return made


def _normal() -> nn.Module:
    told = types.SimpleNamespace(
        mode="client", architecture="BN", pretrained="scannet", sampling_ratio=0.4, importance_ratio=0.7
    )
    made: nn.Module = _part("normalbae.nets.NNET", "NNET")(told)
    return made


def _finer() -> nn.Module:
    made: nn.Module = _part("leres.pix2pix.models.networks", "define_G")(
        2, 1, 64, "unet_1024", "none", False, "normal", 0.02, []
    )
    return made


def _prefixed(weights: Weights) -> Weights:
    return {f"module.{name}": weight for name, weight in weights.items()}


def _unprefixed(weights: Weights) -> Weights:
    return {name.partition(".")[2]: weight for name, weight in weights.items()}


def _same(weights: Weights) -> Weights:
    return weights


#: Name of a file → the network in it, and how the file holds its weights.
_FILES: Final[Mapping[str, tuple[Callable[[], nn.Module], Callable[[Weights], object]]]] = {
    "ControlNetHED.pth": (lambda: _part("hed", "ControlNetHED_Apache2")(), _same),
    "table5_pidinet.pth": (
        lambda: _part("pidi.model", "pidinet")(),
        lambda weights: {"epoch": 19, "state_dict": _prefixed(weights)},
    ),
    "sk_model.pth": (lambda: _part("lineart", "Generator")(3, 1, 3), _same),
    "sk_model2.pth": (lambda: _part("lineart", "Generator")(3, 1, 3), _same),
    "netG.pth": (_anime, _prefixed),
    "5_model.pth": (lambda: _part("teed.ted", "TED")(), _same),
    "MTEED.pth": (lambda: _part("teed.ted", "TED")(), _same),
    "mlsd_large_512_fp32.pth": (lambda: _part("mlsd.models.mbv2_mlsd_large", "MobileV2_MLSD_Large")(), _same),
    "body_pose_model.pth": (lambda: _part("open_pose.model", "bodypose_model")(), _unprefixed),
    "hand_pose_model.pth": (lambda: _part("open_pose.model", "handpose_model")(), _unprefixed),
    "facenet.pth": (lambda: _part("open_pose.face", "FaceNet")(), _same),
    "dpt_hybrid-midas-501f0c75.pt": (
        lambda: _part("midas.midas.dpt_depth", "DPTDepthModel")(path=None, backbone="vitb_rn50_384", non_negative=True),
        _same,
    ),
    "ZoeD_M12_N.pt": (_zoe, lambda weights: {"model": weights}),
    "res101.pth": (
        lambda: _part("leres.leres.multi_depth_model_woauxi", "RelDepthModel")("resnext101"),
        lambda weights: {"depth_model": _prefixed(weights)},
    ),
    "latest_net_G.pth": (_finer, _same),
    "scannet.pt": (_normal, lambda weights: {"model": _prefixed(weights)}),
    "mobile_sam.pt": (lambda: _part("segment_anything.build_sam", "build_sam_vit_t")(), _same),
}


#: Networks whose layers keep their numbers small by themselves; in the others they grow from layer to layer.
_EVEN: Final = {"table5_pidinet.pth", "5_model.pth", "MTEED.pth"}


def write(folder: Path, *names: str, seed: int = 1, changed: Mapping[str, torch.Tensor] | None = None) -> None:
    """Files of those names into `folder`; `changed`: tensors that are not to be random."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        build, held = _FILES[name]
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            weights = _random(build(), seed, 2.0 ** (2 if name in _EVEN else 14))
        assert (changed or {}).keys() <= weights.keys()
        torch.save(held(weights | dict(changed or {})), folder / name)


def _random(network: nn.Module, seed: int, fading: float) -> Weights:
    """What a network counts with, such as the number of its bins, stays. `fading`: of the squares of what is summed up
    into a single number for each pixel, which has to stay a logit and not a certainty."""
    fixed = {name for name, _ in network.named_buffers() if not name.endswith(("running_mean", "running_var"))}
    dice = torch.Generator().manual_seed(seed)
    pools: dict[float, torch.Tensor] = {}

    def cut(shape: torch.Size, scale: float, middle: float = 0.0) -> torch.Tensor:
        """Numbers from `middle` - `scale` to `middle` + `scale`."""
        key = scale + middle
        if key not in pools:
            pools[key] = (torch.rand(_POOL, generator=dice) * 2 - 1) * scale + middle
        strides = [_POOL // (max(len(shape), 1) * side) for side in shape]
        return pools[key].as_strided(shape, strides)

    made: Weights = {}
    for name, tensor in network.state_dict().items():
        if name in fixed:
            made[name] = tensor.clone()
        elif tensor.ndim < 2:
            positive = name.endswith(("running_var", "weight"))
            made[name] = cut(tensor.shape, 0.5, 1.0) if positive else cut(tensor.shape, 0.05)
        else:
            inputs = tensor[0].numel() * (1 if len(tensor) > 1 else fading)
            made[name] = cut(tensor.shape, 2.0 ** round(math.log2(math.sqrt(3 / inputs))))
    return made
