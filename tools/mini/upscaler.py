"""A 2x upscaler for what the embedded model draws, in the layout that spandrel and other programs call "Compact"."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tools.mini.data import SEED, Bucket, Pictures, save_array
from tools.mini.vae import fingerprint, slopes, to_pictures, to_tensor

SCALE = 2
DOUBLE = Bucket(512, 512)
"""What it learns to enlarge to: twice the model's own size."""
CROP = 48
"""Side of a small crop; ten convolutions see ten pixels to each side."""
NAME = "mini-2x"


class Compact(nn.Module):
    """Pictures (N, 3, H, W) in 0…1 → (N, 3, 2H, 2W): all convolutions work at the small size, and the last one says
    what to add to each of the four pixels that one becomes.

    This is SRVGGNetCompact of Real-ESRGAN (arXiv:2107.10833; realesrgan/archs/srvgg_arch.py of xinntao/Real-ESRGAN).
    """

    def __init__(self, features: int = 32, convolutions: int = 8) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (3, *[features] * convolutions):
            layers += [nn.Conv2d(inputs, features, 3, 1, 1), nn.PReLU(features)]
        last = nn.Conv2d(features, 3 * SCALE**2, 3, 1, 1)
        self.body = nn.Sequential(*layers, last)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=0.25)
        with torch.no_grad():
            last.weight.mul_(0.1)

    def forward(self, pictures: Tensor) -> Tensor:
        return F.pixel_shuffle(self.body(pictures), SCALE) + F.interpolate(pictures, scale_factor=SCALE, mode="nearest")


