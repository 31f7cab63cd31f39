"""Zernike polynomials in Noll's order (j from 1), and the way to and from the OSA/ANSI and Fringe orders.

Z_j(ρ, θ) = N · R_n^|m|(ρ) · cos(mθ) for m ≥ 0, sin(|m|θ) for m < 0, on the unit disc. `noll` normalisation
has unit RMS over the disc, N = √(n+1) for m = 0 and √(2(n+1)) otherwise (R. J. Noll, J. Opt. Soc. Am. 66,
207, 1976); `unit-amplitude` has N = 1, so that every polynomial reaches ±1 at the edge. The literature mixes
the two; here it is always said.

θ runs from +x towards +y, and y points down.
"""

from math import factorial

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.optics.specs import Normalisation


def noll_to_nm(j: int) -> tuple[int, int]:
    """Radial degree n and signed azimuthal frequency m of Noll's j ≥ 1 (m < 0: sine)."""
    if j < 1:
        raise ValueError(f"Noll index {j}: the order starts at 1")
    n = int((np.sqrt(8 * j - 7) - 1) / 2)
    k = j - n * (n + 1) // 2 - 1  # position within the row of degree n
    m = (k + 1) // 2 * 2 if n % 2 == 0 else k // 2 * 2 + 1
    return n, m if j % 2 == 0 else -m


def nm_to_noll(n: int, m: int) -> int:
    """Noll's j of radial degree n and signed azimuthal frequency m."""
    _check_nm(n, m)
    first = n * (n + 1) // 2 + abs(m)  # the two candidates are this one and the next
    if m == 0:
        return first + 1
    return first if (first % 2 == 0) == (m > 0) else first + 1


def noll_to_osa(j: int) -> int:
    """OSA/ANSI index (from 0) of Noll's j."""
    n, m = noll_to_nm(j)
    return (n * (n + 2) + m) // 2


def osa_to_noll(index: int) -> int:
    """Noll's j of an OSA/ANSI index (from 0)."""
    if index < 0:
        raise ValueError(f"OSA index {index}: the order starts at 0")
    n = int((np.sqrt(8 * index + 1) - 1) / 2)
    return nm_to_noll(n, 2 * index - n * (n + 2))


def noll_to_fringe(j: int) -> int:
    """Fringe (University of Arizona) index, from 1, of Noll's j."""
    n, m = noll_to_nm(j)
    return int((1 + (n + abs(m)) // 2) ** 2 - 2 * abs(m) + (m < 0))


def fringe_to_noll(index: int) -> int:
    """Noll's j of a Fringe index (from 1)."""
    if index < 1:
        raise ValueError(f"Fringe index {index}: the order starts at 1")
    group = int(np.ceil(np.sqrt(index))) - 1  # (n + |m|) / 2
    offset = (group + 1) ** 2 - index  # 2|m| for cosine, 2|m| − 1 for sine
    m = (offset + 1) // 2
    return nm_to_noll(2 * group - m, m if offset % 2 == 0 else -m)


def zernike_basis(
    modes: int, x: NDArray[np.float64], y: NDArray[np.float64], normalisation: Normalisation
) -> NDArray[np.float64]:
    """Polynomials 1 … `modes` at points of the plane in units of the pupil's radius: [mode, *x.shape].

    Points outside the unit disc get the polynomial's continuation, not zero: the pupil is what cuts it.
    """
    return np.stack([zernike(j, x, y, normalisation) for j in range(1, modes + 1)])


def zernike(
    j: int, x: NDArray[np.float64], y: NDArray[np.float64], normalisation: Normalisation
) -> NDArray[np.float64]:
    """One polynomial, Noll's j, at points in units of the pupil's radius."""
    n, m = noll_to_nm(j)
    power = abs(m)
    # ρ^|m| e^{i|m|θ} is the polynomial (x + iy)^|m|: no angle, and no division at the origin.
    harmonic = (x + 1j * y) ** power
    square = x * x + y * y
    radial = np.zeros_like(square)
    for s in range((n - power) // 2 + 1):
        coefficient = (-1) ** s * factorial(n - s)
        coefficient //= factorial(s) * factorial((n + power) // 2 - s) * factorial((n - power) // 2 - s)
        radial += coefficient * square ** ((n - power) // 2 - s)
    scale = 1.0
    if normalisation == "noll":
        scale = np.sqrt(n + 1) if m == 0 else np.sqrt(2 * (n + 1))
    angular: NDArray[np.float64] = harmonic.imag if m < 0 else harmonic.real
    return scale * radial * angular


def _check_nm(n: int, m: int) -> None:
    if n < 0 or abs(m) > n or (n - m) % 2:
        raise ValueError(f"there is no Zernike polynomial with n = {n}, m = {m}")
