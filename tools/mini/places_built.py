"""Places that people made, caves, and space: what stands under a sky, from the horizon to the lower edge."""

from __future__ import annotations

import numpy as np

from tools.mini.backgrounds import DARK_TIMES, Stage, bush, post, tufts
from tools.mini.shapes import Points, Rgb, box, limb, mix, oval, poly, sector

# Coordinates and words are easier to read in rows.
# fmt: off
_WHITE: Rgb = (255, 255, 255)
_LAMP: Rgb = (255, 226, 130)


def _windows_lit(stage: Stage) -> bool:
    return stage.time in DARK_TIMES or stage.time in ("storm", "sunset")


def garden(stage: Stage) -> None:
    w, h, hor, u = stage.width, stage.height, stage.horizon, stage.rng.uniform
    for x in np.arange(-10, w + 30, 40):
        bush(stage, float(x) + u(-8, 8), hor + 2, u(28, 40), stage.lit((70, 148, 84)))
    fence = stage.lit((250, 246, 236), 0.8)
    for x in np.arange(4, w + 10, 17):
        stage.paint(poly(x - 5, hor + 10, x - 5, hor - 20, x, hor - 26, x + 5, hor - 20, x + 5, hor + 10), fence)
    stage.paint(box(-4, hor - 14, w + 4, hor - 9), fence)
    stage.paint(box(-4, hor + 8, w + 4, h + 4), stage.lit((120, 188, 86)))
    stage.paint(poly(w * 0.44, hor + 8, w * 0.56, hor + 8, w * 0.74, h + 4, w * 0.26, h + 4), stage.lit((224, 206,
        170)))
    for k in range(int(12 * w / 256)):
        side = k % 2
        depth = u(0.05, 0.95)
        x, y = (u(0, w * 0.24) if side else u(w * 0.76, w)), hor + 10 + (h - hor - 14) * depth
        r = 3 + 4.5 * depth
        color = ((244, 84, 104), (255, 206, 70), (186, 110, 232), (252, 250, 246))[int(stage.rng.integers(4))]
        post(stage, x, y, y + 2.2 * r, 1.0, stage.lit((60, 130, 66)))
        stage.paint(oval(x, y, r), stage.lit(color, 0.6), "detail")
        stage.paint(oval(x, y, r * 0.4), stage.lit((255, 228, 120), 0.6), "detail")


def _cottage(stage: Stage, x: float, base: float, size: float) -> None:
    wall = stage.lit(((244, 226, 196), (226, 206, 190), (240, 214, 170))[int(stage.rng.integers(3))], 0.85)
    roof = stage.lit(((186, 84, 66), (150, 92, 80), (120, 98, 120))[int(stage.rng.integers(3))], 0.85)
    stage.paint(box(x - size, base - size * 1.1, x + size, base), wall)
    stage.paint(poly(x - size * 1.25, base - size, x, base - size * 2, x + size * 1.25, base - size), roof)
    pane = _LAMP if _windows_lit(stage) else stage.lit((120, 150, 176))
    for dx in (-0.5, 0.5):
        window = box(x + (dx - 0.2) * size, base - size * 0.75, x + (dx + 0.2) * size, base - size * 0.3)
        stage.paint(window, pane, "spark" if pane == _LAMP else "detail")


def village(stage: Stage) -> None:
    w, h, hor, u = stage.width, stage.height, stage.horizon, stage.rng.uniform
    stage.ridge(hor - 24, 10, stage.lit(mix((126, 172, 132), stage.sky[1], 0.25)), 1.0)
    church = u(0.2, 0.8) * w
    stage.paint(box(church - 8, hor - 62, church + 8, hor + 4), stage.lit((236, 224, 204), 0.85))
    stage.paint(poly(church - 11, hor - 61, church, hor - 96, church + 11, hor - 61), stage.lit((120, 98, 112), 0.85))
    x = u(0, 14)
    while x < w + 12:
        size = u(13, 18)
        _cottage(stage, x, hor + 6, size)
        x += size * 2.6 + u(0, 6)
    stage.ridge(hor + 5, 3, stage.lit((128, 178, 92)), 1.0)
    stage.paint(poly(w * 0.42, hor + 8, w * 0.5, hor + 8, w * 0.72, h + 4, w * 0.2, h + 4), stage.lit((216, 190, 150)))
    tufts(stage, stage.lit((84, 138, 64)), 4)