def shrink(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Half as wide and high, every pixel the mean of four."""
    height, width = picture.shape[:2]
    small: NDArray[np.uint8] = cv2.resize(picture, (width // SCALE, height // SCALE), interpolation=cv2.INTER_AREA)
    return small


@torch.no_grad()
def through(vae: AutoencoderKL, pictures: NDArray[np.uint8], batch: int = 2) -> NDArray[np.uint8]:
    """The pictures (N, H, W, 3) as the autoencoder gives them back."""
    device = next(vae.parameters()).device
    parts = []
    for first in range(0, len(pictures), batch):
        with torch.autocast(device.type, torch.bfloat16):
            latents = vae.encode(to_tensor(pictures[first : first + batch]).to(device)).latent_dist.mean
            parts.append(to_pictures(vae.decode(latents).sample))
    return np.concatenate(parts)


class Pairs:
    """Pictures of `DOUBLE` size, memory-mapped, and each at half of it as it comes out of the autoencoder."""

    def __init__(self, root: Path, vae: AutoencoderKL) -> None:
        self.large = Pictures(root, DOUBLE)
        self._small: list[NDArray[np.uint8]] = []
        for file, pictures in self.large.shards():
            target = root / "decoded" / fingerprint(vae, whole=True) / str(DOUBLE) / file.name
            if not target.exists():
                save_array(target, through(vae, np.stack([shrink(picture) for picture in pictures])))
            self._small.append(np.load(target, mmap_mode="r"))

    def __len__(self) -> int:
        return len(self.large)

    def crop(self, index: int, top: int, left: int, decoded: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """A small crop of one picture, `decoded` or only shrunk, with its corner in small pixels; and the large one."""
        rows, columns = (slice(SCALE * edge, SCALE * (edge + CROP)) for edge in (top, left))
        large = self.large[index][rows, columns]
        if not decoded:
            return shrink(large), large
        shard, place = divmod(index, len(self._small[0]))
        return self._small[shard][place][top : top + CROP, left : left + CROP], large


class UpscalerTask:
    """Enlarge crops, half of them from the autoencoder: Charbonnier's absolute error, and that of the slopes."""

    def __init__(self, model: Compact, pairs: Pairs, batch: int) -> None:
        # A third faster on a CPU.
        self.model = model.to(memory_format=torch.channels_last)
        self.pairs = pairs
        self.batch = batch

    def samples_per_step(self) -> int:
        return self.batch

    def prepare(self, step: int, rank: int) -> tuple[Tensor, Tensor]:
        """Small crops (N, 3, 48, 48) and large ones (N, 3, 96, 96) in 0…1."""
        rng = np.random.default_rng([SEED, 0x2B16, step, rank])
        small, large = zip(*(self._crop(rng, bool(index % 2)) for index in range(self.batch)), strict=True)
        return to_unit(np.stack(small)), to_unit(np.stack(large))

    def _crop(self, rng: np.random.Generator, decoded: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        index = int(rng.integers(len(self.pairs)))
        top, left = (int(rng.integers(side // SCALE - CROP + 1)) for side in (DOUBLE.height, DOUBLE.width))
        return self.pairs.crop(index, top, left, decoded)

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, float]]:
        device = next(self.model.parameters()).device
        small, large = (part.to(device) for part in batch)
        # In bfloat16 neighbouring levels of a byte are one: what is smooth would come out in steps.
        with torch.autocast(device.type, enabled=False):
            output = self.model(small)
        error = charbonnier(output - large)
        edges = sum(charbonnier(a - b) for a, b in zip(slopes(output), slopes(large), strict=True))
        squared = (output - large).pow(2).mean()
        return error + 0.25 * edges, {"error": error.item(), "mse": squared.item()}


def charbonnier(error: Tensor) -> Tensor:
    """An absolute error that is smooth where it is below a thousandth."""
    return error.square().add(1e-6).sqrt().mean()


def to_unit(pictures: NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3) bytes → (N, 3, H, W) floats in 0…1."""
    return to_tensor(pictures).add(1).div(2)


@torch.no_grad()
def enlarge(network: Compact, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) bytes → (2H, 2W, 3)."""
    large: NDArray[np.uint8] = to_pictures(network(to_unit(picture[None])).mul(2).sub(1))[0]
    return large


def bicubic(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    large: NDArray[np.uint8] = cv2.resize(picture, (SCALE * width, SCALE * height), interpolation=cv2.INTER_CUBIC)
    return large


def decibels(copies: list[NDArray[np.uint8]], pictures: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio over all pictures together."""
    squares = [np.mean((copy.astype(np.float64) - own) ** 2) for copy, own in zip(copies, pictures, strict=True)]
    return round(float(10 * np.log10(255**2 / np.mean(squares))), 2)


def enlarging_report(network: Compact, vae: AutoencoderKL, large: NDArray[np.uint8]) -> dict[str, dict[str, float]]:
    """PSNR in dB, of ours and of bicubic enlargement, for pictures shrunk from the `large` ones and for ones that went
    through the autoencoder then."""
    shrunk = np.stack([shrink(picture) for picture in large])
    return {
        kind: {
            NAME: decibels([enlarge(network, picture) for picture in small], large),
            "bicubic": decibels([bicubic(picture) for picture in small], large),
        }
        for kind, small in (("shrunk", shrunk), ("decoded", through(vae, shrunk)))
    }


def save_upscaler(network: Compact, folder: Path) -> Path:
    """Write the weights to `folder` in fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{NAME}.safetensors"
    weights = {name: value.to(torch.float16).contiguous() for name, value in network.state_dict().items()}
    save_file(weights, file, {"format": "pt"})
    return file


def load_upscaler(file: Path) -> Compact:
    """The network in fp32, of whatever width and depth the file holds."""
    weights = {name: value.float() for name, value in load_file(file).items()}
    convolutions = sum(value.ndim == 4 for value in weights.values()) - 2
    network = Compact(len(weights["body.0.weight"]), convolutions)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def write_card(folder: Path, figures: Mapping[str, Mapping[str, float]]) -> None:
    rows = "".join(
        f"| {shown} | **{figures[kind][NAME]:.1f} dB** | {figures[kind]['bicubic']:.1f} dB |\n"
        for kind, shown in (("shrunk", "shrunk"), ("decoded", "shrunk, then through the autoencoder"))
    )
    (folder / "README.md").write_text(CARD.format(name=NAME, rows=rows))


CARD = """---
license: cc0-1.0
pipeline_tag: image-to-image
---

# {name}

Enlarges what the model one folder up draws to twice its width and height. It has the layout of Real-ESRGAN's
SRVGGNetCompact ("Compact"), 32 features and 8 convolutions in its body, in fp16; spandrel and the programs that build
on it load it.

PSNR on 32 pictures of 512 × 512 that it never saw, enlarged from 256 × 256:

| enlarged from | {name} | bicubic |
|---|---|---|
{rows}
Like the model it was trained on pictures that `tools/mini` of the Pochade repository draws, and on nothing else; half
of them went through the model's autoencoder first. It has never seen a photograph. Public domain (CC0-1.0).
"""
