"""The optical twin seen from the bench: expected raw mosaic of a point source, and how it changes with the build.

The PSF is the one of `models.optics`, but taken by FFT: for every wavelength the pupil is sampled at the pitch whose
transform lands on equal parts of the raw pixels (as far as the sensor is where it should be). That makes a derivative
as cheap as a PSF,

    U = F[A·exp(iφ)],    ∂|U|²/∂a = 2 Re( U* · F[i ∂φ/∂a · A·exp(iφ)] ),

which a fit of forty parameters needs and a training step does not. The price is a periodic window: the light must lie
well inside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from opticaldr.calibration.hypothesis import SHARED, STEP, Plate, State, View
from opticaldr.calibration.pupil import Pupil, irradiance
from opticaldr.hardware.as_built import PINHOLE, respaced, stopped

_BATCH = 8  # derivatives transformed together
# These change the pupil's grid or rim as well as its phase, so slopes are differences.
_SCALE = ("spacing", "aperture")


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

        def part(pupil: Pupil) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            field = pupil.field(view, shift)
            amplitude = pupil.on_sensor(field.copy())
            slopes = np.zeros((len(SHARED) + 2, *self.shape), dtype=np.float32)
            field *= np.complex64(2j * np.pi / pupil.wavelength)
            for start in range(0, len(others), _BATCH):
                spread = pupil.on_sensor(pupil.slopes[start : start + _BATCH] * field)
                change = amplitude.real * spread.real
                change += amplitude.imag * spread.imag
                slopes[others[start : start + _BATCH]] = pupil.seen(2 * change, blur)
            power = irradiance(amplitude)
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
    def _pupils(self) -> list[Pupil]:
        return [
            Pupil(self.plate, self.spec, self.state, number, self.shape)
            for number in range(0, len(self.spec.sensor.wavelengths), self.every)
        ]


def _sum(maps: Iterator[NDArray[np.float32]]) -> NDArray[np.float32]:
    total = next(maps)
    for other in maps:
        total = total + other
    return total
