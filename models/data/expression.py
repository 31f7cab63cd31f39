"""What moves in a face: lids, irises, brows and lips, drawn onto a portrait for one moment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.identity import Identity
from opticaldr.models.data.portrait import Portrait
from opticaldr.models.data.sheet import Points, paint

Moment = Mapping[str, float]

EYEBALL = 0.085  # radius, face widths; a little over life size, as in all friendly faces
_ALONG = np.linspace(-1.0, 1.0, 17)
_TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_BULGE = 1 - np.abs(_ALONG) ** 2.3


def mouth_corners(who: Identity, at: Moment) -> Points:
    """Left and right corner of the mouth on the sheet ``[2, 2]``: a smile draws them out and up."""
    reach = who.mouth_width * (1 + 0.30 * at["smile"] - 0.12 * at["mouth"])
    height = who.mouth_height - 0.08 * at["smile"] + 0.012 * at["mouth"]
    return np.array([[-reach, height], [reach, height]])


class Expression:
    """Draws the moving features of one person over the same two windows of a portrait, moment by moment."""

    def __init__(self, portrait: Portrait) -> None:
        who, sheet = portrait.who, portrait.sheet
        self.who = who
        wide = who.eye_distance + who.eye_length + 0.13
        self._eyes, eyes_at = sheet.window(-wide, -who.brow_height - 0.12, wide, 0.2)
        self._mouth, mouth_at = sheet.window(-0.34, who.nose_length - 0.08, 0.34, who.mouth_height + 0.21)
        self.picture = portrait.paint.copy()
        self._windows = [(slice(None), *eyes_at), (slice(None), *mouth_at)]
        self._bare = [portrait.paint[window].copy() for window in self._windows]
        self._rims = self._glasses()
        self._skin = np.array(who.skin)

    def draw(self, at: Moment) -> FloatArray:
        """The portrait's paint ``[3, y, x]`` with this moment's expression; valid until the next call."""
        eyes, mouth = (self.picture[window] for window in self._windows)
        eyes[:], mouth[:] = self._bare
        self._draw_mouth(mouth, at)
        self._draw_eyes(eyes, at)
        return self.picture

    def _draw_eyes(self, picture: FloatArray, at: Moment) -> None:
        who, sheet = self.who, self._eyes
        opening = who.eye_opening
        squeeze = max(at["smile"], 0.0)
        # The upper lid follows a lowered gaze; a smile lifts the lower lid.
        raised = opening * (1.0 - 0.9 * at["gaze_y"]) * (1 - at["blink"]) - 0.55 * opening * at["blink"]
        sunk = opening * (0.62 - 0.30 * squeeze)
        upper, lower = -max(raised, -sunk) * _BULGE, sunk * _BULGE
        lash = 0.012 + 0.010 * np.clip(_ALONG + 0.6, 0, 1)
        crease = upper - (0.022 + 0.016 * (1 - at["blink"])) * (0.45 + 0.55 * _BULGE)
        knit = at["brow"]

        def both(
            x: NDArray[np.float64], y: NDArray[np.float64], slant: float = who.eye_slant
        ) -> list[Points]:
            """An outline given about the right eye (x outwards), placed on both."""
            tilted = y - np.sin(slant) * x
            return [np.stack([side * (who.eye_distance + x), tilted], -1) for side in (-1.0, 1.0)]

        def band(top: NDArray[np.float64], bottom: NDArray[np.float64], stretch: float = 1.0) -> list[Points]:
            x = stretch * who.eye_length * _ALONG
            return both(np.concatenate([x, x[::-1]]), np.concatenate([top, bottom[::-1]]))

        paint(picture, 0.28 * sheet.mask(*band(crease, upper, 1.08)), self._skin * (0.62, 0.46, 0.42))
        paint(picture, 0.50 * sheet.mask(*band(crease - 0.006, crease + 0.004, 1.05)), self._skin * 0.4)
        white = sheet.mask(*band(upper, lower))
        paint(picture, white, (0.70, 0.67, 0.65))
        look_x, look_y = EYEBALL * np.sin(at["gaze_x"]), EYEBALL * np.sin(at["gaze_y"]) * 0.9
        radius = who.iris_radius
        centres = [np.array([side * who.eye_distance + look_x, look_y]) for side in (-1.0, 1.0)]

        def discs(size: float, right: float = 0.0, down: float = 0.0) -> FloatArray:
            ring = size * np.stack([np.cos(_TURN), np.sin(_TURN)], -1) + (right, down)
            return np.minimum(sheet.mask(*(ring + centre for centre in centres)), white)

        paint(picture, discs(radius), np.multiply(who.iris, 0.35))
        paint(picture, discs(0.82 * radius, 0, 0.004), who.iris)
        paint(picture, discs(0.42 * radius), (0.008, 0.007, 0.007))
        paint(picture, 0.45 * np.minimum(sheet.mask(*band(upper, upper + 0.016)), white), (0.12, 0.09, 0.09))
        paint(picture, 0.9 * discs(0.24 * radius, -0.32 * radius, -0.36 * radius), (1.0, 1.0, 1.0))
        paint(
            picture,
            0.45 * sheet.mask(*band(lower - 0.003, lower + 0.007, 1.02)),
            self._skin * (0.45, 0.32, 0.3),
        )
        paint(
            picture, 0.92 * sheet.mask(*band(upper - lash, upper + 0.003, 1.07)), np.multiply(who.brow, 0.35)
        )

        x = who.brow_length * _ALONG
        arch = -who.brow_arch * (1 - ((_ALONG - 0.25) / 1.1) ** 2) - 0.015 * squeeze
        arch = arch + knit * (0.012 - 0.045 * np.clip(-_ALONG, 0, 1))  # only the inner ends rise
        thick = (
            who.brow_thickness * np.clip(1.15 - 0.55 * _ALONG, 0, 1.2) * np.clip(6 * (1 - _ALONG**2), 0.25, 1)
        )
        x = x + 0.01 - 0.018 * knit
        top, bottom = arch - thick - who.brow_height, arch + 0.6 * thick - who.brow_height
        brows = both(np.concatenate([x, x[::-1]]), np.concatenate([top, bottom[::-1]]), who.brow_slant)
        paint(picture, 0.85 * sheet.mask(*brows, soft=0.004), who.brow)
        if self._rims is not None:
            paint(picture, self._rims, who.rims)

    def _draw_mouth(self, picture: FloatArray, at: Moment) -> None:
        who, sheet = self.who, self._mouth
        smile, squeeze = at["smile"], max(at["smile"], 0.0)
        (left, height), (right, _) = mouth_corners(who, at)
        x = right * _ALONG
        open_by = 0.075 * at["mouth"] + 0.05 * max(smile - 0.3, 0.0)
        arc = 1 - _ALONG**2
        middle = who.mouth_height + (height - who.mouth_height) * _ALONG**2 + 0.006 * smile
        thin = 1 - 0.22 * squeeze
        bow = 1 - who.cupid * np.exp(-((_ALONG / 0.14) ** 2))
        inner_top = middle - 0.25 * open_by * arc
        inner_bottom = middle + 0.75 * open_by * arc**0.8
        top = inner_top - thin * who.upper_lip * 1.15 * arc**0.75 * bow
        bottom = inner_bottom + thin * who.lower_lip * arc**0.85

        def band(above: NDArray[np.float64], below: NDArray[np.float64]) -> Points:
            return np.stack([np.concatenate([x, x[::-1]]), np.concatenate([above, below[::-1]])], -1)

        fold = np.linspace(0, 1, 9)
        for side, corner in ((-1.0, left), (1.0, right)):
            start = np.array([side * (who.nose_width + 0.015), who.nose_length + 0.01])
            end = np.array([corner + side * 0.05, height + 0.03])
            bend = np.array([side * 0.035 * (1 + squeeze), -0.01])
            curve = start + fold[:, None] * (end - start) + (4 * fold * (1 - fold))[:, None] * bend
            thick = 0.012 * np.sin(np.pi * fold)[:, None] * np.array([side, 0.3])
            crease = sheet.mask(np.concatenate([curve - thick, (curve + thick)[::-1]]), soft=0.009)
            paint(picture, (0.12 * who.relief + 0.4 * squeeze) * crease, self._skin * (0.55, 0.4, 0.36))
        lips = np.array(who.lips)
        paint(picture, 0.85 * sheet.mask(band(top, inner_bottom), soft=0.003), lips * 0.8)
        paint(picture, 0.85 * sheet.mask(band(inner_top, bottom), soft=0.003), lips)
        shine = 0.35 * (bottom - inner_bottom) * arc
        paint(
            picture,
            0.25 * sheet.mask(band(inner_bottom + shine, bottom - 1.2 * shine), soft=0.006),
            lips + 0.25,
        )
        if open_by > 0.004:
            inside = sheet.mask(band(inner_top, inner_bottom))
            paint(picture, inside, (0.035, 0.008, 0.008))
            teeth = np.minimum(inner_top + 0.004 + 0.045 * arc, inner_bottom)
            paint(picture, 0.9 * np.minimum(sheet.mask(band(inner_top, teeth)), inside), (0.62, 0.60, 0.55))
        paint(
            picture, 0.75 * sheet.mask(band(inner_top - 0.005, inner_top + 0.006)), lips * (0.3, 0.22, 0.22)
        )
        pits = [
            np.stack([c + 0.012 * np.cos(_TURN), height + 0.012 * np.sin(_TURN)], -1) for c in (left, right)
        ]
        paint(picture, 0.5 * sheet.mask(*pits, soft=0.006), self._skin * (0.4, 0.26, 0.24))

    def _glasses(self) -> FloatArray | None:
        """Opacity of the rims within the eyes' window; None for bare eyes."""
        who, sheet = self.who, self._eyes
        if who.glasses == 0:
            return None
        ring = np.stack([np.cos(_TURN), 0.85 * np.sin(_TURN)], -1)
        cover = np.zeros(sheet.shape, np.float32)
        for side in (-1.0, 1.0):
            centre = (side * (who.eye_distance + 0.01), 0.02)
            rim = sheet.mask(ring * who.glasses + centre) - sheet.mask(ring * (who.glasses - 0.016) + centre)
            cover = np.maximum(cover, rim)
            edge = side * (who.eye_distance + 0.01 + who.glasses)
            arm = np.array([(edge, -0.01), (side * 0.6, -0.03), (side * 0.6, -0.015), (edge, 0.008)])
            cover = np.maximum(cover, sheet.mask(arm))
        gap = who.eye_distance + 0.01 - who.glasses
        bridge = np.array([(-gap, -0.01), (0, -0.03), (gap, -0.01), (gap, 0.005), (0, -0.013), (-gap, 0.005)])
        return np.maximum(cover, sheet.mask(bridge))
