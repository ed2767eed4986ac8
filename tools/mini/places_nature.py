"""Places of nature: what stands under a sky, from the horizon to the lower edge."""

from __future__ import annotations

import numpy as np

from tools.mini.backgrounds import Stage, bush, post, tufts
from tools.mini.shapes import Rgb, blob, box, mix, oval, poly, sector

# Coordinates and words are easier to read in rows.
# fmt: off
_WHITE: Rgb = (255, 255, 255)


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
    tufts(stage, stage.lit((74, 134, 60)), 4)


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
    tufts(stage, stage.lit((46, 104, 50)), 5)


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
    tufts(stage, stage.lit((58, 104, 58)), 3)


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
    tufts(stage, stage.lit((90, 158, 60)), 6)


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
    tufts(stage, stage.lit((44, 92, 50)), 6)
