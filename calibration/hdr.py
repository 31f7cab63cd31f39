"""One picture of high dynamic range from a bracket of exposures, with the variance of every pixel.

Frames are summed as they come (nothing but two planes an exposure is held), and merged with the weights that
the noise model
gives, not with the noise that the frames show: weights that know the noise of the very pixel they weight would pull
the result towards dark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticaldr.calibration.photon_transfer import QUANTISATION, SensorNoise
from opticaldr.models.optics.sensor import share_charge

SATURATED = 0.9
"""Fraction of the range beyond which a pixel of an exposure is not used."""

FAINT = 3.0
"""Standard deviations below which a pixel of a shorter exposure is not used."""


@dataclass
class Mean:
    """Running mean of frames."""

    count: int = 0
    total: NDArray[np.uint32] | None = None
    highest: int = 0

    def add(self, raw: NDArray[np.uint16]) -> None:
        """Take one more frame in."""
        self.count += 1
        self.highest = max(self.highest, int(raw.max()))
        self.total = raw.astype(np.uint32) if self.total is None else self.total + raw

    @property
    def mean(self) -> NDArray[np.float32]:
        """Mean of the frames so far, DN [y, x]."""
        assert self.total is not None
        return (self.total / self.count).astype(np.float32)


@dataclass(frozen=True)
class Bracket:
    """Mean frames of one scene at several exposures, with the source on and off.

    `exposures` [e] seconds at gain 1; `light` and `dark` [e, y, x] DN; `frames`: frames averaged in each.
    """

    exposures: NDArray[np.float64]
    light: NDArray[np.float32]
    dark: NDArray[np.float32]
    frames: int

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What to store."""
        return {
            "exposures": self.exposures,
            "light": self.light,
            "dark": self.dark,
            "frames": np.array(self.frames),
        }

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]]) -> Bracket:
        """From what was stored."""
        return cls(arrays["exposures"], arrays["light"], arrays["dark"], int(arrays["frames"]))


@dataclass(frozen=True)
class Merged:
    """Light of the source alone: `rate` in electrons a second [y, x] and its `variance`; NaN where no
    exposure was good."""

    rate: NDArray[np.float64]
    variance: NDArray[np.float64]


def merge(
    bracket: Bracket,
    noise: SensorNoise,
    response: NDArray[np.float32],
    good: NDArray[np.bool_],
    response_error: float = 0.0,
) -> Merged:
    """Inverse-variance mean over the exposures.

    Args:
        bracket: the frames.
        noise: the sensor's noise model.
        response: relative response of each pixel [y, x].
        good: False where the pixel is defect.
        response_error: standard error of `response`.
    """
    range_ = noise.white_level_dn - noise.black_level_dn
    time = bracket.exposures[:, None, None]
    valid = (bracket.light < noise.black_level_dn + SATURATED * range_) & good
    signal = (bracket.light.astype(np.float64) - bracket.dark) * noise.gain_e_per_dn / response
    used_time = np.sum(valid * time, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        # What a photon counter would say: total charge over total time, whose weights know nothing of the noise.
        expected = np.maximum(np.sum(np.where(valid, signal, 0), axis=0) / used_time, 0) * time

        background = np.maximum(bracket.dark - noise.black_level_dn, 0) * noise.gain_e_per_dn
        reading = noise.read_noise_e**2 + QUANTISATION * noise.gain_e_per_dn**2
        variance = (expected + 2 * background + 2 * reading) / bracket.frames
        longest = time == np.max(np.where(valid, time, 0), axis=0)
        use = valid & (longest | (expected > FAINT * np.sqrt(variance)))
        weight = np.where(use, time**2 / variance, 0)
        total = weight.sum(axis=0)
        rate = np.sum(weight * signal / time, axis=0) / total
        spread = 1 / total + (response_error * rate) ** 2
        return Merged(np.where(total > 0, rate, np.nan), np.where(total > 0, spread, np.nan))


def without_crosstalk(mosaic: NDArray[np.float64], crosstalk: float) -> NDArray[np.float64]:
    """The mosaic [y, x] before each pixel shared the fraction `crosstalk` of its charge with its four neighbours.

    Undoes `models.optics.sensor.share_charge` by fixed-point iteration; NaN stays where it was.
    """
    known = np.isfinite(mosaic)
    given = np.where(known, mosaic, 0)
    original = given.copy()
    for _ in range(12):  # the error falls by the factor 2·crosstalk each time
        original = original + given - share_charge(original, crosstalk)
    return np.where(known, original, np.nan)
