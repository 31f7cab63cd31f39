"""What the sensor does with light and without: photon transfer, dark frames, flat field (terms of EMVA 1288,
release 4.0).

Photon transfer: shot noise makes the temporal variance of a pixel grow with its mean, σ² = σ_read² + µ/K
(both in DN), so
the slope tells how many electrons K one digital number stands for, whatever the light was and however uneven it lay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

QUANTISATION = 1 / 12
"""Variance in DN² that rounding to whole numbers adds."""


class SensorNoise(BaseModel):
    """The sensor as measured; `noise.json` of a calibration.

    Attributes:
        gain_e_per_dn: electrons for each digital number at gain 1; `gain_error`: its standard error.
        read_noise_e: electrons RMS of one reading, rounding taken off; `read_noise_gain`: the gain it was measured at.
        full_well_e: electrons above dark at which the signal stops growing, at gain 1.
        black_level_dn: raw value of a pixel without light or exposure.
        dark_current_e_per_s: mean over the pixels, at `temperature_k`.
        prnu: standard deviation of the pixels' response, as a fraction.
        linearity: largest departure from a straight line through signal against exposure, as a fraction of the range.
        defects: pixels that are hot or dead.
        white_level_dn: highest raw value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gain_e_per_dn: float
    gain_error: float
    read_noise_e: float
    read_noise_gain: float
    full_well_e: float
    black_level_dn: float
    dark_current_e_per_s: float
    temperature_k: float
    prnu: float
    linearity: float
    defects: int
    white_level_dn: int


@dataclass(frozen=True)
class Line:
    """A straight line y = offset + slope·x fitted to points with known errors, and the slope's standard error."""

    slope: float
    offset: float
    slope_error: float


def fit_line(x: NDArray[np.float64], y: NDArray[np.float64], error: NDArray[np.float64]) -> Line:
    """Weighted least squares."""
    design = np.stack([np.ones_like(x), x], axis=1) / error[:, None]
    covariance = np.linalg.inv(design.T @ design)
    offset, slope = covariance @ design.T @ (y / error)
    return Line(float(slope), float(offset), float(np.sqrt(covariance[1, 1])))


