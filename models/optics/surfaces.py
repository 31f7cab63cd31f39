"""Mask surfaces: from a few numbers to a height map."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.optics.geometry import pupil_positions
from opticaldr.models.optics.specs import OpticsSpec
from opticaldr.models.optics.zernike import zernike


def zernike_height(coefficients: Mapping[int, float], spec: OpticsSpec) -> NDArray[np.float64]:
    """Height map [y, x] in metres of Zernike coefficients {Noll j: metres} in the mask's normalisation."""
    x, y = pupil_positions(spec)
    radius = spec.pupil.diameter / 2
    height = np.zeros_like(x)
    for j, value in coefficients.items():
        height += value * zernike(j, x / radius, y / radius, spec.mask.normalisation)
    return height
