"""How a turning head moves over the picture: orthographic projection of a curved sheet, and its inverse.

With a depth z over the sheet (`anatomy.depth`), the point (x, y) of a head turned by yaw and pitch is seen at
``(x cos yaw + z sin yaw, y cos pitch + z sin pitch)``, and roll turns the picture. Yaw and pitch are taken
one by one, as for small angles; the nose leads, the far cheek narrows, the near one widens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.data.anatomy import depth
from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.dynamics import Moment
from opticaldr.models.data.identity import Identity
from opticaldr.models.data.sheet import Points

_ITERATIONS = 5


def seen_at(who: Identity, points: Points, at: Moment) -> Points:
    """Where points of the head's sheet ``[n, 2]`` are seen, about the head's origin, in face widths."""
    x, y = points.T
    z = depth(who, x, y)
    across = x * np.cos(at["yaw"]) + z * np.sin(at["yaw"])
    down = y * np.cos(at["pitch"]) + z * np.sin(at["pitch"])
    return np.stack([across, down], axis=-1) @ roll(at).T


def point_seen(who: Identity, u: FloatArray, v: FloatArray, at: Moment) -> tuple[FloatArray, FloatArray]:
    """Which point (x, y) of the sheet is seen at (u, v): `seen_at` inverted by fixed-point iteration."""
    (cos, sin), _ = roll(at).T.astype(np.float32)
    across, down = cos * u + sin * v, cos * v - sin * u
    (sin_yaw, cos_yaw), (sin_pitch, cos_pitch) = (
        (np.float32(np.sin(at[turn])), np.float32(np.cos(at[turn]))) for turn in ("yaw", "pitch")
    )
    x, y = across, down
    for _ in range(_ITERATIONS):
        z = depth(who, x, y)
        x, y = (across - z * sin_yaw) / cos_yaw, (down - z * sin_pitch) / cos_pitch
    return x, y


def roll(at: Moment) -> NDArray[np.float64]:
    """Rotation in the picture ``[2, 2]``, clockwise."""
    cos, sin = np.cos(at["roll"]), np.sin(at["roll"])
    return np.array([[cos, -sin], [sin, cos]])


def rotation(at: Moment) -> NDArray[np.float64]:
    """Rotation of the head in space ``[3, 3]``: pitch (nose down), yaw (nose right), roll (clockwise)."""
    (sin_y, cos_y), (sin_p, cos_p) = ((np.sin(at[turn]), np.cos(at[turn])) for turn in ("yaw", "pitch"))
    pitch = np.array([[1, 0, 0], [0, cos_p, sin_p], [0, -sin_p, cos_p]])
    yaw = np.array([[cos_y, 0, sin_y], [0, 1, 0], [-sin_y, 0, cos_y]])
    in_picture = np.eye(3)
    in_picture[:2, :2] = roll(at)
    return np.asarray(in_picture @ yaw @ pitch)
