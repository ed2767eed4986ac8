"""Makes networks of diffusers train faster on a CPU: their parameters, names and results stay what they are.

Convolutions of channels-last bfloat16 are three to six times as fast as others where the processor multiplies matrices
(AMX), but then group norms are slow; `quick.c` has one that is not, and three more. docs/mini.md has the figures.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from ctypes import c_float, c_int, c_long, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DiffusionPipeline
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

SOURCE = Path(__file__).with_suffix(".c")
# Sums in any order, so that loops vectorise. Not -ffast-math: merely to load what it makes lets the whole process round
# denormal numbers to zero.
ORDER = ("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math", "-freciprocal-math")
FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=512", *ORDER, "-shared", "-fPIC")
LANES, WIDEST = 16, 1024
"""As in quick.c."""
CALLS: dict[str, list[Any]] = {
    "norm": [c_void_p] * 7 + [c_long] * 4 + [c_float, c_int],
    "norm_back": [c_void_p] * 11 + [c_long] * 4 + [c_int],
    "gate": [c_void_p] * 2 + [c_long] * 2,
    "gate_back": [c_void_p] * 3 + [c_long] * 2,
    "soften": [c_void_p] + [c_long] * 2 + [c_float],
    "soften_back": [c_void_p] * 2 + [c_long] * 2 + [c_float],
}


@cache
def compiled() -> ctypes.CDLL | None:
    """`quick.c`, compiled once per machine; None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    digest = hashlib.sha256(SOURCE.read_bytes() + " ".join(FLAGS).encode()).hexdigest()[:12]
    library = Path(tempfile.gettempdir()) / f"pochade-quick-{os.getuid()}-{digest}.so"
    if not library.exists():
        draft = library.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, *FLAGS, "-o", str(draft), str(SOURCE), "-lm"], check=True)
        draft.replace(library)
    calls = ctypes.CDLL(str(library))
    for name, arguments in CALLS.items():
        call = getattr(calls, name)
        call.argtypes, call.restype = arguments, None
    return calls


def _c() -> ctypes.CDLL:
    calls = compiled()
    assert calls is not None
    return calls


def _at(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


class Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, add: Tensor | None, groups: int, eps: float, silu: bool
    ) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        add = None if add is None else add.contiguous()
        n, channels, height, width = x.shape
        y, kept = torch.empty_like(x), torch.empty(2, n, channels)
        sizes = (n, height * width, channels, groups)
        _c().norm(*map(_at, (x, add, gamma, beta, y, kept[0], kept[1])), *sizes, eps, silu)
        ctx.save_for_backward(x, add, gamma, beta, kept)
        ctx.sizes, ctx.silu = sizes, silu
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, add, gamma, beta, kept = ctx.saved_tensors
        dy = dy.contiguous(memory_format=torch.channels_last)
        dx, dadd = torch.empty_like(x), None if add is None else torch.empty_like(add)
        dgamma, dbeta = torch.zeros_like(gamma), torch.zeros_like(beta)
        places = map(_at, (x, add, dy, gamma, beta, kept[0], kept[1], dx, dadd, dgamma, dbeta))
        _c().norm_back(*places, *ctx.sizes, ctx.silu)
        return dx, dgamma, dbeta, dadd, None, None, None


class Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        y = x.new_empty(*x.shape[:-1], x.shape[-1] // 2)
        ctx.save_for_backward(x)
        _c().gate(_at(x), _at(y), y.numel() // y.shape[-1], y.shape[-1])
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        dx, dy = torch.empty_like(x), dy.contiguous()
        _c().gate_back(_at(x), _at(dy), _at(dx), dy.numel() // dy.shape[-1], dy.shape[-1])
        return dx


class Attend(torch.autograd.Function):
    """Queries (N, Q, D), keys and values (N, K, D) → (N, Q, D)."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        shares = torch.bmm(queries, keys.transpose(1, 2))
        ctx.rows, ctx.scale = (shares.shape[0] * shares.shape[1], shares.shape[2]), scale
        _c().soften(_at(shares), *ctx.rows, scale)
        ctx.save_for_backward(queries, keys, values, shares)
        return torch.bmm(shares, values)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, shares = ctx.saved_tensors
        slopes = torch.bmm(d, values.transpose(1, 2))
        _c().soften_back(_at(shares), _at(slopes), *ctx.rows, ctx.scale)
        return (
            torch.bmm(slopes, keys),
            torch.bmm(slopes.transpose(1, 2), queries),
            torch.bmm(shares.transpose(1, 2), d),
            None,
        )


def _narrow(x: Tensor) -> bool:
    return x.dtype == torch.bfloat16 and torch.is_autocast_enabled("cpu") and compiled() is not None


class QuickNorm(nn.GroupNorm):
    """A group norm that may go through SiLU, and of what may have a bias (N, C) added to it."""

    silu = False

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        if _narrow(x) and x.shape[1] % LANES == 0 and x.shape[1] <= WIDEST:
            y = Norm.apply(x, self.weight, self.bias, add, self.num_groups, self.eps, self.silu)
            assert isinstance(y, Tensor)
            return y
        normed = super().forward(x if add is None else x + add[:, :, None, None])
        return F.silu(normed) if self.silu else normed


class QuickResnet(ResnetBlock2D):  # type: ignore[misc]
    """As the denoiser and the autoencoder have them: neither up nor down, the step of noise in the second norm."""

    def forward(self, input_tensor: Tensor, temb: Tensor | None, *args: object, **kwargs: object) -> Tensor:
        h = self.conv1(self.norm1(input_tensor))
        bias = None if temb is None or self.time_emb_proj is None else self.time_emb_proj(F.silu(temb))
        h = self.conv2(self.norm2(h, bias))
        shortcut = input_tensor if self.conv_shortcut is None else self.conv_shortcut(input_tensor)
        result = shortcut + h
        assert isinstance(result, Tensor)
        return result


class QuickGate(GEGLU):  # type: ignore[misc]
    def forward(self, hidden_states: Tensor, *args: object, **kwargs: object) -> Tensor:
        both = self.proj(hidden_states)
        gated = Gate.apply(both) if _narrow(both) else super().forward(hidden_states)
        assert isinstance(gated, Tensor)
        return gated


class QuickAttention:
    """Plain products of matrices: the backward pass of PyTorch's fused attention is slow on a CPU for so few tokens."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        assert attention_mask is None
        told = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        queries, keys, values = (
            attn.head_to_batch_dim(layer(x))
            for layer, x in ((attn.to_q, hidden_states), (attn.to_k, told), (attn.to_v, told))
        )
        if _narrow(queries) and keys.shape[1] <= WIDEST:
            mixed = Attend.apply(queries, keys, values, attn.scale)
        else:
            mixed = torch.bmm(torch.softmax(torch.bmm(queries, keys.transpose(1, 2)) * attn.scale, -1), values)
        result = attn.to_out[0](attn.batch_to_head_dim(mixed))
        assert isinstance(result, Tensor)
        return result


def quicken(network: nn.Module) -> None:
    """Let `network`, a model of diffusers or a part of one, go the quick ways under bfloat16 autocast on a CPU."""
    for module in network.modules():
        if isinstance(module, Attention):
            module.set_processor(QuickAttention())
    if compiled() is None:
        return
    network.to(memory_format=torch.channels_last)
    for module in network.modules():
        if type(module) is nn.GroupNorm:
            module.__class__ = QuickNorm
        elif type(module) is GEGLU:
            module.__class__ = QuickGate
    for module in network.modules():
        before_silu: list[object] = []
        if type(module) is ResnetBlock2D:
            module.__class__ = QuickResnet
            before_silu = [module.norm1, module.norm2]
        elif isinstance(getattr(module, "conv_norm_out", None), QuickNorm):
            before_silu, module.conv_act = [module.conv_norm_out], nn.Identity()
        for norm in before_silu:
            assert isinstance(norm, QuickNorm)
            norm.silu = True


def hasten(network: nn.Module) -> None:
    """Let `network` always run so, whoever calls it, and give single precision back: for drawing many pictures."""
    quicken(network)
    stock = network.forward

    @torch.no_grad()
    def hasty(*args: object, **kwargs: object) -> object:
        with torch.autocast("cpu", torch.bfloat16):
            result = stock(*args, **kwargs)
        if isinstance(result, tuple):
            return tuple(part.float() if isinstance(part, Tensor) else part for part in result)
        return result.float() if isinstance(result, Tensor) else result

    network.forward = hasty


def hasten_pipeline(pipeline: DiffusionPipeline) -> None:
    """Denoiser, decoder and ControlNet of `pipeline`, if they are on a CPU: a picture takes a fifth of the time."""
    if pipeline.device.type == "cpu":
        for part in (pipeline.unet, pipeline.vae.decoder, getattr(pipeline, "controlnet", None)):
            if part is not None:
                hasten(part)
