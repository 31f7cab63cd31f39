"""Fourier sums between two centred grids, as real matrix products that use the symmetry of both grids.

U(u) = Σ_s P(s) exp(ik u·s), with s and u symmetric about 0, splits along each axis into cos(kus), even in s
and in u, and i·sin(kus), odd in both. So the input is folded into its even and odd part, only the outputs u ≥
0 are computed, and the four quadrants (±u_y, ±u_x) follow by adding and subtracting: a quarter of the
multiplications of the plain complex product, none of them complex.
"""

from functools import lru_cache

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from opticaldr.models.optics.arrays import Array, like

Floats = NDArray[np.float64]


def fourier_power(pupil: Array, k: float, s: tuple[Floats, Floats], u: tuple[Floats, Floats]) -> Array:
    """|U|² [y, x] on the grid u.

    Args:
        pupil: P as [y, (real, imaginary), x], an even number of samples along y and x.
        k: wavenumber in radians a metre.
        s: input positions along y and x, ascending and symmetric about 0.
        u: output positions along y and x, ascending and symmetric about 0, in metres.
    """
    xp = array_api_compat.array_namespace(pupil)
    (cos_y, sin_y), (cos_x, sin_x) = (
        [like(part, pupil) for part in _half_waves(k, *map(_half, axes))] for axes in zip(s, u, strict=True)
    )
    even, odd = _fold(pupil, 0)
    even = _from_left(cos_y, even)
    odd = _from_left(sin_y, odd)
    (even_even, even_odd), (odd_even, odd_odd) = _fold(even, 2), _fold(odd, 2)
    cc, ss = _from_right(even_even, cos_x.T), _from_right(odd_odd, sin_x.T)
    cs, sc = _from_right(even_odd, sin_x.T), _from_right(odd_even, cos_x.T)
    # U(σ_y u_y, σ_x u_x) = cc − σ_y σ_x ss + i(σ_x cs + σ_y sc) for the signs σ of the four quadrants.
    along, across = cc - ss, cc + ss
    plus, minus = cs + sc, cs - sc
    right_down, left_up = _power(along, plus, 1), _power(along, plus, -1)
    right_up, left_down = _power(across, minus, 1), _power(across, minus, -1)
    # Where a side is odd, u = 0 is in both halves: the negative half leaves it out.
    y0, x0 = len(u[0]) % 2, len(u[1]) % 2
    down = xp.concat([xp.flip(left_down[:, x0:], axis=1), right_down], axis=1)
    up = xp.concat([xp.flip(left_up[:, x0:], axis=1), right_up], axis=1)
    return xp.concat([xp.flip(up[y0:], axis=0), down], axis=0)


def _power(a: Array, b: Array, sign: int) -> Array:
    """|a + i·sign·b|² of planes [y, (real, imaginary), x]."""
    real = a[:, 0, :] - sign * b[:, 1, :]
    imaginary = a[:, 1, :] + sign * b[:, 0, :]
    return real * real + imaginary * imaginary


def _fold(array: Array, axis: int) -> tuple[Array, Array]:
    """Sum and difference of the positive half of an axis and the mirrored negative half."""
    xp = array_api_compat.array_namespace(array)
    half = array.shape[axis] // 2
    cut: list[slice] = [slice(None)] * 3
    cut[axis] = slice(half, None)
    positive = array[tuple(cut)]
    cut[axis] = slice(None, half)
    negative = xp.flip(array[tuple(cut)], axis=axis)
    return positive + negative, positive - negative


def _from_left(matrix: Array, planes: Array) -> Array:
    """matrix [u, s] @ planes [s, plane, x], both planes in one product."""
    rows, count, columns = planes.shape
    return (matrix @ planes.reshape(rows, count * columns)).reshape(matrix.shape[0], count, columns)


def _from_right(planes: Array, matrix: Array) -> Array:
    """planes [y, plane, s] @ matrix [s, u] in one product, where NumPy would make one for each y."""
    rows, count, columns = planes.shape
    return (planes.reshape(rows * count, columns) @ matrix).reshape(rows, count, matrix.shape[1])


def _half(axis: Floats) -> tuple[float, ...]:
    return tuple(axis[len(axis) // 2 :])


@lru_cache(maxsize=64)
def _half_waves(k: float, s: tuple[float, ...], u: tuple[float, ...]) -> tuple[Floats, Floats]:
    """cos and sin of k·u·s, each [u, s], for the halves of the axes that are not negative."""
    angle = k * np.outer(u, s)
    return np.cos(angle), np.sin(angle)