def city(stage: Stage) -> None:
    w, h, hor, u = stage.width, stage.height, stage.horizon, stage.rng.uniform
    for low, high, color in ((64, 118, mix((132, 140, 168), stage.sky[1], 0.35)), (30, 82, (88, 94, 122))):
        x = u(-16, 0)
        near = low < 50
        while x < w:
            wide, tall = u(24, 40), u(low, high)
            wall = stage.lit(mix(color, _WHITE, u(0, 0.16)), 0.85)
            stage.paint(box(x, hor - tall, x + wide, hor + 6), wall)
            if near:
                pane = _LAMP if _windows_lit(stage) else mix(wall, (220, 236, 250), 0.5)
                for px in np.arange(x + 5, x + wide - 5, 9):
                    for py in np.arange(hor - tall + 7, hor - 8, 14):
                        if u() < 0.75:
                            lit = "spark" if pane == _LAMP else "detail"
                            stage.paint(box(float(px), float(py), float(px) + 4.5, float(py) + 6), pane, lit)
            x += wide + (u(0, 5) if near else 0)
    stage.paint(box(-4, hor + 2, w + 4, h + 4), stage.lit((168, 166, 172)))
    road = hor + (h - hor) * 0.28
    stage.paint(box(-4, road, w + 4, h + 4), stage.lit((96, 98, 108)))
    for x in np.arange(u(0, 20), w, 52):
        stage.paint(box(float(x), h - 13, float(x) + 28, h - 9), stage.lit((244, 236, 200), 0.6), "detail")


def cave(stage: Stage) -> None:
    """Looking out of a cave: the sky stands in its mouth."""
    w, h, hor, u = stage.width, stage.height, stage.horizon, stage.rng.uniform
    stage.ridge(hor - 14, 8, stage.lit((112, 150, 130)), 1.0)
    stage.ridge(hor + 2, 4, stage.lit((150, 136, 124)), 1.0)
    rock, deep = stage.lit((104, 86, 84), 0.7), stage.lit((70, 56, 62), 0.7)
    for inset, color in ((0.0, rock), (-0.055, deep)):
        outer = poly(-4, h + 4, -4, -4, w + 4, -4, w + 4, h + 4)
        angles = np.linspace(0.12 * np.pi, -1.12 * np.pi, 22)
        wobble = u(0.94, 1.06, 22)
        rx, ry = w * (0.41 - inset), h * (0.47 - inset)
        mouth = np.stack([w / 2 + rx * wobble * np.cos(angles), h * 0.58 + ry * wobble * np.sin(angles)], 1)
        frame = np.concatenate([poly(4, h + 4), mouth[::-1], outer[3:], outer[2:3], outer[1:2], outer[:1]])
        stage.paint(frame.astype(np.float32), color)
    for x in np.arange(u(14, 30), w, 44):
        r, drop = u(6, 11), u(26, 48)
        stage.paint(poly(x - r, -4, x + r, -4, x + 1, drop), mix(deep, (20, 14, 22), 0.25))
    stage.ridge(h * 0.83, 5, rock, 1.4)
    stage.ridge(h * 0.93, 4, mix(rock, deep, 0.6), 1.2)
    for x in (u(0, 0.12) * w, u(0.88, 1) * w):
        glow = stage.lit((110, 236, 226), 0.25)
        for dx, tall in ((-7, 20), (0, 32), (7, 18)):
            stage.cover(poly(x + dx - 5, h + 4, x + dx * 1.4, h - tall, x + dx + 5, h + 4), mix(glow, (60, 120, 200),
                0.4 if dx else 0.0))


