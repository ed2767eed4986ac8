"""How well the model draws what it is told, judged by a small network that has only ever seen rendered scenes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor, nn

from tools.mini.captions import caption
from tools.mini.data import LARGE, SEED, SMALL, Bucket, Pictures, held_out_pictures
from tools.mini.scene import LABELS, Scene, labels, sample_held_out
from tools.mini.vae import to_tensor

SIDE = SMALL[0].width
GUIDANCE = 4.5


@dataclass(frozen=True, slots=True)
class Look:
    """How pictures are drawn to be judged. Only the native size and full steps make a grade; less is a quick look."""

    side: int = LARGE[0].width
    steps: int = 20
    guidance: float = GUIDANCE


def _layer(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_layer(width, width), nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class Judge(nn.Module):
    """Names the attributes of a picture (N, 3, 128, 128) in −1…1; also gives features for a Fréchet distance."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _layer(3, 24, 2), Block(24), _layer(24, 64, 2), Block(64), _layer(64, 128, 2), Block(128), Block(128),
            _layer(128, 192, 2), Block(192),
        )  # fmt: skip
        self.heads = nn.ModuleDict({name: nn.Linear(384, classes) for name, classes in LABELS.items()})

    def features(self, pictures: Tensor) -> Tensor:
        """(N, 384): the mean and the maximum of every channel."""
        maps = self.body(pictures)
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        features = self.features(pictures)
        return {name: head(features) for name, head in self.heads.items()}


