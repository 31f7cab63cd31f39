"""Figures of merit against shapes whose answers are known."""

import numpy as np
import pytest

from opticaldr.models.optics.geometry import centred
from opticaldr.models.optics.metrics import (
    centroid,
    encircled_radius,
    mtf,
    mtf50,
    ncc,
    registered,
    registered_ncc,
    relative_l2,
    rms_spot,
    strehl,
)

PITCH = 2e-6
SIGMA = 7e-6


def gaussian(x0=0.0, y0=0.0, sigma=SIGMA, side=65):
    axis = centred(side, PITCH)
    image = np.exp(-((axis - x0) ** 2 + (axis[:, None] - y0) ** 2) / (2 * sigma**2))
    return image / image.sum()


def test_centroid_is_x_right_and_y_down():
    assert centroid(gaussian(3e-6, -5e-6), PITCH) == pytest.approx((3e-6, -5e-6), abs=1e-10)


def test_spot_sizes_of_a_gaussian():
    image = gaussian(1e-6, 2e-6)
    assert rms_spot(image, PITCH) == pytest.approx(SIGMA * np.sqrt(2), rel=1e-3)
    assert encircled_radius(image, PITCH, 0.5) == pytest.approx(SIGMA * np.sqrt(2 * np.log(2)), rel=1e-2)
    assert encircled_radius(image, PITCH, 0.8) == pytest.approx(SIGMA * np.sqrt(2 * np.log(5)), rel=1e-2)


def test_mtf_of_a_gaussian():
    frequency = np.linspace(0, 60e3, 13)
    assert mtf(gaussian(), PITCH, frequency) == pytest.approx(
        np.exp(-2 * (np.pi * SIGMA * frequency) ** 2), abs=1e-4
    )
    assert mtf50(gaussian(), PITCH) == pytest.approx(np.sqrt(np.log(2) / 2) / (np.pi * SIGMA), rel=5e-3)


def test_strehl_is_the_loss_of_the_peak():
    assert strehl(gaussian(sigma=2 * SIGMA, side=129), gaussian(side=129)) == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize("shift", [(0.37, -1.81), (5.25, 3.5)])
def test_registration_finds_a_part_of_a_pixel(shift):
    moved = gaussian(shift[0] * PITCH, shift[1] * PITCH)
    back, found = registered(gaussian(), moved)
    assert found == pytest.approx(shift, abs=1e-6)
    assert np.allclose(back, moved, atol=1e-9)


def test_ncc_is_one_for_equal_and_blind_to_gain():
    rng = np.random.default_rng(0)
    a = rng.random((2, 9, 9))
    np.testing.assert_allclose(ncc(a, 3 * a + 1), 1.0)
    assert abs(ncc(a, rng.random((2, 9, 9)))).max() < 0.5


def test_a_shift_is_no_difference_and_a_change_of_shape_is():
    moved = gaussian(2.3e-6, -1.1e-6)
    assert registered_ncc(moved, gaussian()) == pytest.approx(1, abs=1e-9)
    assert relative_l2(moved, gaussian()) < 1e-6
    assert relative_l2(gaussian(sigma=1.2 * SIGMA), gaussian()) > 0.1
    assert registered_ncc(gaussian(sigma=1.2 * SIGMA), gaussian()) < 0.999