def pair_statistics(
    first: NDArray[np.uint16], second: NDArray[np.uint16], good: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean and temporal variance (DN, DN²) of each of the four planes of the Bayer cell, and how many pixels gave them.

    The difference of two frames of the same scene holds no pattern, only twice the temporal variance.
    """
    mean, variance, count = np.zeros(4), np.zeros(4), np.zeros(4, dtype=np.int64)
    for plane, cell in enumerate(cells()):
        a, b = first[cell].astype(np.float64), second[cell].astype(np.float64)
        use = good[cell]
        mean[plane] = (a[use].mean() + b[use].mean()) / 2
        variance[plane] = (a[use] - b[use]).var() / 2
        count[plane] = np.count_nonzero(use)
    return mean, variance, count


def photon_transfer(
    mean: NDArray[np.float64], variance: NDArray[np.float64], count: NDArray[np.int64], saturation: float
) -> Line:
    """The photon-transfer line: slope 1/K (DN per electron) and read variance (DN²), from means above black.

    Only points below 70 % of `saturation` (DN above black) count, as EMVA 1288 prescribes.
    """
    use = mean < 0.7 * saturation
    mean, variance, count = mean[use], variance[use], count[use]
    return fit_line(mean, variance - QUANTISATION, variance * np.sqrt(2 / count))


def linearity_residual(exposure: NDArray[np.float64], mean: NDArray[np.float64], saturation: float) -> float:
    """Largest departure of mean signal [exposure, plane] from proportion to exposure, as a fraction of `saturation`.

    Points between 5 % and 95 % of saturation count; planes have lines of their own.
    """
    worst = 0.0
    for plane in mean.T:
        use = (plane > 0.05 * saturation) & (plane < 0.95 * saturation)
        if np.count_nonzero(use) >= 3:
            line = fit_line(exposure[use], plane[use], np.ones(np.count_nonzero(use)))
            off = plane[use] - (line.offset + line.slope * exposure[use])
            worst = max(worst, float(np.max(np.abs(off)) / saturation))
    return worst


def flat_response(
    flat: NDArray[np.float64], good: NDArray[np.bool_], smooth: int = 63
) -> NDArray[np.float32]:
    """Each pixel's response [y, x] relative to its neighbours behind the same filter, from a dark-corrected flat.

    Whatever varies slowly over `smooth` cells is light (the panel, vignetting), not the pixel.
    """
    import cv2

    response = np.ones(flat.shape, dtype=np.float32)
    for cell in cells():
        plane, use = flat[cell].astype(np.float32), good[cell].astype(np.float32)
        size, border = (smooth, smooth), cv2.BORDER_REFLECT
        near = cv2.blur(plane * use, size, borderType=border) / np.maximum(
            cv2.blur(use, size, borderType=border), 1e-6
        )
        response[cell] = np.where(use > 0, plane / np.maximum(near, 1e-6), 1)
    return response


def response_spread(
    response: NDArray[np.float32], good: NDArray[np.bool_], temporal: NDArray[np.float64]
) -> float:
    """PRNU: standard deviation of the response, with the temporal noise left in the flat (relative variance
    per plane) off."""
    spread = [
        max(float(response[cell][good[cell]].var()) - noise, 0)
        for cell, noise in zip(cells(), temporal, strict=True)
    ]
    return float(np.sqrt(np.mean(spread)))


def outliers(values: NDArray[np.float64], sigmas: float = 8) -> NDArray[np.bool_]:
    """Pixels farther from the median than `sigmas` robust standard deviations (1.4826·MAD)."""
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle))
    return np.asarray(np.abs(values - middle) > sigmas * max(float(spread), 1e-12))


def cells() -> list[tuple[slice, slice]]:
    """Slices of the four planes of the Bayer cell, in reading order."""
    return [(slice(row, None, 2), slice(column, None, 2)) for row in (0, 1) for column in (0, 1)]


@dataclass(frozen=True)
class Characterised:
    """The sensor after its dark and flat frames.

    `noise`: its noise model; `response`: of every pixel [y, x], relative, `response_error`: its standard
    error; `good`: False where a pixel is hot
    or dead; `light_leak`:
    electrons a second that dark frames hold; `transfer`: points (mean, variance) of the photon transfer at gain 1.
    """

    noise: SensorNoise
    response: NDArray[np.float32]
    response_error: float
    good: NDArray[np.bool_]
    light_leak: float
    transfer: tuple[NDArray[np.float64], NDArray[np.float64]]


def characterise(
    dark: Mapping[str, NDArray[Any]],
    flat: Mapping[str, NDArray[Any]],
    *,
    exposures: tuple[float, float],
    high_gain: float,
    white_level: int,
) -> Characterised:
    """From what `capture.dark` and `capture.flat` measured to the sensor's noise model.

    Args:
        dark: mean frames and variances without light.
        flat: the exposure ladders and the mean flat.
        exposures: the short and the long exposure of the dark frames, seconds.
        high_gain: the gain at which read noise was measured.
        white_level: highest raw value.
    """
    short = dark["short"].astype(np.float64)
    lift = dark["long"].astype(np.float64) - dark["read"]
    black = float(np.median(short) if np.ptp(short) == 0 else short.mean())
    saturation = white_level - black
    lines = {
        gain: photon_transfer(
            (flat[f"{gain}_mean"] - black).ravel(),
            flat[f"{gain}_variance"].ravel(),
            flat[f"{gain}_count"].ravel(),
            saturation,
        )
        for gain in ("low", "high")
    }
    per_dn, per_dn_high = 1 / lines["low"].slope, 1 / lines["high"].slope
    level = flat["flat"].astype(np.float64) - short
    defect = outliers(lift)
    for cell in cells():
        defect[cell] |= outliers(level[cell])
    good = ~defect
    response = flat_response(level, good)
    shot = [float((1 / (level[cell].mean() * per_dn)) / int(flat["flat_frames"])) for cell in cells()]
    current = float(lift[good].mean() * per_dn_high / (exposures[1] - exposures[0]))
    noise = SensorNoise(
        gain_e_per_dn=per_dn,
        gain_error=lines["low"].slope_error / lines["low"].slope * per_dn,
        read_noise_e=float(np.sqrt(max(np.mean(dark["read_variance"]) - QUANTISATION, 0))) * per_dn_high,
        read_noise_gain=high_gain,
        full_well_e=(float(flat["low_mean"].max()) - black) * per_dn,
        black_level_dn=black,
        dark_current_e_per_s=max(current, 0.0),
        temperature_k=float(dark["long_temperature"]),
        prnu=response_spread(response, good, np.array(shot)),
        linearity=linearity_residual(flat["low_exposure"], flat["low_mean"] - black, saturation),
        defects=int(np.count_nonzero(defect)),
        white_level_dn=white_level,
    )
    transfer = (flat["low_mean"] - black, flat["low_variance"])
    return Characterised(noise, response, float(np.sqrt(np.mean(shot))), good, current, transfer)
