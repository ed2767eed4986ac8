"""How closely pictures follow the guide they were drawn with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from numpy.typing import NDArray

from tools.mini.captions import caption
from tools.mini.data import SEED
from tools.mini.export import load_pipeline
from tools.mini.guides import skeleton
from tools.mini.joints import Finder, correct, find
from tools.mini.painter import Look
from tools.mini.quick import hasten_pipeline
from tools.mini.render import render
from tools.mini.scene import Scene, sample_held_out

NEAR = 4
"""Pixels of a picture of 256² that a line may be off."""


def edges(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a picture has outlines; grain and hatching are smoothed away first."""
    smooth = cv2.bilateralFilter(picture, 9, 60, 5)
    found: NDArray[np.bool_] = cv2.Canny(smooth, 60, 140) > 0
    return found


def follows(found: NDArray[np.bool_], lines: NDArray[np.bool_], near: float) -> float:
    """F1 of the edges found (H, W) against the lines asked for, each within `near` pixels of the other."""
    if not found.any() or not lines.any():
        return float(found.any() == lines.any())
    to_lines, to_found = (
        cv2.distanceTransform((~marks).astype(np.uint8), cv2.DIST_L2, 5) <= near for marks in (lines, found)
    )
    precision, recall = float(to_lines[found].mean()), float(to_found[lines].mean())
    return 2 * precision * recall / max(1e-9, precision + recall)


@dataclass(frozen=True, slots=True)
class Following:
    """Means over pictures drawn with the guide, over the same prompts and seeds drawn without it, and over the renders
    themselves, which no picture can surpass."""

    guided: float
    free: float
    renders: float


def load_controlled(folder: Path, kind: str) -> StableDiffusionControlNetPipeline:
    control = ControlNetModel.from_pretrained(folder / "controlnet" / kind, dtype=torch.float32)
    pipeline = StableDiffusionControlNetPipeline(
        **load_pipeline(folder).components, controlnet=control, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw_guided(
    pipeline: StableDiffusionPipeline, prompt: str, guide: NDArray[np.uint8] | None, seed: int, look: Look
) -> NDArray[np.uint8]:
    """One square picture; without a guide from a pipeline that takes none."""
    shown = {} if guide is None else {"image": torch.from_numpy(guide).permute(2, 0, 1)[None].float() / 255}
    output = pipeline(
        prompt,
        **shown,
        num_inference_steps=look.steps,
        guidance_scale=look.guidance,
        generator=torch.Generator().manual_seed(seed),
        width=look.side,
        height=look.side,
        output_type="np",
    )
    picture: NDArray[np.uint8] = (np.asarray(output.images[0]) * 255).round().astype(np.uint8)
    return picture


def one_person(scene: Scene) -> bool:
    return [thing.name for thing in scene.things] == ["person"] and scene.things[0].count == 1


def grade_guide(
    folder: Path,
    kind: str,
    count: int,
    look: Look,
    say: Callable[[str], None],
    finder: Finder | None = None,
    plain: bool = False,
) -> tuple[Following, list[NDArray[np.uint8]]]:
    """Draw `count` held-out scenes after their guides: F1 of lines for scribble, PCK@0.1 for poses, which need a
    `finder`. `plain`: only scenes before one colour, where all edges are the subjects'. Also returns, for each, guide,
    guided and free picture side by side."""
    guided_by, free_of = load_controlled(folder, kind), load_pipeline(folder)
    for pipeline in (guided_by, free_of):
        hasten_pipeline(pipeline)
    rng = np.random.default_rng([SEED, 0x5C1B])
    rows: list[NDArray[np.uint8]] = []
    figures: list[float] = []
    while len(rows) < count:
        scene = sample_held_out(rng)
        if (finder is not None and not one_person(scene)) or (plain and scene.plain is None):
            continue
        prompt = caption(scene, rng)
        rendering = render(scene, rng, look.side, look.side)
        if finder is None:
            shown = np.repeat(rendering.lines[..., None], 3, axis=2)
        else:
            shown = skeleton(rendering.keypoints, look.side, look.side)
        guided = draw_guided(guided_by, prompt, shown, len(rows), look)
        free = draw_guided(free_of, prompt, None, len(rows), look)
        for picture in (guided, free, rendering.image):
            if finder is None:
                figures.append(follows(edges(picture), rendering.lines > 127, NEAR * look.side / 256))
            else:
                figures.append(correct(find(finder, picture), rendering.keypoints[0]))
        rows.append(np.concatenate([shown, guided, free], axis=1))
        if len(rows) % 8 == 0:
            say(f"{len(rows)} of {count} drawn: {np.reshape(figures, (-1, 3)).mean(0).round(3).tolist()}")
    return Following(*np.reshape(figures, (-1, 3)).mean(0).round(3).tolist()), rows