def room(stage: Stage) -> None:
    """A room with a window on the sky."""
    w, h, u = stage.width, stage.height, stage.rng.uniform
    floor = h * 0.74
    paper = ((236, 216, 188), (202, 218, 206), (224, 206, 216), (206, 214, 230))[int(stage.rng.integers(4))]
    wall, wood = stage.lit(paper, 0.9), stage.lit((168, 118, 80), 0.9)
    x0, x1, y0, y1 = w * 0.3, w * 0.7, h * 0.12, h * 0.56
    gap = 16
    # four walls around the opening, so that the sky already drawn shows through it
    for part in (box(-4, -4, w + 4, y0), box(-4, y1, w + 4, floor), box(-4, y0, x0, y1), box(x1, y0, w + 4, y1)):
        stage.paint(part, wall, "detail")
    stage.paint(box(-4, floor, w + 4, h + 4), wood)
    for k in range(1, 4):
        y = floor + (h - floor) * k / 4
        stage.paint(box(-4, y, w + 4, y + 1.5), mix(wood, (50, 26, 20), 0.35), "detail")
    stage.paint(box(-4, floor - 5, w + 4, floor), mix(wall, _WHITE, 0.4 if stage.time not in DARK_TIMES else 0.12))
    frame = stage.lit((250, 246, 238), 0.8)
    for part in (box(x0 - 5, y0 - 5, x1 + 5, y0), box(x0 - 5, y0, x0, y1), box(x1, y0, x1 + 5, y1), box(x0 - 8, y1,
        x1 + 8, y1 + 7),
                 box((x0 + x1) / 2 - 2, y0, (x0 + x1) / 2 + 2, y1), box(x0, (y0 + y1) / 2 - 2, x1, (y0 + y1) / 2 + 2)):
        stage.paint(part, frame)
    cloth = stage.lit(((204, 112, 104), (110, 140, 176), (126, 158, 118))[int(stage.rng.integers(3))], 0.9)
    for s, x in ((1, x0 - 4), (-1, x1 + 4)):
        stage.paint(poly(x - s * gap, y0 - 10, x + s * 12, y0 - 10, x + s * 2, y1 * 0.62, x + s * 6, y1 + 14,
            x - s * gap, y1 + 14), cloth)
    stage.paint(limb(x0 - 26, y0 - 11, x1 + 26, y0 - 11, 3), stage.lit((120, 84, 60)))
    stage.paint(oval(w / 2, h * 0.9, min(w * 0.4, 120), h * 0.075), mix(cloth, _WHITE, 0.25))
    if u() < 0.6:
        x, y = (w * 0.1 if u() < 0.5 else w * 0.9), h * 0.32
        stage.paint(box(x - 15, y - 20, x + 15, y + 20), stage.lit((130, 92, 62)))
        stage.paint(box(x - 11, y - 16, x + 11, y + 16), stage.lit((240, 232, 214)), "detail")
        stage.paint(poly(x - 11, y + 16, x - 3, y - 2, x + 4, y + 8, x + 7, y + 3, x + 11, y + 16), stage.lit((110,
            150, 130)), "detail")


def space(stage: Stage) -> None:
    w, h, u = stage.width, stage.height, stage.rng.uniform
    for _ in range(int(34 * w / 256)):
        stage.paint(oval(u(0, w), u(0, h), u(0.6, 2.0)), mix(_WHITE, (190, 200, 255), u()), "spark")
    for color in ((110, 60, 170), (40, 90, 170)):
        stage.paint(poly(u(0, w), u(0, h * 0.6), u(60, 100), u(40, 70)), color, "soft", 0.5)
    x, y, r = (u(0.1, 0.26) if u() < 0.5 else u(0.74, 0.9)) * w, u(32, 58), u(18, 26)
    planet: Rgb = ((226, 150, 96), (120, 176, 204), (200, 120, 150))[int(stage.rng.integers(3))]
    stage.paint(oval(x, y, r), planet)
    stage.paint(sector(x, y, r, r, -0.3, np.pi - 0.5), mix(planet, (30, 16, 60), 0.35), "detail")
    ring: Points = np.concatenate([oval(x, y, r * 1.8, r * 0.42, -0.3), oval(x, y, r * 1.5, r * 0.28, -0.3)[::-1]])
    stage.paint(ring, (236, 218, 178), "detail", 0.85)
    soil: Rgb = (124, 120, 140)
    stage.ridge(h * 0.82, 5, soil, 0.7)
    stage.ridge(h * 0.92, 4, (98, 94, 116), 0.9, "detail")
    for _ in range(4):
        cx, cy, cr = u(0, w), u(h * 0.85, h * 0.98), u(8, 16)
        stage.paint(oval(cx, cy, cr, cr * 0.34), (88, 84, 106), "detail")
        stage.paint(oval(cx, cy + cr * 0.07, cr * 0.82, cr * 0.24), (142, 138, 158), "detail")
