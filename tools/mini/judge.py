"""Names what a picture holds, having seen nothing but rendered scenes; its features compare sets of pictures."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tools.mini.data import CELL, JUDGED, SEED, Pictures
from tools.mini.scene import LABELS, Scene, labels
from tools.mini.vae import to_tensor

SIDE = JUDGED.width
CELLS = SIDE // 8
"""To the side: the judge says of each square of 8 × 8 pixels what covers it."""
UNSURE = -100
"""Cells on an outline teach nothing."""
FOLDER = Path(__file__).parents[2] / "assets" / "judge"
CARD = """---
license: cc0-1.0
---

# The judge

A small network ({million:.2f} M parameters) that names what a picture of the embedded model's world holds: subjects,
colours, count, style, place, time, background, position and size. It grades the model (`python -m tools.mini grade`)
and measures in the tests of the studio; the studio itself does not use it. `tools/mini/judge.py` of the Pochade
repository loads it.

It learnt from {seen:,} pictures, all rendered by the same program that renders the model's training pictures, and has
never seen one that the model drew. How often it is right about renders it has not seen is in docs/mini.md. Public
domain (CC0-1.0).
"""
OF_A_CELL = {name: LABELS[name] for name in ("subject", "color")}


def layer(inputs: int, outputs: int, stride: int = 1, side: int = 3) -> nn.Module:
    """Squares of `side` that overlap are padded, so that every place has one of its own."""
    convolution = nn.Conv2d(inputs, outputs, side, stride, side // 2 if stride < side else 0, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(layer(width, width), nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


def _summary(maps: Tensor) -> Tensor:
    """(N, C, h, w) → (N, 2 C): the mean and the maximum of every channel."""
    return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)


class Judge(nn.Module):
    """Names the attributes of a picture (N, 3, 128, 128) in −1…1, and what covers each of its cells."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(layer(3, 48, 4, 4), Block(48))
        self.middle = nn.Sequential(layer(48, 96, 2), Block(96), Block(96))
        self.coarse = nn.Sequential(layer(96, 160, 2), Block(160), Block(160))
        self.joined = layer(96 + 160, 128, side=1)
        self.cells = nn.ModuleDict({name: nn.Conv2d(128, classes, 1) for name, classes in OF_A_CELL.items()})
        self.heads = nn.ModuleDict({name: nn.Linear(6 * 128, classes) for name, classes in LABELS.items()})

    def maps(self, pictures: Tensor) -> Tensor:
        """(N, 128, 16, 16): what is known of each cell, from nearby and from afar."""
        middle = self.middle(self.fine(pictures))
        afar = F.interpolate(self.coarse(middle), scale_factor=2.0)
        maps = self.joined(torch.cat([middle, afar], 1))
        assert isinstance(maps, Tensor)
        return maps

    def features(self, maps: Tensor) -> Tensor:
        """(N, 256), for a Fréchet distance."""
        return _summary(maps)

    def name(self, maps: Tensor) -> dict[str, Tensor]:
        """Logits (N, classes) per attribute; first and second subject stand to the left and to the right."""
        half = maps.shape[3] // 2
        seen = torch.cat([_summary(part) for part in (maps, maps[..., :half], maps[..., half:])], 1)
        return {name: head(seen) for name, head in self.heads.items()}

    def cover(self, maps: Tensor) -> dict[str, Tensor]:
        """Logits (N, classes, 16, 16) of the subject that covers a cell, and of its colour."""
        return {name: cell(maps) for name, cell in self.cells.items()}


