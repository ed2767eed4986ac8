"""What each kind of network adds to a weight, against peft's own arithmetic."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoHaConfig, LoKrConfig, LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from torch import nn

from studio.diffusion import lora_files, lora_math
from studio.diffusion.lora_files import Layer, layered

SHAPES = {"matrix": (12, 10), "convolution": (12, 10, 3, 3), "point": (12, 10, 1, 1)}


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Linear(10, 12)
        self.convolution = nn.Conv2d(10, 12, 3)
        self.point = nn.Conv2d(10, 12, 1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


def trained(config: Any) -> tuple[Bare, PeftModel]:
    """The layers as they were, and with random numbers in every place where training would leave some."""
    torch.manual_seed(3)
    bare = Bare()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = get_peft_model(copy.deepcopy(bare), config)
    with torch.no_grad():
        for name, tensor in adapted.named_parameters():
            if "lora" in name or "hada" in name or "lokr" in name:
                tensor.copy_(torch.randn_like(tensor) * 0.5 + (2.0 if "magnitude" in name else 0.0))
    return bare, adapted


TARGETS = list(SHAPES)


@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(r=4, lora_alpha=6, target_modules=TARGETS),
        LoraConfig(r=4, lora_alpha=6, target_modules=TARGETS, use_dora=True),
        LoHaConfig(r=4, alpha=6, target_modules=TARGETS),
        LoHaConfig(r=4, alpha=6, target_modules=TARGETS, use_effective_conv2d=True),
        LoKrConfig(r=2, alpha=6, target_modules=TARGETS, decompose_both=True),
        LoKrConfig(r=2, alpha=6, target_modules=TARGETS, use_effective_conv2d=True),
    ],
    ids=["lora", "dora", "loha", "loha-tucker", "lokr", "lokr-tucker"],
)
def test_what_is_added_is_what_peft_adds(config: Any) -> None:
    bare, adapted = trained(config)
    state = {name: tensor.detach() for name, tensor in get_peft_model_state_dict(adapted).items()}
    for name in TARGETS:
        state[f"base_model.model.{name}.alpha"] = torch.tensor(6.0)
    layers, strange = layered(state)
    assert not strange
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        merged = adapted.merge_and_unload()
    assert {layer.name for layer in layers} == set(SHAPES)
    for layer in layers:
        weight = getattr(bare, layer.name).weight.detach()
        expected = getattr(merged, layer.name).weight.detach()
        assert lora_math.fits(layer, weight, None) == ("weight",)
        torch.testing.assert_close(weight + lora_math.change(layer, weight), expected, rtol=1e-4, atol=1e-5)


def only(tensors: dict[str, torch.Tensor]) -> Layer:
    layers, strange = layered(tensors)
    assert not strange
    assert len(layers) == 1
    return layers[0]


def test_a_locon_with_a_core_and_a_whole_difference_are_added() -> None:
    up, core, down = torch.randn(12, 4, 1, 1), torch.randn(4, 4, 3, 3), torch.randn(4, 10, 1, 1)
    weight = torch.randn(SHAPES["convolution"])
    stem = "lora_unet_convolution"
    layer = only({f"{stem}.lora_up.weight": up, f"{stem}.lora_mid.weight": core, f"{stem}.lora_down.weight": down})
    expected = torch.zeros_like(weight)
    for across in range(3):
        for along in range(3):
            expected[:, :, across, along] = up[:, :, 0, 0] @ core[:, :, across, along] @ down[:, :, 0, 0]
    torch.testing.assert_close(lora_math.change(layer, weight), expected, rtol=1e-4, atol=1e-5)
    whole = only({f"{stem}.diff": weight, f"{stem}.diff_b": torch.ones(12)})
    assert torch.equal(lora_math.change(whole, weight), weight)
    assert lora_math.fits(whole, weight, torch.zeros(12)) == ("weight", "bias")
    assert lora_math.fits(whole, weight, None) == ()


def test_a_dora_that_only_states_the_magnitudes_there_are_changes_nothing() -> None:
    weight = torch.randn(12, 10)
    zero = {"x.lora_up.weight": torch.zeros(12, 4), "x.lora_down.weight": torch.randn(4, 10)}
    for magnitude in (weight.norm(dim=1), weight.norm(dim=1, keepdim=True), weight.norm(dim=0, keepdim=True)):
        change = lora_math.change(only({**zero, "x.dora_scale": magnitude}), weight)
        torch.testing.assert_close(change, torch.zeros_like(weight), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(10, 12), (12, 11), (6, 20), (12, 10, 2, 2)])
def test_a_layer_of_other_sides_does_not_fit(shape: tuple[int, ...]) -> None:
    layer = only({"x.lora_up.weight": torch.zeros(12, 4), "x.lora_down.weight": torch.zeros(4, 10)})
    assert lora_math.fits(layer, torch.zeros(12, 10), None) == ("weight",)
    assert lora_math.fits(layer, torch.zeros(shape), None) == ()
    torn = only({"x.lora_up.weight": torch.zeros(12, 4)})
    assert lora_math.fits(torn, torch.zeros(12, 10), None) == ()
    assert lora_math.fits(only({"x.lokr_w1": torch.zeros(())}), torch.zeros(12, 10), None) == ()


SUFFIXES = st.sampled_from(sorted([*lora_files._ROLES, *lora_files._UNSUPPORTED, "lora_down", "weight"]))
SIZES = st.lists(st.sampled_from((0, 1, 2, 3, 4, 10, 12)), max_size=4)
KINDS = st.sampled_from((torch.float32, torch.float16, torch.float8_e4m3fn, torch.int64, torch.bool))


@settings(max_examples=300)
@given(st.dictionaries(SUFFIXES, st.tuples(SIZES, KINDS), max_size=5), st.sampled_from(TARGETS))
def test_whatever_a_file_holds_fits_and_can_be_added_or_does_not_fit(
    parts: dict[str, tuple[list[int], torch.dtype]], target: str
) -> None:
    weight = torch.ones(SHAPES[target])
    bias = torch.ones(12)
    layers, _ = layered({f"x.{name}": torch.ones(shape).to(dtype) for name, (shape, dtype) in parts.items()})
    for layer in layers:
        changed = lora_math.fits(layer, weight, bias)
        if "weight" in changed:
            assert lora_math.change(layer, weight).shape == weight.shape
            if (pair := lora_math.factors(layer)) is not None:
                assert (pair[0] @ pair[1]).numel() == weight.numel()
        if "bias" in changed:
            added = lora_math.change_of_bias(layer)
            assert added is not None
            assert added.shape == bias.shape
