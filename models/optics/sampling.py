"""How finely the pupil has to be sampled, and a refusal where a height map is too coarse for its slopes.

A pupil sampled every Δs in direction cosine repeats the sensor field every λ/Δs. A ray that leaves the pupil
where the path has the slope g = ∂L/∂s lands g away from the chief ray. With all rays within ±g and a window
of width w, nothing folds back into the window if λ/Δs ≥ w/2 + max(g, w/2). Diffraction blurs the rays' edge,
hence a guard.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.models.optics.arrays import Array, constant
from opticaldr.models.optics.geometry import Field, centred, pupil_mask
from opticaldr.models.optics.path import fixed_path
from opticaldr.models.optics.pupil import MARGIN
from opticaldr.models.optics.specs import OpticsSpec

GUARD = 2.25
"""Finer sampling than the rays need, for the light that diffraction throws beyond them: see docs/optics.md."""

FEWEST = 128
"""Samples along one side that a pupil gets however small the window."""


@dataclass(frozen=True)
class Steepness:
    """Largest changes between neighbouring samples of the height map inside the stop, in metres.

    `path` is that of the whole path at refractive index `index`, `height` that of the height map alone.
    """

    path: float
    height: float
    index: float

    def at(self, index: float) -> float:
        """Upper bound of the path's step at another refractive index."""
        return self.path + abs(index - self.index) * self.height


def steepness(height: Array, spec: OpticsSpec, wavelength: float, depth: float, field: Field) -> Steepness:
    """The steepest step of the path at one wavelength, depth and field; refuses a map that is not finite."""
    values = constant(height)
    index = spec.mask.material.index(wavelength)
    fixed, inside = _fixed(spec, field, values.dtype.str)
    square = (centred(spec.pupil.samples, spec.pupil.pitch) ** 2).astype(values.dtype)
    nearer = (1 / depth - 1 / spec.scene.far) / 2
    path = values * (index - 1)
    path += fixed
    path += nearer * square
    path += nearer * square[:, None]
    return Steepness(_steepest(path, inside), _steepest(values, inside), index)


def samples_needed(steep: Steepness, spec: OpticsSpec, wavelength: float, window: float) -> int:
    """Pupil samples along one side (even, from a coarse ladder) for a window of the given width in metres.

    Refuses a height map whose path changes by more than half a wave between samples: there the map no longer
    says what the surface is. A stepped surface is exempt, for its samples are the surface.
    """
    step = steep.at(spec.mask.material.index(wavelength))
    pitch, distance = spec.pupil.pitch, spec.sensor_distance
    if step > wavelength / 2 and not spec.mask.stepped:
        enough = int(np.ceil(1.1 * spec.pupil.samples * 2 * step / wavelength))
        raise Refusal(
            f"the wavefront changes by {step / wavelength:.2f} waves between samples of height at "
            f"{wavelength * 1e9:.0f} nm",
            f"give pupil.samples of at least {enough}, or a flatter height map",
        )
    rays = min(step / pitch * distance, wavelength * distance / (2 * pitch))
    period = GUARD * (window / 2 + max(rays, window / 2))
    needed = spec.pupil.diameter / distance * period / wavelength + 2 * MARGIN
    if spec.mask.stepped:  # a whole number of points, and an even one in all, to each sample
        each = int(np.ceil(needed / spec.pupil.samples))
        return spec.pupil.samples * (each + each * spec.pupil.samples % 2) + 2 * MARGIN
    return next(size for size in _LADDER if size >= max(needed, FEWEST))


def check_sampling(height: Array, spec: OpticsSpec) -> None:
    """Refuse a mask whose own phase changes by more than half a wave between samples of the height map.

    The twin takes the quadratic phase out and does not need this; whoever samples the mask's phase itself
    does, be it another simulation or a pixelated modulator.
    """
    wavelength = min(spec.sensor.wavelengths)
    steep = steepness(height, spec, wavelength, spec.scene.far, (0.0, 0.0))
    step = steep.height * (steep.index - 1)
    if step > wavelength / 2:
        enough = int(np.ceil(1.1 * spec.pupil.samples * 2 * step / wavelength))
        raise Refusal(
            f"the mask's phase is aliased: {step / wavelength:.2f} waves between samples at "
            f"{wavelength * 1e9:.0f} nm, where half a wave is the limit",
            f"give pupil.samples of at least {enough}, or a flatter mask "
            "(a Zernike given in the other normalisation is a common cause)",
        )


_LADDER = [eighths * 2**octave for octave in range(2, 12) for eighths in range(8, 16)]


@lru_cache(maxsize=4)
def _fixed(spec: OpticsSpec, field: Field, dtype: str) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """The fixed path at the height map's samples for the far end of the scene, and which lie inside the stop."""
    axis = centred(spec.pupil.samples, spec.pupil.pitch).astype(dtype)
    return fixed_path(spec, axis, axis[:, None], spec.scene.far, field), pupil_mask(spec)


def _steepest(values: NDArray[np.floating], inside: NDArray[np.bool_]) -> float:
    """The largest change between neighbours inside the stop, along either axis."""
    peak = 0.0
    for before, after in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        with np.errstate(invalid="ignore"):  # infinities, refused below
            step = values[after] - values[before]
            step *= inside[after] & inside[before]
        steepest = float(max(step.max(), -step.min()))
        if not np.isfinite(steepest):
            raise Refusal("height is not finite everywhere", "look for NaN or infinity in the height map")
        peak = max(peak, steepest)
    return peak
