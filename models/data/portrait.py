"""What stays the same on a head while it moves: skin, ears, hair and relief, painted once per clip."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from opticaldr.models.data.anatomy import normals, outline, relief, volume
from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.hair import back_hair, front_hair, grow_beard, strands
from opticaldr.models.data.identity import Identity
from opticaldr.models.data.sheet import Sheet, paint, planes
from opticaldr.models.data.skin import bare_head, ear


@dataclass(frozen=True)
class Portrait:
    """A head laid flat, ready to be given an expression, lit and turned.

    Attributes:
        sheet: where its pixels lie.
        paint: reflectance, linear RGB ``[3, y, x]``.
        cover: opacity ``[y, x]``.
        normals: unit normals ``[3, y / 2, x / 2]``.
        gloss: strength of the sheen ``[y / 2, x / 2]``.
        back: the hair behind the head and its sheet, premultiplied linear RGBA ``[4, y, x]``; None if short.
    """

    who: Identity
    sheet: Sheet
    paint: FloatArray
    cover: FloatArray
    normals: FloatArray
    gloss: FloatArray
    back: tuple[Sheet, FloatArray] | None


def portray(who: Identity, scale: float) -> Portrait:
    """Paint the unmoving parts of a head at `scale` pixels per face width."""
    coarse = Sheet.spanning(-0.8, -1.0, 0.8, 0.85, scale / 2)
    sheet = Sheet(coarse.left, coarse.top, scale, (2 * coarse.shape[0], 2 * coarse.shape[1]))
    face = sheet.mask(outline(who))
    ears = sheet.mask(ear(who, -1), ear(who, 1))
    hair = sheet.mask(*front_hair(who))

    picture = bare_head(who, sheet, face, ears)
    grow_beard(who, sheet, picture, face)
    shadow = np.roll(cv2.GaussianBlur(hair, (0, 0), 0.035 * scale), round(0.02 * scale), axis=0)
    picture *= 1 - 0.45 * shadow  # of the hair on the forehead
    tresses = planes(who.hair) * strands(who, sheet)
    rim = cv2.dilate(hair, np.ones((3, 3), np.uint8)) * (1 - np.maximum(face, ears))
    paint(picture, rim, tresses)  # no skin shows through the outer edge of the hair
    paint(picture, hair, tresses)

    covered = cv2.resize(hair, coarse.shape[::-1], interpolation=cv2.INTER_AREA)
    skin_normals = normals(relief(who, coarse), coarse.scale)
    turned = skin_normals + covered * (normals(volume(who, coarse), coarse.scale) - skin_normals)
    turned /= np.maximum(np.linalg.norm(turned, axis=0), 1e-6)
    oily = 0.05 + 0.1 * (coarse.spot(0, -0.3, 0.2, 0.15) + coarse.spot(0, who.nose_length, 0.03, 0.1))
    return Portrait(
        who=who,
        sheet=sheet,
        paint=picture,
        cover=np.maximum(np.maximum(face, ears), hair),
        normals=turned,
        gloss=(1 - covered) * oily,
        back=back_hair(who, scale),
    )
