"""The PSF bank: what was measured, colour by colour, at raw pixels, as energy fractions with their standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opticaldr.calibration.hdr import Merged
from opticaldr.models.optics import bayer_masks
from opticaldr.models.optics.metrics import registered

_GREEN = 1
_RIM = 4  # raw pixels at the window's border that are taken for background


@dataclass(frozen=True)
class Bank:
    """PSFs [depth, field, colour, y, x] and what belongs to them; `psf.npz` of a calibration.

    Attributes:
        psf: energy fractions at raw pixels; each sums to 1 over the window, whose middle is the chief ray's
        nearest pixel
            corner.
        uncertainty: standard error of every value.
        depths: metres [depth]; fields: tangents (x, y) [field, 2].
        scale: electrons a second that stand for 1 [depth, field, colour], per unit of source power.
        background: light that did not come through the mask's spot, electrons a second and pixel [depth,
        field, colour].
        centre: where the chief ray landed (x, y) in raw pixels from the sensor's middle [depth, field, 2].
    """

    psf: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    depths: NDArray[np.float64]
    fields: NDArray[np.float64]
    scale: NDArray[np.float64]
    background: NDArray[np.float64]
    centre: NDArray[np.float64]

    def write(self, path: Path) -> None:
        """Write `psf.npz`."""
        np.savez(path, **vars(self))

    @classmethod
    def read(cls, path: Path) -> Bank:
        """Read `psf.npz`."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{name: stored[name] for name in cls.__dataclass_fields__})


def make_bank(
    spots: NDArray[np.object_],
    depths: Sequence[float],
    fields: Sequence[tuple[float, float]],
    powers: NDArray[np.float64],
    corners: NDArray[np.int64],
    shifts: NDArray[np.float64],
    *,
    bayer: str,
    sensor_shape: tuple[int, int],
) -> Bank:
    """Bank of all measured spots.

    Args:
        spots: mosaics (`Merged`) in windows of one size, without cross-talk [depth, field].
        depths: metres of each.
        fields: tangents (x, y) of each field angle, the axis first.
        powers: power of the source [depth, field].
        corners: row and column of each window's first pixel [depth, field, 2].
        shifts: where the chief ray of the spots on axis landed in the window (x, y), raw pixels from its middle
            [depth, 2]. Off axis the chief ray is taken to lie in the spot where it lies on axis.
        bayer: the colour filters.
        sensor_shape: rows and columns of the sensor.
    """
    shape = spots.shape
    found: dict[str, list[NDArray[np.float64]]] = {
        name: [] for name in ("psf", "uncertainty", "scale", "background", "centre")
    }
    for (depth, field), spot in np.ndenumerate(spots):
        planes, error = colour_planes(spot, bayer)
        planes, background = without_background(planes)
        if field == 0:
            on_axis, shift = planes, shifts[depth]
        else:
            shift = shifts[depth] + registered(on_axis[_GREEN], planes[_GREEN])[1]
        planes = _recentred(planes, shift)
        total = planes.sum((1, 2))
        found["psf"].append(planes / total[:, None, None])
        found["uncertainty"].append(_recentred(error, shift) / total[:, None, None])
        found["scale"].append(total / powers[depth, field])
        found["background"].append(background)
        middle = (
            corners[depth, field][::-1] + (np.array(planes.shape[-2:]) - np.array(sensor_shape))[::-1] / 2
        )
        found["centre"].append(middle + shift)
    stacked = {name: np.stack(values).reshape(*shape, *values[0].shape) for name, values in found.items()}
    return Bank(
        psf=stacked["psf"].astype(np.float32),
        uncertainty=stacked["uncertainty"].astype(np.float32),
        depths=np.asarray(depths, dtype=np.float64),
        fields=np.asarray(fields, dtype=np.float64),
        scale=stacked["scale"],
        background=stacked["background"],
        centre=stacked["centre"],
    )


def without_background(planes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Planes [colour, y, x] less the median light at the window's rim, and that light [colour]."""
    rim = np.ones(planes.shape[1:], dtype=bool)
    rim[_RIM:-_RIM, _RIM:-_RIM] = False
    background = np.median(planes[:, rim], axis=1)
    return planes - background[:, None, None], background


def colour_planes(spot: Merged, bayer: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Light behind each filter at every pixel [colour, y, x], and its standard error.

    Where a pixel has another filter or was not measured, the bilinear mean of measured neighbours stands in.
    """
    import cv2

    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 4.0
    known = np.isfinite(spot.rate)
    rate, variance = np.nan_to_num(spot.rate), np.nan_to_num(spot.variance)
    planes, errors = [], []
    for mask in bayer_masks(bayer, *spot.rate.shape):
        seen = mask * known
        weight = np.maximum(cv2.filter2D(seen, -1, kernel, borderType=cv2.BORDER_CONSTANT), 1e-12)
        plane = cv2.filter2D(rate * seen, -1, kernel, borderType=cv2.BORDER_CONSTANT) / weight
        spread = cv2.filter2D(variance * seen, -1, kernel**2, borderType=cv2.BORDER_CONSTANT) / weight**2
        planes.append(np.where(seen > 0, rate, plane))
        errors.append(np.sqrt(np.where(seen > 0, variance, spread)))
    return np.stack(planes), np.stack(errors)


def _recentred(planes: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Planes moved by whole pixels so that `shift` (x, y) comes nearest to the middle; dark where nothing is known."""
    right, down = (-round(float(value)) for value in shift)
    rows, columns = planes.shape[-2:]
    moved = np.zeros_like(planes)
    target_y, source_y = _overlap(down, rows)
    target_x, source_x = _overlap(right, columns)
    moved[:, target_y, target_x] = planes[:, source_y, source_x]
    return moved


def _overlap(move: int, count: int) -> tuple[slice, slice]:
    return slice(max(0, move), count + min(0, move)), slice(max(0, -move), count - max(0, move))
