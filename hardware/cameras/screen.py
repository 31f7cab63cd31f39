"""A display before the simulated camera: its picture, where it really stands, and its light behind the optic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2

from opticaldr.hardware.chart import Display, Radiance
from opticaldr.models.optics import Optic, psf

_FILL = 0.8  # of a display pixel's area
_CONTRAST = 1000.0
_RADIANCE = 1.0  # of white, W m⁻² sr⁻¹: an office monitor of 250 cd/m²
_SHIFT, _AWAY, _TURN = 4e-3, 3e-3, 8e-3  # how well a person places it: metres aside and in depth, radians


@dataclass(frozen=True)
class Screen:
    """A display that shows a picture.

    Attributes:
        display: as bought, and where it should stand.
        picture: levels 0 … 255 [row, column].
        place: how far (x, y, z) its middle is from where it should be, metres.
        turn: rotation vector, radians: tilt about x, about y, and roll.
    """

    display: Display
    picture: NDArray[np.uint8]
    place: tuple[float, float, float]
    turn: tuple[float, float, float]

    @classmethod
    def draw(cls, display: Display, picture: NDArray[np.uint8], rng: np.random.Generator) -> Screen:
        """A display as a person places it."""
        x, y, z = rng.standard_normal(3) * (_SHIFT, _SHIFT, _AWAY)
        a, b, c = rng.standard_normal(3) * _TURN
        return cls(display, picture, (x, y, z), (a, b, c))

    @property
    def depth(self) -> float:
        """Metres from the pupil to its middle."""
        return self.display.distance + self.place[2]

    def homography(self, distance: float, pitch: float) -> NDArray[np.float64]:
        """From (x, y, 1) in display pixels to raw pixels of side `pitch`, both from the middle, by chief rays that
        meet a sensor `distance` behind the pupil: [3, 3]."""
        import cv2

        turn = cv2.Rodrigues(np.array(self.turn))[0]
        step = self.display.pitch
        plane = np.column_stack([turn[:, 0] * step, turn[:, 1] * step, (*self.place[:2], self.depth)])
        return np.asarray(np.diag([distance / pitch, distance / pitch, 1.0]) @ plane, np.float64)


def screen_irradiance(
    optic: Optic, screen: Screen, reach: tuple[int, int], parts: int
) -> NDArray[np.float64]:
    """Watts on every raw pixel [colour, y, x], with the PSF of each colour.

    Args:
        optic: through which it is seen; with the PSF of the screen's middle.
        screen: the display.
        reach: rows and columns over which the light of a point spreads, to either side.
        parts: samples along a raw pixel, so that the finest fringe spans two.
    """
    spec = optic.spec
    sensor = spec.sensor
    kernel = psf(
        optic.height.astype(np.float32),
        spec.model_copy(update={"sensor": sensor.model_copy(update={"pitch": sensor.pitch / parts})}),
        sensor.wavelengths,
        screen.depth,
        shape=(2 * parts * reach[0] + 1, 2 * parts * reach[1] + 1),
        binned=False,
        integrated=False,
    )
    colours = np.tensordot(spec.spectral_weights.astype(np.float32), kernel, axes=1)
    shape = tuple(
        next_fast_len((extent + 2 * by) * parts, real=True)
        for extent, by in zip(sensor.shape, reach, strict=True)
    )
    rows, columns = (
        np.arange(count) / parts - by - (extent - 1) / 2
        for count, by, extent in zip(shape, reach, sensor.shape, strict=True)
    )
    back = np.asarray(np.linalg.inv(screen.homography(spec.sensor_distance, sensor.pitch)), np.float64)
    shown = Radiance(screen.picture, _FILL).seen(
        back, columns, rows, 1 / (parts * screen.display.magnification(spec))
    )
    light = rfft2(1 / _CONTRAST + (1 - 1 / _CONTRAST) * shown)
    light *= _pixel_transfer(shape, parts).astype(np.float32)
    pixels = tuple(
        slice(parts * by, parts * (by + count), parts) for by, count in zip(reach, sensor.shape, strict=True)
    )
    seen = []
    for colour in colours:
        spread = np.zeros(shape, dtype=np.float32)
        spread[: colour.shape[0], : colour.shape[1]] = colour
        spread = np.roll(spread, tuple(-parts * by for by in reach), (0, 1))
        blurred = irfft2(light * rfft2(spread), shape)
        seen.append(blurred[pixels])
    stop = spec.pupil.diameter / spec.sensor_distance
    cone = (np.pi / 4 if spec.pupil.shape == "circle" else 1) * stop**2
    return np.stack(seen).astype(np.float64) * (_RADIANCE * cone * sensor.pitch**2)


def _pixel_transfer(shape: tuple[int, ...], parts: int) -> NDArray[np.float64]:
    """From means over squares of 1 / `parts` pixel to means over whole pixels, around every sample: spectrum as of
    ``rfft2`` [y, x]."""
    down, across = np.fft.fftfreq(shape[0], 1 / parts), np.fft.rfftfreq(shape[1], 1 / parts)
    wide, high = (np.sinc(f) / np.sinc(f / parts) for f in (across, down))
    return np.asarray(np.outer(high, wide), np.float64)
