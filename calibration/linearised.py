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
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import ifft2
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
    """One point source, seen in a square window of raw pixels.

    `depth`: metres from the pupil. `side`: raw pixels of the window, even; its first pixel is the first of a
    Bayer cell. `field`: tangents (x, y) of the field angle.
    """

    depth: float
    side: int
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
        side: raw pixels of the windows.
        every: compute only each `every`-th wavelength, for a quicker and coarser prediction.
    """

    def __init__(self, plate: Plate, state: State, side: int, *, every: int = 1) -> None:
        self.plate = plate
        self.state = state
        self.side = side
        self.every = every
        self.spec = stopped(respaced(plate.spec, state["spacing"]), state["aperture"])

    def mosaic(self, index: int, view: View) -> NDArray[np.float32]:
        """Energy fractions at the raw pixels of view number `index`, behind their filters [y, x], before any
        cross-talk."""
        blur = self._blur(view)
        return _sum(
            pupil.seen(_power(ifft2(pupil.field(view, self.state.shifts[index]), norm="forward")), blur)
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
            amplitude = ifft2(field, norm="forward")
            slopes = np.zeros((len(SHARED) + 2, self.side, self.side), dtype=np.float32)
            field *= np.complex64(2j * np.pi / pupil.wavelength)
            for start in range(0, len(others), _BATCH):
                spread = ifft2(pupil.slopes[start : start + _BATCH] * field, norm="forward", overwrite_x=True)
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
                BuiltOptic(self.plate, self.state.nudged(name, step), self.side, every=self.every)
                for step in (STEP[name], -STEP[name])
            ]
            for name in _SCALE
        }

    @cached_property
    def _pupils(self) -> list[_Pupil]:
        return [
            _Pupil(self.plate, self.spec, self.state, number, self.side)
            for number in range(0, len(self.spec.sensor.wavelengths), self.every)
        ]


class _Pupil:
    """One wavelength's pupil, on the grid whose FFT lands on the sensor's pixels."""

    def __init__(self, plate: Plate, spec: OpticsSpec, state: State, number: int, side: int) -> None:
        sensor, nominal = spec.sensor, plate.spec.sensor_distance
        self.wavelength = sensor.wavelengths[number]
        self.refraction = spec.mask.material.index(self.wavelength) - 1
        self.spec, self.plate, self.state = spec, plate, state
        # No fringe of |U|² is finer than λz/D. With p samples a pixel, f fringes a pixel pass for p − f.
        stop, radius = spec.pupil, plate.spec.pupil.diameter / 2
        fringes = 2 * sensor.pitch * radius / (self.wavelength * nominal)
        parts = int(np.ceil(fringes + SPARE))
        count = side * parts
        pitch = self.wavelength * nominal / (side * sensor.pitch)
        self.axis = centred(count, pitch)
        self.x, self.y = np.meshgrid(self.axis, self.axis)
        self.basis = _form_basis(count, round(pitch / radius, 12))
        path = self.refraction * (
            self._plate(state) + np.tensordot(state.form.astype(np.float32), self.basis, axes=1)
        )
        middle = np.exp(-1j * np.pi * (count - 1) / count * np.arange(count))  # both grids are centred
        weights = _stop(stop, count, pitch)
        self.mask = weights * np.outer(middle, middle) / (count * np.sqrt(np.sum(weights**2)))
        self.mask *= np.exp(2j * np.pi / self.wavelength * path)
        self.grid = side, count, spec.sensor_distance / nominal / parts
        masks = bayer_masks(sensor.bayer, side, side)
        self.share = np.tensordot(spec.spectral_weights[:, number], masks, axes=1).astype(np.float32)

    def field(self, view: View, shift: NDArray[np.float64]) -> NDArray[np.complex64]:
        """The field in the pupil [y, x], of a spot that is shifted by (x, y) metres on the sensor."""
        path = fixed_path(self.spec, self.x, self.y, view.depth, view.field)
        path = path - (self.x * shift[0] + self.y * shift[1]) / self.spec.sensor_distance
        return (self.mask * np.exp(2j * np.pi / self.wavelength * path)).astype(np.complex64)

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
            [self.refraction * np.stack(plate), self.refraction * self.basis, tilt], dtype=np.float32
        )

    def seen(self, samples: NDArray[np.float32], blur: float) -> NDArray[np.float32]:
        """This wavelength's part of the mosaic, of a map [..., y, x] on the FFT's grid, blurred by `blur` pixels."""
        integral = pixel_integrals(*self.grid, blur=blur)
        pixels = integral @ samples @ integral.T
        return np.asarray(pixels * self.share, dtype=np.float32)

    def _plate(self, state: State) -> NDArray[np.float64]:
        decentre = (state["decentre x"], state["decentre y"])
        return self.plate.height(self.x, self.y, decentre, state["rotation"])


@lru_cache(maxsize=24)
def _form_basis(count: int, pitch: float) -> NDArray[np.float32]:
    """Unit-RMS Zernikes of `FORM_MODES` on a centred grid in units of the pupil's radius: [mode, y, x]."""
    x, y = np.meshgrid(centred(count, pitch), centred(count, pitch))
    return np.stack([zernike(j, x, y, "noll") for j in FORM_MODES]).astype(np.float32)


@lru_cache(maxsize=24)
def _stop(pupil: PupilSpec, count: int, pitch: float) -> NDArray[np.float64]:
    """Weight of every sample in an integral over the stop [y, x], exact at its rim."""
    radius = pupil.diameter / 2

    def chord(y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if pupil.shape == "square":
            half = np.where(np.abs(y) <= radius, radius, 0.0)
        else:
            half = np.sqrt(np.maximum(radius**2 - y**2, 0))
        return -half, half

    axis = centred(count, pitch)
    return aperture_weights(axis, axis, chord)


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
