"""The flatness of a spatial light modulator: the phase that makes the far field of its panel as sharp as it can be.

The second moment of the far field is the mean square slope of the wavefront, ∫|u|²I = ∫A²|∇φ|² + const., quadratic in
Zernike coefficients however large they are. So it leads to where the sharpness ΣI² takes over, which sees less far and
more finely.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from opticaldr.calibration.slm_response import Bench, Progress
from opticaldr.hardware.slms import Response
from opticaldr.models.optics.zernike import zernike

_LAST_MODE = 21
_CELLS = (10, 16)  # strips of the panel in which the beam is measured, down and across
_REACH = 1.6  # of the unit disc, half the panel's shorter side: beyond it a beam has no light
_COARSE = 4  # every so many pixels suffice to make modes orthogonal
_HEADROOM = 0.35  # brightest pixel: the focus may become three times brighter while it is searched
_FRAMES = 2
_CONVEX_ROUNDS, _MOST_ROUNDS = 3, 20
_ENOUGH = 0.995  # two rounds that gain less than this factor are the last


def measure_flatness(
    bench: Bench, response: Response, *, progress: Progress = lambda stage, done, total: None
) -> tuple[NDArray[np.float64], float]:
    """Phase [row, column] that makes the focus sharpest, in radians, and how much larger ΣI² became.

    First on the second moment, which is convex, then on the sharpness, which is finer, until rounds gain no more.
    Under the light that really falls on the panel, the modes of the first have orthogonal slopes and those of the
    second orthogonal values, so that one mode hardly disturbs another.

    Args:
        bench: opened.
        response: of the same panel in the same light.
        progress: called with (stage, done, total).

    Raises:
        Refusal: no light, or too much.
    """
    beam = _beam(bench, response)
    half = min(bench.panel.shape) / 2
    x, y = (place / (half * bench.panel.pitch) for place in np.meshgrid(*bench.panel.grid()))
    inside = np.hypot(x, y) < _REACH
    modes = np.stack(
        [np.where(inside, zernike(j, x, y, "noll"), 0.0).astype(np.float32) for j in range(2, _LAST_MODE + 1)]
    )
    coarse = (slice(None), slice(None, None, _COARSE), slice(None, None, _COARSE))
    light, shapes = np.sqrt(beam[coarse[1:]]), modes[coarse].astype(np.float64)
    light /= np.linalg.norm(light)
    down, across = np.gradient(shapes, axis=(1, 2))
    smooth = _mixtures(np.stack([down, across], axis=1) * light * half / _COARSE)
    fine = _mixtures(shapes * light)
    found = np.zeros(bench.panel.shape)

    def judged(wanted: NDArray[np.float64], by: Callable[[NDArray[np.float64]], float]) -> float:
        bench.show(response.greys(wanted))
        return by(bench.picture(_FRAMES))

    bench.show(response.greys(found))
    bench.expose(_HEADROOM)
    before = judged(found, _blur)
    best, idle = before, 0
    for number in range(_MOST_ROUNDS):
        basis, by, step = (smooth, _second_moment, 1.0) if number < _CONVEX_ROUNDS else (fine, _blur, 0.5)
        for index, mixture in enumerate(basis):
            mode = np.tensordot(mixture, modes, axes=1)
            progress("flatness", number * len(basis) + index, _MOST_ROUNDS * len(basis))
            if index % 4 == 0:  # the focus has become brighter
                bench.show(response.greys(found))
                bench.expose(_HEADROOM)
            low, middle, high = (judged(found + a * step * mode, by) for a in (-1, 0, 1))
            curvature = low + high - 2 * middle
            move = (low - high) / (2 * curvature) if curvature > 0 else np.sign(low - high)
            found += float(np.clip(move, -3, 3)) * step * mode
        bench.show(response.greys(found))
        bench.expose(_HEADROOM)
        now = judged(found, _blur)
        idle = idle + 1 if now > _ENOUGH * best else 0
        best = min(best, now)
        if number >= _CONVEX_ROUNDS and idle >= 2:
            break
    progress("flatness", 1, 1)
    return found, float(before / best)


def _beam(bench: Bench, response: Response) -> NDArray[np.float64]:
    """Light on every pixel of the panel [row, column], summing to 1, taken as a product of its two marginals.

    A strip of the panel carries the grating; what it sends into the first orders is the light that falls on it.
    """
    level = int(response.greys(np.array([np.pi]))[0])
    bench.show(bench.flat())
    bench.expose()
    flat = bench.picture()
    bench.show(bench.grating(level))
    orders = _orders(bench.picture(), flat)
    marginals = []
    for axis, cells in ((0, _CELLS[0]), (1, _CELLS[1])):
        edges = np.linspace(0, bench.panel.shape[axis], cells + 1).astype(int)
        light = []
        for first, last in itertools.pairwise(edges):
            frame = bench.flat()
            strip = (slice(first, last), slice(None)) if axis == 0 else (slice(None), slice(first, last))
            frame[strip] = bench.grating(level)[strip]
            bench.show(frame)
            picture = bench.picture(_FRAMES)
            light.append(np.sum((picture / picture.sum() - flat / flat.sum())[orders]) / (last - first))
        middles = (edges[:-1] + edges[1:] - 1) / 2
        marginals.append(PchipInterpolator(middles, np.maximum(light, 0))(np.arange(bench.panel.shape[axis])))
    beam = np.outer(*(np.maximum(marginal, 0) for marginal in marginals))
    return np.asarray(beam / beam.sum())


def _orders(grating: NDArray[np.float64], flat: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the first orders of a grating lie, whichever way the camera is turned: from half their distance on."""
    y, x = np.indices(flat.shape)
    centre = np.array([np.sum(flat * y), np.sum(flat * x)]) / flat.sum()
    gained = np.maximum(grating / grating.sum() - flat / flat.sum(), 0)
    gained[gained < 0.2 * gained.max()] = 0
    away = np.stack([y - centre[0], x - centre[1]], axis=-1)
    side = np.sign(away @ away[np.unravel_index(gained.argmax(), gained.shape)])
    order = np.sum(away * (gained * side)[..., None], axis=(0, 1)) / gained.sum()
    along = np.abs(away @ order) / (order @ order)
    return (along > 0.5) & (along < 1.5)


def _mixtures(seen: NDArray[np.float64]) -> NDArray[np.float32]:
    """Mixtures [mixture, mode] for which `seen` [mode, …] is orthonormal, without the first two: tilts.

    Gram–Schmidt in the given order, so that every mixture keeps the name of its highest mode.
    """
    flat = seen.reshape(len(seen), -1)
    return np.linalg.inv(np.linalg.cholesky(flat @ flat.T))[2:].astype(np.float32)


def _second_moment(picture: NDArray[np.float64]) -> float:
    """Mean square distance of the light from its centroid, pixels², over pixels that stand out from the noise."""
    light = np.where(picture > 0.004 * picture.max(), picture, 0.0)
    light /= light.sum()
    y, x = np.indices(light.shape)
    return float(np.sum(light * (x**2 + y**2)) - np.sum(light * x) ** 2 - np.sum(light * y) ** 2)


def _blur(picture: NDArray[np.float64]) -> float:
    """1/ΣI²: small when sharp. Not relative to ΣI, which grows smaller when light leaves the camera."""
    return float(1 / np.sum(picture**2))
