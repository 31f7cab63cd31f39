"""The noise chart: a picture for a display, from which the PSF of extended optics can be computed.

A point leaves little light in each pixel of an extended PSF. A chart half of whose cells are bright, at random, sends
that much more, and its spectrum is white, so that it asks about every frequency alike. Random black and white are the
best that can be shown, and need no gamma: a display of any tone curve has but two radiances (Delbracio, Musé, Almansa
and Morel, Int. J. Comput. Vis. 96, 175, 2012). Four dots beside the noise tell where the chart lies in the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import map_coordinates

from opticaldr.errors import Refusal
from opticaldr.models.optics import OpticsSpec

WHITE = 255

_VISIBLE = 0.94  # of the sensor: what may be missed when a person places the display
_DOT = 12  # raw pixels along the side of a dot's image, at least
CLEAR = 16
"""Raw pixels between the light of the noise and that of a dot."""

_STRIP = 64  # rows at a time, to hold little


class Display(BaseModel):
    """A monitor before the camera: `columns` × `rows` pixels of side `pitch`, its middle at `distance` (metres) from
    the pupil, upright and square to the axis as well as a person can place it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: int = Field(default=1920, ge=320, le=16384)
    rows: int = Field(default=1080, ge=240, le=16384)
    pitch: float = Field(default=276.75e-6, ge=20e-6, le=2e-3)
    distance: float = Field(default=0.6, gt=0, le=20)

    def magnification(self, spec: OpticsSpec) -> float:
        """Raw pixels that the image of a display pixel is wide."""
        return self.pitch / self.distance * spec.sensor_distance / spec.sensor.pitch


@dataclass(frozen=True)
class Chart:
    """A picture for a display.

    Attributes:
        display: what it is made for.
        picture: what the display is sent, 0 or 255 [row, column].
        reach: rows and columns of raw pixels, to either side, over which it expects the light of a point to spread.
        noise: rows and columns of the noise in the middle, display pixels.
        dots: middles (x, y) of the four dots in display pixels from the display's middle [dot, 2].
        dot: side of a dot, `cell`: of a cell of the noise, display pixels.
    """

    display: Display
    picture: NDArray[np.uint8]
    reach: tuple[int, int]
    noise: tuple[int, int]
    dots: NDArray[np.float64]
    dot: int
    cell: int

    def write(self, path: Path) -> None:
        """Write the picture as an 8-bit PNG, to be shown unscaled on the whole display."""
        from PIL import Image

        Image.fromarray(self.picture).save(path)


