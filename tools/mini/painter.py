"""Draws many pictures of the exported model, several processes at once; each is kept, so that a stop loses none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from tools.mini.data import LARGE
from tools.mini.export import load_pipeline
from tools.mini.parallel import Team, run_team
from tools.mini.quick import hasten_pipeline
from tools.mini.unet import GUIDANCE


@dataclass(frozen=True, slots=True)
class Look:
    """How pictures are drawn to be judged. Only the native size and full steps make a grade; less is a quick look."""

    side: int = LARGE[0].width
    steps: int = 20
    guidance: float = GUIDANCE


@dataclass(frozen=True, slots=True)
class Wish:
    prompt: str
    seed: int
    negative: str = ""


@dataclass(frozen=True, slots=True)
class Easel:
    """Which model draws, with a LoRA of some weight if there is a file; and where its pictures are kept."""

    folder: Path
    kept: Path
    look: Look = Look()
    device: str = "cpu"
    workers: int = 1
    lora: Path | None = None
    weight: float = 1.0

    def pipeline(self) -> StableDiffusionPipeline:
        pipeline = load_pipeline(self.folder, self.device)
        hasten_pipeline(pipeline)
        if self.lora is not None:
            pipeline.load_lora_weights(self.lora.parent, weight_name=self.lora.name, adapter_name="worn")
            pipeline.set_adapters("worn", self.weight)
        return pipeline

    def file(self, number: int) -> Path:
        return self.kept / f"{number:05}.png"


def draw(
    pipeline: StableDiffusionPipeline, wishes: Sequence[Wish], look: Look, batch: int = 4
) -> Iterator[NDArray[np.uint8]]:
    """One square picture per wish, in order."""
    for first in range(0, len(wishes), batch):
        group = wishes[first : first + batch]
        output = pipeline(
            [wish.prompt for wish in group],
            negative_prompt=[wish.negative for wish in group],
            num_inference_steps=look.steps,
            guidance_scale=look.guidance,
            generator=[torch.Generator().manual_seed(wish.seed) for wish in group],
            width=look.side,
            height=look.side,
            output_type="np",
        )
        yield from (np.asarray(output.images) * 255).round().astype(np.uint8)


def save(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an RGB picture as PNG; readers see either nothing or the whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
    draft.replace(path)


def _draw_part(team: Team, easel: Easel, wishes: Sequence[Wish]) -> None:
    missing = [number for number in range(len(wishes)) if not easel.file(number).exists()][team.rank :: team.size]
    if not missing:
        return
    pictures = draw(easel.pipeline(), [wishes[number] for number in missing], easel.look)
    for number, picture in zip(missing, pictures, strict=True):
        save(easel.file(number), picture)


def draw_all(easel: Easel, wishes: Sequence[Wish]) -> NDArray[np.uint8]:
    """Pictures (N, side, side, 3); those that are there already are not drawn again."""
    run_team(easel.workers, _draw_part, easel, wishes)
    pictures = (cv2.imread(str(easel.file(number)), cv2.IMREAD_COLOR) for number in range(len(wishes)))
    return np.stack([cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) for picture in pictures if picture is not None])


def sheet(pictures: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Pictures of one size side by side, row by row; the last row is filled up with white."""
    blank = np.full_like(pictures[0], 255)
    filled = [*pictures, *[blank] * (-len(pictures) % columns)]
    rows = [np.concatenate(filled[i : i + columns], axis=1) for i in range(0, len(filled), columns)]
    return np.concatenate(rows, axis=0)
