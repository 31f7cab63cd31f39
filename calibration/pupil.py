"""One wavelength's pupil under a hypothesis about the build, on the grid whose FFT lands on the sensor's pixels."""

from __future__ import annotations

from functools import cached_property, lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import ifft

from opticaldr.calibration.hypothesis import PLATE, STEP, Plate, State, View
from opticaldr.hardware.as_built import FORM_MODES
from opticaldr.hardware.cameras.pixels import pixel_integrals
from opticaldr.models.optics import OpticsSpec, PupilSpec, bayer_masks, zernike
from opticaldr.models.optics.geometry import centred
from opticaldr.models.optics.path import fixed_path
from opticaldr.models.optics.quadrature import aperture_weights

SPARE = 1.2
"""Samples a pixel beyond the fringes that fit on it; pixels blur what that leaves unresolved."""


class Axes(NamedTuple):
    """A centred grid: how many rows and columns, how far apart."""

    rows: int
    row_pitch: float
    columns: int
    column_pitch: float

    def scaled(self, factor: float) -> Axes:
        """The same grid in other units, rounded so that equal grids compare as equal."""
        return Axes(
            self.rows, round(self.row_pitch * factor, 12), self.columns, round(self.column_pitch * factor, 12)
        )

    @property
    def positions(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of the columns (x) and of the rows (y)."""
        return centred(self.columns, self.column_pitch), centred(self.rows, self.row_pitch)

    def mesh(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x and y of every point [y, x]."""
        x, y = np.meshgrid(*self.positions)
        return x, y


class Pupil:
    """One wavelength's pupil, on the grid whose FFT lands on the sensor's pixels.

    Args:
        plate: what was ordered.
        spec: the optics as built: spacing and stop.
        state: how the plate was made and mounted.
        number: of the wavelength in the sensor's list.
        shape: rows and columns of the window, raw pixels.
    """

    def __init__(
        self, plate: Plate, spec: OpticsSpec, state: State, number: int, shape: tuple[int, int]
    ) -> None:
        sensor, nominal = spec.sensor, plate.spec.sensor_distance
        self.number, self.wavelength = number, sensor.wavelengths[number]
        self.refraction = spec.mask.material.index(self.wavelength) - 1
        self.spec, self.plate, self.state = spec, plate, state
        # No fringe of |U|² is finer than λz/D. With p samples a pixel, f fringes a pixel pass for p − f.
        stop, radius = spec.pupil, plate.spec.pupil.diameter / 2
        fringes = 2 * sensor.pitch * radius / (self.wavelength * nominal)
        parts = int(np.ceil(fringes + SPARE))
        self.counts = shape[0] * parts, shape[1] * parts
        pitches = [self.wavelength * nominal / (side * sensor.pitch) for side in shape]
        # Of the FFT's grid only the part about the stop, in steps, so that a nudged stop has the same.
        across = [
            min(count, 16 * int(np.ceil((stop.diameter / pitch + 6) / 16)))
            for count, pitch in zip(self.counts, pitches, strict=True)
        ]
        axes = Axes(across[0], pitches[0], across[1], pitches[1])
        self.x, self.y = axes.mesh()
        self.form = partial(_form_basis, axes.scaled(1 / radius))
        path: NDArray[np.floating] = self.refraction * self._plate(state)
        if state.form.any():
            path = path + self.refraction * np.tensordot(state.form.astype(np.float32), self.form(), axes=1)
        middle = [  # the FFT's grid on the sensor is centred, too
            np.exp(-1j * np.pi * (count - 1) / count * np.arange(part))
            for count, part in zip(self.counts, across, strict=True)
        ]
        weights = _stop(stop, axes)
        self.mask = weights * np.outer(*middle) / np.sqrt(np.prod(self.counts) * np.sum(weights**2))
        self.mask *= np.exp(2j * np.pi / self.wavelength * path)
        self.grids = [
            (*of, spec.sensor_distance / nominal / parts) for of in zip(shape, self.counts, strict=True)
        ]
        masks = bayer_masks(sensor.bayer, *shape)
        self.share = np.tensordot(spec.spectral_weights[:, number], masks, axes=1).astype(np.float32)

    def field(self, view: View, shift: NDArray[np.float64]) -> NDArray[np.complex64]:
        """The field in the pupil [y, x], of a spot that is shifted by (x, y) metres on the sensor."""
        path = fixed_path(self.spec, self.x, self.y, view.depth, view.field)
        path = path - (self.x * shift[0] + self.y * shift[1]) / self.spec.sensor_distance
        return (self.mask * np.exp(2j * np.pi / self.wavelength * path)).astype(np.complex64)

    def on_sensor(self, fields: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """The field on the sensor, but for a phase, of fields [..., y, x] in the pupil."""
        rows = ifft(fields, self.counts[1], norm="forward", overwrite_x=True)
        sensor: NDArray[np.complex64] = ifft(rows, self.counts[0], axis=-2, norm="forward", overwrite_x=True)
        return sensor

    def light(self, view: View, shift: NDArray[np.float64]) -> NDArray[np.float32]:
        """Energy fractions at the points of the FFT's grid on the sensor."""
        return irradiance(self.on_sensor(self.field(view, shift)))

    @cached_property
    def slopes(self) -> NDArray[np.float32]:
        """Derivatives of the optical path [parameter, y, x] by plate, form and shift (x, y)."""
        plate = [
            (self._plate(self.state.nudged(name, step)) - self._plate(self.state.nudged(name, -step)))
            / (2 * step)
            for name, step in STEP.items()
            if name in PLATE
        ]
        tilt = -np.stack([self.x, self.y]) / self.spec.sensor_distance
        return np.concatenate(
            [self.refraction * np.stack(plate), self.refraction * self.form(), tilt], dtype=np.float32
        )

    def seen(self, samples: NDArray[np.float32], blur: float) -> NDArray[np.float32]:
        """This wavelength's part of the mosaic, of a map [..., y, x] on the FFT's grid, blurred by `blur` pixels."""
        return np.asarray(self.integrated(samples, blur) * self.share, dtype=np.float32)

    def integrated(self, samples: NDArray[np.float32], blur: float) -> NDArray[np.float32]:
        """Light on the raw pixels [..., y, x], of a map on the FFT's grid, blurred by `blur` pixels."""
        down, across = (pixel_integrals(*grid, blur=blur) for grid in self.grids)
        return np.asarray(down @ samples @ across.T, dtype=np.float32)

    def _plate(self, state: State) -> NDArray[np.float64]:
        decentre = (state["decentre x"], state["decentre y"])
        return self.plate.height(self.x, self.y, decentre, state["rotation"])


@lru_cache(maxsize=24)
def _form_basis(axes: Axes) -> NDArray[np.float32]:
    """Unit-RMS Zernikes of `FORM_MODES` on a grid in units of the pupil's radius: [mode, y, x]."""
    x, y = axes.mesh()
    return np.stack([zernike(j, x, y, "noll") for j in FORM_MODES]).astype(np.float32)


@lru_cache(maxsize=24)
def _stop(pupil: PupilSpec, axes: Axes) -> NDArray[np.float64]:
    """Weight of every sample in an integral over the stop [y, x], exact at its rim."""
    radius = pupil.diameter / 2

    def chord(y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if pupil.shape == "square":
            half = np.where(np.abs(y) <= radius, radius, 0.0)
        else:
            half = np.sqrt(np.maximum(radius**2 - y**2, 0))
        return -half, half

    return aperture_weights(*axes.positions, chord)


def forget_maps() -> None:
    """Let go of the Zernike maps and stops that a fit keeps at hand: half a gigabyte."""
    _form_basis.cache_clear()
    _stop.cache_clear()


def irradiance(amplitude: NDArray[np.complex64]) -> NDArray[np.float32]:
    """The squared modulus of a field."""
    power: NDArray[np.float32] = amplitude.real**2 + amplitude.imag**2
    return power
