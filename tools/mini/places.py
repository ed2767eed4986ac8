"""The places of the world: what stands under a sky, from the horizon to the lower edge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tools.mini.backgrounds import DARK_TIMES, LIGHT, SKIES, Stage, bush, fall_weather, grass, hang_sky, post
from tools.mini.scene import FLYING, INDOORS, SWIMMING, Scene
from tools.mini.shapes import Points, Rgb, blob, box, limb, mix, oval, poly, sector

# Coordinates and words are easier to read in rows.
# fmt: off
_WHITE: Rgb = (255, 255, 255)
_LAMP: Rgb = (255, 226, 130)


def _windows_lit(stage: Stage) -> bool:
    return stage.time in DARK_TIMES or stage.time in ("storm", "sunset")


def _water(stage: Stage, top: float, bottom: float, color: Rgb) -> None:
    u, w = stage.rng.uniform, stage.width
    shine = (255, 196, 120) if stage.time == "sunset" else mix(color, (190, 226, 250), 0.5)
    stage.paint(box(-4, top, w + 4, stage.height + 4), color)
    stage.paint(box(-4, top, w + 4, top + (bottom - top) * 0.25), mix(color, stage.sky[1], 0.25), "detail")
    for _ in range(int(11 * w / 256)):
        y = u(top + 5, bottom)
        depth = (y - top) / max(bottom - top, 1)
        r = u(8, 14) + 16 * depth
        stage.paint(oval(u(0, w), y, r, 1.2 + depth), mix(color, shine, 0.55), "detail")


def _mountain(stage: Stage, x: float, base: float, half: float, tall: float, color: Rgb) -> None:
    y = base - tall
    stage.paint(poly(x - half, base + 4, x - half * 0.42, y + tall * 0.48, x, y, x + half * 0.36, y + tall * 0.4,
        x + half, base + 4), color)
    stage.paint(poly(x, y, x + half * 0.36, y + tall * 0.4, x + half, base + 4, x + half * 0.1, base + 4,
        x + half * 0.16, y + tall * 0.5), mix(color, (30, 30, 60), 0.18), "detail")
    cap = stage.lit((250, 251, 253), 0.55)
    stage.paint(poly(x, y, x + half * 0.27, y + tall * 0.3, x + half * 0.1, y + tall * 0.25, x, y + tall * 0.36,
        x - half * 0.12, y + tall * 0.26, x - half * 0.27, y + tall * 0.31), cap)


def _conifer(stage: Stage, x: float, base: float, tall: float, color: Rgb, role: str = "back") -> None:
    w = tall * 0.27
    stage.paint(poly(x - w, base, x - w * 0.4, base - tall * 0.42, x - w * 0.62, base - tall * 0.42, x, base - tall,
                     x + w * 0.62, base - tall * 0.42, x + w * 0.4, base - tall * 0.42, x + w, base), color, role)


def _tufts(stage: Stage, color: Rgb, count: int) -> None:
    """Grass at the lower edge, in front of the subjects, thickest in the corners."""
    w, h = stage.width, stage.height
    for _ in range(count):
        side = stage.rng.random() < 0.5
        x = (0.26 * stage.rng.random() ** 1.4) * w
        grass(stage, x if side else w - x, h + 3, stage.rng.uniform(13, 24), color)


def _palm(stage: Stage, x: float, base: float, tall: float) -> None:
    trunk, leaf = stage.lit((138, 98, 62)), stage.lit((60, 150, 84))
    lean = tall * 0.22
    stage.paint(blob(x - 4, base, x - 2 + lean * 0.3, base - tall * 0.5, x + lean, base - tall, x + lean + 3,
        base - tall, x + 5 + lean * 0.3, base - tall * 0.5, x + 5, base), trunk)
    cx, cy, r = x + lean, base - tall, tall * 0.45
    for a in (-2.9, -2.2, -0.9, -0.2, 0.35, 2.8):
        ex, ey = cx + r * np.cos(a), cy + r * np.sin(a) * 0.7 + r * 0.2
        mx, my = (cx + ex) / 2, (cy + ey) / 2 - r * 0.28
        stage.paint(blob(cx, cy, mx, my - 2, ex, ey, mx, my + r * 0.17), leaf)


def sea(stage: Stage) -> None:
    water = stage.lit((30, 108, 190), 0.75)
    if stage.rng.random() < 0.4:
        stage.paint(blob(-30, stage.horizon, 10, stage.horizon - 16, 50, stage.horizon - 5, 84, stage.horizon + 1),
            stage.lit((110, 130, 150)))
    _water(stage, stage.horizon, stage.height, water)


def pier(stage: Stage) -> None:
    """Planks for those who cannot swim."""
    y, w = stage.height * 0.84, stage.width
    wood = stage.lit((166, 118, 76))
    for x in (w * 0.1, w * 0.9):
        stage.paint(box(x - 5, y - 4, x + 5, stage.height + 4), mix(wood, (40, 24, 20), 0.4))
    stage.paint(box(-4, y, w + 4, stage.height + 4), wood)
    for k in range(1, 3):
        stage.paint(box(-4, y + k * 15, w + 4, y + k * 15 + 1.6), mix(wood, (40, 24, 20), 0.4), "detail")


def beach(stage: Stage) -> None:
    w, h = stage.width, stage.height
    shore = stage.horizon + (h - stage.horizon) * 0.34
    _water(stage, stage.horizon, shore + 8, stage.lit((44, 158, 206), 0.75))
    stage.ridge(shore - 3, 4, stage.lit((236, 246, 250), 0.7), 1.2, "detail")
    sand = stage.lit((240, 212, 150))
    stage.ridge(shore + 2, 4, sand, 1.2)
    stage.ridge(shore + (h - shore) * 0.55, 5, mix(sand, stage.lit((214, 176, 112)), 0.5), 0.8, "detail")
    side = w * 0.07 if stage.rng.random() < 0.5 else w * 0.86
    _palm(stage, side, h - stage.rng.uniform(16, 30), stage.rng.uniform(96, 120))
    for _ in range(5):
        stage.cover(oval(stage.rng.uniform(0, w), stage.rng.uniform(h - 14, h), 3.2, 2.2), mix(sand, (255, 255, 255),
            0.5))


def lake(stage: Stage) -> None:
    w, h, hor, u = stage.width, stage.height, stage.horizon, stage.rng.uniform
    stage.ridge(hor - 20, 12, stage.lit(mix((120, 150, 170), stage.sky[1], 0.3)), 1.2)
    for x in np.arange(-6, w + 20, 19):
        _conifer(stage, float(x) + u(-6, 6), hor + 4, u(22, 38), stage.lit((44, 106, 78)))
    _water(stage, hor, h * 0.86, stage.lit((78, 156, 200), 0.75))
    stage.ridge(h * 0.86, 7, stage.lit((112, 176, 84)), 0.7)
    for x in (u(4, w * 0.16), u(w * 0.84, w - 4)):
        for dx, tall in ((-5, 34), (2, 46), (8, 30)):
            post(stage, x + dx, h * 0.9, h * 0.9 - tall, 1.2, stage.lit((88, 140, 66)))
            stage.paint(oval(x + dx, h * 0.9 - tall, 2.8, 7), stage.lit((122, 78, 46)), "detail")
    _tufts(stage, stage.lit((74, 134, 60)), 4)


def island(stage: Stage) -> None:
    w, h, hor = stage.width, stage.height, stage.horizon
    _water(stage, hor, h, stage.lit((24, 152, 186), 0.75))
    top = h * 0.80
    cx, r = w / 2, min(w * 0.47, 150)
    _palm(stage, cx - r * 0.78, top + 12, stage.rng.uniform(92, 116))
    stage.paint(sector(cx, h * 0.97, r * 1.08, (h - top) * 1.0, np.pi, 2 * np.pi), mix(stage.lit((24, 152, 186),
        0.75), _WHITE, 0.45), "detail")
    stage.paint(sector(cx, h * 0.955, r, (h - top) * 0.95, np.pi, 2 * np.pi), stage.lit((240, 214, 152)))
    stage.paint(sector(cx, h * 0.895, r * 0.84, (h - top) * 0.62, np.pi, 2 * np.pi), stage.lit((118, 186, 92)))
    stage.cover(oval(cx - r * 0.4, h * 0.985, 34, 2), mix(stage.lit((24, 152, 186)), _WHITE, 0.5))


def hills(stage: Stage) -> None:
    h, hor = stage.height, stage.horizon
    stage.ridge(hor - 18, 14, stage.lit(mix((128, 180, 140), stage.sky[1], 0.25)), 1.3)
    stage.ridge(hor, 17, stage.lit((104, 176, 92)), 1.0)
    stage.ridge(hor + (h - hor) * 0.34, 13, stage.lit((80, 154, 72)), 0.9)
    stage.ridge(hor + (h - hor) * 0.74, 8, stage.lit((64, 134, 62)), 0.8)
    for _ in range(3):
        bush(stage, stage.rng.uniform(0, stage.width), hor + stage.rng.uniform(4, 16), stage.rng.uniform(7, 11),
            stage.lit((54, 120, 62)))
    _tufts(stage, stage.lit((46, 104, 50)), 5)


def mountains(stage: Stage) -> None:
    w, h, hor, u = stage.width, stage.height, stage.horizon, stage.rng.uniform
    far, near = stage.lit(mix((150, 158, 186), stage.sky[1], 0.3), 0.8), stage.lit((112, 116, 142), 0.8)
    for x in np.arange(0, w + 60, 92):
        _mountain(stage, float(x) + u(-14, 14), hor, u(64, 80), u(84, 112), far)
    for x in np.arange(46, w + 60, 104):
        _mountain(stage, float(x) + u(-14, 14), hor + 6, u(54, 70), u(54, 78), near)
    stage.ridge(hor + 4, 6, stage.lit((96, 152, 92)), 1.0)
    stage.ridge(hor + (h - hor) * 0.6, 7, stage.lit((78, 132, 76)), 0.9)
    for x in np.concatenate([u(0, w * 0.2, 2), u(w * 0.8, w, 2)]):
        _conifer(stage, float(x), hor + u(14, 26), u(26, 38), stage.lit((48, 98, 70)))
    _tufts(stage, stage.lit((58, 104, 58)), 3)


def desert(stage: Stage) -> None:
    w, h, hor, u = stage.width, stage.height, stage.horizon, stage.rng.uniform
    for _ in range(2):
        x, half, tall = u(0, w), u(26, 44), u(26, 46)
        stage.paint(poly(x - half, hor + 6, x - half * 0.7, hor - tall, x + half * 0.7, hor - tall, x + half,
            hor + 6), stage.lit((206, 122, 84)))
        stage.paint(poly(x + half * 0.2, hor + 6, x + half * 0.3, hor - tall, x + half * 0.7, hor - tall, x + half,
            hor + 6), stage.lit((178, 98, 72)), "detail")
    stage.ridge(hor, 7, stage.lit((244, 208, 136)), 1.0)
    stage.ridge(hor + (h - hor) * 0.32, 12, stage.lit((234, 188, 110)), 0.9)
    stage.ridge(hor + (h - hor) * 0.72, 10, stage.lit((222, 168, 90)), 0.8)
    for _ in range(3):
        x, r = u(0, w), u(5, 9)
        stage.cover(blob(x - r, h - 4, x - r * 0.5, h - 4 - r, x + r * 0.5, h - 4 - r * 0.9, x + r, h - 4),
            stage.lit((190, 134, 86)))


def meadow(stage: Stage) -> None:
    w, h, hor, u = stage.width, stage.height, stage.horizon, stage.rng.uniform
    for x in np.arange(-10, w + 20, 36):
        bush(stage, float(x) + u(-8, 8), hor + 5, u(15, 25), stage.lit(mix((88, 160, 100), stage.sky[1], 0.2)))
    stage.paint(box(-4, hor, w + 4, h + 4), stage.lit((150, 208, 92)))
    stage.ridge(hor + (h - hor) * 0.5, 6, stage.lit((126, 190, 78)), 0.8)
    for _ in range(int(24 * w / 256)):
        depth = u()
        color = ((250, 96, 116), (255, 224, 96), (252, 252, 252), (206, 130, 240))[int(stage.rng.integers(4))]
        stage.paint(oval(u(0, w), hor + 6 + (h - hor - 10) * depth, 1.6 + 2 * depth), stage.lit(color, 0.6), "detail")
    _tufts(stage, stage.lit((90, 158, 60)), 6)


def forest(stage: Stage) -> None:
    w, h, hor, u = stage.width, stage.height, stage.horizon, stage.rng.uniform
    for x in np.arange(-8, w + 20, 17):
        _conifer(stage, float(x) + u(-4, 4), hor + 4, u(70, 106), stage.lit(mix((92, 144, 122), stage.sky[1], 0.3)),
            "detail")
    for x in np.arange(-8, w + 24, 25):
        _conifer(stage, float(x) + u(-6, 6), hor + 8, u(50, 84), stage.lit((40, 102 + u(-12, 12), 66)))
    stage.ridge(hor + 4, 4, stage.lit((86, 132, 70)), 1.2)
    stage.ridge(hor + (h - hor) * 0.6, 6, stage.lit((66, 110, 58)), 0.8)
    trunk = stage.lit((94, 66, 50))
    for x, r in ((u(-4, 8), u(9, 12)), (w - u(-4, 8), u(9, 12))):
        stage.paint(poly(x - r, -4, x + r, -4, x + r * 1.1, h * 0.86, x + r * 1.9, h * 0.95, x - r * 1.9, h * 0.95,
            x - r * 1.1, h * 0.86), trunk)
    _tufts(stage, stage.lit((44, 92, 50)), 6)


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
    _tufts(stage, stage.lit((84, 138, 64)), 4)


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


_PLACES: dict[str, Callable[[Stage], None]] = {
    "sea": sea, "beach": beach, "lake": lake, "island": island, "hills": hills, "mountains": mountains,
    "desert": desert, "meadow": meadow, "forest": forest, "garden": garden, "village": village, "city": city,
    "cave": cave, "room": room, "space": space,
}


def build_stage(scene: Scene, rng: np.random.Generator, width: float, height: float) -> Stage:
    """The scenery of a scene with a place, on a canvas of design units (short side 256)."""
    assert scene.place is not None
    assert scene.time is not None
    jitter = rng.normal() * 4 + rng.normal(size=3) * 1.5
    top, bottom = (tuple(float(v) for v in np.clip(np.array(c) + jitter, 0, 255)) for c in SKIES[scene.time])
    sky: tuple[Rgb, Rgb] = ((top[0], top[1], top[2]), (bottom[0], bottom[1], bottom[2]))
    sky = ((10, 8, 30), (34, 22, 70)) if scene.place == "space" else sky
    stage = Stage(rng, width, height, height * rng.uniform(0.58, 0.67), scene.time, sky)
    if scene.place != "space":
        hang_sky(stage, with_moon=all(thing.name != "moon" for thing in scene.things))
        if scene.place in INDOORS:  # weather stays outside
            fall_weather(stage)
            stage.back += stage.front
            stage.front.clear()
    _PLACES[scene.place](stage)
    if scene.place == "sea" and any(thing.name not in SWIMMING | FLYING for thing in scene.things):
        pier(stage)
    if scene.place != "space" and scene.place not in INDOORS:
        fall_weather(stage)
    return stage


def plain_stage(color: Rgb, rng: np.random.Generator, width: float, height: float) -> Stage:
    """A background of one colour, a little lighter below."""
    base = mix(color, _WHITE, 0.12)
    return Stage(rng, width, height, height * 0.74, "day", (base, mix(base, _WHITE, 0.14)))


def light_on_subjects(time: str | None) -> tuple[Rgb, float]:
    if time is None:
        return _WHITE, 0.0
    tint, _, share = LIGHT[time]
    return tint, share
