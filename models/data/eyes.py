"""The eyes in one moment: lids, irises, brows, and the glasses before them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.dynamics import Moment
from opticaldr.models.data.identity import Identity
from opticaldr.models.data.sheet import Points, Sheet, disc, paint

EYEBALL = 0.085  # radius, face widths; a little over life size, as in all friendly faces
_ALONG = np.linspace(-1.0, 1.0, 17)  # from the inner corner to the outer
_BULGE = 1 - np.abs(_ALONG) ** 2.3


def draw_eyes(who: Identity, at: Moment, sheet: Sheet, picture: FloatArray) -> None:
    """Draw lids, whites, irises and lashes over ``[3, y, x]``, in place."""
    skin = np.array(who.skin)
    opening = who.eye_opening
    squeeze = max(at["smile"], 0.0)
    # The upper lid follows a lowered gaze; a smile lifts the lower lid.
    raised = opening * (1.0 - 0.9 * at["gaze_y"]) * (1 - at["blink"]) - 0.55 * opening * at["blink"]
    sunk = opening * (0.62 - 0.30 * squeeze)
    upper, lower = -max(raised, -sunk) * _BULGE, sunk * _BULGE
    lash = 0.012 + 0.010 * np.clip(_ALONG + 0.6, 0, 1)
    crease = upper - (0.022 + 0.016 * (1 - at["blink"])) * (0.45 + 0.55 * _BULGE)

    def band(top: NDArray[np.float64], bottom: NDArray[np.float64], stretch: float = 1.0) -> list[Points]:
        x = stretch * who.eye_length * _ALONG
        return _both(who, np.concatenate([x, x[::-1]]), np.concatenate([top, bottom[::-1]]), who.eye_slant)

    paint(picture, 0.28 * sheet.mask(*band(crease, upper, 1.08)), skin * (0.62, 0.46, 0.42))
    paint(picture, 0.50 * sheet.mask(*band(crease - 0.006, crease + 0.004, 1.05)), skin * 0.4)
    white = sheet.mask(*band(upper, lower))
    paint(picture, white, (0.70, 0.67, 0.65))
    look_x, look_y = EYEBALL * np.sin(at["gaze_x"]), EYEBALL * np.sin(at["gaze_y"]) * 0.9
    radius = who.iris_radius
    centres = [(side * who.eye_distance + look_x, look_y) for side in (-1.0, 1.0)]

    def discs(size: float, right: float = 0.0, down: float = 0.0) -> FloatArray:
        rounds = [disc(x + right, y + down, size, size) for x, y in centres]
        return np.minimum(sheet.mask(*rounds), white)

    paint(picture, discs(radius), np.multiply(who.iris, 0.35))
    paint(picture, discs(0.82 * radius, 0, 0.004), who.iris)
    paint(picture, discs(0.42 * radius), (0.008, 0.007, 0.007))
    paint(picture, 0.45 * np.minimum(sheet.mask(*band(upper, upper + 0.016)), white), (0.12, 0.09, 0.09))
    paint(picture, 0.9 * discs(0.24 * radius, -0.32 * radius, -0.36 * radius), (1.0, 1.0, 1.0))
    paint(
        picture,
        0.45 * sheet.mask(*band(lower - 0.003, lower + 0.007, 1.02)),
        skin * (0.45, 0.32, 0.3),
    )
    paint(picture, 0.92 * sheet.mask(*band(upper - lash, upper + 0.003, 1.07)), np.multiply(who.brow, 0.35))


def draw_brows(who: Identity, at: Moment, sheet: Sheet, picture: FloatArray) -> None:
    """Draw the brows over ``[3, y, x]``, in place; in grief their inner ends rise and come together."""
    x = who.brow_length * _ALONG
    arch = -who.brow_arch * (1 - ((_ALONG - 0.25) / 1.1) ** 2) - 0.015 * max(at["smile"], 0.0)
    arch = arch + at["brow"] * (0.012 - 0.045 * np.clip(-_ALONG, 0, 1))  # only the inner ends rise
    thick = who.brow_thickness * np.clip(1.15 - 0.55 * _ALONG, 0, 1.2) * np.clip(6 * (1 - _ALONG**2), 0.25, 1)
    x = x + 0.01 - 0.018 * at["brow"]
    top, bottom = arch - thick - who.brow_height, arch + 0.6 * thick - who.brow_height
    brows = _both(who, np.concatenate([x, x[::-1]]), np.concatenate([top, bottom[::-1]]), who.brow_slant)
    paint(picture, 0.85 * sheet.mask(*brows, soft=0.004), who.brow)


def glasses(who: Identity, sheet: Sheet) -> FloatArray | None:
    """Opacity of the rims ``[y, x]``; None for somebody who wears none."""
    if who.glasses == 0:
        return None
    cover = np.zeros(sheet.shape, np.float32)
    for side in (-1.0, 1.0):
        x, outer, inner = side * (who.eye_distance + 0.01), who.glasses, who.glasses - 0.016
        rim = sheet.mask(disc(x, 0.02, outer, 0.85 * outer)) - sheet.mask(disc(x, 0.02, inner, 0.85 * inner))
        cover = np.maximum(cover, rim)
        edge = side * (who.eye_distance + 0.01 + who.glasses)
        arm = np.array([(edge, -0.01), (side * 0.6, -0.03), (side * 0.6, -0.015), (edge, 0.008)])
        cover = np.maximum(cover, sheet.mask(arm))
    gap = who.eye_distance + 0.01 - who.glasses
    bridge = np.array([(-gap, -0.01), (0, -0.03), (gap, -0.01), (gap, 0.005), (0, -0.013), (-gap, 0.005)])
    return np.maximum(cover, sheet.mask(bridge))


def _both(who: Identity, x: NDArray[np.float64], y: NDArray[np.float64], slant: float) -> list[Points]:
    """An outline about one eye (x outwards), its outer end raised by `slant`, on both sides."""
    tilted = y - np.sin(slant) * x
    return [np.stack([side * (who.eye_distance + x), tilted], -1) for side in (-1.0, 1.0)]
