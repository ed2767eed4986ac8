"""Made things: vehicles, buildings and objects."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from tools.mini.shapes import blob, box, limb, oval, poly, sector, stroke
from tools.mini.subjects_parts import Drawer, Part

# Coordinates and words are easier to read in rows.
# fmt: off
Rng: TypeAlias = np.random.Generator


def sailboat(rng: Rng) -> list[Part]:
    m = rng.uniform(-0.08, 0.08)
    return [
        (limb(m, -0.95, m, 0.5, 0.03), "key"),
        (blob(m + 0.06, -0.92, m + 0.5, -0.4, 0.82, 0.36, 0.4, 0.4, m + 0.06, 0.4), "main"),
        (poly(m - 0.06, -0.74, m - 0.06, 0.4, -0.72, 0.4), "light"),
        (poly(m + 0.02, -1, m + 0.3, -0.94, m + 0.02, -0.86), "accent"),
        (blob(-0.98, 0.5, 0, 0.55, 0.98, 0.46, 0.8, 0.8, 0.5, 0.98, -0.5, 0.98, -0.8, 0.8), "dark"),
        (poly(-0.93, 0.56, 0.93, 0.54, 0.87, 0.66, -0.87, 0.67), "main"),
    ]


def house(rng: Rng) -> list[Part]:
    parts: list[Part] = []
    if rng.random() < 0.7:
        parts = [(box(0.36, -0.86, 0.6, -0.3), (150, 104, 92)), (box(0.32, -0.92, 0.64, -0.8), (118, 80, 74))]
    return [
        *parts,
        (box(-0.74, -0.16, 0.74, 1), "main"),
        (poly(0.3, -0.16, 0.74, -0.16, 0.74, 1, 0.44, 1), "dark"),
        (poly(-0.98, -0.08, 0, -0.98, 0.98, -0.08, 0.84, 0.02, -0.84, 0.02), "dark"),
        (poly(-0.8, -0.1, 0, -0.82, 0.2, -0.64, -0.4, -0.1), "main"),
        (box(-0.18, 0.4, 0.18, 1), "wood"),
        (oval(0.1, 0.72, 0.035), "lamp"),
        (box(-0.62, 0.2, -0.3, 0.54), "white"),
        (box(0.3, 0.2, 0.62, 0.54), "white"),
        (box(-0.58, 0.24, -0.34, 0.5), "lamp"),
        (box(0.34, 0.24, 0.58, 0.5), "lamp"),
        (oval(0, -0.42, 0.13), "white"),
        (oval(0, -0.42, 0.09), "lamp"),
    ]


def balloon(rng: Rng) -> list[Part]:
    sway = rng.uniform(-0.03, 0.03)
    return [
        (limb(-0.34, 0.34, -0.14 + sway, 0.76, 0.014), "key"),
        (limb(0.34, 0.34, 0.14 + sway, 0.76, 0.014), "key"),
        (blob(0, -0.98, 0.46, -0.86, 0.74, -0.42, 0.68, 0.02, 0.4, 0.36, 0.16, 0.5, -0.16, 0.5, -0.4, 0.36, -0.68,
            0.02, -0.74, -0.42, -0.46, -0.86), "main"),
        (blob(0, -0.97, 0.38, -0.5, 0.36, 0, 0.1, 0.5, -0.1, 0.5, -0.36, 0, -0.38, -0.5), "light"),
        (blob(0, -0.97, 0.16, -0.5, 0.14, 0, 0.04, 0.5, -0.04, 0.5, -0.14, 0, -0.16, -0.5), "main"),
        (blob(0.52, -0.76, 0.74, -0.4, 0.66, 0.02, 0.4, 0.35, 0.56, -0.06, 0.6, -0.4), "dark"),
        (poly(-0.2 + sway, 0.74, 0.2 + sway, 0.74, 0.15 + sway, 1, -0.15 + sway, 1), "wood"),
        (limb(-0.2 + sway, 0.76, 0.2 + sway, 0.76, 0.03), "key"),
    ]


def robot(rng: Rng) -> list[Part]:
    a, b = rng.uniform(-0.55, 0.25, 2)
    return [
        (limb(0, -1, 0, -0.78, 0.03), "iron"),
        (oval(0, -0.96, 0.09), (240, 80, 70)),
        (limb(-0.22, 0.6, -0.22, 0.9, 0.12), "dark"),
        (limb(0.22, 0.6, 0.22, 0.9, 0.12), "dark"),
        (limb(-0.3, 0.95, -0.18, 0.95, 0.09), "iron"),
        (limb(0.18, 0.95, 0.3, 0.95, 0.09), "iron"),
        (limb(-0.52, 0.02, -0.82, 0.25 + a, 0.09), "dark"),
        (limb(0.52, 0.02, 0.82, 0.25 + b, 0.09), "dark"),
        (oval(-0.84, 0.27 + a, 0.13), "iron"),
        (oval(0.84, 0.27 + b, 0.13), "iron"),
        (blob(-0.5, -0.12, 0, -0.16, 0.5, -0.12, 0.54, 0.2, 0.46, 0.62, 0, 0.66, -0.46, 0.62, -0.54, 0.2), "main"),
        (blob(-0.46, -0.74, 0, -0.8, 0.46, -0.74, 0.5, -0.48, 0.44, -0.22, 0, -0.18, -0.44, -0.22, -0.5, -0.48),
            "main"),
        (blob(-0.36, -0.62, 0.36, -0.62, 0.36, -0.34, -0.36, -0.34), "key"),
        (oval(-0.17, -0.48, 0.1), (120, 240, 250)),
        (oval(0.17, -0.48, 0.1), (120, 240, 250)),
        (box(-0.26, 0.04, 0.26, 0.34), "light"),
        (oval(-0.12, 0.19, 0.06), (240, 80, 70)),
        (oval(0.1, 0.19, 0.06), "lamp"),
    ]


def castle(rng: Rng) -> list[Part]:
    fly = rng.uniform(0.16, 0.26)
    parts: list[Part] = [(box(-0.24, -0.5, 0.24, 0.2), "light"), (poly(-0.32, -0.48, 0, -0.94, 0.32, -0.48), "dark")]
    parts += [(box(x, -0.16, x + 0.2, 0.1), "main") for x in (-0.56, -0.24, 0.08, 0.38)]
    for s in (-1, 1):
        parts += [
            (box(s * 0.94, -0.34, s * 0.52, 1), "main"),
            (poly(s * 1.0, -0.34, s * 0.73, -0.86, s * 0.46, -0.34), "dark"),
            (limb(s * 0.73, -0.98, s * 0.73, -0.8, 0.016), "key"),
            (poly(s * 0.73, -1, s * 0.73 + fly, -0.93, s * 0.73, -0.86), "accent"),
            (box(s * 0.8, -0.08, s * 0.66, 0.18), "lamp"),
        ]
    parts.insert(2, (box(-0.6, 0, 0.6, 1), "main"))
    return [
        *parts,
        (box(-0.52, 0.1, 0.52, 0.2), "dark"),
        (poly(-0.24, 1, -0.24, 0.62, -0.16, 0.44, 0, 0.36, 0.16, 0.44, 0.24, 0.62, 0.24, 1), "key"),
        (poly(-0.17, 1, -0.17, 0.64, 0, 0.46, 0.17, 0.64, 0.17, 1), "wood"),
        (box(-0.07, -0.36, 0.07, -0.14), "lamp"),
    ]


def wheel(x: float, y: float, r: float) -> list[Part]:
    return [(oval(x, y, r), "key"), (oval(x, y, r * 0.48), (196, 198, 206))]


def car(rng: Rng) -> list[Part]:
    roof = rng.uniform(-0.36, -0.28)
    return [
        (blob(-0.66, 0.2, -0.42, roof + 0.02, 0, roof - 0.03, 0.36, roof + 0.04, 0.7, 0.22, 0, 0.3), "dark"),
        (poly(-0.48, 0.18, -0.34, roof + 0.1, -0.04, roof + 0.08, -0.04, 0.18), "glass"),
        (poly(0.06, 0.18, 0.06, roof + 0.08, 0.28, roof + 0.12, 0.5, 0.18), "glass"),
        (blob(-0.98, 0.4, -0.9, 0.2, -0.5, 0.16, 0.5, 0.16, 0.86, 0.24, 1, 0.44, 0.97, 0.72, 0, 0.76, -0.97, 0.72),
            "main"),
        (limb(-0.86, 0.28, 0.7, 0.26, 0.03), "light"),
        (limb(-0.9, 0.66, 0.9, 0.66, 0.05), "dark"),
        *wheel(-0.55, 0.76, 0.24),
        *wheel(0.55, 0.76, 0.24),
        (oval(0.92, 0.42, 0.08), "lamp"),
        (oval(-0.93, 0.42, 0.06, 0.08), (230, 60, 60)),
        (limb(-0.02, 0.4, 0.1, 0.4, 0.02), "key"),
    ]


def star(rng: Rng) -> list[Part]:
    turn = -np.pi / 2 + rng.uniform(-0.15, 0.15)
    a = turn + np.arange(10) * np.pi / 5
    q = np.where(np.arange(10) % 2 == 0, 1.0, 0.46)
    points = np.stack([q * np.cos(a), q * np.sin(a)], 1).astype(np.float32)
    facets: list[Part] = [(np.array([(0, 0), points[2 * i], points[2 * i + 1]], np.float32), "dark") for i in range(5)]
    return [
        (points, "main"),
        *facets,
        ((points * 0.45).astype(np.float32), "main"),
        ((points * 0.2).astype(np.float32), "light"),
    ]


def heart(rng: Rng) -> list[Part]:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) - 2.5
    squeeze = rng.uniform(0.93, 1.0)
    outline = (np.stack([x * squeeze, y], 1) / 16.5).astype(np.float32)
    return [
        (outline, "dark"),
        ((outline * [0.86, 0.86] + [-0.05, -0.05]).astype(np.float32), "main"),
        (oval(-0.46, -0.4, 0.2, 0.13, -0.7), "light"),
    ]


def rocket(rng: Rng) -> list[Part]:
    flame = rng.uniform(0.9, 1.0)
    return [
        (blob(-0.2, 0.56, 0.2, 0.56, 0.24, 0.76, 0, flame, -0.24, 0.76), (255, 150, 40)),
        (blob(-0.1, 0.56, 0.1, 0.56, 0.11, 0.68, 0, flame - 0.14, -0.11, 0.68), (255, 232, 110)),
        (blob(-0.24, 0.05, -0.62, 0.4, -0.66, 0.78, -0.22, 0.55), "dark"),
        (blob(0.24, 0.05, 0.62, 0.4, 0.66, 0.78, 0.22, 0.55), "dark"),
        (blob(0, -1, 0.24, -0.72, 0.42, -0.2, 0.4, 0.3, 0.24, 0.62, -0.24, 0.62, -0.4, 0.3, -0.42, -0.2, -0.24,
            -0.72), "main"),
        (blob(0, -1, 0.21, -0.77, 0.31, -0.54, 0, -0.5, -0.31, -0.54, -0.21, -0.77), "dark"),
        (blob(-0.2, -0.44, -0.3, -0.1, -0.28, 0.3, -0.2, 0.5, -0.24, 0.1), "light"),
        (oval(0, -0.16, 0.2), "accent"),
        (oval(0, -0.16, 0.14), (120, 206, 250)),
        (poly(-0.05, 0.26, 0.05, 0.26, 0.07, 0.76, -0.07, 0.76), "dark"),
    ]


def lighthouse(rng: Rng) -> list[Part]:
    h = rng.uniform(-0.02, 0.02)
    return [
        (blob(-0.85, 1, -0.6, 0.82, 0, 0.78, 0.6, 0.82, 0.85, 1), (120, 116, 124)),
        (poly(-0.34, -0.44, 0.34, -0.44, 0.54, 0.92, -0.54, 0.92), "main"),
        (poly(-0.38, -0.16 + h, 0.38, -0.16 + h, 0.42, 0.08 + h, -0.42, 0.08 + h), "accent"),
        (poly(-0.46, 0.42 + h, 0.46, 0.42 + h, 0.50, 0.66 + h, -0.50, 0.66 + h), "accent"),
        (poly(0.2, -0.44, 0.34, -0.44, 0.54, 0.92, 0.34, 0.92), "dark"),
        (limb(-0.42, -0.44, 0.42, -0.44, 0.05), "key"),
        (box(-0.24, -0.74, 0.24, -0.48), "lamp"),
        (limb(0, -0.74, 0, -0.48, 0.02), "key"),
        (blob(-0.36, -0.72, -0.24, -0.88, 0, -0.97, 0.24, -0.88, 0.36, -0.72, 0, -0.7), "main"),
        (oval(0, -0.97, 0.04), "key"),
        (box(-0.07, 0.16, 0.07, 0.34), "key"),
    ]


def train(rng: Rng) -> list[Part]:
    puff = rng.uniform(-0.05, 0.05)
    smoke = (226, 226, 232)
    return [
        (oval(0.42, -0.72 + puff, 0.13), smoke),
        (oval(0.22, -0.86 + puff, 0.16), smoke),
        (oval(-0.06, -0.88, 0.14), smoke),
        (poly(0.48, -0.5, 0.84, -0.5, 0.74, -0.12, 0.58, -0.12), "dark"),
        (box(-0.9, -0.5, -0.14, 0.55), "main"),
        (limb(-0.96, -0.54, -0.06, -0.54, 0.07), "dark"),
        (box(-0.76, -0.34, -0.3, 0.06), "glass"),
        (limb(-0.12, 0.2, 0.8, 0.2, 0.36), "main"),
        (oval(0.84, 0.2, 0.3, 0.33), "dark"),
        (oval(0.86, 0.2, 0.12), "lamp"),
        (limb(0.1, -0.14, 0.66, -0.14, 0.04), "light"),
        (blob(0.12, -0.14, 0.12, -0.32, 0.34, -0.32, 0.34, -0.14), "dark"),
        (limb(-0.92, 0.56, 0.88, 0.56, 0.06), "dark"),
        (poly(0.84, 0.56, 1, 0.92, 0.6, 0.92), "iron"),
        *wheel(-0.62, 0.74, 0.25),
        *wheel(0.0, 0.8, 0.19),
        *wheel(0.46, 0.8, 0.19),
        (limb(-0.62, 0.76, 0.46, 0.8, 0.03), "accent"),
    ]


def windmill(rng: Rng) -> list[Part]:
    turn = rng.uniform(0.35, 1.2)
    sails: list[Part] = []
    for k in range(4):
        a = turn + k * np.pi / 2
        d, n = np.array([np.cos(a), np.sin(a)]), np.array([-np.sin(a), np.cos(a)])
        base = np.array([0, -0.3])
        quad = np.array([base + d * 0.16 + n * 0.02, base + d * 0.7 + n * 0.02, base + d * 0.7 + n * 0.2,
            base + d * 0.16 + n * 0.16])
        sails += [(quad.astype(np.float32), "accent"), (limb(0, -0.3, float(d[0] * 0.7), float(d[1] * 0.7) - 0.3,
            0.03), "key")]
    return [
        (poly(-0.42, -0.3, 0.42, -0.3, 0.66, 1, -0.66, 1), "main"),
        (poly(0.24, -0.3, 0.42, -0.3, 0.66, 1, 0.42, 1), "dark"),
        (blob(-0.5, -0.26, -0.36, -0.62, 0, -0.78, 0.36, -0.62, 0.5, -0.26, 0, -0.24), "dark"),
        (poly(-0.18, 1, -0.17, 0.66, 0, 0.54, 0.17, 0.66, 0.18, 1), "wood"),
        (box(-0.12, 0.12, 0.12, 0.36), "lamp"),
        *sails,
        (oval(0, -0.3, 0.08), "key"),
    ]


def teapot(rng: Rng) -> list[Part]:
    lift = rng.uniform(-0.04, 0.04)
    ring = np.concatenate([sector(-0.68, 0.24, 0.32, 0.4, 0.5 * np.pi, 1.5 * np.pi), sector(-0.68, 0.24, 0.18, 0.26,
        1.5 * np.pi, 0.5 * np.pi)])
    return [
        (ring.astype(np.float32), "dark"),
        (blob(0.5, 0.5, 0.78, 0.3, 0.82, -0.14, 0.92, -0.32, 1, -0.26, 0.98, 0.1, 0.9, 0.56, 0.5, 0.76), "dark"),
        (oval(0, 0.9, 0.46, 0.1), "dark"),
        (blob(-0.72, 0.35, -0.6, -0.1, -0.25, -0.36, 0.25, -0.36, 0.6, -0.1, 0.72, 0.35, 0.5, 0.78, 0, 0.92, -0.5,
            0.78), "main"),
        (blob(-0.4, -0.3, -0.26, -0.54 + lift, 0, -0.62 + lift, 0.26, -0.54 + lift, 0.4, -0.3, 0, -0.26), "dark"),
        (oval(0, -0.72 + lift, 0.11), "main"),
        (oval(-0.4, 0.12, 0.11, 0.24, 0.3), "light"),
        *((oval(0.1 + 0.15 * np.cos(a), 0.34 + 0.15 * np.sin(a), 0.1), "accent") for a in np.arange(5) * 1.2566),
        (oval(0.1, 0.34, 0.09), "heart"),
    ]


def umbrella(rng: Rng) -> list[Part]:
    hook = rng.uniform(0.2, 0.28)
    dome = sector(0, 0.06, 0.98, 0.92, np.pi, 2 * np.pi)
    scallops: list[Part] = [(oval(x, 0.06, 0.165, 0.1), c) for x, c in ((-0.815, "main"), (-0.49, "dark"), (-0.163,
        "main"), (0.163, "main"), (0.49, "dark"), (0.815, "main"))]
    return [
        (limb(0, -0.98, 0, -0.8, 0.03), "key"),
        (limb(0, 0, 0, 0.82, 0.035), "wood"),
        (stroke(0.06, 0, 0.8, 0.06, 0.96, hook, 0.96, hook + 0.06, 0.8), "wood"),
        *scallops,
        (dome, "main"),
        (blob(0, -0.86, -0.4, -0.5, -0.66, 0.06, -0.33, 0.06, -0.2, -0.4), "dark"),
        (blob(0, -0.86, 0.4, -0.5, 0.66, 0.06, 0.33, 0.06, 0.2, -0.4), "dark"),
        (blob(-0.5, -0.55, -0.78, -0.2, -0.84, -0.02, -0.72, -0.2), "light"),
    ]


def lantern(rng: Rng) -> list[Part]:
    sway = rng.uniform(-0.04, 0.04)
    parts: list[Part] = [
        (stroke(0.04, -0.3, -0.62, -0.22, -0.92, sway, -1, 0.22, -0.92, 0.3, -0.62), "iron"),
        (box(-0.36, -0.72, 0.36, -0.56), "key"),
        (blob(-0.36, -0.58, 0.36, -0.58, 0.74, -0.2, 0.8, 0.1, 0.74, 0.4, 0.36, 0.76, -0.36, 0.76, -0.74, 0.4, -0.8,
            0.1, -0.74, -0.2), "main"),
        (blob(-0.14, -0.58, 0.14, -0.58, 0.3, 0.1, 0.14, 0.76, -0.14, 0.76, -0.3, 0.1), "light"),
        (oval(0, 0.12, 0.15, 0.26), "lamp"),
    ]
    for y, w in ((-0.3, 0.64), (0.1, 0.78), (0.5, 0.64)):
        parts.append((limb(-w, y, w, y, 0.022), "dark"))
    return [*parts, (box(-0.36, 0.7, 0.36, 0.84), "key"), (limb(0, 0.84, 0, 1, 0.05), "accent")]


def airplane(rng: Rng) -> list[Part]:
    tilt = rng.uniform(-0.06, 0.06)
    return [
        (poly(-0.98, -0.66, -0.72, -0.66, -0.4, -0.06, -0.84, -0.02), "dark"),
        (poly(0.1, -0.14, -0.14, -0.62 + tilt, -0.34, -0.62 + tilt, -0.2, -0.12), "dark"),
        (blob(-0.96, -0.14, -0.5, -0.26, 0.5, -0.3, 0.86, -0.18, 1, 0.04, 0.84, 0.24, 0.4, 0.34, -0.4, 0.26), "main"),
        (blob(-0.5, 0.18, 0.3, 0.22, 0.9, 0.17, 0.8, 0.24, 0.4, 0.33, -0.4, 0.25), "light"),
        (poly(0.3, 0.08, -0.14, 0.08, -0.62, 0.72 + tilt, -0.3, 0.72 + tilt), "dark"),
        (poly(0.68, -0.16, 0.84, -0.12, 0.92, 0, 0.72, 0), "glass"),
        *((oval(x, -0.06, 0.06), "glass") for x in (-0.34, -0.12, 0.1, 0.32, 0.52)),
        (poly(-0.9, -0.06, -0.6, -0.06, -0.84, 0.2, -0.98, 0.2), "dark"),
    ]


MADE: dict[str, Drawer] = {
    "sailboat": sailboat, "house": house, "hot air balloon": balloon, "robot": robot, "castle": castle, "car": car,
    "star": star, "heart": heart, "rocket": rocket, "lighthouse": lighthouse, "train": train, "windmill": windmill,
    "teapot": teapot, "umbrella": umbrella, "lantern": lantern, "airplane": airplane,
}
