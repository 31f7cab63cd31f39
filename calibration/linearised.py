"""The optical twin seen from the bench: expected raw mosaic of a point source, and how it changes with the build.

The PSF is the one of `models.optics`, but taken by FFT: for every wavelength the pupil is sampled at the
pitch whose transform
lands on equal parts of the raw pixels (as far as the sensor is where it should be). That makes a derivative
as cheap as a PSF,

    U = F[A·exp(iφ)],    ∂|U|²/∂a = 2 Re( U* · F[i ∂φ/∂a · A·exp(iφ)] ),

which a fit of forty parameters needs and a training step does not. The price is a periodic window: the light must lie
well inside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import ifft
from scipy.ndimage import map_coordinates, spline_filter
from threadpoolctl import threadpool_limits

from opticaldr.hardware.as_built import FORM_MODES, PINHOLE, plate_positions, respaced, stopped
from opticaldr.hardware.cameras.pixels import pixel_integrals
from opticaldr.models.optics import Optic, OpticsSpec, PupilSpec, bayer_masks, zernike
from opticaldr.models.optics.geometry import centred
from opticaldr.models.optics.path import fixed_path
from opticaldr.models.optics.quadrature import aperture_weights

PLATE = ("decentre x", "decentre y", "rotation")
FORM = tuple(f"Z{j}" for j in FORM_MODES)
SHARED = (*PLATE, "spacing", "aperture", "source", *FORM)
"""Names of the parameters that all views share; after them come shift x and shift y of every view."""

SPARE = 1.2
"""Samples a pixel beyond the fringes that fit on it; pixels blur what that leaves unresolved."""

_BATCH = 8  # derivatives transformed together
STEP = {
    "decentre x": 1e-6,
    "decentre y": 1e-6,
    "rotation": 2e-4,
    "spacing": 1e-6,
    "aperture": 1e-3,
    "source": 2e-6,
}
_SCALE = (
    "spacing",
    "aperture",
)  # change the pupil's grid or rim as well as its phase: slopes are differences


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


class BuiltOptic:
    """A plate and a hypothesis about its build, ready to predict mosaics.

    Args:
        plate: what was ordered.
        state: how it was built.
        shape: rows and columns of the windows, raw pixels.
        every: compute only each `every`-th wavelength, for a quicker and coarser prediction.
    """

    def __init__(self, plate: Plate, state: State, shape: tuple[int, int], *, every: int = 1) -> None:
        self.plate = plate
        self.state = state
        self.shape = shape
        self.every = every
        self.spec = stopped(respaced(plate.spec, state["spacing"]), state["aperture"])

    def mosaic(self, index: int, view: View) -> NDArray[np.float32]:
        """Energy fractions at the raw pixels of view number `index`, behind their filters [y, x], before any
        cross-talk."""
        blur, shift = self._blur(view), self.state.shifts[index]
        return _sum(pupil.seen(pupil.light(view, shift), blur) for pupil in self._pupils)

    def psf(self, view: View) -> NDArray[np.float32]:
        """Energy fractions at raw pixels [colour, y, x] of a point, not a pinhole, in the middle of the window.

        That of `models.optics.psf_bank` within a hundredth, and many times sooner.
        """
        return _sum(
            self.spec.spectral_weights[:, pupil.number, None, None].astype(np.float32)
            * pupil.integrated(pupil.light(view, np.zeros(2)), 0.0)
            for pupil in self._pupils
        )

    def mosaic_and_slopes(self, index: int, view: View) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`mosaic`, and its derivatives [parameter, y, x] by `SHARED` and by this view's shift (x, y)."""
        shift = self.state.shifts[index]
        blur = self._blur(view)
        narrower, wider = (self._blur(view, step) for step in (-STEP["source"], STEP["source"]))
        apart = [SHARED.index(name) for name in (*_SCALE, "source")]
        others = [parameter for parameter in range(len(SHARED) + 2) if parameter not in apart]

        def part(pupil: _Pupil) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            field = pupil.field(view, shift)
            amplitude = pupil.on_sensor(field.copy())
            slopes = np.zeros((len(SHARED) + 2, *self.shape), dtype=np.float32)
            field *= np.complex64(2j * np.pi / pupil.wavelength)
            for start in range(0, len(others), _BATCH):
                spread = pupil.on_sensor(pupil.slopes[start : start + _BATCH] * field)
                change = amplitude.real * spread.real
                change += amplitude.imag * spread.imag
                slopes[others[start : start + _BATCH]] = pupil.seen(2 * change, blur)
            power = _power(amplitude)
            change = pupil.seen(power, wider) - pupil.seen(power, narrower)
            slopes[SHARED.index("source")] = change / (2 * STEP["source"])
            return pupil.seen(power, blur), slopes

        # Wavelengths side by side, one on each core: most of the time goes into FFTs, which run without the GIL.
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as cores, threadpool_limits(1, user_api="blas"):
            parts = list(cores.map(part, self._pupils))
        mosaic, slopes = (_sum(iter(maps)) for maps in zip(*parts, strict=True))
        for name in _SCALE:
            ahead, behind = (built.mosaic(index, view) for built in self._nudged[name])
            slopes[SHARED.index(name)] = (ahead - behind) / (2 * STEP[name])
        return mosaic, slopes

    def _blur(self, view: View, wider: float = 0.0) -> float:
        """Standard deviation, in pixels, of the pinhole's image: a quarter of its diameter, as of any even disc."""
        diameter = PINHOLE + self.state["source"] + wider
        return diameter / 4 * self.spec.sensor_distance / view.depth / self.spec.sensor.pitch

    @cached_property
    def _nudged(self) -> dict[str, list[BuiltOptic]]:
        return {
            name: [
                BuiltOptic(self.plate, self.state.nudged(name, step), self.shape, every=self.every)
                for step in (STEP[name], -STEP[name])
            ]
            for name in _SCALE
        }

    @cached_property
    def _pupils(self) -> list[_Pupil]:
        return [
            _Pupil(self.plate, self.spec, self.state, number, self.shape)
            for number in range(0, len(self.spec.sensor.wavelengths), self.every)
        ]


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


class _Pupil:
    """One wavelength's pupil, on the grid whose FFT lands on the sensor's pixels."""

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
        return _power(self.on_sensor(self.field(view, shift)))

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


def _power(amplitude: NDArray[np.complex64]) -> NDArray[np.float32]:
    power: NDArray[np.float32] = amplitude.real**2 + amplitude.imag**2
    return power


def _sum(maps: Iterator[NDArray[np.float32]]) -> NDArray[np.float32]:
    total = next(maps)
    for other in maps:
        total = total + other
    return total