def noise_chart(display: Display, spec: OpticsSpec, reach: tuple[int, int], seed: int = 0) -> Chart:
    """The chart for these optics: noise in cells about as large as raw pixels, and four dots clear of its light.

    Args:
        display: what it is shown on.
        spec: the optics.
        reach: rows and columns of raw pixels over which the light of a point spreads, to either side.
        seed: of the noise.

    Raises:
        Refusal: display and sensor leave no room for noise between the dots.
    """
    scale = display.magnification(spec)
    rows, columns = (
        min(_VISIBLE * extent / scale, shown)
        for extent, shown in zip(spec.sensor.shape, (display.rows, display.columns), strict=True)
    )
    spread = (reach[0] / scale, reach[1] / scale)
    dot = int(np.ceil(max(_DOT, min(reach)) / scale))
    # Dots lie where they cost the noise less room: above and below it, or to its left and right.
    if reach[0] > reach[1]:
        turned, (width, height) = _layout((columns, rows), spread[::-1], dot, CLEAR / scale)
        places = turned[:, ::-1]
    else:
        places, (height, width) = _layout((rows, columns), spread, dot, CLEAR / scale)
    if min(height, width) < 4 * dot:
        raise Refusal(
            f"a display of {display.columns} x {display.rows} pixels at {display.distance:g} m leaves no room for "
            "noise between its dots",
            "use a larger display, or bring it nearer (chart in the rig file)",
        )
    cell = max(1, round(1 / scale))
    size = int(height // cell), int(width // cell)
    noise = np.random.default_rng([seed, 0xC4A]).integers(0, 2, size, dtype=np.uint8) * np.uint8(WHITE)
    picture = np.zeros((display.rows, display.columns), dtype=np.uint8)
    dots = np.array([_put(picture, np.full((dot, dot), WHITE, np.uint8), place) for place in places])
    _put(picture, noise.repeat(cell, 0).repeat(cell, 1), np.zeros(2))
    return Chart(display, picture, reach, (size[0] * cell, size[1] * cell), dots, dot, cell)


def _layout(
    extent: tuple[float, float], spread: tuple[float, float], dot: int, clear: float
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Middles (x, y) of four dots above and below the noise, and rows and columns of the noise, display pixels.

    Args:
        extent: rows and columns that the camera sees.
        spread: rows and columns over which light spreads.
        dot: side of a dot.
        clear: from the light of a dot to that of the noise.
    """
    y, x = ((whole - dot) / 2 - by for whole, by in zip(extent, spread, strict=True))
    apart = 2 * x > 2 * spread[1] + dot + clear
    height = 2 * (y - clear - 2 * spread[0]) - dot if apart else 0.0
    return np.array([(-x, -y), (x, -y), (-x, y), (x, y)]), (height, extent[1])


def _put(
    picture: NDArray[np.uint8], part: NDArray[np.uint8], place: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Lay `part` into the picture with its middle as near as can be to `place` (x, y); where the middle is now."""
    middle, half = np.array(picture.shape[::-1]) / 2, np.array(part.shape[::-1]) / 2
    first = np.round(place + middle - half).astype(int)
    left, top = first
    picture[top : top + part.shape[0], left : left + part.shape[1]] = part
    return np.asarray(first + half - middle, np.float64)


class Radiance:
    """Mean radiance of a picture over small rectangles, exact however they lie across its pixels.

    The sum over a rectangle is the difference of the running sum at its corners, and the running sum of square
    pixels is bilinear between them.

    Args:
        picture: levels 0 … 255 [row, column], black and white.
        fill: share of a display pixel's area that shines, a square in its middle.
    """

    def __init__(self, picture: NDArray[np.uint8], fill: float = 1.0) -> None:
        rows, columns = picture.shape
        self._sums = np.zeros((rows + 1, columns + 1))
        self._sums[1:, 1:] = (picture / WHITE).cumsum(0).cumsum(1)
        self._side = np.sqrt(fill)

    def seen(
        self, back: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], side: float
    ) -> NDArray[np.float32]:
        """Radiance [y, x], 1 for white, at the far ends of chief rays, each over a square of `side` display pixels.

        Args:
            back: homography from places on the sensor to display pixels, both from the middle [3, 3].
            x: places on the sensor along a row, `y`: along a column.
            side: of the squares, which lie along the display's rows.
        """
        seen = np.empty((len(y), len(x)), dtype=np.float32)
        for first in range(0, len(y), _STRIP):
            strip = slice(first, first + _STRIP)
            u, v, w = (a * x[None] + b * y[strip, None] + c for a, b, c in back)
            seen[strip] = self.mean(u / w, v / w, side)
        return seen

    def mean(self, x: NDArray[np.float64], y: NDArray[np.float64], side: float) -> NDArray[np.float64]:
        """Radiance, 1 for white, over squares of `side` around (x, y), in display pixels from the display's middle.

        The squares lie along the display's rows; dark beyond the display.
        """
        rows, columns = (count - 1 for count in self._sums.shape)
        left, right = (self._lit(x + columns / 2 + edge, columns) for edge in (-side / 2, side / 2))
        top, bottom = (self._lit(y + rows / 2 + edge, rows) for edge in (-side / 2, side / 2))
        sums = [
            map_coordinates(self._sums, (down, across), order=1, mode="nearest")
            for down, across in ((bottom, right), (top, right), (bottom, left), (top, left))
        ]
        return np.asarray((sums[0] - sums[1] - sums[2] + sums[3]) / side**2, np.float64)

    def _lit(self, edge: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        """Pixels passed on the way to `edge`, the dark rims between them left out."""
        whole = np.floor(edge)
        part = np.clip((edge - whole - (1 - self._side) / 2) / self._side, 0, 1)
        return np.clip(whole + part, 0, count)
