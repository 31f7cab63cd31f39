"""Zernike polynomials against their definition, and the three orders against the published tables."""

import numpy as np
import pytest

from opticaldr.models.optics import (
    fringe_to_noll,
    noll_to_fringe,
    noll_to_nm,
    noll_to_osa,
    osa_to_noll,
    preset,
    zernike,
    zernike_basis,
    zernike_height,
)

MODES = 45


def disc_quadrature(degree: int):
    """Points and weights that integrate polynomials over the unit disc exactly (mean value)."""
    nodes, weights = np.polynomial.legendre.leggauss(degree)
    square = (nodes + 1) / 2
    angle = 2 * np.pi * np.arange(2 * degree + 1) / (2 * degree + 1)
    rho = np.sqrt(square)[:, None]
    weight = np.repeat(weights[:, None] / 2 / len(angle), len(angle), axis=1)
    return (rho * np.cos(angle)).ravel(), (rho * np.sin(angle)).ravel(), weight.ravel()


def test_noll_polynomials_are_orthonormal_over_the_disc():
    x, y, weight = disc_quadrature(24)
    basis = zernike_basis(MODES, x, y, "noll")
    assert np.allclose((basis * weight) @ basis.T, np.eye(MODES), atol=1e-12)


def test_unit_amplitude_reaches_one_at_the_rim():
    angle = np.linspace(0, 2 * np.pi, 7201)
    basis = zernike_basis(MODES, np.cos(angle), np.sin(angle), "unit-amplitude")
    assert np.allclose(np.abs(basis).max(axis=1), 1, atol=1e-5)


def test_closed_forms_of_the_first_polynomials():
    x, y, _ = disc_quadrature(5)
    square = x**2 + y**2
    assert np.allclose(zernike(4, x, y, "noll"), np.sqrt(3) * (2 * square - 1))
    assert np.allclose(zernike(4, x, y, "unit-amplitude"), 2 * square - 1)
    assert np.allclose(zernike(5, x, y, "noll"), np.sqrt(6) * 2 * x * y)
    assert np.allclose(zernike(8, x, y, "noll"), np.sqrt(8) * (3 * square - 2) * x)
    assert np.allclose(zernike(11, x, y, "noll"), np.sqrt(5) * (6 * square**2 - 6 * square + 1))


def test_orders_agree_with_the_published_tables():
    # Noll (1976) table I; ANSI Z80.28; Wyant's fringe table, where astigmatism is 5 (cos) and 6 (sin).
    assert [noll_to_nm(j) for j in range(1, 12)] == [
        (0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (3, -1), (3, 1), (3, -3), (3, 3), (4, 0),
    ]  # fmt: skip
    assert [noll_to_osa(j) for j in range(1, 12)] == [0, 2, 1, 4, 3, 5, 7, 8, 6, 9, 12]
    assert [noll_to_fringe(j) for j in range(1, 12)] == [1, 2, 3, 4, 6, 5, 8, 7, 11, 10, 9]


def test_orders_return_to_where_they_came_from():
    for j in range(1, 700):
        assert osa_to_noll(noll_to_osa(j)) == j
        assert fringe_to_noll(noll_to_fringe(j)) == j


@pytest.mark.parametrize("convert", [noll_to_nm, fringe_to_noll])
def test_orders_begin_at_one(convert):
    with pytest.raises(ValueError, match="starts at 1"):
        convert(0)


def test_the_papers_z4_is_a_lens_in_focus_in_one_reading_and_not_in_the_other():
    """−51 µm of unit-amplitude Z4 is f = 35.5 mm at 550 nm; Noll-normalised it is f = 20.5 mm."""
    focal_lengths = []
    for name in ("paper", "paper-noll"):
        spec = preset(name)
        height = zernike_height(spec.mask.start, spec)
        middle = spec.pupil.samples // 2
        curvature = np.diff(height[middle], 2)[middle] / spec.pupil.pitch**2
        focal_lengths.append(-1 / (curvature * (spec.mask.material.index(550e-9) - 1)))
    assert focal_lengths[0] == pytest.approx(35.5e-3, rel=1e-3)
    assert focal_lengths[1] == pytest.approx(20.5e-3, rel=1e-2)
