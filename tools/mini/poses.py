"""People: joint angles, the 18 OpenPose keypoints that follow from them, and the figure drawn over them."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tools.mini.scene import FREE_POSE
from tools.mini.shapes import blob, limb, oval, poly, stroke
from tools.mini.subjects_parts import Part

Keypoints: TypeAlias = NDArray[np.float32]

NOSE, NECK, R_SHOULDER, L_SHOULDER, R_HIP, L_HIP, R_EYE, L_EYE, R_EAR, L_EAR = 0, 1, 2, 5, 8, 11, 14, 15, 16, 17
"""COCO-18 order; a person's right is to the left of the picture, for everybody faces us."""

ANGLES: dict[str, tuple[float, ...]] = {
    # right upper arm, right forearm, left upper arm, left forearm, right thigh, right shin, left thigh, left shin:
    # radians outward from hanging straight down (pi is straight up).
    "standing": (0.3, 0.15, 0.3, 0.15, 0.12, 0.06, 0.12, 0.06),
    "waving": (0.3, 0.15, 2.0, 3.0, 0.12, 0.06, 0.12, 0.06),
    "arms raised": (2.6, 2.85, 2.6, 2.85, 0.16, 0.1, 0.16, 0.1),
    "arms spread": (1.5, 1.57, 1.5, 1.57, 0.3, 0.25, 0.3, 0.25),
    "hands on hips": (0.95, -1.15, 0.95, -1.15, 0.26, 0.2, 0.26, 0.2),
    "walking": (0.55, 0.3, 0.5, 0.85, 0.5, 0.45, 0.4, 0.0),
    "running": (0.9, -0.5, 0.9, 2.3, 0.7, 1.5, 1.1, -0.15),
    "jumping": (2.2, 2.5, 2.2, 2.5, 0.95, -0.15, 0.95, -0.15),
    "sitting": (0.35, -0.5, 0.35, -0.5, 0.75, -0.12, 0.75, -0.12),
    "dancing": (2.3, 3.5, 1.2, 0.2, 0.15, 0.05, 0.95, -0.6),
}
_THIGH, _SHIN, _UPPER_ARM, _FOREARM = 0.36, 0.36, 0.29, 0.27


def joints(pose: str, rng: np.random.Generator) -> Keypoints:
    """18 × (x, y) of one person in `pose` (or free) in local units, slightly varied; all joints are visible."""
    if pose == FREE_POSE:
        arms, legs = rng.uniform(0.1, 2.9, 2), rng.uniform(0.05, 1.1, 2)
        bends, knees = rng.uniform(-0.9, 0.9, 2), rng.uniform(-0.9, 0.25, 2)
        angles = np.array([arms[0], arms[0] + bends[0], arms[1], arms[1] + bends[1],
                           legs[0], legs[0] + knees[0], legs[1], legs[1] + knees[1]])  # fmt: skip
    else:
        angles = np.array(ANGLES[pose]) + rng.normal(size=8) * 0.07
    lean = rng.normal() * 0.03
    neck, hip = np.array([lean, -0.5]), np.array([0.0, 0.14])
    head = neck + np.array([lean * 0.6, -0.27])
    k = np.zeros((18, 2), np.float64)
    k[NOSE], k[NECK] = head + np.array([0, 0.03]), neck
    for side, sign in ((0, -1.0), (1, 1.0)):
        upper, fore = angles[2 * side : 2 * side + 2]
        thigh, shin = angles[4 + 2 * side : 6 + 2 * side]
        shoulder = neck + np.array([sign * 0.2, 0.05])
        elbow = shoulder + _UPPER_ARM * np.array([sign * np.sin(upper), np.cos(upper)])
        wrist = elbow + _FOREARM * np.array([sign * np.sin(fore), np.cos(fore)])
        top = hip + np.array([sign * 0.12, 0])
        knee = top + _THIGH * np.array([sign * np.sin(thigh), np.cos(thigh)])
        ankle = knee + _SHIN * np.array([sign * np.sin(shin), np.cos(shin)])
        k[R_SHOULDER + 3 * side : R_SHOULDER + 3 * side + 3] = shoulder, elbow, wrist
        k[R_HIP + 3 * side : R_HIP + 3 * side + 3] = top, knee, ankle
        k[R_EYE + side] = head + np.array([sign * 0.07, -0.02])
        k[R_EAR + side] = head + np.array([sign * 0.17, 0.0])
    return k.astype(np.float32)


_SKINS = ((250, 214, 180), (224, 172, 128), (160, 108, 76), (104, 70, 52))
_HAIRS = ((48, 36, 40), (104, 62, 36), (216, 166, 84), (170, 72, 40))


