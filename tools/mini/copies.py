"""Whether pictures are copies of what the model was trained on: the nearest training picture of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.mini.data import Pictures

THUMB = 32
"""Side of the thumbnails that are compared, in pixels."""
GROUP = 500


@dataclass(frozen=True, slots=True)
class Nearest:
    """The training picture nearest to one other: number of its source, index in it, and the root of the mean square of
    the difference, in levels of 0…255."""

    source: int
    index: int
    distance: float


def thumbs(pictures: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """(N, 3·32²) as float32."""
    small = (cv2.resize(picture, (THUMB, THUMB), interpolation=cv2.INTER_AREA) for picture in pictures)
    return np.stack([picture.astype(np.float32).ravel() for picture in small])


def nearest(pictures: Sequence[NDArray[np.uint8]], sources: Sequence[Pictures]) -> list[Nearest]:
    """For each picture the training picture whose thumbnail is nearest."""
    asked = thumbs(pictures)
    lengths = (asked**2).sum(1)[:, None]
    best = [Nearest(0, 0, np.inf)] * len(asked)
    for number, source in enumerate(sources):
        for first in range(0, len(source), GROUP):
            known = thumbs(source[index] for index in range(first, min(first + GROUP, len(source))))
            squares = lengths + (known**2).sum(1) - 2 * asked @ known.T
            for row, (column, square) in enumerate(zip(squares.argmin(1), squares.min(1), strict=True)):
                distance = float(np.sqrt(max(0.0, float(square)) / asked.shape[1]))
                if distance < best[row].distance:
                    best[row] = Nearest(number, first + int(column), distance)
    return best


def closest_pairs(
    pictures: Sequence[NDArray[np.uint8]], found: Sequence[Nearest], sources: Sequence[Pictures], count: int
) -> list[NDArray[np.uint8]]:
    """The `count` pictures with the nearest training pictures, each followed by that one in its size."""
    order = sorted(range(len(found)), key=lambda row: found[row].distance)[:count]
    pairs = []
    for row in order:
        twin = sources[found[row].source][found[row].index]
        pairs += [pictures[row], cv2.resize(twin, pictures[row].shape[1::-1], interpolation=cv2.INTER_AREA)]
    return [np.asarray(picture, np.uint8) for picture in pairs]
