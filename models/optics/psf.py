"""The point spread function of a mask, with the quadratic phase factored out.

A point at depth d sends a spherical wave to the pupil; mask, stock lens and stop act on it there; the sensor lies at
distance z. Seen from the point u₀ of the sensor where the chief ray lands, the Huygens path from pupil point ξ is

    R(u, ξ) = R(u₀, ξ) + s(ξ)·(u − u₀) + …,        s = ∂R/∂u = direction cosines of the ray from ξ to u₀.

The first term, hundreds of waves deep, converges on u₀ just as the lens does: the two cancel in closed form and never have
to be sampled. What is left of the phase, φ, is the mask's departure from a lens, defocus and aberrations, and the field
on the sensor is its Fourier transform over direction cosines,

    U(u) = (1/λ) ∫ A(s) exp(iφ(s)) exp(−ik s·u) d²s ,

evaluated only at the pixels wanted, as two matrix products E_y · (A exp iφ) · E_xᵀ: no padding, no wrap-around, any pixel
pitch. With Parseval, |U|² over the power through the stop is the PSF as an energy fraction per pixel.
"""

from collections.abc import Sequence

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.models.optics.arrays import Array, constant, like
from opticaldr.models.optics.geometry import centred, check_depth, pupil_positions, pupil_transmission
from opticaldr.models.optics.specs import OpticsSpec

Field = tuple[float, float]
"""Tangents of the field angle in x and y: where the point lies, divided by its depth."""

ON_AXIS: Field = (0.0, 0.0)


def psf_bank(
    height: Array,
    spec: OpticsSpec,
    depths: Sequence[float],
    *,
    fields: Sequence[Field] | None = None,
    shape: tuple[int, int] | None = None,
    binned: bool = True,
) -> Array:
    """PSFs of every depth, field point and colour, as energy fractions.

    Each window is centred on the chief ray, so that field and shape are independent; energy outside it is
    ``1 - psf.sum((-2, -1))``. Values are integrated over the pixel's area.

    Args:
        height: mask thickness [y, x] in metres on the pupil's square grid; NumPy array or torch tensor
            (differentiable), float32 or float64, which is also the precision of the result.
        spec: the optics.
        depths: metres from pupil to point.
        fields: tangents (x, y) of the field angles; without it the point is on axis and the result has no field axis.
        shape: rows and columns of the window, in superpixels if `binned`, else in raw pixels; the whole sensor
            by default.
        binned: superpixels of ``spec.sensor.superpixel``, or raw pixels of ``spec.sensor.pitch``.

    Returns:
        [depth, field, colour, y, x], or [depth, colour, y, x] without `fields`. Colours are red, green, blue.
    """
    xp = array_api_compat.array_namespace(height)
    weights = like(spec.spectral_weights, height)
    rows = []
    for depth in depths:
        for field in fields if fields is not None else [ON_AXIS]:
            spectrum = [
                psf(height, spec, wavelength, depth, field=field, shape=shape, binned=binned)
                for wavelength in spec.sensor.wavelengths
            ]
            rows.append(xp.tensordot(weights, xp.stack(spectrum), axes=([1], [0])))
    bank = xp.stack(rows)
    if fields is None:
        return bank
    return xp.reshape(bank, (len(depths), len(fields), *bank.shape[1:]))


def psf(
    height: Array,
    spec: OpticsSpec,
    wavelength: float,
    depth: float,
    *,
    field: Field = ON_AXIS,
    shape: tuple[int, int] | None = None,
    binned: bool = True,
) -> Array:
    """PSF at one wavelength: energy fractions [y, x], integrated over each pixel's area."""
    pitch = spec.sensor.superpixel if binned else spec.sensor.pitch
    shape = shape or (spec.sensor.binned_shape if binned else spec.sensor.shape)
    # The finest fringe of |U|² has the period λz/D; more samples than that a pixel and the sum is the integral.
    fine = max(1, int(np.ceil(pitch * spec.pupil.diameter / (wavelength * spec.sensor_distance))))
    fine_shape = (shape[0] * fine, shape[1] * fine)
    field_on_sensor = sensor_field(
        height, spec, wavelength, depth, field=field, shape=fine_shape, pitch=pitch / fine
    )
    intensity = field_on_sensor.real**2 + field_on_sensor.imag**2
    if fine == 1:
        return intensity
    return intensity.reshape(shape[0], fine, shape[1], fine).sum(-1).sum(-2)


