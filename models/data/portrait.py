"""What stays the same on a head while it moves: skin, ears, hair and relief, painted once per clip."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from opticaldr.models.data.anatomy import normals, outline, relief, volume
from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.hair import back_hair, front_hair, strands
from opticaldr.models.data.identity import Identity
from opticaldr.models.data.sheet import Points, Sheet, paint, planes, smooth

_SHADE_STEP = 2  # the relief is kept at half the resolution of the paint


@dataclass(frozen=True)
class Portrait:
    """A head laid flat, ready to be given an expression, lit and turned.

    Attributes:
        sheet: where its pixels lie.
        paint: reflectance, linear RGB ``[3, y, x]``.
        cover: opacity ``[y, x]``.
        normals: unit normals ``[3, y / 2, x / 2]``.
        gloss: strength of the sheen ``[y / 2, x / 2]``.
        back_sheet, back: the hair behind the head, premultiplied linear RGBA ``[4, y, x]``; None
            where it does not show.
    """

    who: Identity
    sheet: Sheet
    paint: FloatArray
    cover: FloatArray
    normals: FloatArray
    gloss: FloatArray
    back_sheet: Sheet
    back: FloatArray | None


def portray(who: Identity, scale: float) -> Portrait:
    """Paint the unmoving parts of a head at `scale` pixels per face width."""
    sheet = Sheet.spanning(-0.8, -1.0, 0.8, 0.85, scale)
    sheet = Sheet(sheet.left, sheet.top, scale, (sheet.shape[0] & ~1, sheet.shape[1] & ~1))
    coarse = Sheet(
        sheet.left,
        sheet.top,
        scale / _SHADE_STEP,
        (sheet.shape[0] // _SHADE_STEP, sheet.shape[1] // _SHADE_STEP),
    )
    skin = np.empty((3, *sheet.shape), np.float32)
    skin[:] = planes(who.skin)
    face = sheet.mask(outline(who))
    ears = sheet.mask(*(_ear(who, side, 1.0) for side in (-1, 1)))
    _complexion(who, sheet, skin, face)
    paint(skin, 0.35 * ears * (1 - face), np.multiply(who.skin, (0.75, 0.5, 0.45)))
    paint(
        skin,
        0.5 * sheet.mask(*(_ear(who, side, 0.55) for side in (-1, 1)), soft=0.01) * (1 - face),
        np.multiply(who.skin, 0.4),
    )
    _beard(who, sheet, skin, face)

    hair = sheet.mask(*front_hair(who))
    shadow = cv2.GaussianBlur(hair, (0, 0), 0.035 * scale)
    shadow = np.roll(shadow, int(0.02 * scale), axis=0)
    skin *= 1 - 0.45 * shadow
    tresses = planes(who.hair) * strands(who, sheet)
    rim = cv2.dilate(hair, np.ones((3, 3), np.uint8)) * (1 - np.maximum(face, ears))
    paint(skin, rim, tresses)  # no skin shows through the outer edge of the hair
    paint(skin, hair, tresses)

    small = cv2.resize(hair, coarse.shape[::-1], interpolation=cv2.INTER_AREA)
    bare, covered = normals(relief(who, coarse), coarse.scale), normals(volume(who, coarse), coarse.scale)
    shape = bare + small * (covered - bare)
    shape /= np.maximum(np.linalg.norm(shape, axis=0), 1e-6)
    gloss = (
        (1 - small)
        * 0.10
        * (0.5 + coarse.spot(0, -0.3, 0.2, 0.15) + coarse.spot(0, who.nose_length, 0.03, 0.1))
    )
    back_sheet, back = back_hair(who, scale)
    return Portrait(
        who,
        sheet,
        skin,
        np.maximum(np.maximum(face, ears), hair),
        shape.astype(np.float32),
        gloss.astype(np.float32),
        back_sheet,
        back,
    )


def _complexion(who: Identity, sheet: Sheet, skin: FloatArray, face: FloatArray) -> None:
    """Blood, folds and shadows that no single lamp explains: tint and occlusion of the skin, in place."""
    blush = 0.5 * sheet.twin(0.6 * who.cheek, 0.2, 0.09, 0.07) + 0.5 * sheet.spot(
        0, who.nose_length, 0.06, 0.05
    )
    skin *= 1 - blush * planes((0.0, 0.16, 0.16))
    shade = 0.22 * who.relief * sheet.twin(who.eye_distance - 0.03, -0.035, 0.085, 0.035)  # under the brow
    shade += 0.10 * sheet.twin(who.eye_distance, 0.075, 0.07, 0.018)  # under the eye
    shade += 0.16 * sheet.twin(0.085, 0.0, 0.025, 0.05)  # beside the root of the nose
    shade += 0.30 * sheet.spot(0, who.nose_length + 0.06, 0.6 * who.nose_width, 0.018)  # under the nose
    shade += 0.22 * sheet.spot(0, who.mouth_height + 0.02 + 1.5 * who.lower_lip, 0.09, 0.02)  # under the lip
    shade += 0.15 * sheet.twin(
        who.nose_width + 0.012, who.nose_length + 0.005, 0.014, 0.04
    )  # round the wings
    shade += 0.7 * (1 - cv2.GaussianBlur(face, (0, 0), 0.03 * sheet.scale))  # where the face turns away
    skin *= 1 - np.clip(shade, 0, 0.8) * planes((0.85, 1.0, 1.05))
    nostrils = sheet.mask(
        *(_disc(side * 0.45 * who.nose_width, who.nose_length + 0.038, 0.024, 0.011) for side in (-1, 1)),
        soft=0.005,
    )
    paint(skin, 0.75 * nostrils, np.multiply(who.skin, (0.2, 0.1, 0.09)))
    for spot_x, spot_y in who.marks:
        paint(
            skin,
            0.8 * sheet.mask(_disc(spot_x, spot_y, 0.012, 0.012)),
            np.multiply(who.skin, (0.3, 0.2, 0.18)),
        )
    if who.freckles > 0:
        rng = np.random.default_rng(round(1e6 * who.freckles))
        places = rng.normal(0, 1, (70, 2)) * (0.17, 0.055) + (0, 0.15)
        dots = sheet.mask(*(_disc(px, py, 0.008, 0.008) for px, py in places), soft=0.003)
        paint(skin, 0.55 * who.freckles * dots, np.multiply(who.skin, (0.6, 0.38, 0.3)))


def _beard(who: Identity, sheet: Sheet, skin: FloatArray, face: FloatArray) -> None:
    """Beard and moustache, in place, in the colour of the hair."""
    if max(who.beard, who.moustache) == 0:
        return
    colour = np.multiply(who.hair, 0.75)
    x, y = sheet.axes()
    if who.beard > 0:
        line = 0.08 + 0.5 * np.clip(1 - (np.abs(x) / who.jaw), 0, 1) ** 0.5
        line = np.where(np.abs(x) < 0.09, who.mouth_height + 0.035, np.minimum(line, who.mouth_height + 0.02))
        grown = np.clip((y - line) / 0.05, 0, 1) * face
        paint(
            skin,
            (who.beard * cv2.GaussianBlur(grown.astype(np.float32), (0, 0), 0.012 * sheet.scale)),
            colour,
        )
    if who.moustache > 0:
        width, top = 1.1 * who.mouth_width, who.nose_length + 0.07
        bottom = who.mouth_height - 0.3 * who.upper_lip
        lip = smooth(
            [
                (-width, bottom + 0.05),
                (-0.6 * width, top + 0.015),
                (0, top + 0.01),
                (0.6 * width, top + 0.015),
                (width, bottom + 0.05),
                (0.5 * width, bottom),
                (0, bottom - 0.01),
                (-0.5 * width, bottom),
            ]
        )
        paint(skin, who.moustache * sheet.mask(lip, soft=0.008), colour)


def _ear(who: Identity, side: int, size: float) -> Points:
    """Outline of an ear; `size` below one gives its inner rim."""
    x = side * (who.cheek - 0.015)
    out = side * who.ear_stand * size
    half = who.ear_size * size
    middle = 0.10
    return smooth(
        [
            (x, middle - 0.7 * half),
            (x + 0.8 * out, middle - half),
            (x + 1.3 * out, middle - 0.5 * half),
            (x + out, middle + 0.2 * half),
            (x + 0.6 * out, middle + 0.95 * half),
            (x, middle + 0.7 * half),
        ]
    )


def _disc(x: float, y: float, width: float, height: float) -> Points:
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return np.stack([x + width * np.cos(turn), y + height * np.sin(turn)], axis=-1)
