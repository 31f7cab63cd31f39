"""Skin: its tint, folds, ears and marks."""

from __future__ import annotations

import cv2
import numpy as np

from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.identity import Identity
from opticaldr.models.data.sheet import Points, Sheet, disc, paint, planes, smooth

_SIDES = (-1, 1)


def bare_head(who: Identity, sheet: Sheet, face: FloatArray, ears: FloatArray) -> FloatArray:
    """Reflectance of the head without hair, linear RGB ``[3, y, x]``, given what face and ears cover."""
    skin = np.empty((3, *sheet.shape), np.float32)
    skin[:] = planes(who.skin)
    blush = sheet.twin(0.6 * who.cheek, 0.2, 0.09, 0.07) + sheet.spot(0, who.nose_length, 0.06, 0.05)
    skin *= 1 - blush * planes((0.0, 0.08, 0.08))
    skin *= 1 - _shadows(who, sheet, face) * planes((0.85, 1.0, 1.05))
    behind = 1 - face
    paint(skin, 0.35 * ears * behind, np.multiply(who.skin, (0.75, 0.5, 0.45)))
    shells = sheet.mask(*(ear(who, side, 0.55) for side in _SIDES), soft=0.01)
    paint(skin, 0.5 * shells * behind, np.multiply(who.skin, 0.4))
    nostrils = [disc(side * 0.45 * who.nose_width, who.nose_length + 0.038, 0.024, 0.011) for side in _SIDES]
    paint(skin, 0.75 * sheet.mask(*nostrils, soft=0.005), np.multiply(who.skin, (0.2, 0.1, 0.09)))
    moles = sheet.mask(*(disc(x, y, 0.012, 0.012) for x, y in who.moles))
    paint(skin, 0.8 * moles, np.multiply(who.skin, (0.3, 0.2, 0.18)))
    if who.freckles > 0:
        places = np.random.default_rng(round(1e6 * who.freckles)).normal((0, 0.15), (0.17, 0.055), (70, 2))
        freckles = sheet.mask(*(disc(x, y, 0.008, 0.008) for x, y in places), soft=0.003)
        paint(skin, 0.55 * who.freckles * freckles, np.multiply(who.skin, (0.6, 0.38, 0.3)))
    return skin


def ear(who: Identity, side: int, size: float = 1.0) -> Points:
    """Outline of an ear; `size` below one gives its inner rim."""
    root, stand = side * (who.cheek - 0.015), side * who.ear_stand * size
    middle, half = 0.10, who.ear_size * size
    return smooth(
        [
            (root, middle - 0.7 * half),
            (root + 0.8 * stand, middle - half),
            (root + 1.3 * stand, middle - 0.5 * half),
            (root + stand, middle + 0.2 * half),
            (root + 0.6 * stand, middle + 0.95 * half),
            (root, middle + 0.7 * half),
        ]
    )


def _shadows(who: Identity, sheet: Sheet, face: FloatArray) -> FloatArray:
    """Light lost in hollows and folds (ambient occlusion), 0 to 0.8 ``[y, x]``; the lamps come later."""
    nose, lip = who.nose_length, who.mouth_height + 1.5 * who.lower_lip
    lost = 0.22 * who.relief * sheet.twin(who.eye_distance - 0.03, -0.035, 0.085, 0.035)  # under the brow
    lost += 0.10 * sheet.twin(who.eye_distance, 0.075, 0.07, 0.018)  # under the eye
    lost += 0.16 * sheet.twin(0.085, 0.0, 0.025, 0.05)  # beside the root of the nose
    lost += 0.15 * sheet.twin(who.nose_width + 0.012, nose + 0.005, 0.014, 0.04)  # round its wings
    lost += 0.30 * sheet.spot(0, nose + 0.06, 0.6 * who.nose_width, 0.018)  # under it
    lost += 0.22 * sheet.spot(0, lip + 0.02, 0.09, 0.02)  # under the lower lip
    lost += 0.70 * (1 - cv2.GaussianBlur(face, (0, 0), 0.03 * sheet.scale))  # where the face turns away
    return np.asarray(np.clip(lost, 0, 0.8))
