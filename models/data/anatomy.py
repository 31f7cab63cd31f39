"""The shape of a head: outline and relief of the face, volume of the hair, and how both turn in space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.identity import Identity
from opticaldr.models.data.sheet import Points, Sheet, smooth

HEAD_DEPTH = 0.5  # from the plane of the ears to the face, face widths


def outline(who: Identity) -> Points:
    """The face without ears and hair, clockwise from the crown, as a closed curve."""
    chin_y = who.length
    right = [
        (0.55 * who.temple, who.crown + 0.07),
        (0.92 * who.temple, 0.6 * who.crown),
        (who.temple, -0.15),
        (who.cheek, 0.10),
        (0.5 * (who.cheek + who.jaw), 0.5 * (0.10 + who.mouth_height)),
        (who.jaw, who.mouth_height),
        (0.8 * who.jaw + 0.2 * who.chin, 0.55 * who.mouth_height + 0.45 * chin_y),
        (0.95 * who.chin, 0.13 * who.mouth_height + 0.87 * chin_y),
    ]
    left = [(-x, y) for x, y in reversed(right)]
    return smooth([(0.0, who.crown), *right, (0.0, chin_y), *left])


def half_width(who: Identity, y: NDArray[np.floating]) -> FloatArray:
    """Half the width of the face at height `y` (smooth; small but never zero beyond its ends)."""
    curve = outline(who)
    right = curve[: len(curve) // 2 + 1]
    order = np.argsort(right[:, 1])
    width = np.interp(y, right[order, 1], right[order, 0])
    return np.asarray(np.maximum(width, 0.08), np.float32)


def relief(who: Identity, sheet: Sheet) -> FloatArray:
    """Height of the face towards the camera over the plane of the ears ``[y, x]``, in face widths."""
    x, y = sheet.axes()
    across = np.minimum(np.abs(x) / half_width(who, y), 1.0) ** 2.6
    middle, reach = 0.5 * (who.length + who.crown), 0.56 * (who.length - who.crown)
    along = np.minimum(np.abs((y - middle) / reach), 1.0) ** 2.6
    height = HEAD_DEPTH * np.sqrt(np.maximum((1 - across) * (1 - along), 0))
    height += who.relief * (
        0.022 * sheet.twin(0.17, -0.6 * who.brow_height, 0.11, 0.035)  # brow ridge
        - 0.045 * sheet.twin(who.eye_distance, 0.005, 0.085, 0.05)  # eye sockets
        + 0.030 * sheet.twin(who.eye_distance, 0.0, 0.055, 0.035)  # eyeballs
        + 0.030 * sheet.twin(0.66 * who.cheek, 0.17, 0.085, 0.07)  # cheekbones
        - 0.020 * sheet.twin(0.72 * who.jaw, 0.9 * who.mouth_height, 0.06, 0.09)  # hollow of the cheeks
        + 0.035 * sheet.spot(0.0, who.mouth_height, 0.13, 0.08)  # teeth behind the lips
        - 0.022 * sheet.spot(0.0, who.mouth_height + 2.0 * who.lower_lip, 0.09, 0.022)  # above the chin
        + 0.040 * sheet.spot(0.0, who.length - 0.09, 0.4 * who.chin, 0.055)  # chin
        - 0.008 * sheet.spot(0.0, who.mouth_height - 0.075, 0.016, 0.03)  # philtrum
    )
    return np.asarray(height + nose(who, x, y), dtype=np.float32)


def nose(who: Identity, x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.floating]:
    """Height of the nose over the face: a ridge that rises to the tip, ends there, and has two wings."""
    tip, root = who.nose_length, -0.06
    rise = np.clip((y - root) / (tip - root), 0.0, 1.0)
    profile = who.nose_height * (0.15 + 0.85 * rise**1.3) * np.clip((y - root + 0.08) / 0.08, 0, 1)
    profile = profile * np.exp(-((np.maximum(y - tip, 0.0) / 0.042) ** 2))
    spread = who.nose_bridge + (0.55 * who.nose_width - who.nose_bridge) * rise**2
    ridge = profile * np.exp(-((x / spread) ** 2) / 2)
    wings = np.exp(-(((np.abs(x) - 0.68 * who.nose_width) / 0.03) ** 2) / 2 - ((y - tip) / 0.035) ** 2 / 2)
    return np.asarray(ridge + 0.25 * who.nose_height * wings)


def volume(who: Identity, sheet: Sheet) -> FloatArray:
    """Height of the hair over the plane of the ears ``[y, x]``: an ellipsoid about the skull."""
    x, y = sheet.axes()
    wide, top = who.temple + who.hair_side, who.crown - who.hair_top
    inside = (
        1 - np.minimum(np.abs(x) / (1.04 * wide), 1.0) ** 2.4 - np.minimum(np.abs(y + 0.1) / -top, 1.0) ** 2.4
    )
    return np.asarray(0.55 * np.sqrt(np.maximum(inside, 0.02)), dtype=np.float32)


def normals(height: FloatArray, scale: float) -> FloatArray:
    """Unit normals ``[3, y, x]`` of a height map sampled at `scale` pixels per face width."""
    down, across = np.gradient(height, 1.0 / scale)
    length = np.sqrt(1 + down**2 + across**2)
    return np.stack([-across / length, -down / length, 1 / length]).astype(np.float32)


def depth(who: Identity, x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.floating]:
    """Distance of a point of the head's sheet in front of the axis about which the head turns, face widths.

    Smoother than the relief: a paraboloid with a nose. Its slopes stay below one over the sine of the
    largest turn, so that no part of the sheet ever folds over another and turning can be inverted.
    """
    bowl = HEAD_DEPTH - 1.15 * x**2 - 0.42 * (y - 0.05) ** 2
    ridge = np.exp(-((x / (0.9 * who.nose_width)) ** 2) / 2 - ((y - who.nose_length + 0.03) / 0.11) ** 2 / 2)
    return np.asarray(np.maximum(bowl, -0.45) + 0.6 * who.nose_height * ridge)
