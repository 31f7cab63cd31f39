"""Mask surfaces: four ways to describe a height map by fewer numbers, all linear in them.

* `zernike`: Noll's polynomials 1 … modes, in metres of the mask's normalisation;
* `radial`: a cubic B-spline in ρ², for surfaces that can be turned on a lathe;
* `spline`: a free form, a cubic tensor B-spline with modes × modes coefficients;
* `pixel`: every sample of the height map on its own.

Beside a stock lens the surface is the plate's whole relief and starts flat. Without one it is the lens as
well, and `focusing_height` is what it takes to be in focus.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import array_api_compat
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from opticaldr.models.optics.arrays import Array, like
from opticaldr.models.optics.geometry import (
    ON_AXIS,
    check_depth,
    pupil_mask,
    pupil_positions,
    relative_distance,
)
from opticaldr.models.optics.linear import SparseMap
from opticaldr.models.optics.specs import OpticsSpec
from opticaldr.models.optics.zernike import zernike, zernike_basis

Floats = NDArray[np.float64]


class Surface(Protocol):
    """A height map that is linear in a vector of `size` parameters in metres."""

    size: int

    def height(self, parameters: Array) -> Array:
        """Height map [y, x] in metres, in the library and precision of `parameters` [size]."""
        ...

    def fit(self, height: Floats) -> Floats:
        """Parameters whose height map is nearest to `height` inside the stop (least squares)."""
        ...


def surface(spec: OpticsSpec) -> Surface:
    """The surface that `spec.mask` names."""
    kinds = {
        "zernike": ZernikeSurface,
        "radial": RadialSurface,
        "spline": SplineSurface,
        "pixel": PixelSurface,
    }
    kind: type[Any] = kinds[spec.mask.surface]
    made: Surface = kind(spec)
    return made


def start_parameters(spec: OpticsSpec) -> Floats:
    """Parameters of the surface nearest to the Zernike coefficients in `spec.mask.start`."""
    return surface(spec).fit(zernike_height(spec.mask.start, spec))


def zernike_height(coefficients: Mapping[int, float], spec: OpticsSpec) -> Floats:
    """Height map [y, x] in metres of Zernike coefficients {Noll j: metres} in the mask's normalisation."""
    x, y = pupil_positions(spec)
    radius = spec.pupil.diameter / 2
    height = np.zeros_like(x)
    for j, value in coefficients.items():
        height += value * zernike(j, x / radius, y / radius, spec.mask.normalisation)
    return height


def focusing_height(spec: OpticsSpec, depth: float, wavelength: float) -> Floats:
    """Height map [y, x] in metres that images a point at `depth` on the sensor without a lens, free of aberration."""
    check_depth(depth)
    x, y = pupil_positions(spec)
    path = relative_distance(x, y, depth, ON_AXIS) + relative_distance(x, y, spec.sensor_distance, ON_AXIS)
    return -path / (spec.mask.material.index(wavelength) - 1)


class ZernikeSurface:
    """Noll's polynomials 1 … modes."""

    def __init__(self, spec: OpticsSpec) -> None:
        x, y = pupil_positions(spec)
        radius = spec.pupil.diameter / 2
        self.size = spec.mask.modes
        self._basis = zernike_basis(self.size, x / radius, y / radius, spec.mask.normalisation)
        self._cast: dict[Any, Any] = {}
        self._inside = pupil_mask(spec)

    def height(self, parameters: Array) -> Array:
        """Σ parameters[j − 1] · Z_j."""
        xp = array_api_compat.array_namespace(parameters)
        key = (parameters.dtype, str(array_api_compat.device(parameters)))
        if key not in self._cast:
            self._cast[key] = like(self._basis, parameters)
        return xp.tensordot(parameters, self._cast[key], axes=([0], [0]))

    def fit(self, height: Floats) -> Floats:
        """Least-squares coefficients over the samples inside the stop."""
        inside = self._basis[:, self._inside]
        return np.asarray(np.linalg.solve(inside @ inside.T, inside @ height[self._inside]), dtype=np.float64)


class RadialSurface:
    """A cubic B-spline in ρ², constant beyond the stop's rim."""

    def __init__(self, spec: OpticsSpec) -> None:
        from scipy.interpolate import BSpline

        x, y = pupil_positions(spec)
        square = np.minimum((x * x + y * y) / (spec.pupil.diameter / 2) ** 2, 1)
        self.size = spec.mask.modes
        self._matrix = csr_array(BSpline.design_matrix(square.ravel(), clamped_knots(self.size, 0, 1), 3))
        self._map = SparseMap(self._matrix)
        self._shape = x.shape
        self._inside = pupil_mask(spec)

    def height(self, parameters: Array) -> Array:
        """The spline turned about the axis."""
        return self._map(parameters).reshape(self._shape)

    def fit(self, height: Floats) -> Floats:
        """Least-squares coefficients over the samples inside the stop."""
        from scipy.sparse.linalg import lsqr

        rows = np.flatnonzero(self._inside)
        return np.asarray(lsqr(self._matrix[rows], height[self._inside], atol=1e-14, btol=1e-14)[0])


class SplineSurface:
    """A cubic tensor B-spline over the pupil's square, `modes` coefficients a side; parameters run row by row."""

    def __init__(self, spec: OpticsSpec) -> None:
        from scipy.interpolate import BSpline

        axis = pupil_positions(spec)[0][0]
        half = spec.pupil.diameter / 2
        self._side = spec.mask.modes
        self.size = self._side**2
        self._basis = BSpline.design_matrix(axis, clamped_knots(self._side, -half, half), 3).toarray()

    def height(self, parameters: Array) -> Array:
        """B_y · coefficients · B_xᵀ."""
        basis = like(self._basis, parameters)
        return basis @ parameters.reshape(self._side, self._side) @ basis.T

    def fit(self, height: Floats) -> Floats:
        """Least-squares coefficients over the whole square."""
        inverse = np.linalg.pinv(self._basis)
        return (inverse @ height @ inverse.T).ravel()


class PixelSurface:
    """Every sample of the height map is a parameter, row by row."""

    def __init__(self, spec: OpticsSpec) -> None:
        self._shape = (spec.pupil.samples, spec.pupil.samples)
        self.size = spec.pupil.samples**2

    def height(self, parameters: Array) -> Array:
        """The parameters as they are."""
        return parameters.reshape(self._shape)

    def fit(self, height: Floats) -> Floats:
        """The samples as they are."""
        return np.asarray(height).ravel()


def clamped_knots(coefficients: int, start: float, end: float) -> Floats:
    """Knots of a cubic spline with `coefficients` ≥ 4 that reaches its end coefficients at both ends."""
    inner = np.linspace(start, end, coefficients - 2)
    return np.concatenate([[start] * 3, inner, [end] * 3])