def roughened(picture: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """A picture of 128² shifted, softened and with noise; and the shift, x and y in pixels."""
    shift = rng.integers(-4, 5, size=2)
    moved = np.concatenate([np.eye(2), shift[:, None]], 1).astype(np.float32)
    result = cv2.warpAffine(picture, moved, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.5:
        result = cv2.GaussianBlur(result, (0, 0), float(rng.uniform(0.3, 1.2)))
    noisy = result + rng.normal(0, float(rng.uniform(0, 8)), result.shape)
    return noisy.clip(0, 255).astype(np.uint8), shift


def covers(scene: Scene, coverage: NDArray[np.uint8], shift: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Per attribute of a cell the classes (16, 16), from the subjects' coverage (32, 32) before the picture's shift."""
    moved = np.concatenate([np.eye(2), shift[:, None] / CELL], 1).astype(np.float32)
    share = cv2.warpAffine(coverage, moved, coverage.shape[::-1]).reshape(CELLS, 2, CELLS, 2).mean((1, 3)) / 255
    truth, column = labels(scene), np.arange(CELLS)[None] * 8 - int(shift[0])
    second = (column >= SIDE // 2) if len(scene.things) == 2 else np.zeros_like(column, bool)
    maps = {}
    for name in OF_A_CELL:
        thing = np.where(second, truth[f"{name}2"], truth[name])
        maps[name] = np.where(share > 0.5, thing, np.where(share < 0.1, 0, UNSURE)).astype(np.int64)
    return maps


class JudgeTask:
    """Name the attributes of rendered pictures, roughened, so that small flaws do not matter."""

    def __init__(self, model: Judge, pictures: Pictures, batch: int, seed: int = 0) -> None:
        self.model = model
        self.pictures = pictures
        self.batch = batch
        self.seed = seed

    def samples_per_step(self) -> int:
        return self.batch

    def prepare(self, step: int, rank: int) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Pictures (N, 3, 128, 128) in −1…1, and the classes of their attributes (N) and of their cells (N, 16, 16)."""
        rng = np.random.default_rng([SEED, self.seed, step, rank])
        shown, named, covered = [], [], []
        for index in rng.integers(len(self.pictures), size=self.batch):
            picture, shift = roughened(self.pictures[int(index)], rng)
            scene = self.pictures.scenes[int(index)]
            shown.append(picture)
            named.append(labels(scene))
            covered.append(covers(scene, self.pictures.coverage(int(index)), shift))
        return (
            to_tensor(np.stack(shown)),
            {name: torch.tensor([row[name] for row in named]) for name in LABELS},
            {name: torch.from_numpy(np.stack([row[name] for row in covered])) for name in OF_A_CELL},
        )

    def loss(self, batch: tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]) -> tuple[Tensor, dict[str, float]]:
        pictures, named, covered = batch
        device = next(self.model.parameters()).device
        maps = self.model.maps(pictures.to(device))
        losses, right = [], {}
        for name, logits in self.model.name(maps).items():
            wanted = named[name].to(device)
            losses.append(F.cross_entropy(logits.float(), wanted))
            right[name] = (logits.argmax(1) == wanted).float().mean().item()
        for name, logits in self.model.cover(maps).items():
            losses.append(F.cross_entropy(logits.float(), covered[name].to(device), ignore_index=UNSURE))
        chosen = ("subject", "color", "style", "place", "time")
        return torch.stack(losses).sum(), {
            "right": float(np.mean(list(right.values()))),
            **{n: right[n] for n in chosen},
        }


def save_judge(judge: Judge, folder: Path, seen: int) -> None:
    """Write the weights in fp16, the statistics of its norms in fp32, and a card; `seen`: pictures it learnt from."""
    kept = {
        name: value.half() if value.dtype == torch.float32 and "running" not in name else value
        for name, value in judge.state_dict().items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(kept, folder / "judge.safetensors", {"format": "pt"})
    million = sum(parameter.numel() for parameter in judge.parameters()) / 1e6
    (folder / "README.md").write_text(CARD.format(million=million, seen=seen))


def load_judge(folder: Path = FOLDER) -> Judge:
    judge = Judge()
    judge.load_state_dict(load_file(folder / "judge.safetensors"))
    return judge.eval().requires_grad_(False)


def shrunk(pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Pictures (H, W, 3) of any size → (N, 3, 128, 128) in −1…1."""
    small = [cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for picture in pictures]
    return to_tensor(np.stack(small))


@torch.no_grad()
def seen_maps(judge: Judge, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """The judge's maps (N, 128, 16, 16) of pictures (H, W, 3) of any size."""
    return judge.maps(shrunk(pictures).to(next(judge.parameters()).device))


@torch.no_grad()
def likely(judge: Judge, pictures: Sequence[NDArray[np.uint8]], attribute: str) -> NDArray[np.float32]:
    """How likely each class of `attribute` is for each picture: (N, classes), rows of sum 1."""
    chances: NDArray[np.float32] = judge.name(seen_maps(judge, pictures))[attribute].softmax(1).cpu().numpy()
    return chances


@torch.no_grad()
def verdicts(judge: Judge, pictures: NDArray[np.uint8]) -> tuple[dict[str, NDArray[np.int64]], NDArray[np.float64]]:
    """Judge pictures of any size: class per attribute and picture (N), and features (N, 256)."""
    named: dict[str, list[NDArray[np.int64]]] = {name: [] for name in LABELS}
    features = []
    for group in np.array_split(pictures, -(-len(pictures) // 50)):
        maps = seen_maps(judge, list(group))
        features.append(judge.features(maps).double().cpu().numpy())
        for name, logits in judge.name(maps).items():
            named[name].append(logits.argmax(1).cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in named.items()}, np.concatenate(features)
