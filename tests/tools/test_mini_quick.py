"""Quick networks give what the stock ones give, forwards and backwards, to the last digits of bfloat16."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn

from studio.settings import EMBEDDED
from tools.mini import quick
from tools.mini.export import load_pipeline
from tools.mini.optimizer import Muon
from tools.mini.painter import Look, Wish, draw
from tools.mini.quick import quicken
from tools.mini.unet import new_unet
from tools.mini.vae import new_vae

pytestmark = [
    pytest.mark.skipif(quick.compiled() is None, reason="there is no C compiler"),
    # diffusers 0.42 hands tensors to np.array in a way that NumPy 2 will drop.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
THIN = (16, 16, 32, 32)


def lively(network: nn.Module) -> nn.Module:
    """Norms whose scale and shift matter."""
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 1, 0.3)
    return network


@pytest.fixture(scope="module")
def denoiser() -> UNet2DConditionModel:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = lively(new_unet(THIN)).train()
    assert isinstance(network, UNet2DConditionModel)
    return network


def drawn(network: UNet2DConditionModel, autocast: bool = True) -> tuple[Tensor, Tensor]:
    """What it predicts of some noise, and all its gradients."""
    generator = torch.Generator().manual_seed(1)
    noisy, words, slopes = (
        torch.randn(shape, generator=generator) for shape in ((3, 4, 24, 16), (3, 77, 192), (3, 4, 24, 16))
    )
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        velocity = network(noisy, torch.tensor([10, 500, 900]), words, return_dict=False)[0]
    (velocity.float() * slopes).sum().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    return velocity.detach().float(), torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])


def far(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def quickened(network: UNet2DConditionModel) -> UNet2DConditionModel:
    twin = copy.deepcopy(network)
    quicken(twin)
    return twin


def test_a_quick_denoiser_is_as_exact_as_bfloat16_is(denoiser: UNet2DConditionModel) -> None:
    exact, slopes = drawn(copy.deepcopy(denoiser), autocast=False)
    stock, stock_slopes = drawn(copy.deepcopy(denoiser))
    mine, my_slopes = drawn(quickened(denoiser))
    assert mine.shape == exact.shape
    assert 0 < far(mine, exact) < 1.2 * far(stock, exact)
    assert 0 < far(my_slopes, slopes) < 1.2 * far(stock_slopes, slopes)


def test_without_autocast_a_quick_denoiser_is_the_stock_one(denoiser: UNet2DConditionModel) -> None:
    for mine, exact in zip(drawn(quickened(denoiser), False), drawn(copy.deepcopy(denoiser), False), strict=True):
        assert far(mine, exact) < 1e-4


def test_without_a_compiler_attention_alone_goes_another_way(
    denoiser: UNet2DConditionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick, "compiled", lambda: None)
    mine = quickened(denoiser)
    assert all(isinstance(way, quick.QuickAttention) for way in mine.attn_processors.values())
    assert not any(isinstance(module, quick.QuickNorm) for module in mine.modules())
    assert far(drawn(mine)[0], drawn(copy.deepcopy(denoiser))[0]) < 0.02


def test_its_weights_keep_their_names_and_values(denoiser: UNet2DConditionModel) -> None:
    mine, stock = quickened(denoiser).state_dict(), denoiser.state_dict()
    assert list(mine) == list(stock)
    assert all(torch.equal(mine[name], stock[name]) for name in stock)


def test_a_quick_encoder_makes_the_same_latents() -> None:
    torch.manual_seed(0)
    autoencoder = lively(new_vae((16, 16, 32)))
    assert isinstance(autoencoder, AutoencoderKL)
    twin = copy.deepcopy(autoencoder)
    quicken(twin.encoder)
    pictures = torch.rand(2, 3, 64, 48) * 2 - 1
    with torch.no_grad():
        exact = autoencoder.encode(pictures).latent_dist.mean
        with torch.autocast("cpu", torch.bfloat16):
            stock, mine = (each.encode(pictures).latent_dist.mean.float() for each in (autoencoder, twin))
    assert 0 < far(mine, exact) < 1.2 * far(stock, exact)


def test_a_hastened_pipeline_draws_the_same_picture() -> None:
    pictures = []
    for hasty in (False, True):
        pipeline = load_pipeline(EMBEDDED)
        if hasty:
            quick.hasten_pipeline(pipeline)
        pictures.append(next(draw(pipeline, [Wish("a red car on the beach at sunset", 3)], Look(128, 8))).astype(float))
    apart = np.abs(pictures[0] - pictures[1])
    assert 0 < apart.mean() < 2
    assert pictures[0].std() > 20


def test_small_numbers_stay_what_they_are() -> None:
    """A library made with -ffast-math would round them to zero, in all of the process."""
    assert quick.compiled() is not None
    assert float(np.float64(5e-324) * 1) > 0


def slopes(call: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """What `call` makes of `x`, and the gradient of its sum of squares."""
    x = x.clone().requires_grad_()
    y = call(x)
    y.float().pow(2).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    return y.detach().float(), x.grad.float()


def gated(x: Tensor) -> Tensor:
    value, gate = x.chunk(2, -1)
    return value * nn.functional.gelu(gate)


def attended(x: Tensor) -> Tensor:
    return torch.softmax(x[..., :40] @ x[..., 40:].transpose(1, 2) * 0.3, -1) @ x[..., :40]


def quick_gated(x: Tensor) -> Tensor:
    result = quick.Gate.apply(x)
    assert isinstance(result, Tensor)
    return result


def quick_attended(x: Tensor) -> Tensor:
    result = quick.Attend.apply(x[..., :40], x[..., 40:], x[..., :40], 0.3)
    assert isinstance(result, Tensor)
    return result


@pytest.mark.parametrize(("mine", "formula"), [(quick_gated, gated), (quick_attended, attended)])
def test_each_quick_way_gives_what_its_formula_says(
    mine: Callable[[Tensor], Tensor], formula: Callable[[Tensor], Tensor]
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 24, 80).bfloat16()
    for fast, exact in zip(slopes(mine, x), slopes(formula, x.float()), strict=True):
        assert fast.shape == exact.shape
        assert far(fast, exact) < 0.01


def test_muon_steps_alike_however_the_weights_lie_in_memory() -> None:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3))
    stock, turned = copy.deepcopy(first), copy.deepcopy(first).to(memory_format=torch.channels_last)
    x = torch.randn(2, 4, 8, 8)
    for network in (stock, turned):
        optimizer = Muon(network, rate=0.05, decay=0.0)
        for _ in range(3):
            optimizer.zero_grad()
            network(x).pow(2).mean().backward()
            optimizer.step()
    for before, a, b in zip(first.parameters(), stock.parameters(), turned.parameters(), strict=True):
        assert (a - before).abs().max() > 0.01
        torch.testing.assert_close(a, b, rtol=0, atol=2e-3)
