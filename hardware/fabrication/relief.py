"""The surface that is to be made, and how a file's rows and columns lie on it."""

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal

Side = Literal["scene", "sensor"]
Heights = NDArray[np.float64]
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Relief:
    """Heights over a square grid of square pixels, with the clear aperture in its middle.

    Args:
        height: ``[y, x]`` metres of material over the base plane, x right and y down seen from the sensor.
        pitch: pixel size, metres.
        radius: radius of the clear aperture (half its side if square), metres.
        square: whether the aperture is a square.
    """

    height: Heights
    pitch: float
    radius: float
    square: bool = False

    @property
    def width(self) -> float:
        """Side of the grid, metres."""
        return self.samples * self.pitch

    @property
    def samples(self) -> int:
        """Pixels along a side."""
        return len(self.height)

    def axis(self) -> Heights:
        """Positions of the pixels' centres along x (and along y), metres."""
        return np.asarray((np.arange(self.samples) - (self.samples - 1) / 2) * self.pitch, dtype=np.float64)

    def aperture(self) -> NDArray[np.bool_]:
        """Which pixels' centres lie inside the clear aperture."""
        axis = np.abs(self.axis())
        if self.square:
            inside = axis <= self.radius
            return inside[:, np.newaxis] & inside
        return np.asarray(np.hypot(axis[:, np.newaxis], axis) <= self.radius)

    def depth(self) -> float:
        """Highest minus lowest point inside the aperture, metres."""
        return float(np.ptp(self.height[self.aperture()]))

    def padded(self, pixels: int) -> "Relief":
        """The same relief with a border of ``pixels`` that repeats its edge."""
        return replace(self, height=np.pad(self.height, pixels, mode="edge"))

    def cropped(self, samples: int) -> "Relief":
        """The middle ``samples`` x ``samples`` pixels."""
        border = (self.samples - samples) // 2
        middle = slice(border, border + samples)
        return replace(self, height=np.ascontiguousarray(self.height[middle, middle]))

    def grounded(self) -> "Relief":
        """The same relief with its lowest point inside the aperture at zero, smoothly continued outside.

        Outside the aperture every pixel takes the height of the nearest pixel inside, so that no cliff
        stands at the rim.
        """
        from scipy.ndimage import distance_transform_edt

        inside = self.aperture()
        height = self.height - self.height[inside].min()
        if not inside.all():
            nearest = distance_transform_edt(~inside, return_distances=False, return_indices=True)
            height = height[tuple(nearest)]
        return replace(self, height=height)

    def sampled(self, samples: int) -> "Relief":
        """Cubic resampling of the same width onto ``samples`` x ``samples`` pixels."""
        from scipy.ndimage import map_coordinates

        if samples == self.samples:
            return self
        where = (np.arange(samples) + 0.5) * self.samples / samples - 0.5
        rows, columns = np.meshgrid(where, where, indexing="ij")
        height = map_coordinates(self.height, [rows, columns], order=3, mode="nearest")
        return replace(self, height=height, pitch=self.width / samples)


@dataclass(frozen=True)
class View:
    """Looking straight onto the relief: columns run right, rows run down.

    Args:
        relief_faces: the side of the plate that carries the relief.
        mirrored: left and right swapped once more, for a pattern that is exposed through the plate or
            printed chrome down.
    """

    relief_faces: Side = "scene"
    mirrored: bool = False

    @property
    def flipped(self) -> bool:
        """Whether columns run against x, which is to the right as seen from the sensor."""
        return (self.relief_faces == "scene") != self.mirrored

    def seen(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """``array`` (as seen from the sensor) as this view shows it; its own inverse."""
        return array[:, ::-1] if self.flipped else array

    def described(self) -> dict[str, str | bool]:
        """The orientation as written into every sidecar."""
        return {
            "seen_from": self.relief_faces,
            "mirrored": self.mirrored,
            "columns_run": "-x" if self.flipped else "+x",
            "rows_run": "+y",
            "axes": "x right, y down, seen from the sensor",
        }


LETTER_F = np.array(
    [[1, 1, 1, 1, 1], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0],
     [1, 0, 0, 0, 0]], dtype=bool,
)  # fmt: skip
"""The chiral fiducial: it reads as an F only from the right side and the right way up."""


@dataclass(frozen=True)
class Fiducial:
    """Where the letter F stands: in the upper left corner of the grid as the file shows it.

    ``row`` and ``column`` are its upper left pixel, ``cell`` the pixels to one stroke.
    """

    row: int
    column: int
    cell: int

    @classmethod
    def beside(cls, relief: Relief) -> "Fiducial":
        """The largest F that fits between the aperture and the corner of the grid.

        Raises:
            Refusal: the corner has no room for seven pixels.
        """
        if relief.square:
            room = (relief.width / 2 - relief.radius) / relief.pitch
        else:
            room = (relief.width / np.sqrt(2) - relief.radius) / np.sqrt(2) / relief.pitch
        cell = int(0.8 * room / len(LETTER_F))
        if cell < 1:
            raise Refusal(
                f"the corner of the grid beside the aperture is {room:.0f} pixels wide, too small for the "
                "orientation mark",
                "sample the design on at least 48 x 48 pixels with the aperture inside the grid",
            )
        inset = max(1, int(0.1 * room))
        return cls(inset, inset, cell)

    def where(self, samples: int) -> NDArray[np.bool_]:
        """Pixels of the letter on a grid of ``samples``² as the file shows it."""
        letter = np.kron(LETTER_F, np.ones((self.cell, self.cell), dtype=bool))
        mark = np.zeros((samples, samples), dtype=bool)
        mark[self.row : self.row + letter.shape[0], self.column : self.column + letter.shape[1]] = letter
        return mark

    def engraved(self, relief: Relief, view: View, step: float) -> Relief:
        """``relief`` with the F standing ``step`` metres out of a level patch (below it if negative)."""
        height = view.seen(relief.height).copy()
        tall, wide = (size * self.cell for size in LETTER_F.shape)
        patch = (slice(0, self.row + tall + self.row), slice(0, self.column + wide + self.row))
        outside = view.seen(~relief.aperture())[patch]
        level = float(np.median(height[patch][outside]))
        height[patch] = np.where(outside, max(level, -step), height[patch])
        height[self.where(relief.samples)] += step
        return replace(relief, height=np.ascontiguousarray(view.seen(height)))

    def described(self, relief: Relief) -> dict[str, float | str]:
        """The mark as written into every sidecar."""
        return {
            "mark": "letter F, upright in the upper left corner",
            "left_edge_m": (self.column - relief.samples / 2) * relief.pitch,
            "top_edge_m": (relief.samples / 2 - self.row) * relief.pitch,
            "height_m": len(LETTER_F) * self.cell * relief.pitch,
        }


def stamped(relief: Relief, view: View, height: float) -> Relief:
    """``relief``, level outside its aperture, with the orientation mark at ``height`` in the corner."""
    mark = Fiducial.beside(relief).where(relief.samples)
    return replace(relief, height=np.where(view.seen(mark), height, relief.height))
