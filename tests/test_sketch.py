"""Photographed sketches become clean lines: straight, black on white, without table, shadow and paper."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from studio import sketch

Grey = NDArray[np.uint8]
SIZE = 480, 360


def drawing(ink: int = 40) -> Grey:
    page = np.full((SIZE[1], SIZE[0]), 225, np.uint8)
    cv2.rectangle(page, (80, 70), (400, 290), ink, 3)
    cv2.line(page, (80, 180), (400, 180), ink, 3)
    cv2.circle(page, (240, 125), 36, ink, 3)
    return page


def shaded(page: Grey, darkest: float) -> Grey:
    """A shadow that falls across it."""
    ramp = np.linspace(darkest, 1, page.shape[1])[None] * np.linspace(1, 0.9, page.shape[0])[:, None]
    noise = np.random.default_rng(1).normal(0, 3, page.shape)
    return (page * ramp + noise).clip(0, 255).astype(np.uint8)


def rotated(page: Grey, degrees: float) -> Grey:
    turn = cv2.getRotationMatrix2D((page.shape[1] / 2, page.shape[0] / 2), degrees, 1)
    turned: Grey = cv2.warpAffine(page, turn, page.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return turned


def cleaned(photo: Grey) -> Grey:
    return np.asarray(sketch.clean(Image.fromarray(photo)))


def overlap(lines: Grey, wanted: Grey, slack: int = 3) -> float:
    """F1 of two line drawings within `slack` pixels."""
    a, b = (lines < 128).astype(np.uint8), (wanted < 128).astype(np.uint8)
    wide = np.ones((2 * slack + 1, 2 * slack + 1), np.uint8)
    precision = (a & cv2.dilate(b, wide)).sum() / max(a.sum(), 1)
    recall = (b & cv2.dilate(a, wide)).sum() / max(b.sum(), 1)
    return float(2 * precision * recall / max(precision + recall, 1e-9))


@pytest.mark.parametrize("darkest", [1.0, 0.6, 0.35])
@pytest.mark.parametrize("ink", [40, 120])
def test_shadows_and_grey_paper_become_white_and_lines_black(darkest: float, ink: int) -> None:
    lines = cleaned(shaded(drawing(ink), darkest))
    assert overlap(lines, drawing()) > 0.97
    assert float((lines == 255).mean()) > 0.9


@pytest.mark.parametrize("degrees", [-11.0, -4.0, 6.0])
def test_a_tilted_drawing_is_set_straight(degrees: float) -> None:
    photo = shaded(rotated(drawing(), degrees), 0.7)
    assert overlap(photo, drawing()) < 0.7, "the photograph itself is askew"
    assert overlap(cleaned(photo), drawing()) > 0.9


def test_lines_that_are_meant_to_slant_stay_as_they_are() -> None:
    page = np.full((SIZE[1], SIZE[0]), 225, np.uint8)
    for x in range(60, 460, 80):
        cv2.line(page, (x, 40), (x - 50 + x % 3 * 60, 320), 30, 3)
    cv2.circle(page, (240, 180), 120, 30, 3)
    assert overlap(cleaned(page), page) > 0.97


def test_paper_on_a_table_is_cut_out_and_seen_from_above() -> None:
    table = np.full((600, 800), 60, np.uint8)
    corners = np.array([[150, 90], [660, 60], [720, 520], [110, 540]], np.float32)
    page = np.array([[0, 0], [SIZE[0], 0], [SIZE[0], SIZE[1]], [0, SIZE[1]]], np.float32)
    turn = cv2.getPerspectiveTransform(page, corners)
    paper = cv2.warpPerspective(drawing(), turn, (800, 600), borderValue=0)
    inside = cv2.warpPerspective(np.full((SIZE[1], SIZE[0]), 255, np.uint8), turn, (800, 600)) > 127
    photo = shaded(np.where(inside, paper, table), 0.75)
    lines = cleaned(photo)
    assert math.isclose(lines.shape[1] / lines.shape[0], 560 / 455, rel_tol=0.1)
    back: Grey = cv2.resize(lines, SIZE, interpolation=cv2.INTER_AREA)
    assert overlap(back, drawing(), slack=7) > 0.9
    rim = np.concatenate([lines[:4].ravel(), lines[-4:].ravel(), lines[:, :4].ravel(), lines[:, -4:].ravel()])
    assert float((rim > 200).mean()) > 0.98, "nothing of the table is left"


def test_chalk_on_a_board_becomes_ink_on_paper() -> None:
    board = 255 - drawing(40)
    lines = cleaned(board)
    assert overlap(lines, drawing()) > 0.97


def test_an_empty_sheet_stays_empty() -> None:
    blank = shaded(np.full((SIZE[1], SIZE[0]), 225, np.uint8), 0.6)
    assert float((cleaned(blank) > 128).mean()) > 0.99