def roughened(picture: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """A picture of 128² shifted, softened and with noise; and the shift, x and y in pixels."""
    shift = rng.integers(-4, 5, size=2)
    moved = np.concatenate([np.eye(2), shift[:, None]], 1).astype(np.float32)
    result = cv2.warpAffine(picture, moved, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.5:
        result = cv2.GaussianBlur(result, (0, 0), float(rng.uniform(0.3, 1.2)))
    noisy = result + rng.normal(0, float(rng.uniform(0, 8)), result.shape)
    return noisy.clip(0, 255).astype(np.uint8), shift


class JudgeTask:
    """Name the attributes of rendered pictures, roughened, so that small flaws do not matter."""

    def __init__(self, model: Judge, pictures: list[Pictures], batch: int, seed: int = 0) -> None:
        self.model = model
        self.pictures = pictures
        self.batch = batch
        self.seed = seed

    def samples_per_step(self) -> int:
        return self.batch

    def prepare(self, step: int, rank: int) -> tuple[Tensor, list[Scene]]:
        """Pictures (N, 3, 128, 128) in −1…1 and their scenes."""
        rng = np.random.default_rng([SEED, self.seed, step, rank])
        sources = [self.pictures[int(i)] for i in rng.integers(len(self.pictures), size=self.batch)]
        picked = [(source, int(rng.integers(len(source)))) for source in sources]
        batch = to_tensor(np.stack([roughened(source[index], rng)[0] for source, index in picked]))
        return batch, [source.scenes[index] for source, index in picked]

    def loss(self, batch: tuple[Tensor, list[Scene]]) -> tuple[Tensor, dict[str, float]]:
        pictures, scenes = batch
        device = next(self.model.parameters()).device
        wanted = [labels(scene) for scene in scenes]
        losses, right = [], []
        for name, logit in self.model(pictures.to(device)).items():
            target = torch.tensor([row[name] for row in wanted], device=device)
            losses.append(F.cross_entropy(logit.float(), target))
            right.append((logit.argmax(1) == target).float().mean().item())
        return torch.stack(losses).sum(), {"right": float(np.mean(right)), "subject": right[0], "worst": min(right)}


@torch.no_grad()
def verdicts(judge: Judge, pictures: NDArray[np.uint8]) -> tuple[dict[str, NDArray[np.int64]], NDArray[np.float64]]:
    """Judge pictures of any size: class per attribute and picture (N), and features (N, 384)."""
    device = next(judge.parameters()).device
    named: dict[str, list[NDArray[np.int64]]] = {name: [] for name in LABELS}
    features = []
    for group in np.array_split(pictures, -(-len(pictures) // 50)):
        small = np.stack([cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for picture in group])
        found = judge.features(to_tensor(small).to(device))
        features.append(found.double().cpu().numpy())
        for name, head in judge.heads.items():
            named[name].append(head(found).argmax(1).cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in named.items()}, np.concatenate(features)


def hits(named: dict[str, NDArray[np.int64]], scenes: list[Scene]) -> dict[str, NDArray[np.bool_]]:
    wanted = [labels(scene) for scene in scenes]
    return {name: found == np.array([row[name] for row in wanted]) for name, found in named.items()}


def shares(right: dict[str, NDArray[np.bool_]], scenes: list[Scene]) -> dict[str, float]:
    """Per attribute the share of pictures where it is right, over the pictures where the prompt speaks of it."""
    wanted = [labels(scene) for scene in scenes]
    two = np.array([len(scene.things) == 2 for scene in scenes])
    result = {}
    for name, flags in right.items():
        said = np.array([row[name] > 0 for row in wanted])
        if said.any():
            result[name] = float(flags[said].mean())
    if two.any():
        both = np.logical_and.reduce([right[name] for name in ("subject", "color", "subject2", "color2")])
        result["both subjects and colors"] = float(both[two].mean())
    return {name: round(value, 3) for name, value in result.items()}


def frechet(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Squared Fréchet distance between the Gaussians fitted to two sets of features (N, D)."""
    mean = float(((a.mean(0) - b.mean(0)) ** 2).sum())
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # tr((AB)^½) is the sum of the roots of the eigenvalues of AB, which are real and not negative.
    roots = np.sqrt(np.clip(np.linalg.eigvals(first @ second).real, 0, None)).sum()
    return mean + float(np.trace(first) + np.trace(second) - 2 * roots)


def draw(
    pipeline: StableDiffusionPipeline, prompts: list[str], seed: int, look: Look, batch: int = 4
) -> Iterator[NDArray[np.uint8]]:
    """One square picture per prompt; picture i has seed `seed` + i."""
    for first in range(0, len(prompts), batch):
        group = prompts[first : first + batch]
        generators = [torch.Generator().manual_seed(seed + first + i) for i in range(len(group))]
        output = pipeline(
            group,
            num_inference_steps=look.steps,
            guidance_scale=look.guidance,
            generator=generators,
            width=look.side,
            height=look.side,
            output_type="np",
        )
        yield from (np.asarray(output.images) * 255).round().astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Grade:
    """`judge` is the judge's own accuracy on held-out renders, `drawn` the model's on held-out prompts."""

    prompts: int
    seeds: int
    judge: dict[str, float]
    drawn: dict[str, float]
    distance: float
    distance_of_renders: float

    def table(self) -> str:
        rows = [
            f"| {name} | {100 * self.drawn[name]:.1f} % | {100 * self.judge.get(name, 0):.1f} % |"
            for name in self.drawn
        ]
        head = "| held-out prompts | right | judge on renders |\n|---|---|---|\n"
        ratio = self.distance / self.distance_of_renders
        return head + "\n".join(rows) + f"\n| Fréchet distance, renders to renders = 1 | {ratio:.1f} | 1 |\n"


def grade(
    pipeline: StableDiffusionPipeline,
    judge: Judge,
    prompts: int,
    seeds: int,
    say: Callable[[str], None],
    look: Look | None = None,
) -> Grade:
    """Draw `prompts` captions of held-out scenes with `seeds` seeds each and judge what comes out."""
    look = look or Look()
    rng = np.random.default_rng([SEED, 0xCAFE])
    scenes = [sample_held_out(rng) for _ in range(prompts)]
    texts = [caption(scene, rng) for scene in scenes]
    pictures = []
    for seed in range(seeds):
        for number, picture in enumerate(draw(pipeline, texts, 100_000 * seed, look)):
            pictures.append(picture)
            if number % 100 == 99:
                say(f"seed {seed}: {number + 1} of {prompts} drawn")
    drawn, features = verdicts(judge, np.stack(pictures))
    asked = scenes * seeds
    size = Bucket(look.side, look.side)
    real_scenes, real = held_out_pictures(size, len(pictures), seed=2)
    real_named, real_features = verdicts(judge, real)
    _, other_features = verdicts(judge, held_out_pictures(size, len(pictures), seed=3)[1])
    return Grade(
        prompts,
        seeds,
        shares(hits(real_named, real_scenes), real_scenes),
        shares(hits(drawn, asked), asked),
        frechet(features, real_features),
        frechet(other_features, real_features),
    )


def sheet(pictures: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Pictures of one size side by side, row by row; the last row is filled up with white."""
    blank = np.full_like(pictures[0], 255)
    filled = [*pictures, *[blank] * (-len(pictures) % columns)]
    rows = [np.concatenate(filled[i : i + columns], axis=1) for i in range(0, len(filled), columns)]
    return np.concatenate(rows, axis=0)
