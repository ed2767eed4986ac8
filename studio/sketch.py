"""A photographed sketch as clean lines: the paper found and set straight, its shade taken out, levels drawn apart."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.uint8]

#: Pixels of the longer side at which paper and tilt are looked for.
_GLANCE: Final = 640
#: Degrees by which a hand holds a camera askew; what tilts more is meant to.
_MOST_TILT: Final = 20.0
#: Share of its ground's brightness below which a pixel is ink entirely, and above which it is paper.
_INK, _PAPER = 0.62, 0.88
#: Beyond its rim a photograph goes on as it ends.
_ON: Final = cv2.BORDER_REPLICATE


def clean(photo: Image.Image) -> Image.Image:
    """Black lines on white, in grey. Chalk on a blackboard becomes ink on paper."""
    grey: Grey = np.asarray(photo.convert("L"))
    if _is_board(grey):
        grey = 255 - grey
    corners = _paper(grey)
    straight = _cut_out(grey, corners) if corners is not None else _upright(grey)
    return Image.fromarray(_inked(straight))


def _is_board(grey: Grey) -> bool:
    """Light lines on dark: what is far from the middle brightness is mostly brighter."""
    middle = float(np.median(grey))
    return middle < 96 and float((grey > middle + 64).mean()) < 0.35


def _small(grey: Grey) -> tuple[Grey, float]:
    scale = min(1.0, _GLANCE / max(grey.shape))
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale


def _paper(grey: Grey) -> NDArray[np.float32] | None:
    """The corners of a sheet that lies on something darker, from the upper left clockwise; None: there is no such."""
    small, scale = _small(grey)
    # What is drawn on the sheet must not tear it apart.
    closed = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    _, bright = cv2.threshold(cv2.GaussianBlur(closed, (5, 5), 0), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    outlines, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return None
    sheet = max(outlines, key=cv2.contourArea)
    if not 0.2 < cv2.contourArea(sheet) / small.size < 0.97 or _step(small, sheet) < 24:
        return None
    corners = cv2.approxPolyDP(cv2.convexHull(sheet), 0.03 * cv2.arcLength(sheet, True), True).reshape(-1, 2)
    if len(corners) != 4 or cv2.contourArea(corners) < 0.9 * cv2.contourArea(sheet):
        return None
    sums, differences = corners.sum(axis=1), corners[:, 0] - corners[:, 1]
    order = [int(sums.argmin()), int(differences.argmax()), int(sums.argmax()), int(differences.argmin())]
    return (corners[order] / scale).astype(np.float32) if len(set(order)) == 4 else None


def _step(small: Grey, outline: NDArray[np.int32]) -> float:
    """By how much it is brighter just inside of an outline than just outside; a shadow has no such edge."""
    within = cv2.drawContours(np.zeros_like(small), [outline], -1, 255, cv2.FILLED)
    brush = np.ones((13, 13), np.uint8)
    inner, outer = within & ~cv2.erode(within, brush), cv2.dilate(within, brush) & ~within
    return float(np.median(small[inner > 0])) - float(np.median(small[outer > 0])) if outer.any() else 0.0


def _cut_out(grey: Grey, corners: NDArray[np.float32]) -> Grey:
    """The sheet alone, seen from above; a rim of it goes, where its edge throws a shadow."""
    upper, right, lower, left = (math.dist(corners[i], corners[(i + 1) % 4]) for i in range(4))
    width, height = round((upper + lower) / 2), round((left + right) / 2)
    rim = 0.015 * min(width, height)
    target = np.array(
        [[-rim, -rim], [width + rim, -rim], [width + rim, height + rim], [-rim, height + rim]], dtype=np.float32
    )
    turn = cv2.getPerspectiveTransform(corners, target)
    flat: Grey = cv2.warpPerspective(grey, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=_ON)
    return flat


def _upright(grey: Grey) -> Grey:
    """Turned so that most of its long straight lines lie level or plumb, where they agree on how."""
    tilt = _tilt(grey)
    if abs(tilt) < 0.3:
        return grey
    height, width = grey.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), tilt, 1)
    level: Grey = cv2.warpAffine(grey, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=_ON)
    return level


def _tilt(grey: Grey) -> float:
    """Degrees, 0 where lines do not agree."""
    small, _ = _small(grey)
    edges = cv2.Canny(cv2.GaussianBlur(small, (3, 3), 0), 60, 160)
    least = max(small.shape) // 8
    lines = cv2.HoughLinesP(edges, 1, math.pi / 720, 60, minLineLength=least, maxLineGap=6)
    if lines is None:
        return 0.0
    ends = lines.reshape(-1, 4).astype(float)
    across, down = ends[:, 2] - ends[:, 0], ends[:, 3] - ends[:, 1]
    lengths = np.hypot(across, down)
    tilts = (np.degrees(np.arctan2(down, across)) + 45) % 90 - 45
    near = np.abs(tilts) <= _MOST_TILT
    if lengths[near].sum() < 0.6 * lengths.sum():
        return 0.0
    order = np.argsort(tilts[near])
    weights = lengths[near][order].cumsum()
    middle = float(tilts[near][order][int(np.searchsorted(weights, weights[-1] / 2))])
    agree = np.abs(tilts[near] - middle) < 2
    return middle if lengths[near][agree].sum() > 0.6 * lengths[near].sum() else 0.0


def _inked(grey: Grey) -> Grey:
    """Each pixel by the brightness of the paper around it, then drawn apart to black and white."""
    size = max(15, max(grey.shape) // 24) | 1
    ground = cv2.morphologyEx(grey, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    ground = cv2.GaussianBlur(ground, (0, 0), size / 2)
    share = cv2.GaussianBlur(grey, (3, 3), 0).astype(np.float32) / np.maximum(ground, 1)
    # A faint pencil is all the ink there is: its darkest lines are black.
    darkest = float(np.quantile(share, 0.002))
    ink = max(_INK, min(darkest, _PAPER - 0.15))
    levels: Grey = (np.clip((share - ink) / (_PAPER - ink), 0, 1) * 255).astype(np.uint8)
    return levels
