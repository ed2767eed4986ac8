"""Which style a picture is painted in, told from statistics of its textures and colours; taught in seconds.

The judge of `grade` knows everything about a picture and takes an hour to train; this one is for tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from tools.mini.data import SEED
from tools.mini.judge import SIDE, roughened
from tools.mini.render import render
from tools.mini.scene import STYLES, sample_scene

Pictures = NDArray[np.uint8]

_SHARES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.97)


def statistics(picture: Pictures) -> NDArray[np.float32]:
    """Of one picture of 128²: brightness and colours, edges at four sizes, their directions, grids and rims."""
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    light, chroma = lab[..., 0] / 100, np.hypot(lab[..., 1], lab[..., 2]) / 100
    found = [np.quantile(part, _SHARES) for part in (light, chroma)]
    found.append(np.histogram(light, 8, (0, 1), weights=np.full(light.shape, 1 / light.size))[0])
    found.append(np.histogram(light, 8, (0, 1), weights=chroma / chroma.size)[0])
    few = (picture // 32).reshape(-1, 3).astype(np.int32) @ np.array([64, 8, 1], np.int32)
    commonest = np.sort(np.bincount(few, minlength=512) / few.size)[::-1]
    found.append(np.cumsum(commonest)[[0, 1, 3, 7, 15, 31]])
    for part in (light, chroma):
        small = part
        for _ in range(4):
            across, down = np.diff(small, axis=1)[:-1], np.diff(small, axis=0)[:, :-1]
            steep = np.hypot(across, down)
            found.append(np.log(np.quantile(steep, _SHARES) + 1e-3))
            turn = np.histogram(np.arctan2(down, across) % np.pi, 8, (0, np.pi), weights=steep)[0]
            found.append(np.sort(turn / (turn.sum() + 1e-6))[[0, 3, 7]])
            small = cv2.pyrDown(small)
    for axis in (0, 1):  # the squares of pixel art come back at a fixed distance
        profile = np.abs(np.diff(light, axis=1 - axis)).mean(axis)
        waves = np.abs(np.fft.rfft(profile - profile.mean()))[4:]
        found.append(np.array([part.max() for part in np.array_split(waves, 12)]) / (waves.mean() + 1e-6))
    rim = np.concatenate([light[:6].ravel(), light[-6:].ravel(), light[:, :6].ravel(), light[:, -6:].ravel()])
    found.append(np.array([rim.mean(), rim.std(), rim.mean() - light.mean()]))
    spots = cv2.blur(light * light, (7, 7)) - cv2.blur(light, (7, 7)) ** 2
    found.append(np.log(np.quantile(np.maximum(spots, 0), _SHARES) + 1e-5))
    return np.concatenate(found).astype(np.float32)


def mottled(picture: Pictures, rng: np.random.Generator) -> Pictures:
    """A picture of 128² with grain and blots as a model leaves that was not trained for long."""
    result = roughened(picture, rng)[0].astype(np.float32)
    if rng.random() < 0.8:
        result = cv2.GaussianBlur(result, (0, 0), float(rng.uniform(0.5, 3)))
        for cells in (16, 32, 64, 128):
            blots = rng.normal(0, float(rng.uniform(0, 14)), (cells, cells, 3)).astype(np.float32)
            grey = blots.mean(2, keepdims=True)
            result += cv2.resize(grey + (blots - grey) * rng.random(), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return result.clip(0, 255).astype(np.uint8)


def renders(
    count: int, seed: int, times: int = 1, styles: tuple[str, ...] = STYLES
) -> tuple[list[Pictures], NDArray[np.int64]]:
    """Rendered scenes of 128², mottled, each several `times`, and the numbers of their styles in `styles`."""
    pictures, numbers = [], []
    for index in range(count):
        rng = np.random.default_rng([SEED, 0x57, seed, index])
        scene = sample_scene(rng, (styles[index % len(styles)],))
        drawn = render(scene, rng, SIDE, SIDE).image
        pictures += [mottled(drawn, rng) for _ in range(times)]
        numbers += [styles.index(scene.style)] * times
    return pictures, np.array(numbers)


@dataclass(frozen=True, slots=True)
class StyleJudge:
    net: nn.Module
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def taught(cls, pictures: Sequence[Pictures], styles: NDArray[np.int64], epochs: int = 30) -> StyleJudge:
        seen = np.stack([statistics(picture) for picture in pictures])
        mean, scale = seen.mean(0), seen.std(0) + 1e-3
        torch.manual_seed(0)
        classes = int(styles.max()) + 1
        net = nn.Sequential(nn.Linear(seen.shape[1], 96), nn.ReLU(), nn.Dropout(0.3), nn.Linear(96, classes))
        given, wanted = torch.tensor((seen - mean) / scale), torch.tensor(styles)
        optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.05)
        shuffling = np.random.default_rng(SEED)
        for _ in range(epochs):
            for rows in np.array_split(shuffling.permutation(len(given)), len(given) // 64):
                loss = F.cross_entropy(net(given[rows]), wanted[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        return cls(net.eval(), mean, scale)

    @torch.no_grad()
    def shares(self, pictures: Sequence[Pictures]) -> NDArray[np.float32]:
        """How likely each style is for each picture: (N, styles), rows of sum 1."""
        small = [cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for picture in pictures]
        seen = np.stack([statistics(picture) for picture in small])
        found: NDArray[np.float32] = self.net(torch.tensor((seen - self.mean) / self.scale)).softmax(1).numpy()
        return found
