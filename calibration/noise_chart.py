"""The PSF of extended optics from pictures of a noise chart, finer than the raw pixels.

Where the chart lies in the frame is known, so the light of every raw pixel is a linear function of the PSF,

    y(x) = b + Σ_k h(k) U(x − k),

with U the radiance at the far end of each chief ray, and each colour's h follows by least squares (Delbracio, Musé,
Almansa and Morel, Int. J. Comput. Vis. 96, 175, 2012). It is asked to be smooth as far as generalised cross-validation
finds that to predict the light best (Golub, Heath and Wahba, Technometrics 21, 215, 1979). Four dots tell first where
the chart lies; then the noise itself does, which is much finer and all over the frame.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft, ifft, irfft, irfft2, next_fast_len, rfft, rfft2, set_workers
from scipy.optimize import minimize

from opticaldr.calibration.chart_in_frame import find_chart
from opticaldr.calibration.fit import centroid
from opticaldr.calibration.gates import GREEN, mosaic_ncc
from opticaldr.calibration.hdr import Merged
from opticaldr.hardware.chart import Chart, Radiance
from opticaldr.models.optics import OpticsSpec, bayer_masks
from opticaldr.models.optics.geometry import centred

PARTS = 2
"""Samples of the PSF along a raw pixel, whose own width blurs away most of what they do not resolve."""

_ROUNDS = 4  # of registration at most
_SMOOTHNESS = (1.0, 0.1, 0.01, 0.001)  # in units of what white noise in the chart holds a sample with
_START = 0.01
_STAGES = _ROUNDS + len(_SMOOTHNESS) + 2
_STEPS, _ACCURATE, _ROUGH = 200, 1e-5, 3e-2  # conjugate gradients at most, and their relative accuracy


_Combs = dict[tuple[int, int], NDArray[np.complex64]]


@dataclass(frozen=True)
class ChartPsf:
    """What a chart told; `chart.npz` of a calibration.

    Attributes:
        psf: what a raw pixel gets whose centre lies there, as a fraction of what all pixels get that lie whole
            pixels from it [colour, y, x], `PARTS` samples a raw pixel; the middle one is where the chart's chief rays
            land, up to the plain shift of its dots by the PSF's own centroid.
        uncertainty: standard error of a sample [colour], from the light that is left; all samples are seen by equally
            many pixels.
        background: light that is not the chart's, as a fraction of its white [colour].
        smoothness: weight of the regularisation.
        residual: RMS of the light that is left, in standard errors [colour].
        where: homography from display pixels to raw pixels, both from the middle [3, 3].
    """

    psf: NDArray[np.float64]
    uncertainty: NDArray[np.float64]
    background: NDArray[np.float64]
    smoothness: float
    residual: NDArray[np.float64]
    where: NDArray[np.float64]

    def write(self, path: Path) -> None:
        """Write `chart.npz`."""
        np.savez(path, **vars(self))

    def mosaic(self, place: NDArray[np.float64], shape: tuple[int, int], bayer: str) -> NDArray[np.float64]:
        """The raw mosaic [y, x] of a point whose spot is `place` (x, y) raw pixels from the middle of a window."""
        down, across = (
            _between(count, side, off)
            for count, side, off in zip(shape, self.psf.shape[1:], place[::-1], strict=True)
        )
        light = down @ self.psf @ across.T
        return np.asarray(np.sum(light * bayer_masks(bayer, *shape), axis=0), np.float64)


def chart_psf(
    light: Merged,
    chart: Chart,
    spec: OpticsSpec,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> ChartPsf:
    """PSF of each colour from the light of a chart.

    Args:
        light: of all raw pixels, without cross-talk.
        chart: what was shown.
        spec: the optics: colour filters and, nominally, magnification.
        seed: of the probe that tells degrees of freedom and standard errors.
        progress: called as ``progress("chart", done, total)``.

    Raises:
        Refusal: the chart is not found in the frame.
    """
    radiance, masks = Radiance(chart.picture), bayer_masks(spec.sensor.bayer, *light.rate.shape).astype(bool)
    progress("chart", 0, _STAGES)
    where = find_chart(light, chart, spec)
    with set_workers(len(os.sched_getaffinity(0))):
        for number in range(_ROUNDS):
            green = _Equations(_Projection(radiance, chart, spec, where), light, masks[GREEN])
            step, error = _misplaced(green, green.solve(green.data, _START))
            where = _homography(step) @ where
            progress("chart", number + 1, _STAGES)
            if np.all(np.abs(step) < error):
                break
        projection = _Projection(radiance, chart, spec, where)
        red, green, blue = (_Equations(projection, light, mask) for mask in masks)
        probe = np.random.default_rng(seed).standard_normal(light.rate.shape)
        tried = []
        for number, smoothness in enumerate(_SMOOTHNESS, _ROUNDS):
            tried.append(green.answer(smoothness, probe))
            progress("chart", number + 1, _STAGES)
        best = min(tried, key=lambda answer: answer.score)
        answers = [best]
        for place, one in ((0, red), (2, blue)):
            # Twice as many green pixels hold a sample twice as firmly.
            answers.insert(place, one.answer(best.smoothness * green.count / one.count, probe))
            progress("chart", _STAGES - 1 + place // 2, _STAGES)
    white = np.array([answer.psf.sum() for answer in answers]) / PARTS**2
    return ChartPsf(
        np.stack([answer.psf for answer in answers]).astype(np.float64) / white[:, None, None],
        np.array([answer.error for answer in answers]) / white,
        np.array([answer.background for answer in answers]) / white,
        best.smoothness,
        np.array([answer.residual for answer in answers]),
        where,
    )


@dataclass(frozen=True)
class Compared:
    """Chart and point source behind the same optic.

    `chart`: what the chart told; `spot`: mosaic of the point source; `expected`: the mosaic that the chart makes expect
    there [y, x]; `likeness`: their normalised cross-correlation.
    """

    chart: ChartPsf
    spot: Merged
    expected: NDArray[np.float64]
    likeness: float


def compare(chart: ChartPsf, spot: Merged, bayer: str) -> Compared:
    """Set the point source's mosaic beside the one that the chart makes expect; its place alone is fitted."""
    shape = (spot.rate.shape[0], spot.rate.shape[1])

    def unlike(place: NDArray[np.float64]) -> float:
        return -mosaic_ncc(spot.rate, chart.mosaic(place, shape, bayer))

    start = (centroid(np.nan_to_num(spot.rate)) - centroid(chart.mosaic(np.zeros(2), shape, bayer)))[::-1]
    nearest = minimize(unlike, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-7})
    return Compared(chart, spot, chart.mosaic(nearest.x, shape, bayer), -float(nearest.fun))


