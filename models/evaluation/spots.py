"""Spots of rays: PSFs of controls, where many sizes are tried and a superpixel is far wider than diffraction.

Pupil point ξ sends its light to u = −z·∇(path + (n − 1)·h)(ξ), the stationary-phase limit of the wave-optical
PSF (Born & Wolf, Principles of Optics, 3.1 and 8.8). The lens under test never passes through here; its PSFs
are measured, or wave optics.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.metrics import Floats
from opticaldr.models.optics import OpticsSpec, pupil_mask, pupil_positions, zernike_height
from opticaldr.models.optics.path import fixed_path

RAYS = 192
"""Rays across the pupil."""


def ray_reach(height: Floats, spec: OpticsSpec, depths: Sequence[float]) -> float:
    """How far from the chief ray, in superpixels along x or y, the rays through a height map land at most."""
    x, y = pupil_positions(spec)
    inside = pupil_mask(spec)
    index = max(spec.mask.material.index(wavelength) for wavelength in spec.sensor.wavelengths)
    reach = 0.0
    for depth in depths:
        path = fixed_path(spec, x, y, depth, (0.0, 0.0)) + (index - 1) * height
        steepest = float(np.abs(_slopes(path, spec)[:, inside]).max())
        reach = max(reach, steepest * spec.sensor_distance / spec.sensor.superpixel)
    return reach


class Spots:
    """Rays of one optic, for masks that are multiples of one shape.

    Args:
        shape: Zernike coefficients of the shape, Noll index to metres.
        spec: the optics; coefficients in ``mask.start`` are always there.
        depths: metres from pupil to subject.
    """

    def __init__(self, shape: Mapping[int, float], spec: OpticsSpec, depths: Sequence[float]) -> None:
        coarse = spec.pupil.model_copy(update={"samples": RAYS})
        spec = spec.model_copy(update={"pupil": coarse})
        x, y = pupil_positions(spec)
        inside = pupil_mask(spec)
        reach = -spec.sensor_distance / spec.sensor.superpixel

        def bend(surface: Floats) -> Floats:
            return reach * _slopes(surface, spec)[:, inside]

        index = [spec.mask.material.index(wavelength) - 1 for wavelength in spec.sensor.wavelengths]
        self._index = spec.spectral_weights @ np.array(index)  # mean over what each colour sees
        self._shape = bend(zernike_height(shape, spec))
        self._start = bend(zernike_height(spec.mask.start, spec))
        self._fixed = [bend(fixed_path(spec, x, y, depth, (0.0, 0.0))) for depth in depths]

    def landings(self, size: float) -> Floats:
        """Where the rays of `size` times the shape land: superpixels ``[depth, colour, (y, x), ray]``."""
        mask = self._start + size * self._shape
        return np.stack([[fixed + n * mask for n in self._index] for fixed in self._fixed])

    def width(self, size: float) -> float:
        """Mean EE50 over depths and colours: median distance of the rays from their centroid."""
        rays = self.landings(size)
        apart = rays - rays.mean(-1, keepdims=True)
        return float(np.median(np.hypot(apart[:, :, 0], apart[:, :, 1]), axis=-1).mean())

    def bank(self, size: float, window: int) -> FloatArray:
        """Energy fractions ``[depth, colour, window, window]``."""
        rays = self.landings(size)
        edges = np.arange(window + 1) - window / 2
        counts = [[np.histogram2d(y, x, bins=(edges, edges))[0] for y, x in depth] for depth in rays]
        return np.asarray(np.array(counts) / rays.shape[-1], np.float32)


def _slopes(surface: Floats, spec: OpticsSpec) -> Floats:
    """Slopes of a surface over the pupil's grid: ``[(y, x), pupil y, pupil x]``."""
    return np.stack([np.gradient(surface, spec.pupil.pitch, axis=axis) for axis in (0, 1)])
