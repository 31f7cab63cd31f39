"""What moves in a face, drawn onto a portrait moment by moment."""

from __future__ import annotations

from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.dynamics import Moment
from opticaldr.models.data.eyes import draw_brows, draw_eyes, glasses
from opticaldr.models.data.mouth import draw_mouth
from opticaldr.models.data.portrait import Portrait
from opticaldr.models.data.sheet import paint


class Expression:
    """Draws over the same two windows of a portrait, about eyes and mouth, again and again."""

    def __init__(self, portrait: Portrait) -> None:
        who, sheet = portrait.who, portrait.sheet
        self._who = who
        wide = who.eye_distance + who.eye_length + 0.13
        self._eyes, eyes = sheet.window(-wide, -who.brow_height - 0.12, wide, 0.2)
        self._mouth, mouth = sheet.window(-0.34, who.nose_length - 0.08, 0.34, who.mouth_height + 0.21)
        self._windows = [(slice(None), *eyes), (slice(None), *mouth)]
        self._bare = [portrait.paint[window].copy() for window in self._windows]
        self._picture = portrait.paint.copy()
        self._glasses = glasses(who, self._eyes)

    def draw(self, at: Moment) -> FloatArray:
        """The portrait's paint ``[3, y, x]`` with this moment's expression; valid until the next call."""
        eyes, mouth = (self._picture[window] for window in self._windows)
        eyes[:], mouth[:] = self._bare
        draw_mouth(self._who, at, self._mouth, mouth)
        draw_eyes(self._who, at, self._eyes, eyes)
        draw_brows(self._who, at, self._eyes, eyes)
        if self._glasses is not None:
            paint(eyes, self._glasses, self._who.rims)
        return self._picture
