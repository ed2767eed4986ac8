"""Skies and weather: the light of a scene, what hangs in its sky and what falls in front of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tools.mini.shapes import Points, Rgb, Shape, blob, limb, mix, oval, poly

SKIES: dict[str, tuple[Rgb, Rgb]] = {
    "day": ((78, 160, 240), (204, 234, 252)),
    "sunset": ((104, 60, 142), (255, 164, 82)),
    "night": ((9, 12, 44), (40, 46, 106)),
    "storm": ((56, 62, 78), (120, 127, 138)),
    "snow": ((166, 188, 214), (232, 239, 246)),
    "fog": ((192, 198, 202), (228, 229, 226)),
    "aurora": ((8, 14, 42), (22, 66, 92)),
}
LIGHT: dict[str, tuple[Rgb, float, float]] = {
    # the light's colour, and how much of it lies on scenery and on subjects
    "day": ((255, 255, 255), 0.0, 0.0),
    "sunset": ((150, 66, 96), 0.32, 0.08),
    "night": ((12, 14, 58), 0.62, 0.16),
    "storm": ((62, 68, 82), 0.46, 0.12),
    "snow": ((240, 245, 252), 0.62, 0.04),
    "fog": ((208, 212, 213), 0.58, 0.12),
    "aurora": ((8, 30, 58), 0.58, 0.14),
}
DARK_TIMES = frozenset({"night", "aurora"})


@dataclass(slots=True)
class Stage:
    """A scene's scenery while it is being built, in design units; `back` and `front` lie behind and before subjects."""

    rng: np.random.Generator
    width: float
    height: float
    horizon: float
    time: str
    sky: tuple[Rgb, Rgb]
    back: list[Shape] = field(default_factory=list)
    front: list[Shape] = field(default_factory=list)

    def lit(self, color: Rgb, share: float = 1.0) -> Rgb:
        tint, amount, _ = LIGHT[self.time]
        return mix(color, tint, amount * share)

    def paint(self, points: Points, color: Rgb, role: str = "back", alpha: float = 1.0) -> None:
        self.back.append(Shape(points, color, role, alpha))

    def cover(self, points: Points, color: Rgb, role: str = "detail", alpha: float = 1.0) -> None:
        self.front.append(Shape(points, color, role, alpha))

    def sky_at(self, y: float) -> Rgb:
        return mix(self.sky[0], self.sky[1], float(np.clip(y / self.horizon, 0, 1)))

    def ridge(self, y: float, swing: float, color: Rgb, waves: float = 1.5, role: str = "back") -> None:
        """Land from a wavy crest at height `y` down to the bottom."""
        xs = np.linspace(-4, self.width + 4, 28)
        phase, other = self.rng.uniform(0, 6.3, 2)
        turn = xs / 256 * 2 * np.pi * waves
        ys = y + swing * (0.7 * np.sin(turn + phase) + 0.3 * np.sin(2.3 * turn + other))
        crest = np.stack([xs, ys], 1)
        self.paint(
            np.concatenate([crest, poly(self.width + 4, self.height + 4, -4, self.height + 4)]).astype(np.float32),
            color,
            role,
        )


def cloud(stage: Stage, x: float, y: float, r: float, color: Rgb) -> None:
    shade = mix(color, stage.sky_at(y), 0.35)
    for dx, dy, size, c in (
        (-1.3, 0.3, 0.7, shade),
        (1.4, 0.3, 0.75, shade),
        (0.1, 0.35, 1.3, shade),
        (-0.8, 0, 0.8, color),
        (0.1, -0.35, 1.05, color),
        (0.95, 0, 0.75, color),
    ):
        stage.paint(oval(x + dx * r, y + dy * r, size * r, size * r * 0.72), c, "detail")


def _stars(stage: Stage, count: int) -> None:
    u = stage.rng.uniform
    for _ in range(int(count * stage.width / 256)):
        stage.paint(oval(u(0, stage.width), u(0, stage.horizon - 6), u(0.7, 1.9)), (255, 252, 226), "spark")


