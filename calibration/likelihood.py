"""How well a hypothesis about the build explains the measured spots: χ² of the light, and of the workshop's tolerances.

Every view has a shift of its own, and each of the four planes of its Bayer cell a brightness and a background, which
enter linearly and are projected out (variable projection; Kaufman, BIT 15, 49, 1975). The prior decides only what the
light leaves open, such as whether a small tilt of the surface is decentre or form error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter, uniform_filter1d

from opticaldr.calibration.hdr import Merged
from opticaldr.calibration.hypothesis import SHARED, Plate, State, View
from opticaldr.calibration.linearised import BuiltOptic
from opticaldr.calibration.photon_transfer import cells

MODEL_ERROR = 1e-3
"""What the twin may be wrong by, as a fraction of the light in a pixel: keeps bright pixels from ruling alone."""

HALO_ERROR = 3e-4
"""The same as a fraction of the spot's peak: keeps the faint surroundings, measured a hundred times finer,
from ruling."""


@dataclass(frozen=True)
class Comparison:
    """A hypothesis beside the light: its χ², prior included, and the residuals [view and plane][pixel] in
    standard errors."""

    cost: float
    residuals: list[NDArray[np.float64]]


@dataclass(frozen=True)
class Slopes:
    """Derivatives of the residuals, for parameters in standard deviations of the prior.

    `parts`: numbers of the parameters that matter to each view and plane, and their derivatives [parameter, pixel].
    `normal`: their normal matrix, prior included; `photons`: the same if noise were the only error.
    """

    parts: list[tuple[NDArray[np.int64], NDArray[np.float32]]]
    normal: NDArray[np.float64]
    photons: NDArray[np.float64]

    def descent(
        self, comparison: Comparison, state: State, prior: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Half the negative gradient of χ²."""
        right = -state.vector / prior
        for (own, jacobian), residual in zip(self.parts, comparison.residuals, strict=True):
            right[own] += jacobian @ residual
        return right


@dataclass(frozen=True)
class Likelihood:
    """The measured spots in blocks of one size.

    Args:
        plate: what was ordered.
        views: where each spot was.
        spots: its mosaic in the same window; NaN where nothing was measured.
        prior: standard deviation of every parameter.
        block: Bayer cells along the side of a block.
        every: each how manieth wavelength is computed.
        model_error: fraction of the light that the twin may be wrong by.
        about: a hypothesis near the truth, whose light tells how uncertain each pixel is; without one, the light of
            its neighbours does. The measured light itself would have dark pixels trusted for being dark by chance.
    """

    plate: Plate
    views: Sequence[View]
    spots: Sequence[Merged]
    prior: NDArray[np.float64]
    block: int = 1
    every: int = 1
    model_error: float = MODEL_ERROR
    about: State | None = None

    def compare(self, state: State) -> Comparison:
        """Set the spots beside what `state` predicts."""
        built = BuiltOptic(self.plate, state, self.views[0].shape, every=self.every)
        residuals = []
        for index, view in enumerate(self.views):
            data, error, _ = self._data[index]
            model = blocks(built.mosaic(index, view) * self._seen(index), self.block)
            residuals += [_project(data[p], model[p], error[p])[0] for p in range(4)]
        cost = float(np.sum((state.vector / self.prior) ** 2)) + sum(float(r @ r) for r in residuals)
        return Comparison(cost, residuals)

    def linearise(self, state: State) -> Slopes:
        """How the residuals change around `state`."""
        built = BuiltOptic(self.plate, state, self.views[0].shape, every=self.every)
        normal, photons = np.eye(len(self.prior)), np.eye(len(self.prior))
        parts = []
        shared = len(SHARED)
        for index, view in enumerate(self.views):
            data, error, noise = self._data[index]
            mosaic, changes = built.mosaic_and_slopes(index, view)
            model = blocks(mosaic * self._seen(index), self.block)
            slopes = blocks(changes * self._seen(index), self.block)
            own = np.r_[np.arange(shared), shared + 2 * index, shared + 2 * index + 1]
            here = np.ix_(own, own)
            for plane in range(4):
                _, jacobian = _project(data[plane], model[plane], error[plane], slopes[:, plane])
                jacobian *= self.prior[own, None]
                parts.append((own, jacobian.astype(np.float32)))
                normal[here] += jacobian @ jacobian.T
                _, jacobian = _project(data[plane], model[plane], noise[plane], slopes[:, plane])
                jacobian *= self.prior[own, None]
                photons[here] += jacobian @ jacobian.T
        return Slopes(parts, normal, photons)

    def _seen(self, index: int) -> NDArray[np.bool_]:
        return np.isfinite(self.spots[index].rate)

    @cached_property
    def _data(self) -> list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
        """Of every view: light in blocks [plane, y, x], the error expected of a comparison, and its noise alone."""
        near = None if self.about is None else BuiltOptic(self.plate, self.about, self.views[0].shape)
        found = []
        for index, (view, spot) in enumerate(zip(self.views, self.spots, strict=True)):
            data = blocks(np.nan_to_num(spot.rate), self.block)
            variance = blocks(np.nan_to_num(spot.variance), self.block)
            variance = np.where(variance > 0, variance, variance.max())  # where nothing was measured
            if near is None:
                light = uniform_filter(data, (1, 3, 3))
                variance = uniform_filter(variance, (1, 3, 3))
            else:
                light = blocks(brightened(near.mosaic(index, view), spot) * self._seen(index), self.block)
                variance = np.stack(
                    [_at_like_light(*of_plane) for of_plane in zip(variance, light, strict=True)]
                )
            twin = (self.model_error * light) ** 2 + (HALO_ERROR * data.max()) ** 2
            found.append((data, np.sqrt(variance + twin), np.sqrt(variance)))
        return found


