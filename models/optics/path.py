"""Optical path of all but the mask: the source's wave, the stock lens and its aberrations, the way to the sensor."""

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.optics.geometry import ON_AXIS, Field, relative_distance
from opticaldr.models.optics.specs import OpticsSpec, Seidel

Floats = NDArray[np.float64]

SEIDEL_WAVELENGTH = 550e-9
"""Wavelength of the waves in which `Seidel` counts."""


def fixed_path(spec: OpticsSpec, x: Floats, y: Floats, depth: float, field: Field) -> Floats:
    """Path in metres at points of the pupil, less that of the chief ray.

    The source's spherical wave, less the one that the lens takes to a point (with a lens), or plus the sphere
    that converges on the sensor (without): either way the quadratic terms, hundreds of waves deep, have
    cancelled in float64.
    """
    source = relative_distance(x, y, depth, field)
    if spec.lens is None:
        return source + relative_distance(x, y, spec.sensor_distance, (-field[0], -field[1]))
    in_focus = relative_distance(x, y, spec.lens.focus, field)
    return source - in_focus + seidel_path(spec.lens.seidel, x, y, spec.pupil.diameter / 2, field)


def seidel_path(seidel: Seidel, x: Floats, y: Floats, radius: float, field: Field) -> Floats:
    """Third-order aberrations of a rotationally symmetric lens, in metres (Welford, Aberrations of Optical
    Systems, ch. 7).

    W = S ρ⁴ + C H ρ³ cos ψ + A H² ρ² cos² ψ + F H² ρ² + D H³ ρ cos ψ, ψ being the angle from the field's
    direction.
    """
    height = np.hypot(*field) / seidel.field_edge
    direction = np.arctan2(field[1], field[0]) if field != ON_AXIS else 0.0
    along = (x * np.cos(direction) + y * np.sin(direction)) / radius
    square = (x * x + y * y) / radius**2
    waves = (
        seidel.spherical * square**2
        + seidel.coma * height * square * along
        + seidel.astigmatism * height**2 * along**2
        + seidel.field_curvature * height**2 * square
        + seidel.distortion * height**3 * along
    )
    return waves * SEIDEL_WAVELENGTH
