"""The pupil, sampled evenly in the direction cosines of its rays.

The field around a sensor point is a Fourier transform over direction cosines (see `psf`), so this is the grid
on which the mask is needed. Without a lens the flat mask's point ξ sends its ray to the chief ray's landing
point v₀ on the sensor, z away:

    s = (ξ − v₀)/R₀,  R₀ = √(z² + |ξ − v₀|²)     ⇔     ξ = v₀ + z s/√(1 − |s|²).

With a stock lens the sine condition holds, which is what makes it a good lens: s = ξ/z.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from opticaldr.models.optics.arrays import Array
from opticaldr.models.optics.geometry import Field, centred
from opticaldr.models.optics.linear import SparseMap
from opticaldr.models.optics.quadrature import aperture_weights, interpolation
from opticaldr.models.optics.specs import OpticsSpec

Floats = NDArray[np.float64]

MARGIN = 2
"""Samples beyond the rim that carry weight, on each side."""


@dataclass(frozen=True, eq=False)
class PupilGrid:
    """A square grid over the pupil; every array is [y, x].

    `s_x` and `s_y` are the axes in direction cosines relative to the chief ray; `x` and `y` the points of the
    pupil plane they belong to, in metres; `weights` the amplitude with which each point enters the Fourier
    sum, scaled so that the sum of their energy over the stop is 1; `height` takes a height map to the grid.
    """

    s_x: Floats
    s_y: Floats
    x: Floats
    y: Floats
    weights: Floats
    height: "MaskMap"


@lru_cache(maxsize=16)
def pupil_grid(spec: OpticsSpec, samples: int, field: Field, dtype: str) -> PupilGrid:
    """The grid of `samples`² points for light from `field`, for height maps of one precision.

    With a lens it is the same for every field.
    """
    pupil, distance, lens = spec.pupil, spec.sensor_distance, spec.lens is not None
    radius = pupil.diameter / 2
    centre_x, centre_y = -field[0] * distance, -field[1] * distance  # where the chief ray lands
    length = np.sqrt(distance**2 + centre_x**2 + centre_y**2)
    chief_x, chief_y = -centre_x / length, -centre_y / length

    def position(s_x: Floats, s_y: Floats) -> tuple[Floats, Floats]:
        if lens:
            return distance * s_x, distance * s_y
        s_x, s_y = s_x + chief_x, s_y + chief_y
        s_z = np.sqrt(1 - s_x**2 - s_y**2)
        return centre_x + distance * s_x / s_z, centre_y + distance * s_y / s_z

    def outside(s_x: Floats, s_y: Floats) -> NDArray[np.bool_]:
        x, y = position(s_x, s_y)
        if pupil.shape == "square":
            return np.maximum(np.abs(x), np.abs(y)) > radius
        beyond: NDArray[np.bool_] = x * x + y * y > radius**2
        return beyond

    def chord(s_y: Floats) -> tuple[Floats, Floats]:
        return _rim(outside, s_y, -reach), _rim(outside, s_y, reach)

    reach = radius / distance * 1.01
    zero = np.zeros(1)
    half_x = max(abs(_rim(outside, zero, side)[0]) for side in (-reach, reach))
    half_y = max(abs(_rim(lambda b, a: outside(a, b), zero, side)[0]) for side in (-reach, reach))
    s_x = centred(samples, 2 * half_x / (samples - 2 * MARGIN))
    s_y = centred(samples, 2 * half_y / (samples - 2 * MARGIN))
    area = aperture_weights(s_x, s_y, chord)
    grid_x, grid_y = np.meshgrid(s_x, s_y)
    x, y = position(grid_x, grid_y)
    # Huygens' amplitude (z/R)/R of each patch of the mask, times the patch that one step in s covers.
    huygens = np.ones_like(x) if lens else 1 / (1 - (grid_x + chief_x) ** 2 - (grid_y + chief_y) ** 2)
    energy = np.sum(area * huygens**2)
    used = area.ravel() != 0
    taps = interpolation(
        pupil.samples, pupil.pitch, x.ravel()[used], y.ravel()[used], dtype, nearest=spec.mask.stepped
    )
    return PupilGrid(s_x, s_y, x, y, area * huygens / np.sqrt(energy), MaskMap(taps, used, samples))


def _rim(outside: Any, s_y: Floats, far: float) -> Floats:
    """Where, between the pupil's middle and `far`, each line s_y leaves the stop (by bisection)."""
    low, high = np.zeros_like(s_y), np.full_like(s_y, far)
    for _ in range(50):
        middle = (low + high) / 2
        out = outside(middle, s_y)
        low, high = np.where(out, low, middle), np.where(out, middle, high)
    return low


class MaskMap:
    """Takes height maps to the grid's points."""

    def __init__(self, taps: csr_array, used: NDArray[np.bool_], samples: int) -> None:
        each = len(taps.data) // taps.shape[0]
        starts = np.concatenate([[0], np.cumsum(used) * each]).astype(np.int32)
        matrix = csr_array((taps.data, taps.indices, starts), shape=(samples**2, taps.shape[1]))
        self._map = SparseMap(matrix)
        self._shape = (samples, samples)

    def __call__(self, height: Array) -> Array:
        """Height [y, x] at the grid's points, zero where a point carries no weight."""
        return self._map(height.reshape(-1)).reshape(self._shape)