def hang_sky(stage: Stage, with_moon: bool) -> None:
    """Sun, moon, stars, clouds, lightning or northern lights."""
    u, w, h = stage.rng.uniform, stage.width, stage.horizon
    if stage.time == "day":
        x, y, r = u(0.1, 0.9) * w, u(26, 48), u(15, 20)
        stage.paint(poly(x, y, 3 * r, 3 * r), (255, 250, 210), "soft", 0.6)
        stage.paint(oval(x, y, r), (255, 228, 96), "light")
        for _ in range(int(stage.rng.integers(2, 4))):
            cloud(stage, u(0, w), u(22, 84), u(11, 18), (253, 254, 255))
    elif stage.time == "sunset":
        x, y, r = u(0.2, 0.8) * w, h - u(4, 26), u(24, 32)
        stage.paint(poly(x, y, 3.4 * r, 2.8 * r), (255, 224, 140), "soft", 0.75)
        stage.paint(oval(x, y, r), (255, 236, 150), "light")
        for _ in range(4):
            x, y, r = u(0, w), u(20, h * 0.7), u(26, 54)
            stage.paint(oval(x, y, r, r * 0.1), mix(stage.sky_at(y), (255, 150, 120), 0.55), "detail")
    elif stage.time == "night":
        _stars(stage, 26)
        if with_moon:
            x, y, r = u(0.12, 0.88) * w, u(28, 56), u(14, 20)
            stage.paint(poly(x, y, 3.2 * r, 3.2 * r), (150, 160, 230), "soft", 0.5)
            stage.paint(oval(x, y, r), (250, 244, 214), "light")
            for dx, dy, q in ((-0.3, -0.2, 0.22), (0.3, 0.25, 0.28), (0.25, -0.45, 0.14)):
                stage.paint(oval(x + dx * r, y + dy * r, q * r), (226, 218, 188), "spark")
    elif stage.time == "aurora":
        _stars(stage, 22)
        for color in ((80, 255, 170), (70, 230, 210), (190, 110, 255)):
            xs = np.linspace(-10, w + 10, 14)
            ys = u(0.35, 0.6) * h + 16 * np.sin(xs / 256 * u(4, 9) + u(0, 6))
            tall = u(46, 78)
            for share, alpha in ((1.0, 0.16), (0.62, 0.2), (0.28, 0.3)):
                top = np.stack([xs, ys - tall * share], 1)
                stage.paint(
                    np.concatenate([top, np.stack([xs, ys], 1)[::-1]]).astype(np.float32), color, "detail", alpha
                )
    elif stage.time == "storm":
        for _ in range(int(5 * w / 256)):
            cloud(stage, u(0, w), u(4, 56), u(22, 32), mix((44, 47, 60), (70, 74, 88), u()))
        x = u(0.1, 0.9) * w
        bolt = poly(x, 62, x - 14, 106, x - 3, 104, x - 13, min(h - 2, 148), x + 15, 94, x + 3, 96, x + 11, 62)
        stage.paint(poly(x, 100, 46, 60), (200, 200, 240), "soft", 0.45)
        stage.paint(bolt, (255, 244, 150), "light")
    elif stage.time == "snow":
        for _ in range(3):
            cloud(stage, u(0, w), u(16, 70), u(16, 24), (244, 247, 251))


def fall_weather(stage: Stage) -> None:
    """Rain, snow or fog before everything else."""
    u, w, h = stage.rng.uniform, stage.width, stage.height
    many = int(w * h / 65536 * 30)
    if stage.time == "snow":
        for x, y, r in zip(u(0, w, many), u(0, h, many), u(1.4, 3.4, many), strict=True):
            stage.cover(oval(float(x), float(y), float(r)), (255, 255, 255), "spark")
    elif stage.time == "storm":
        for x, y in zip(u(0, w, many), u(40, h, many), strict=True):
            stage.cover(poly(x, y, x + 1.6, y, x - 5, y + 19, x - 6, y + 19), (186, 200, 220), "detail", 1.0)
    elif stage.time == "fog":
        for y in np.linspace(stage.horizon - 26, h - 20, 4):
            x, rx = u(0, w), u(0.5, 0.9) * w
            stage.cover(poly(x, float(y) + u(-10, 10), rx, u(16, 26)), (224, 227, 227), "soft", 0.45)


def grass(stage: Stage, x: float, y: float, size: float, color: Rgb) -> None:
    for dx, lean in ((-0.5, -0.5), (0, 0.1), (0.5, 0.6)):
        base = x + dx * size * 0.5
        stage.cover(poly(base - size * 0.16, y, base + lean * size * 0.6, y - size, base + size * 0.16, y), color)


def tufts(stage: Stage, color: Rgb, count: int) -> None:
    """Grass at the lower edge, in front of the subjects, thickest in the corners."""
    w, h = stage.width, stage.height
    for _ in range(count):
        side = stage.rng.random() < 0.5
        x = (0.26 * stage.rng.random() ** 1.4) * w
        grass(stage, x if side else w - x, h + 3, stage.rng.uniform(13, 24), color)


def bush(stage: Stage, x: float, y: float, r: float, color: Rgb, role: str = "back") -> None:
    stage.paint(
        blob(
            x - r,
            y,
            x - r * 0.8,
            y - r * 0.6,
            x - r * 0.2,
            y - r * 0.9,
            x + r * 0.5,
            y - r * 0.8,
            x + r,
            y - r * 0.3,
            x + r,
            y,
        ),
        color,
        role,
    )


def post(stage: Stage, x: float, y0: float, y1: float, half: float, color: Rgb) -> None:
    stage.paint(limb(x, y0, x, y1, half), color, "detail")