def draw_person(pose: str, look: str | None, rng: np.random.Generator) -> tuple[list[Part], Keypoints]:
    """A figure dressed in the main colour: a dress for the look "woman", shirt and trousers otherwise."""
    k = joints(pose, rng)
    skin, hair = _SKINS[int(rng.integers(4))], _HAIRS[int(rng.integers(4))]
    head = (k[R_EYE] + k[L_EYE]) / 2 + np.array([0, 0.02])
    x, y = float(head[0]), float(head[1])
    (nx, ny), hip = k[NECK], (k[R_HIP] + k[L_HIP]) / 2
    parts: list[Part] = []
    if pose == "sitting":
        parts += [(limb(-0.34, 0.27, 0.34, 0.27, 0.08), "wood"), (limb(-0.2, 0.3, -0.24, 0.62, 0.045), "wood"),
                  (limb(0.2, 0.3, 0.24, 0.62, 0.045), "wood")]  # fmt: skip
    if look == "woman":
        parts.append((blob(x - 0.2, y - 0.08, x, y - 0.25, x + 0.2, y - 0.08, x + 0.25, y + 0.3, x + 0.1, y + 0.36,
                           x - 0.1, y + 0.36, x - 0.25, y + 0.3), hair))  # fmt: skip
    leg = skin if look == "woman" else "dark"
    for first in (R_HIP, L_HIP):
        (ax, ay), (bx, by), (cx, cy) = k[first : first + 3]
        toe = -0.09 if first == R_HIP else 0.09
        parts += [
            (limb(ax, ay, bx, by, 0.125, 0.1), leg),
            (limb(bx, by, cx, cy, 0.09, 0.065), leg),
            (limb(cx, cy + 0.03, cx + toe, cy + 0.05, 0.065, 0.055), "key"),
        ]
    parts.append((limb(nx, ny - 0.1, nx, ny + 0.05, 0.075), skin))
    if look == "woman":
        spread = 0.42 + 0.25 * float(np.clip(abs(k[L_HIP + 1][0] - k[R_HIP + 1][0]) - 0.4, 0, 1))
        hem = float(hip[1]) + 0.34
        parts.append((blob(nx - 0.2, ny + 0.02, nx, ny + 0.05, nx + 0.2, ny + 0.02, nx + 0.17, ny + 0.34, spread, hem,
                           0, hem + 0.06, -spread, hem, nx - 0.17, ny + 0.34), "main"))  # fmt: skip
        parts.append((limb(nx - 0.15, ny + 0.38, nx + 0.15, ny + 0.38, 0.035), "light"))
    else:
        parts.append((blob(nx - 0.24, ny + 0.02, nx, ny - 0.02, nx + 0.24, ny + 0.02, 0.22, 0.05, 0.24, 0.26, 0, 0.28,
                           -0.24, 0.26, -0.22, 0.05), "main"))  # fmt: skip
        parts.append((poly(nx - 0.08, ny - 0.02, nx + 0.08, ny - 0.02, nx, ny + 0.12), "accent"))
        parts.append((limb(-0.19, 0.2, 0.19, 0.2, 0.035), "key"))
    for first in (R_SHOULDER, L_SHOULDER):
        (ax, ay), (bx, by), (cx, cy) = k[first : first + 3]
        parts += [
            (limb(bx, by, cx, cy, 0.07, 0.05), "main" if look == "man" else skin),
            (limb(ax, ay, bx, by, 0.105, 0.085), "main"),
            (oval(cx, cy, 0.07), skin),
        ]
    ring = [(oval(float(k[e][0]), float(k[e][1]) + 0.02, 0.045), skin) for e in (R_EAR, L_EAR)]
    parts += [*ring, (oval(x, y, 0.175, 0.2), skin)]
    if look == "woman":
        parts.append((blob(x - 0.19, y, x - 0.16, y - 0.17, x, y - 0.25, x + 0.16, y - 0.17, x + 0.19, y, x + 0.1,
                           y - 0.1, x - 0.06, y - 0.12), hair))  # fmt: skip
    else:
        parts.append((blob(x - 0.185, y - 0.03, x - 0.17, y - 0.18, x, y - 0.25, x + 0.17, y - 0.18, x + 0.185,
                           y - 0.03, x + 0.12, y - 0.1, x - 0.05, y - 0.12), hair))  # fmt: skip
    for e in (R_EYE, L_EYE):
        parts.append((oval(float(k[e][0]), float(k[e][1]) + 0.02, 0.024, 0.032), "key"))
    parts.append((stroke(0.014, x - 0.05, y + 0.09, x, y + 0.115, x + 0.06, y + 0.085), (150, 70, 70)))
    return parts, k
