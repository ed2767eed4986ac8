"""Guides at work: a denoiser that also hears what ControlNets and T2I-Adapters say of their maps.

Stock pipelines draw, and diffusers' own ControlNets answer. What its ControlNet pipelines do between the two is done
here, around the denoiser: so it is there for every task, for several kinds of guide at once, and for each by itself.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import ControlNetUnionModel, T2IAdapter
from torch import Tensor

from studio.annotators import Kind
from studio.errors import ModelError
from studio.request import ControlUnit

#: A1111's soft weights: 0.825 to the power of 12 for the finest of a guide's answers, of 0 for the coarsest.
_SOFT: Final = 0.825
_SOFT_STEPS: Final = 12
#: The numbers by which ControlNets for several kinds of map know them (xinsir's for SDXL, InstantX's for FLUX.1).
_UNION_XL: Final[Mapping[Kind, int]] = {
    **dict.fromkeys(("scribble", "softedge"), 2),
    **dict.fromkeys(("canny", "lineart", "anime", "mlsd"), 3),
    "pose": 0,
    "depth": 1,
    "normal": 4,
    "segments": 5,
    "tile": 6,
    "blur": 6,
    "grey": 6,
    "shuffle": 6,
}
_UNION_FLUX: Final[Mapping[Kind, int]] = {
    **dict.fromkeys(("canny", "lineart", "anime", "softedge", "scribble", "mlsd"), 0),
    "tile": 1,
    "depth": 2,
    "blur": 3,
    "pose": 4,
    "grey": 5,
}


@dataclass(frozen=True, slots=True)
class Guide:
    """`condition` is its map as `net` reads maps (see `conditions`); `kind` what is seen on it."""

    unit: ControlUnit
    net: Any
    condition: Tensor
    kind: Kind

    def acts(self, evaluation: int, total: int) -> bool:
        """At this evaluation of the denoiser, counted from 0; as diffusers counts."""
        return evaluation / total >= self.unit.start and (evaluation + 1) / total <= self.unit.end


#: What the denoiser was called with, by name. A guide answers by the argument that takes it; Z-Image's by layer.
Call = Mapping[str, Any]


class Guided:
    """A denoiser and its guides; otherwise it is the one it stands for.

    Raises:
        ModelError: no guide can steer such a denoiser.
    """

    def __init__(self, denoiser: Any, pipe: Any, guides: Sequence[Guide]) -> None:
        asked = _ASKED.get(type(denoiser).__name__)
        if asked is None:
            raise ModelError("This model cannot follow a guide; remove the guides, or choose another model.")
        self._ask, self._joined = asked
        self._denoiser = denoiser
        self._pipe = pipe
        self._guides = guides
        self._named = inspect.signature(type(denoiser).forward)
        self._answers: list[tuple[Guide, dict[str, Any]]] = []
        self._is_negative = False
        #: How often the denoiser has been evaluated; some pipelines ask it twice for one.
        self.evaluation = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._denoiser, name)

    def cache_context(self, name: str) -> Any:
        """Qwen-Image says so which of prompt and negative prompt it asks for."""
        self._is_negative = name == "uncond"
        return self._denoiser.cache_context(name)

    def __call__(self, *given: Any, **told: Any) -> Any:
        total = max(int(self._pipe.num_timesteps), 1)
        acting = [guide for guide in self._guides if guide.acts(self.evaluation, total)]
        if not acting:
            return self._denoiser(*given, **told)
        if self._is_negative:  # it hears what was said of the prompt, as in diffusers' own pipeline
            answers = [answer for guide, answer in self._answers if guide.unit.mode != "control"]
        else:
            call = self._named.bind(self._denoiser, *given, **told).arguments
            self._answers = [(guide, self._heard(guide, call)) for guide in acting]
            answers = [answer for _, answer in self._answers]
        return self._denoiser(*given, **told, **self._joined(self._denoiser, answers))

    def _heard(self, guide: Guide, call: Call) -> dict[str, Any]:
        answer = self._ask(guide, call, self._pipe)
        if guide.unit.mode == "balanced":
            return answer
        factors = iter(_softened(sum(len(part) for part in answer.values())))
        prompted = _prompted(self._denoiser, self._pipe, call) if guide.unit.mode == "control" else None

        def changed(tensor: Tensor) -> Tensor:
            tensor = tensor * next(factors)
            return tensor if prompted is None else tensor * prompted.to(tensor).reshape(-1, *[1] * (tensor.ndim - 1))

        return {name: _each(changed, part) for name, part in answer.items()}


def _softened(number: int) -> list[float]:
    if number == 1:
        return [1.0]
    return [_SOFT ** (_SOFT_STEPS * (1 - place / (number - 1))) for place in range(number)]


def _prompted(denoiser: Any, pipe: Any, call: Call) -> Tensor | None:
    """1 for what of the batch hears the prompt, 0 for what hears the negative one; None: all of it does."""
    if not getattr(pipe, "do_classifier_free_guidance", False) or type(denoiser).__name__ in _ONE_BY_ONE:
        return None
    first = call.get("sample", call.get("hidden_states", call.get("x")))
    assert first is not None
    batch = len(first)
    if type(denoiser).__name__ == "UNet2DConditionModel":  # `AND` may join several prompts, and there is one opposite
        return torch.tensor([0.0] + [1.0] * (batch - 1))
    halves = ([0.0], [1.0]) if "x" not in call else ([1.0], [0.0])
    return torch.tensor(halves[0] * (batch // 2) + halves[1] * (batch // 2))


_ONE_BY_ONE: Final = ("QwenImageTransformer2DModel", "FluxTransformer2DModel")


def _each(change: Callable[[Tensor], Tensor], part: Any) -> Any:
    if isinstance(part, dict):
        return {layer: change(tensor) for layer, tensor in part.items()}
    return [change(tensor) for tensor in part]


# ── How the ControlNets of each family are asked ───────────────────────────────────────────────────────────────────


def _ask_unet(guide: Guide, call: Call, pipe: Any) -> dict[str, Any]:
    sample, net = call["sample"], guide.net
    condition = guide.condition.expand(len(sample), -1, -1, -1)
    if isinstance(net, T2IAdapter):
        return {_INTRA: [feature * guide.unit.weight for feature in net(condition)]}
    more: dict[str, Any] = {"controlnet_cond": condition}
    if isinstance(net, ControlNetUnionModel):
        number = min(_UNION_XL.get(guide.kind, 3), net.config.num_control_type - 1)
        types = torch.zeros(1, net.config.num_control_type, device=sample.device, dtype=sample.dtype)
        types[0, number] = 1
        more = {"controlnet_cond": [condition], "control_type_idx": [number]}
        more["control_type"] = types.expand(len(sample), -1)
    down, middle = net(
        # A model made to repaint also reads the mask and what is not masked.
        sample[:, : net.config.in_channels],
        call["timestep"],
        encoder_hidden_states=call["encoder_hidden_states"],
        added_cond_kwargs=call.get("added_cond_kwargs"),
        conditioning_scale=guide.unit.weight,
        return_dict=False,
        **more,
    )
    return {_DOWN: list(down), _MIDDLE: [middle]}


def _ask_sd3(guide: Guide, call: Call, pipe: Any) -> dict[str, Any]:
    net, pooled = guide.net, call["pooled_projections"]
    answers = net(
        hidden_states=call["hidden_states"],
        timestep=call["timestep"],
        encoder_hidden_states=None if net.config.joint_attention_dim is None else call["encoder_hidden_states"],
        pooled_projections=torch.zeros_like(pooled) if net.config.force_zeros_for_pooled_projection else pooled,
        joint_attention_kwargs=call.get("joint_attention_kwargs"),
        controlnet_cond=guide.condition.expand(len(call["hidden_states"]), -1, -1, -1),
        conditioning_scale=guide.unit.weight,
        return_dict=False,
    )[0]
    return {"block_controlnet_hidden_states": list(answers)}


def _ask_flux(guide: Guide, call: Call, pipe: Any) -> dict[str, Any]:
    net, hidden = guide.net, call["hidden_states"]
    guidance = None
    if net.config.guidance_embeds:
        guidance = call.get("guidance")
        if guidance is None:  # FLUX.1 schnell reads none
            guidance = torch.full((len(hidden),), float(pipe.guidance_scale), device=hidden.device)
    number = None
    if net.union:
        known = min(_UNION_FLUX.get(guide.kind, 0), net.config.num_mode - 1)
        number = torch.full((len(hidden), 1), known, device=hidden.device, dtype=torch.long)
    doubles, singles = net(
        hidden_states=hidden,
        controlnet_cond=guide.condition.expand(len(hidden), *[-1] * (guide.condition.ndim - 1)),
        controlnet_mode=number,
        conditioning_scale=guide.unit.weight,
        timestep=call["timestep"],
        guidance=guidance,
        pooled_projections=call["pooled_projections"],
        encoder_hidden_states=call["encoder_hidden_states"],
        txt_ids=call["txt_ids"],
        img_ids=call["img_ids"],
        joint_attention_kwargs=call.get("joint_attention_kwargs"),
        return_dict=False,
    )
    blocks = list(doubles or ())
    if net.input_hint_block is not None and blocks:  # XLabs' are used over and over, those of others stretched
        layers = len(pipe.transformer.transformer_blocks)
        blocks = [blocks[layer % len(blocks)] for layer in range(layers)]
    return {"controlnet_block_samples": blocks, "controlnet_single_block_samples": list(singles or ())}


def _ask_qwen(guide: Guide, call: Call, pipe: Any) -> dict[str, Any]:
    answers = guide.net(
        hidden_states=call["hidden_states"],
        controlnet_cond=guide.condition.expand(len(call["hidden_states"]), -1, -1),
        conditioning_scale=guide.unit.weight,
        timestep=call["timestep"],
        encoder_hidden_states=call["encoder_hidden_states"],
        encoder_hidden_states_mask=call.get("encoder_hidden_states_mask"),
        img_shapes=call["img_shapes"],
        return_dict=False,
    )
    return {"controlnet_block_samples": list(answers)}


def _ask_z_image(guide: Guide, call: Call, pipe: Any) -> dict[str, Any]:
    condition = guide.condition.expand(len(call["x"]), -1, -1, -1, -1)
    answers = guide.net(call["x"], call["t"], call["cap_feats"], list(condition), conditioning_scale=guide.unit.weight)
    return {"controlnet_block_samples": dict(answers)}


def _ask_sana(guide: Guide, call: Call, pipe: Any) -> dict[str, Any]:
    net, hidden = guide.net, call["hidden_states"]
    answers = net(
        hidden,
        encoder_hidden_states=call["encoder_hidden_states"],
        encoder_attention_mask=call.get("encoder_attention_mask"),
        timestep=call["timestep"],
        attention_kwargs=call.get("attention_kwargs"),
        controlnet_cond=guide.condition.expand(len(hidden), -1, -1, -1),
        conditioning_scale=guide.unit.weight,
        return_dict=False,
    )[0]
    return {"controlnet_block_samples": [answer.to(hidden.dtype) for answer in answers]}


# ── How several answers become one ─────────────────────────────────────────────────────────────────────────────────

_DOWN: Final = "down_block_additional_residuals"
_MIDDLE: Final = "mid_block_additional_residual"
_INTRA: Final = "down_intrablock_additional_residuals"


def _summed(parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    longest = max((len(part) for part in parts), default=0)
    return [_total([part[place] for part in parts if place < len(part)]) for place in range(longest)]


def _total(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total


def _join_unet(denoiser: Any, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = (_DOWN, _MIDDLE, _INTRA)
    joined = {name: _summed([answer[name] for answer in answers if name in answer]) for name in names}
    told: dict[str, Any] = {name: joined[name] for name in (_DOWN, _INTRA) if joined[name]}
    return told | ({_MIDDLE: joined[_MIDDLE][0]} if joined[_MIDDLE] else {})


def _join_layers(
    places: Mapping[str, str], spread: Callable[[int, int], Sequence[int]]
) -> Callable[[Any, Sequence[dict[str, Any]]], dict[str, Any]]:
    """For denoisers that stretch fewer answers over their layers: stretched first, guides of any length add up."""

    def join(denoiser: Any, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for name, layers_of in places.items():
            layers = len(getattr(denoiser, layers_of))
            parts = [answer[name] for answer in answers if answer.get(name)]
            if parts and layers:
                told[name] = _summed([[part[place] for place in spread(layers, len(part))] for part in parts])
        return told

    return join


def _evenly(layers: int, answers: int) -> list[int]:
    return [int(layer / (layers / answers)) for layer in range(layers)]


def _in_steps(layers: int, answers: int) -> list[int]:
    return [layer // math.ceil(layers / answers) for layer in range(layers)]


def _join_numbered(denoiser: Any, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    name = "controlnet_block_samples"
    layers = sorted({layer for answer in answers for layer in answer[name]})
    if not layers:
        return {}
    return {name: {layer: _total([one[name][layer] for one in answers if layer in one[name]]) for layer in layers}}


def _join_sana(denoiser: Any, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    total = _summed([answer["controlnet_block_samples"] for answer in answers])
    return {"controlnet_block_samples": tuple(total)} if total else {}


_BLOCKS: Final = "transformer_blocks"
_ASKED: Final[Mapping[str, tuple[Callable[..., dict[str, Any]], Callable[..., dict[str, Any]]]]] = {
    "UNet2DConditionModel": (_ask_unet, _join_unet),
    "SD3Transformer2DModel": (_ask_sd3, _join_layers({"block_controlnet_hidden_states": _BLOCKS}, _evenly)),
    "FluxTransformer2DModel": (
        _ask_flux,
        _join_layers(
            {"controlnet_block_samples": _BLOCKS, "controlnet_single_block_samples": f"single_{_BLOCKS}"}, _in_steps
        ),
    ),
    "QwenImageTransformer2DModel": (_ask_qwen, _join_layers({"controlnet_block_samples": _BLOCKS}, _in_steps)),
    "ZImageTransformer2DModel": (_ask_z_image, _join_numbered),
    "SanaTransformer2DModel": (_ask_sana, _join_sana),
}
