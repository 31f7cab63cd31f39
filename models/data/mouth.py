"""The mouth: where its corners are, and how lips, teeth and folds look in one moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.dynamics import Moment
from opticaldr.models.data.identity import Identity
from opticaldr.models.data.sheet import Points, Sheet, disc, paint

_ALONG = np.linspace(-1.0, 1.0, 17)  # from corner to corner


def mouth_corners(who: Identity, at: Moment) -> Points:
    """Left and right corner of the mouth on the sheet ``[2, 2]``: a smile draws them out and up."""
    reach = who.mouth_width * (1 + 0.34 * at["smile"] - 0.12 * at["mouth"])
    height = who.mouth_height - 0.095 * at["smile"] + 0.012 * at["mouth"]
    return np.array([[-reach, height], [reach, height]])


def draw_mouth(who: Identity, at: Moment, sheet: Sheet, picture: FloatArray) -> None:
    """Draw lips, teeth and the folds about them over ``[3, y, x]``, in place."""
    smile = at["smile"]
    corners = mouth_corners(who, at)
    (_, corner_y), (reach, _) = corners
    _draw_folds(who, corners, max(smile, 0.0), sheet, picture)
    x, arc = reach * _ALONG, 1 - _ALONG**2
    gap = 0.075 * at["mouth"] + 0.06 * max(smile - 0.2, 0.0)
    middle = who.mouth_height + (corner_y - who.mouth_height) * _ALONG**2 + 0.006 * smile
    stretched = 1 - 0.22 * max(smile, 0.0)
    bow = 1 - who.cupid * np.exp(-((_ALONG / 0.14) ** 2))
    inner_top, inner_bottom = middle - 0.25 * gap * arc, middle + 0.75 * gap * arc**0.8
    top = inner_top - 1.15 * stretched * who.upper_lip * arc**0.75 * bow
    bottom = inner_bottom + stretched * who.lower_lip * arc**0.85

    def band(above: NDArray[np.float64], below: NDArray[np.float64]) -> Points:
        return np.stack([np.concatenate([x, x[::-1]]), np.concatenate([above, below[::-1]])], -1)

    lips = np.array(who.lips)
    paint(picture, 0.85 * sheet.mask(band(top, inner_bottom), soft=0.003), lips * 0.8)
    paint(picture, 0.85 * sheet.mask(band(inner_top, bottom), soft=0.003), lips)
    moist = 0.35 * (bottom - inner_bottom) * arc
    moist_band = sheet.mask(band(inner_bottom + moist, bottom - 1.2 * moist), soft=0.006)
    paint(picture, 0.25 * moist_band, lips + 0.25)
    if gap > 0.004:
        inside = sheet.mask(band(inner_top, inner_bottom))
        paint(picture, inside, (0.035, 0.008, 0.008))
        teeth = sheet.mask(band(inner_top, np.minimum(inner_top + 0.004 + 0.045 * arc, inner_bottom)))
        paint(picture, 0.9 * np.minimum(teeth, inside), (0.62, 0.60, 0.55))
    parting = sheet.mask(band(inner_top - 0.005, inner_top + 0.006))
    paint(picture, 0.75 * parting, lips * (0.3, 0.22, 0.22))


def _draw_folds(who: Identity, corners: Points, smile: float, sheet: Sheet, picture: FloatArray) -> None:
    """The folds from the nose to beyond the mouth, deeper in a smile, and the pits at its corners."""
    along = np.linspace(0, 1, 9)[:, None]
    for side, corner in zip((-1.0, 1.0), corners, strict=True):
        start = np.array([side * (who.nose_width + 0.015), who.nose_length + 0.01])
        end = corner + np.array([side * 0.05, 0.03])
        bend = 4 * along * (1 - along) * (side * 0.035 * (1 + smile), -0.01)
        curve = start + along * (end - start) + bend
        width = 0.012 * np.sin(np.pi * along) * (side, 0.3)
        fold = sheet.mask(np.concatenate([curve - width, (curve + width)[::-1]]), soft=0.009)
        paint(picture, (0.12 * who.relief + 0.4 * smile) * fold, np.multiply(who.skin, (0.55, 0.4, 0.36)))
    pits = sheet.mask(*(disc(x, y, 0.012, 0.012) for x, y in corners), soft=0.006)
    paint(picture, 0.5 * pits, np.multiply(who.skin, (0.4, 0.26, 0.24)))
