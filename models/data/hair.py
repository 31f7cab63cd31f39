"""Hair and beard: where they lie on a head, and how the strands catch the light."""

from __future__ import annotations

import cv2
import numpy as np

from opticaldr.models.data.anatomy import half_width
from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.identity import Identity
from opticaldr.models.data.sheet import Points, Sheet, paint, planes

_LONG = 0.3  # hair that falls below this height hangs in locks
_STRANDS = np.random.default_rng(1).standard_normal(97).astype(np.float32)


def front_hair(who: Identity) -> list[Points]:
    """Outlines of the hair in front of the head's widest section: the cap, and locks where it is long."""
    wide, top = who.temple + who.hair_side, who.crown - who.hair_top
    ends = 0.1 if who.hair_end < _LONG else 0.2
    turn = np.linspace(-np.pi / 2, np.pi / 2, 41)
    ripple = 1 + 0.03 * who.hair_wave * np.sin(13 * turn) * np.cos(turn)
    cap = np.stack(
        [
            wide * np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** 0.75 * ripple,
            -0.12 + (top + 0.12) * np.cos(turn) ** 0.8 * ripple,
        ],
        axis=-1,
    )
    span = 0.97 * who.temple
    x = np.linspace(-span, span, 31)
    line = who.hairline + who.fringe * np.abs(x - who.parting) + 0.38 * (np.abs(x) / span) ** 4
    line -= 0.03 * np.exp(-(((x - who.parting) / 0.05) ** 2))
    line = np.clip(line, who.crown - 0.02, -0.045 - who.brow_height)
    left = [(-wide, -0.06), (-0.99 * wide, 0.6 * ends), (-who.temple, ends), (-0.93 * who.temple, 0.5 * ends)]
    right = [(-px, py) for px, py in reversed(left)]
    pieces = [np.concatenate([cap, right[::-1], np.stack([x, line], -1)[::-1], left[::-1]])]
    if who.hair_end > _LONG:
        end = min(who.hair_end, 0.84)
        y = np.linspace(-0.3, end, 25)
        fall = (y + 0.3) / (end + 0.3)
        swing = 0.03 * who.hair_wave * np.sin(14 * y)
        cheek, neck = half_width(who, y) - 0.04, 0.8 * who.jaw
        wider = 0.5 * (cheek + neck + np.hypot(cheek - neck, 0.12))  # of the two, smoothly
        inner = wider - 0.02 + swing * fall
        outer = 0.97 * wide + (0.07 * np.sin(0.5 * np.pi * fall) + swing) * fall
        outer = inner + (outer - inner) * np.sqrt(1 - fall**6)  # the ends taper
        pieces += [_between(side * outer, side * inner, y) for side in (-1, 1)]
    return pieces


def back_hair(who: Identity, scale: float) -> tuple[Sheet, FloatArray] | None:
    """The hair behind the neck: its sheet, and premultiplied linear RGBA ``[4, y, x]``; None if short."""
    if who.hair_end < _LONG:
        return None
    sheet = Sheet.spanning(-0.85, -0.65, 0.85, 1.35, scale)
    y = np.linspace(-0.6, who.hair_end + 0.06, 30)
    fall = (y + 0.6) / (who.hair_end + 0.66)
    dome = np.sqrt(1 - (1 - np.minimum(4 * fall, 1)) ** 2)
    edge = (who.temple + who.hair_side + 0.03) * dome + 0.03 * who.hair_wave * np.sin(14 * y) * fall
    edge *= 1 - 0.5 * fall**8  # the ends taper
    cover = sheet.mask(_between(-edge, edge, y), soft=0.01)
    colour = planes(who.hair) * (0.5 * strands(who, sheet) * cover)
    return sheet, np.concatenate([colour, cover[None]])


def grow_beard(who: Identity, sheet: Sheet, picture: FloatArray, face: FloatArray) -> None:
    """Paint beard and moustache over ``[3, y, x]``, in place, a little darker than the hair."""
    colour = np.multiply(who.hair, 0.75)
    if who.beard > 0:
        x, y = sheet.axes()
        cheeks = 0.08 + 0.5 * np.clip(1 - np.abs(x) / who.cheek, 0, 1) ** 0.4
        line = np.where(
            np.abs(x) < 0.09, who.mouth_height + 0.035, np.minimum(cheeks, who.mouth_height + 0.02)
        )
        grown = np.clip((y - line) / 0.05, 0, 1).astype(np.float32)
        paint(picture, who.beard * face * cv2.GaussianBlur(grown, (0, 0), 0.012 * sheet.scale), colour)
    if who.moustache > 0:
        width, top = 1.05 * who.mouth_width, who.nose_length + 0.07
        bottom = who.mouth_height - 0.35 * who.upper_lip
        across = np.linspace(-1, 1, 21)
        upper = top + (bottom - top) * np.abs(across) ** 2.5
        lower = bottom - 0.01 + 0.035 * across**2
        shape = np.concatenate(
            [np.stack([width * across, upper], -1), np.stack([width * across, lower], -1)[::-1]]
        )
        paint(picture, who.moustache * sheet.mask(shape, soft=0.008), colour)


def strands(who: Identity, sheet: Sheet) -> FloatArray:
    """Relative brightness of the hair: strands that run from the parting, and a soft sheen across them."""
    x, y = sheet.axes()
    top = who.crown - who.hair_top
    away, down = x - 0.6 * who.parting, y - top + 0.25
    radius = np.sqrt(away**2 + down**2)
    angle = np.arctan2(away, down) + 0.12 * who.hair_wave * np.sin(22 * radius)
    place = np.mod(angle * 14.0, len(_STRANDS))
    tone = np.interp(place, np.arange(len(_STRANDS) + 1), np.append(_STRANDS, _STRANDS[0]))
    sheen = np.exp(-(((radius - 0.42 - 0.02 * tone) / 0.06) ** 2)) * 0.7
    return np.asarray(0.95 + 0.16 * tone + sheen * (1 + 0.3 * tone), dtype=np.float32).clip(0.3, 2.2)


def _between(left: Points, right: Points, y: Points) -> Points:
    """The outline of what lies between two edges x(y)."""
    return np.concatenate([np.stack([left, y], -1), np.stack([right, y], -1)[::-1]])
