from __future__ import annotations

import copy
import gc

import gguf
import psutil  # type: ignore[import-untyped]
import pytest
import torch
from diffusers.quantizers.gguf.utils import GGUFLinear, GGUFParameter
from torch import nn

from studio.diffusion.part import Part, parts_of

CPU = torch.device("cpu")


def first(of: nn.Sequential) -> torch.Tensor:
    weight = of[0].weight
    assert isinstance(weight, torch.Tensor)
    return weight


def module(seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """Odd sizes, two memory formats, a buffer, weights tied and weights expanded."""
    torch.manual_seed(seed)
    made = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Linear(7, 7, bias=False), nn.Linear(7, 7, bias=False)
    )
    made.get_submodule("3").weight = made[2].weight
    made[0].to(memory_format=torch.channels_last)
    made.register_buffer("wide", torch.arange(3.0).expand(4, 3))
    return made.to(dtype).eval()


def contents(of: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in (*of.named_parameters(), *of.named_buffers())}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_packing_changes_no_weight_no_layout_and_no_result() -> None:
    given = module()
    before, strides = contents(given), [tensor.stride() for tensor in given.parameters()]
    picture = torch.rand(1, 3, 6, 6)
    expected = given[:2](picture)
    part = Part("unet", given)
    assert equal(contents(given), before)
    assert [tensor.stride() for tensor in given.parameters()] == strides
    assert torch.equal(given[:2](picture), expected)
    assert given[2].weight is given[3].weight
    storages = {tensor.untyped_storage().data_ptr() for tensor in (*given.parameters(), *given.buffers())}
    assert len(storages) == 1
    assert part.bytes < sum(tensor.nbytes for tensor in before.values()) + 256 * len(before)


def test_going_to_the_card_is_one_copy_and_leaving_it_none() -> None:
    copied: list[int] = []

    def copy_to_card(piece: torch.Tensor) -> torch.Tensor:
        copied.append(piece.numel())
        return piece.clone()

    given = module()
    part = Part("unet", given)
    before = contents(given)
    at_home = [tensor.data_ptr() for tensor in given.parameters()]
    for _ in range(2):
        part.bring(CPU, copy_to_card)
        part.bring(CPU, copy_to_card)
        assert part.on_card
        assert equal(contents(given), before)
        assert not {tensor.data_ptr() for tensor in given.parameters()} & set(at_home)
        first(given).data.zero_()  # what happens to the copy on the card ends with it
        part.evict()
        assert [tensor.data_ptr() for tensor in given.parameters()] == at_home
        assert equal(contents(given), before)
    assert copied == [part.bytes, part.bytes]


@pytest.mark.parametrize("on_card", [False, True])
def test_what_a_job_leaves_behind_is_put_back(on_card: bool) -> None:
    given = module(dtype=torch.float16)
    part = Part("vae", given)
    before = contents(given)
    if on_card:
        part.bring(CPU, torch.clone)
    given.to(torch.float32)
    part.settle()
    assert equal(contents(given), before)
    assert first(given).dtype == torch.float16
    first(given).data = torch.zeros(5, 3, 3, 3, dtype=torch.float16)
    part.settle()
    assert equal(contents(given), before)


def test_equal_parts_are_recognised_and_different_ones_told_apart() -> None:
    one, twin, other = Part("vae", module()), Part("vae", module()), Part("vae", module(1))
    half = Part("vae", module(dtype=torch.float16))
    assert one.same(twin)
    assert one.sketch == twin.sketch
    assert not one.same(other)
    assert not one.same(half)
    nearly = module()
    large = nn.Linear(4096, 3)
    alike = copy.deepcopy(large)
    with torch.no_grad():
        alike.weight[1, 1000] += 1
    packed, unlike = Part("x", nn.Sequential(nearly, large)), Part("x", nn.Sequential(module(), alike))
    assert packed.sketch == unlike.sketch, "the one weight that differs is in no sample"
    assert not packed.same(unlike)


def test_memory_goes_back_to_the_system_when_the_last_holder_goes() -> None:
    def taken() -> int:
        gc.collect()
        return int(psutil.Process().memory_info().rss)

    before = taken()
    part = Part("unet", nn.Linear(4096, 4096))
    assert taken() - before > 60 * 2**20
    part.close()
    del part
    assert taken() - before < 4 * 2**20


def test_a_module_that_two_components_share_is_one_part() -> None:
    given = module()
    parts = parts_of({"unet": given, "scheduler": object(), "vae": module(1), "again": given})
    assert [part.name for part in parts] == ["unet", "vae"]


def test_weights_of_a_gguf_file_come_in_one_copy_too_and_mean_the_same() -> None:
    torch.manual_seed(0)
    weight = torch.randn(32, 64)
    kind = gguf.GGMLQuantizationType.Q8_0
    layer = GGUFLinear(64, 32, bias=False, compute_dtype=torch.float32)
    layer.weight = GGUFParameter(torch.from_numpy(gguf.quants.quantize(weight.numpy(), kind)), quant_type=kind)
    given = torch.randn(3, 64)
    expected = layer(given)
    assert torch.allclose(expected, given @ weight.T, atol=0.5)
    part = Part("transformer", nn.Sequential(layer))
    home, copied = layer.weight.data_ptr(), []
    for _ in range(2):
        part.bring(CPU, lambda piece: copied.append(piece.numel()) or piece.clone())  # type: ignore[func-returns-value]
        assert layer.weight.data_ptr() != home
        assert torch.equal(layer(given), expected)
        part.evict()
        assert layer.weight.data_ptr() == home
        assert torch.equal(layer(given), expected)
    assert copied == [part.bytes] * 2
