"""What ControlNets are shown: line drawings and skeletons of rendered scenes, white or coloured on black."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from studio.pose import Person, Pose, draw
from tools.mini.data import CELL, Bucket, again
from tools.mini.poses import Keypoints
from tools.mini.render import coverage, drawing
from tools.mini.scene import Scene
from tools.mini.textures import wobble

Image = NDArray[np.uint8]
#: Draws the guide of one stored picture, and says how much of each latent cell it decides (0…1).
Guide = Callable[[Bucket, int, int, np.random.Generator], tuple[Image, NDArray[np.float32]]]

SUBJECTS_ONLY = 0.4
"""How often a drawing shows the subjects alone, as people draw them."""


def by_hand(lines: Image, hand: np.random.Generator) -> Image:
    """The same lines, a little shaken and of another width: nobody draws like a renderer."""
    height, width = lines.shape
    scale = min(width, height) / 256
    across, down = wobble(width, height, scale, float(hand.uniform(0, 1.6)), int(hand.integers(8)))
    shaken = cv2.remap(lines, across, down, cv2.INTER_LINEAR)
    brush = int(hand.integers(1, 1 + max(2, round(4 * scale))))
    return np.where(cv2.dilate(shaken, np.ones((brush, brush), np.uint8)) > 96, 255, 0).astype(np.uint8)


def skeleton(people: tuple[Keypoints, ...], width: int, height: int) -> Image:
    """The people's joints as a pose detector would draw them."""
    bodies = tuple(
        Person(body=tuple((float(x), float(y)) if inside else None for x, y, inside in joints)) for joints in people
    )
    return np.asarray(draw(Pose(people=bodies, width=width, height=height), width, height))


def line_drawing(scene: Scene, rng: np.random.Generator, width: int, height: int) -> Image:
    """Every line of the picture that `render` paints with the same `rng`, H×W×3."""
    return np.repeat(drawing(scene, rng, width, height).lines[..., None], 3, axis=2)


def _touched(marks: Image) -> NDArray[np.float32]:
    """1 for every latent cell that has a mark within, 0 for the others."""
    height, width = marks.shape
    cells: NDArray[np.uint8] = marks.reshape(height // CELL, CELL, width // CELL, CELL).max((1, 3))
    return (cells > 0).astype(np.float32)


def scribble(bucket: Bucket, shard: int, index: int, hand: np.random.Generator) -> tuple[Image, NDArray[np.float32]]:
    scene, rng = again(bucket, shard, index)
    alone = bool(hand.random() < SUBJECTS_ONLY)
    lines = drawing(scene, rng, bucket.width, bucket.height, subjects_only=alone).lines
    drawn = by_hand(lines, hand)
    return np.repeat(drawn[..., None], 3, axis=2), _touched(lines)


def pose(bucket: Bucket, shard: int, index: int, hand: np.random.Generator) -> tuple[Image, NDArray[np.float32]]:
    scene, rng = again(bucket, shard, index)
    people = drawing(scene, rng, bucket.width, bucket.height).keypoints
    scene, rng = again(bucket, shard, index)
    cells = coverage(scene, rng, bucket.width, bucket.height, CELL)
    return skeleton(people, bucket.width, bucket.height), cells.astype(np.float32) / np.float32(255)


GUIDES: dict[str, Guide] = {"scribble": scribble, "pose": pose}