def sensor_field(
    height: Array,
    spec: OpticsSpec,
    wavelength: float,
    depth: float,
    *,
    field: Field = ON_AXIS,
    shape: tuple[int, int],
    pitch: float,
) -> Array:
    """Complex field [y, x] at points `pitch` apart around the chief ray, without its quadratic phase.

    Scaled so that |U|² is the fraction of the energy through the stop in a square of `pitch`.
    """
    check_height(height, spec)
    if not (np.isfinite(wavelength) and wavelength > 0):
        raise Refusal(f"wavelength is {wavelength} m", "give a positive number of metres")
    check_depth(depth)
    xp = array_api_compat.array_namespace(height)
    k = 2 * np.pi / wavelength
    amplitude = pupil_transmission(spec)
    fixed = amplitude * np.exp(1j * k * fixed_path(spec, depth, field))
    phase = height * (k * (spec.mask.material.index(wavelength) - 1))
    pupil = like(fixed, height) * xp.exp(1j * phase)
    scale = pitch * spec.pupil.pitch / (wavelength * spec.sensor_distance)
    scale /= spec.pupil.pitch * np.sqrt(np.sum(amplitude**2))
    scale *= spec.pupil.pitch
    cosines = centred(spec.pupil.samples, spec.pupil.pitch) / spec.sensor_distance
    to_rows = np.exp(1j * k * np.outer(centred(shape[0], pitch), cosines))
    to_columns = np.exp(1j * k * np.outer(cosines, centred(shape[1], pitch)))
    return like(scale * to_rows, height) @ pupil @ like(to_columns, height)


def fixed_path(spec: OpticsSpec, depth: float, field: Field) -> NDArray[np.float64]:
    """Optical path [y, x] in metres over the pupil of all but the mask, relative to the chief ray.

    The source's spherical wave, less the wave that the stock lens takes to a point (with one), or plus the sphere that
    converges on the sensor (without): either way the depth-sized quadratic terms have cancelled in float64.
    """
    x, y = pupil_positions(spec)
    source = sphere(x, y, depth, field)
    if spec.lens is not None:
        return source - sphere(x, y, spec.lens.focus, field)
    return source + sphere(x, y, spec.sensor_distance, (-field[0], -field[1]))


def sphere(
    x: NDArray[np.float64], y: NDArray[np.float64], distance: float, field: Field
) -> NDArray[np.float64]:
    """Distance from pupil points to the point `distance` away in direction `field`, relative to the pupil's centre.

    Written as (ρ² − 2ρ·p)/(R + R₀), which keeps all digits where R − R₀ would lose them.
    """
    px, py = field[0] * distance, field[1] * distance
    centre = np.sqrt(distance**2 + px**2 + py**2)
    difference = x * x + y * y - 2 * (x * px + y * py)
    relative: NDArray[np.float64] = difference / (np.sqrt(centre**2 + difference) + centre)
    return relative


def check_height(height: Array, spec: OpticsSpec) -> None:
    """Refuse a height map that is not [samples, samples] of finite metres."""
    expected = (spec.pupil.samples, spec.pupil.samples)
    if tuple(height.shape) != expected:
        raise Refusal(f"height has shape {tuple(height.shape)}", f"pupil.samples asks for {expected}")
    if not np.all(np.isfinite(constant(height))):
        raise Refusal("height is not finite everywhere", "look for NaN or infinity in the height map")