def _at_like_light(variance: NDArray[np.float64], light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean variance [y, x] of the pixels for which the same light is expected."""
    order = np.argsort(light, axis=None)
    alike = np.empty(light.size)
    alike[order] = uniform_filter1d(variance.ravel()[order], 15, mode="nearest")
    return alike.reshape(light.shape)


def brightened(mosaic: NDArray[np.floating], spot: Merged) -> NDArray[np.float64]:
    """A predicted mosaic with the brightness and background, plane by plane, that bring it nearest to `spot`."""
    prediction = np.zeros(mosaic.shape)
    for cell in cells():
        seen = np.isfinite(spot.rate[cell])
        span = np.stack([mosaic[cell][seen], np.ones(np.count_nonzero(seen))], axis=1)
        brightness, background = np.linalg.lstsq(span, spot.rate[cell][seen], rcond=None)[0]
        prediction[cell] = brightness * mosaic[cell] + background
    return prediction


def _project(
    data: NDArray[np.float64],
    model: NDArray[np.floating],
    error: NDArray[np.float64],
    slopes: NDArray[np.floating] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Residual, and derivative of the prediction, in standard errors, free of brightness and background.

    Brightness and background are fitted to `model`; then their directions are taken out of residual and slopes.
    """
    weight = (1 / error).ravel()
    span = np.stack([model.ravel() * weight, weight], axis=1)
    basis, triangle = np.linalg.qr(span)
    target = data.ravel() * weight
    inner = basis.T @ target
    residual = target - basis @ inner
    if slopes is None:
        return residual, np.zeros((0, residual.size))
    brightness = np.linalg.solve(triangle, inner)[0]
    jacobian = slopes.reshape(len(slopes), -1) * (weight * brightness)
    jacobian = jacobian - (jacobian @ basis) @ basis.T
    return residual, jacobian


def blocks(mosaic: NDArray[np.floating], block: int) -> NDArray[np.float64]:
    """Light of each plane of the Bayer cell in blocks of `block`² cells: [..., plane, y, x]; an incomplete
    rim is left out."""
    planes = np.stack([mosaic[(..., *cell)] for cell in cells()], axis=-3).astype(np.float64)
    rows, columns = (count // block for count in planes.shape[-2:])
    top, left = (count % block // 2 for count in planes.shape[-2:])
    kept = planes[..., top : top + rows * block, left : left + columns * block]
    return kept.reshape(*kept.shape[:-2], rows, block, columns, block).sum((-1, -3))
