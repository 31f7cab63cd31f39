"""What does not move behind a head: the wall out of focus, and the neck and shoulders before it."""

from __future__ import annotations

import cv2
import numpy as np

from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.identity import Identity
from opticaldr.models.data.setting import Setting
from opticaldr.models.data.sheet import Sheet, paint, planes, smooth


def wall(where: Setting, sheet: Sheet) -> FloatArray:
    """The blurred room behind the subject, linear RGB ``[3, y, x]``."""
    coarse = Sheet(
        sheet.left, sheet.top, sheet.scale / 4, ((sheet.shape[0] + 3) // 4, (sheet.shape[1] + 3) // 4)
    )
    x, y = coarse.axes()
    slope = np.clip(1 + where.wall_gradient[0] * x + where.wall_gradient[1] * y, 0.3, 1.7)
    picture = planes(where.wall) * slope
    for left, top, width, height, colour in where.furniture:
        corners = [
            (left - width, top - height),
            (left + width, top - height),
            (left + width, top + height),
            (left - width, top + height),
        ]
        paint(picture, coarse.mask(np.array(corners), soft=0.06), colour)
    full = [
        cv2.resize(plane, (4 * coarse.shape[1], 4 * coarse.shape[0]), interpolation=cv2.INTER_LINEAR)
        for plane in picture
    ]
    return np.stack(full)[:, : sheet.shape[0], : sheet.shape[1]].copy()


def body(who: Identity, where: Setting, sheet: Sheet) -> tuple[FloatArray, FloatArray]:
    """Neck and shoulders: linear RGB ``[3, y, x]`` already lit, and their opacity ``[y, x]``."""
    x, y = sheet.axes()
    light = planes(where.fill) + 0.75 * planes(where.key)
    light = light * np.clip(1 + 0.5 * where.key_direction[0] * x - 0.15 * (y - 1), 0.4, 1.6)
    wide = 0.5 * who.jaw + 0.085
    base = who.length + 0.22
    right = [
        (wide, 0.2),
        (0.98 * wide, 0.85 * base),
        (1.12 * wide, base),
        (0.75, base + 0.16),
        (1.05, base + 0.42),
        (1.15, base + 1.2),
    ]
    torso = smooth(right + [(-a, b) for a, b in reversed(right)])
    cover = sheet.mask(torso)
    picture = np.empty((3, *sheet.shape), np.float32)
    picture[:] = planes(who.skin) * planes((0.85, 0.78, 0.76))
    under_chin = np.exp(-((np.maximum(y - who.length - 0.02, 0) / 0.17) ** 2)) * np.exp(-((x / 0.5) ** 2))
    picture *= 1 - 0.75 * under_chin
    dip = 0.08 + 0.25 * where.collar
    neckline = [
        (-1.3, base - 0.2),
        (-1.18 * wide, base - 0.05),
        (0, base + dip),
        (1.18 * wide, base - 0.05),
        (1.3, base - 0.2),
        (1.3, base + 2),
        (-1.3, base + 2),
    ]
    cloth = sheet.mask(np.array(neckline))
    paint(picture, 0.4 * sheet.mask(np.array(neckline) - (0, 0.02), soft=0.02), np.multiply(who.skin, 0.35))
    paint(picture, cloth, where.clothes)
    return np.asarray(picture * light, np.float32), cover