class _Projection:
    """The chart as chief rays put it on the sensor, `PARTS` samples a raw pixel, and what PSFs make of it."""

    def __init__(
        self,
        radiance: Radiance,
        chart: Chart,
        spec: OpticsSpec,
        where: NDArray[np.float64],
    ) -> None:
        sensor, reach, scale = spec.sensor.shape, chart.reach, chart.display.magnification(spec)
        self.support = 2 * PARTS * reach[0] + 1, 2 * PARTS * reach[1] + 1
        self._grid = tuple(
            next_fast_len(count + 2 * by, real=True) for count, by in zip(sensor, reach, strict=True)
        )
        self._pixels = tuple(slice(2 * by, 2 * by + count) for by, count in zip(reach, sensor, strict=True))
        shape = PARTS * self._grid[0], PARTS * self._grid[1]
        y, x = (centred(count, 1.0) for count in sensor)
        self.y, self.x = np.meshgrid(y, x, indexing="ij")
        back = np.asarray(np.linalg.inv(where), np.float64)
        u, v, w = (a * self.x + b * self.y + c for a, b, c in back)
        rows, columns = (
            min(noise, shown - 2 * by / scale) / 2
            for noise, shown, by in zip(chart.noise, chart.picture.shape, reach, strict=True)
        )
        self.inside = (np.abs(v / w) < rows) & (np.abs(u / w) < columns)
        """Raw pixels in the noise's image that see nothing but the display [y, x]."""
        self.cell = chart.cell * scale * PARTS
        fine = 2 * PARTS
        y, x = (
            np.arange(2 * samples) / fine - by - (count - 1) / 2
            for samples, by, count in zip(shape, reach, sensor, strict=True)
        )
        spectrum = rfft2(radiance.seen(back, x, y, 1 / (fine * scale)))
        # Of every other sample, without what would be taken for coarser fringes.
        low = np.fft.fftfreq(shape[0], 1 / shape[0]).astype(int), shape[1] // 2 + 1
        down, across = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
        # `seen` blurs by the width of a sample, which is not to be taken for the PSF's.
        sharp = 4 * np.outer(np.sinc(down / 2), np.sinc(across / 2))
        self._spectrum = (spectrum[low[0], : low[1]] / sharp).astype(np.complex64)
        self._combs = self._combed(self._spectrum)
        self._slopes = tuple(
            (2j * np.pi * PARTS * frequency).astype(np.complex64)
            for frequency in (across[None], down[:, None])
        )

    def light(self, psf: NDArray[np.float32]) -> NDArray[np.float32]:
        """The chart through `psf`, at every raw pixel [y, x]."""
        return self._through(psf, self._combs)

    def slopes(self, psf: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Derivatives of `light` by x and by y."""
        return [self._through(psf, self._combed(slope * self._spectrum)) for slope in self._slopes]

    def back(self, mosaic: NDArray[np.float32]) -> NDArray[np.float32]:
        """The transpose of `light`: from raw pixels [y, x] to the samples of a PSF."""
        spread = np.zeros(self._grid, np.float32)
        spread[self._pixels] = mosaic
        seen = rfft2(spread)
        psf = np.empty(self.support, np.float32)
        for (down, across), comb in self._combs.items():
            part = psf[down::PARTS, across::PARTS]
            rows = ifft(np.conj(comb) * seen, axis=0, overwrite_x=True)[: part.shape[0]]
            part[...] = irfft(rows, self._grid[1], axis=1)[:, : part.shape[1]]
        return psf

    def _combed(self, spectrum: NDArray[np.complex64]) -> _Combs:
        """The chart of a `spectrum` as the samples (down, across) of a PSF see it: at whole pixels from each.

        Raw pixels lie `PARTS` samples apart, so that every sample of the PSF meets only one in `PARTS`² of the chart's.
        """
        fine = irfft2(spectrum, (PARTS * self._grid[0], PARTS * self._grid[1]))
        return {
            (down, across): rfft2(np.roll(fine, (down, across), (0, 1))[::PARTS, ::PARTS])
            for down, across in itertools.product(range(PARTS), range(PARTS))
        }

    def _through(self, psf: NDArray[np.float32], combs: _Combs) -> NDArray[np.float32]:
        # Rows are transformed before columns and after them: most are dark, or beyond the sensor.
        total = np.zeros((self._grid[0], self._grid[1] // 2 + 1), np.complex64)
        for (down, across), comb in combs.items():
            rows = rfft(psf[down::PARTS, across::PARTS], self._grid[1], axis=1)
            total += comb * fft(rows, self._grid[0], axis=0)
        rows = ifft(total, axis=0, overwrite_x=True)[self._pixels[0]]
        return np.asarray(irfft(rows, self._grid[1], axis=1)[:, self._pixels[1]], np.float32)


@dataclass(frozen=True)
class _Answer:
    """A PSF, the standard error of its samples, what is left of the light in standard errors, the background, and the
    score of cross-validation."""

    psf: NDArray[np.float32]
    error: float
    residual: float
    background: float
    smoothness: float
    score: float


class _Equations:
    """Least squares for one colour, background projected out: Aᵀ(y − A·h) = μ·∇ᵀ∇h."""

    def __init__(self, projection: _Projection, light: Merged, mask: NDArray[np.bool_]) -> None:
        self.projection = projection
        self.seen = mask & projection.inside & np.isfinite(light.rate)
        self.count = int(np.count_nonzero(self.seen))
        self.noise = float(np.sqrt(np.mean(light.variance[self.seen])))
        self.level = float(np.mean(light.rate[self.seen]))
        self.data = self.varying(np.nan_to_num(light.rate))
        self.hold = self.count / 4  # the variance of black and white

    def varying(self, mosaic: NDArray[np.floating]) -> NDArray[np.float32]:
        """A mosaic less its mean, where light was seen, and 0 elsewhere."""
        return np.where(self.seen, mosaic - np.mean(mosaic[self.seen]), 0).astype(np.float32)

    def solve(
        self, data: NDArray[np.float32], smoothness: float, accuracy: float = _ACCURATE
    ) -> NDArray[np.float32]:
        """The smooth PSF [y, x] that explains `data` best: conjugate gradients, in the metric that an endless chart
        would have."""
        rough = np.float32(smoothness * self.hold)
        metric = (1 / (self.hold * (self._white + smoothness * self._roughness))).astype(np.float32)

        def normal(psf: NDArray[np.float32]) -> NDArray[np.float32]:
            seen = self.varying(self.projection.light(psf))
            return self.projection.back(seen) + rough * _roughness(psf)

        def nearly_solved(residual: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.asarray(irfft2(rfft2(residual) * metric, residual.shape), np.float32)

        residual = self.projection.back(data)
        psf, direction = np.zeros_like(residual), nearly_solved(residual)
        size = float(np.vdot(residual, direction))
        enough = accuracy**2 * size
        for _ in range(_STEPS):
            moved = normal(direction)
            step = np.float32(size / float(np.vdot(direction, moved)))
            psf += step * direction
            residual -= step * moved
            better = nearly_solved(residual)
            size, before = float(np.vdot(residual, better)), size
            if size < enough:
                break
            direction = better + np.float32(size / before) * direction
        return psf

    def answer(self, smoothness: float, probe: NDArray[np.float64]) -> _Answer:
        """The PSF for one weight of smoothness.

        White noise in place of the light (`probe`) tells how many degrees of freedom the PSF takes from it (Hutchinson,
        Commun. Stat. Simul. Comput. 19, 433, 1990) and how much noise ends up in each sample.
        """
        noise = self.varying(probe)
        psf, random = self.solve(self.data, smoothness), self.solve(noise, smoothness, _ROUGH)
        light, taken = self.projection.light(psf), self.varying(self.projection.light(random))
        left = float(np.sum((self.data - self.varying(light)) ** 2, dtype=np.float64))
        left_of_noise = float(np.sum((noise - taken) ** 2, dtype=np.float64)) * self.noise**2
        residual = float(np.sqrt(left / left_of_noise))
        error = float(np.sqrt(np.mean(random**2))) * self.noise * max(residual, 1.0)
        background = self.level - float(np.mean(light[self.seen]))
        score = left / (self.count - float(np.vdot(noise, taken))) ** 2
        return _Answer(psf, error, residual, background, smoothness, score)

    @cached_property
    def _white(self) -> NDArray[np.float64]:
        """Spectral density of endless noise in the chart, a quarter taken out [y, x] as of ``rfft2``."""
        cell = self.projection.cell
        down, across = (np.sinc(cell * f) * cell / np.sinc(f) for f in self._frequencies)
        return np.asarray(np.outer(down, across) ** 2 + 1e-3, np.float64)

    @cached_property
    def _roughness(self) -> NDArray[np.float64]:
        down, across = (2 - 2 * np.cos(2 * np.pi * f) for f in self._frequencies)
        return np.asarray(down[:, None] + across, np.float64)

    @property
    def _frequencies(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows, columns = self.projection.support
        down, across = np.fft.fftfreq(rows), np.fft.rfftfreq(columns)
        return np.asarray(down, np.float64), np.asarray(across, np.float64)


def _roughness(psf: NDArray[np.float32]) -> NDArray[np.float32]:
    """∇ᵀ∇ of a PSF that is dark beyond its window."""
    wide = np.pad(psf, 1)
    around = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    return np.asarray(4 * psf - around, np.float32)


def _misplaced(
    green: _Equations, psf: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How the chart should be stretched, turned and tilted in the frame to explain the light better, and errors.

    Moved by d(x), the chart moves its blurred image by d(x), too. A plain shift is left to the PSF.

    Returns:
        Coefficients of d: (a·x + b·y + (p·x + q·y)·x, c·x + d·y + (p·x + q·y)·y), in 1 / raw pixel and its square.
    """
    projection, seen = green.projection, green.seen
    left = (green.data - green.varying(projection.light(psf)))[seen] / green.noise
    across, down = (-slope[seen].astype(np.float64) / green.noise for slope in projection.slopes(psf))
    x, y = projection.x[seen], projection.y[seen]
    along = x * across + y * down
    slopes = np.stack([x * across, y * across, x * down, y * down, x * along, y * along])
    slopes -= slopes.mean(axis=1, keepdims=True)
    covariance = np.linalg.inv(slopes @ slopes.T)
    step, error = covariance @ (slopes @ left), np.sqrt(np.diag(covariance))
    return np.asarray(step, np.float64), np.asarray(error, np.float64)


def _homography(step: NDArray[np.float64]) -> NDArray[np.float64]:
    """The homography [3, 3] with these displacements, as far as they are small."""
    a, b, c, d, p, q = step
    return np.array([[1 + a, b, 0], [c, 1 + d, 0], [-p, -q, 1]])


def _between(pixels: int, samples: int, offset: float) -> NDArray[np.float64]:
    """Trigonometric interpolation of `samples` (odd) at pixels moved by `offset`: a matrix [pixel, sample]."""
    apart = PARTS * (centred(pixels, 1.0) - offset)[:, None] - centred(samples, 1.0)
    return np.asarray(np.sinc(apart) / np.sinc(apart / samples), np.float64)
