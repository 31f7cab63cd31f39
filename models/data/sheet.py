"""A sheet of drawing paper measured in face widths, painted in linear light with smooth edges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from opticaldr.models.data.clips import FloatArray

Points = NDArray[np.float64]  # [n, 2]: x, y in face widths
_SUBPIXEL = 4  # bits of position below a pixel that OpenCV draws with
# Outlines are filled on at least so many pixels per face width, then binned: OpenCV makes every shape half a
# pixel larger all round, which would draw heavier features on smaller faces.
_FINENESS = 240


@dataclass(frozen=True)
class Sheet:
    """Where the pixels of a picture lie on the head.

    Attributes:
        left, top: corner of the first pixel, in face widths.
        scale: pixels per face width.
        shape: rows and columns.
    """

    left: float
    top: float
    scale: float
    shape: tuple[int, int]

    @classmethod
    def spanning(cls, left: float, top: float, right: float, bottom: float, scale: float) -> Sheet:
        """The smallest sheet that holds the given rectangle."""
        rows, columns = int(np.ceil((bottom - top) * scale)), int(np.ceil((right - left) * scale))
        return cls(left, top, scale, (rows, columns))

    def window(
        self, left: float, top: float, right: float, bottom: float
    ) -> tuple[Sheet, tuple[slice, slice]]:
        """The part of this sheet that covers a rectangle, and where it lies in the array."""
        first = np.floor((np.array([top, left]) - (self.top, self.left)) * self.scale).astype(int)
        last = np.ceil((np.array([bottom, right]) - (self.top, self.left)) * self.scale).astype(int)
        (y0, x0), (y1, x1) = np.clip(first, 0, self.shape), np.clip(last, 0, self.shape)
        part = Sheet(self.left + x0 / self.scale, self.top + y0 / self.scale, self.scale, (y1 - y0, x1 - x0))
        return part, (slice(y0, y1), slice(x0, x1))

    def axes(self) -> tuple[FloatArray, FloatArray]:
        """Pixel centres in face widths: x as ``[1, columns]`` and y as ``[rows, 1]``."""
        x = self.left + (np.arange(self.shape[1], dtype=np.float32) + 0.5) / self.scale
        y = self.top + (np.arange(self.shape[0], dtype=np.float32) + 0.5) / self.scale
        return x[None, :], y[:, None]

    def pixels(self, points: ArrayLike) -> Points:
        """Positions on the head as pixel coordinates (x, y); the first pixel's centre is (0, 0)."""
        return (np.asarray(points, np.float64) - (self.left, self.top)) * self.scale - 0.5

    def mask(self, *outlines: Points, soft: float = 0.0) -> FloatArray:
        """How much of each pixel lies inside the outlines, 0 to 1; `soft` blurs the edge (face widths)."""
        finer = max(1, int(np.ceil(_FINENESS / self.scale)))
        mask = np.zeros((self.shape[0] * finer, self.shape[1] * finer), np.uint8)
        for outline in outlines:  # one by one: overlapping outlines must add up, not cancel
            corners = (self.pixels(outline) + 0.5) * finer - 0.5
            fixed = np.round(corners * (1 << _SUBPIXEL)).astype(np.int32)
            cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, _SUBPIXEL)
        if finer > 1:
            mask = cv2.resize(mask, self.shape[::-1], interpolation=cv2.INTER_AREA)
        cover = mask * np.float32(1 / 255)
        if soft > 0:
            cover = cv2.GaussianBlur(cover, (0, 0), soft * self.scale, borderType=cv2.BORDER_REPLICATE)
        return cover

    def spot(self, x: float, y: float, width: float, height: float) -> FloatArray:
        """A Gaussian of unit peak with the given standard deviations."""
        across, down = self.axes()
        return np.asarray(
            np.exp(-(((across - x) / width) ** 2) / 2) * np.exp(-(((down - y) / height) ** 2) / 2)
        )

    def twin(self, x: float, y: float, width: float, height: float) -> FloatArray:
        """The same Gaussian on both sides of the face."""
        across, down = self.axes()
        sides = np.exp(-(((across - x) / width) ** 2) / 2) + np.exp(-(((across + x) / width) ** 2) / 2)
        return np.asarray(sides * np.exp(-(((down - y) / height) ** 2) / 2))


def planes(colour: ArrayLike) -> FloatArray:
    """A colour as ``[c, 1, 1]``, to be combined with pictures kept in colour planes ``[c, y, x]``."""
    return np.asarray(colour, np.float32).reshape(-1, 1, 1)


def paint(picture: FloatArray, cover: NDArray[np.floating], colour: ArrayLike) -> None:
    """Lay a colour, or a picture, over ``[c, y, x]`` in place, as far as `cover` ``[y, x]`` says."""
    over = np.asarray(colour, np.float32)
    picture += cover * ((planes(over) if over.ndim == 1 else over) - picture)


def smooth(points: ArrayLike, *, closed: bool = True, steps: int = 8) -> Points:
    """Round a polygon off: a Catmull-Rom curve through all its points."""
    corners = np.asarray(points, np.float64)
    return np.asarray(_catmull_rom(len(corners), closed, steps) @ corners)


@lru_cache
def _catmull_rom(count: int, closed: bool, steps: int) -> NDArray[np.float64]:
    """Weights ``[curve points, control points]`` of the uniform Catmull-Rom spline."""
    t = np.linspace(0, 1, steps, endpoint=False)
    basis = (
        np.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]) / 2
    )
    spans = count if closed else count - 1
    weights = np.zeros((spans * steps + (not closed), count))
    for span in range(spans):
        for offset in range(4):
            at = span + offset - 1
            at = at % count if closed else min(max(at, 0), count - 1)
            weights[span * steps : (span + 1) * steps, at] += basis[offset]
    if not closed:
        weights[-1, -1] = 1.0
    return weights


def disc(x: float, y: float, width: float, height: float) -> Points:
    """An ellipse about (x, y) with the given half-axes."""
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    return np.stack([x + width * np.cos(turn), y + height * np.sin(turn)], axis=-1)
