"""Cubic Lagrange interpolation and the integration weights that follow from it.

Sampling a function that ends at a sharp rim and adding up the samples inside is wrong to first order in the
spacing: the sum does not know where between two samples the rim lies. Here each sample's weight is the
    integral, over
the aperture, of the interpolation kernel that stands on it. The sum is then exact for every cubic, rim
included, and a pupil can be sampled as coarsely as its phase allows.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]


def kernel(t: Floats) -> Floats:
    """Weight at distance t, in samples, of cubic interpolation through the four nearest samples."""
    t = np.abs(t)
    near = (1 - t * t) * (2 - t) / 2
    far = (1 - t) * (2 - t) * (3 - t) / 6
    return np.where(t < 1, near, np.where(t < 2, far, 0.0))


def kernel_integral(t: Floats) -> Floats:
    """Integral of `kernel` from 0 to t (odd, ±1/2 beyond two samples)."""
    a = np.minimum(np.abs(t), 2)
    near = a * (2 + a * (-1 / 2 + a * (-2 / 3 + a / 4))) / 2
    far = 1 / 6 + a * (6 + a * (-11 / 2 + a * (2 - a / 4))) / 6
    return np.sign(t) * np.where(a < 1, near, far)


def aperture_weights(x: Floats, y: Floats, chord: Callable[[Floats], tuple[Floats, Floats]]) -> Floats:
    """Weights [y, x], in units of one sample's area, that integrate a cubic over an aperture.

    Args:
        x: equally spaced sample positions along x.
        y: the same along y.
        chord: left and right end of the aperture at each given y (equal where it is outside).
    """
    lines = max(
        4, 2048 // len(y)
    )  # to a sample along y: a circle's area comes out right to a few parts in a million
    dx, dy = x[1] - x[0], y[1] - y[0]
    offsets = (np.arange(4 * lines) + 0.5) / lines - 2  # the kernel's support, ±2 samples
    fine = y[0] + np.arange(-2 * lines, (len(y) + 2) * lines) * (dy / lines) + dy / (2 * lines)
    along_x = np.concatenate(
        [
            kernel_integral((right[:, None] - x) / dx) - kernel_integral((left[:, None] - x) / dx)
            for left, right in map(chord, np.array_split(fine, 16))  # to spare memory
        ]
    )
    along_y = np.repeat(kernel(offsets)[None, :] / lines, len(y), axis=0)
    columns = np.arange(len(y))[:, None] * lines + np.arange(4 * lines)
    starts = np.arange(0, len(y) * 4 * lines + 1, 4 * lines)
    combine = csr_array((along_y.ravel(), columns.ravel(), starts), shape=(len(y), len(fine)))
    weights: Floats = combine @ along_x
    return weights


def interpolation(
    samples: int, pitch: float, x: Floats, y: Floats, dtype: str = "float64", *, nearest: bool
) -> csr_array:
    """Sparse matrix from a centred samples² grid, flattened, to its values at points (x, y).

    Cubic between samples, tangent beyond the grid; or, if `nearest`, the sample whose square holds the point.
    """
    columns, weights = [], []
    for position in (y, x):
        t = position / pitch + (samples - 1) / 2
        if nearest:
            columns.append(np.clip(np.rint(t), 0, samples - 1).astype(np.int32)[:, None])
            weights.append(np.ones((len(t), 1), dtype))
            continue
        first = np.clip(np.floor(t) - 1, 0, samples - 4).astype(np.int32)
        inside = np.clip(t, 0, samples - 1)
        weight, slope = _lagrange((inside - first).astype(dtype))
        columns.append(first[:, None] + np.arange(4, dtype=np.int32))
        weights.append(weight + (t - inside).astype(dtype)[:, None] * slope)
    taps = columns[0].shape[1]
    column = (columns[0][:, :, None] * np.int32(samples) + columns[1][:, None, :]).ravel()
    weight = (weights[0][:, :, None] * weights[1][:, None, :]).ravel()
    starts = np.arange(
        0, len(column) + 1, taps * taps, dtype=np.int32
    )  # int64 here would double the columns too
    return csr_array((weight, column, starts), shape=(len(x), samples * samples))


def _lagrange(t: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Lagrange polynomials through 0, 1, 2, 3 at t, and their slopes: each [point, 4]."""
    weight = np.stack(
        [
            (1 - t) * (2 - t) * (3 - t) / 6,
            t * (2 - t) * (3 - t) / 2,
            t * (t - 1) * (3 - t) / 2,
            t * (t - 1) * (t - 2) / 6,
        ],
        axis=1,
    )
    slope = np.stack(
        [
            (-11 + 12 * t - 3 * t * t) / 6,
            (6 - 10 * t + 3 * t * t) / 2,
            (-3 + 8 * t - 3 * t * t) / 2,
            (2 - 6 * t + 3 * t * t) / 6,
        ],
        axis=1,
    )
    return weight, slope
