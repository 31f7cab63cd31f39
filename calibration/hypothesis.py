"""What is supposed about a build: its parameters by name, a value for each, and where the source was seen.

The plate is the one ordered; a hypothesis says how it was made and mounted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter

from opticaldr.hardware.as_built import FORM_MODES, plate_positions
from opticaldr.models.optics import Optic, OpticsSpec

PLATE = ("decentre x", "decentre y", "rotation")
FORM = tuple(f"Z{j}" for j in FORM_MODES)
SHARED = (*PLATE, "spacing", "aperture", "source", *FORM)
"""Names of the parameters that all views share; after them come shift x and shift y of every view."""

STEP = {
    "decentre x": 1e-6,
    "decentre y": 1e-6,
    "rotation": 2e-4,
    "spacing": 1e-6,
    "aperture": 1e-3,
    "source": 2e-6,
}
"""Half of the difference that each slope of the plate or bench is taken over, metres, radians or a fraction."""


@dataclass(frozen=True)
class View:
    """One point source, seen in a window of raw pixels.

    `depth`: metres from the pupil. `shape`: rows and columns of the window, even; its first pixel is the first of a
    Bayer cell. `field`: tangents (x, y) of the field angle.
    """

    depth: float
    shape: tuple[int, int]
    field: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class State:
    """A hypothesis about the build: values of `SHARED`, and the spots' shifts (x, y) in metres [view, 2]."""

    shared: NDArray[np.float64]
    shifts: NDArray[np.float64]

    @classmethod
    def nominal(cls, views: int) -> State:
        """Built as designed, every spot in the middle of its window."""
        return cls(np.zeros(len(SHARED)), np.zeros((views, 2)))

    @property
    def vector(self) -> NDArray[np.float64]:
        """All parameters in one row."""
        return np.concatenate([self.shared, self.shifts.ravel()])

    def moved(self, step: NDArray[np.float64]) -> State:
        """The hypothesis a step away."""
        count = len(self.shared)
        return State(self.shared + step[:count], self.shifts + step[count:].reshape(self.shifts.shape))

    def nudged(self, name: str, step: float) -> State:
        """The hypothesis with one shared parameter changed by `step`."""
        return replace(self, shared=self.shared + step * (np.array(SHARED) == name))

    def __getitem__(self, name: str) -> float:
        return float(self.shared[SHARED.index(name)])

    @property
    def form(self) -> NDArray[np.float64]:
        """Coefficients of the form error, in the order of `FORM_MODES`."""
        return self.shared[-len(FORM) :]


@dataclass(frozen=True, eq=False)
class Plate:
    """The plate as designed, as a spline that can be looked up anywhere."""

    spec: OpticsSpec
    coefficients: NDArray[np.float64]

    @classmethod
    def of(cls, design: Optic) -> Plate:
        """The spline through the design's height map."""
        return cls(design.spec, spline_filter(design.height, order=3, mode="nearest"))

    def height(
        self, x: NDArray[np.float64], y: NDArray[np.float64], decentre: tuple[float, float], rotation: float
    ) -> NDArray[np.float64]:
        """Metres at points (x, y) of the pupil, after the plate was turned and shifted."""
        where = plate_positions(self.spec, x, y, decentre, rotation)
        height: NDArray[np.float64] = map_coordinates(
            self.coefficients, where, order=3, mode="nearest", prefilter=False
        )
        return height
