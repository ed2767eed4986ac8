"""Finds the joints of one person in a picture, so that pictures drawn after a skeleton can be measured."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tools.mini.data import SEED, SHARD, Pictures, again
from tools.mini.judge import SIDE, Block, layer, roughened, shrunk
from tools.mini.poses import Keypoints
from tools.mini.render import drawing
from tools.mini.vae import to_tensor

JOINTS = 18
CELL = 4
SPREAD = 1.2
"""Deviation of a joint's spot in a map, in cells of four pixels."""


class Finder(nn.Module):
    """Pictures (N, 3, 128, 128) in −1…1 → for each joint, where it may be: logits (N, 18, 32, 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(layer(3, 24, 2), layer(24, 48, 2), Block(48))
        self.coarse = nn.Sequential(layer(48, 96, 2), Block(96), layer(96, 128, 2), Block(128), Block(128))
        self.back = nn.Sequential(layer(128, 96), nn.Upsample(scale_factor=4, mode="bilinear"))
        self.head = nn.Sequential(layer(144, 64), nn.Conv2d(64, JOINTS, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        fine = self.fine(pictures)
        maps = self.head(torch.cat([fine, self.back(self.coarse(fine))], 1))
        assert isinstance(maps, Tensor)
        return maps


def spots(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    """Joints (18, 3) in pixels of 128² → how probable each cell is for each joint (18, 32, 32); 0 for unseen ones."""
    axis = (np.arange(SIDE // CELL, dtype=np.float32) + 0.5) * CELL
    across, down = (np.exp(-(((axis - joints[:, [way]]) / CELL / SPREAD) ** 2) / 2) for way in (0, 1))
    maps = down[:, :, None] * across[:, None, :] * joints[:, 2, None, None]
    shares: NDArray[np.float32] = maps / np.maximum(maps.sum((1, 2), keepdims=True), 1e-6)
    return shares


class JointTask:
    """Point at every joint of the one person in a rendered picture; where is a choice among all cells."""

    def __init__(self, model: Finder, pictures: list[Pictures], batch: int) -> None:
        self.model = model
        self.batch = batch
        self.people = [
            (source, index)
            for source in pictures
            for index, scene in enumerate(source.scenes)
            if [thing.name for thing in scene.things].count("person") == 1
            and all(thing.count == 1 for thing in scene.things)
        ]

    def samples_per_step(self) -> int:
        return self.batch

    def prepare(self, step: int, rank: int) -> tuple[Tensor, Tensor]:
        """Pictures (N, 3, 128, 128) in −1…1 and the maps of their joints (N, 18, 32, 32)."""
        rng = np.random.default_rng([SEED, 0x701, step, rank])
        pictures, maps = [], []
        for number in rng.integers(len(self.people), size=self.batch):
            source, index = self.people[int(number)]
            scene, drawn = again(source.bucket, index // SHARD, index % SHARD)
            joints = drawing(scene, drawn, SIDE, SIDE).keypoints[0].copy()
            picture, shift = roughened(source[index], rng)
            joints[:, :2] += shift
            pictures.append(picture)
            maps.append(spots(joints))
        return to_tensor(np.stack(pictures)), torch.from_numpy(np.stack(maps))

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, float]]:
        device = next(self.model.parameters()).device
        pictures, maps = (part.to(device) for part in batch)
        logits, wanted = self.model(pictures).float().flatten(2), maps.flatten(2)
        errors = -(wanted * F.log_softmax(logits, 2)).sum(2)
        hit = (logits.argmax(2) == wanted.argmax(2)).float().mean()
        return errors.mean(), {"error": errors.mean().item(), "same cell": hit.item()}


@torch.no_grad()
def find(finder: Finder, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """x and y of every joint (18, 2), in pixels of a square picture of any size."""
    maps = finder(shrunk([picture]))[0].float()
    best = maps.flatten(1).argmax(1)
    cells = torch.stack([best % maps.shape[2], torch.div(best, maps.shape[2], rounding_mode="floor")], 1)
    places: NDArray[np.float32] = ((cells.numpy() + 0.5) * CELL * picture.shape[0] / SIDE).astype(np.float32)
    return places


def correct(found: NDArray[np.float32], asked: Keypoints, share: float = 0.1) -> float:
    """PCK: how many of the seen joints were found within `share` of the longer side of the person's box."""
    seen = asked[:, 2] > 0
    box = np.ptp(asked[seen, :2], axis=0).max()
    return float(np.mean(np.linalg.norm(found[seen] - asked[seen, :2], axis=1) <= share * box))
