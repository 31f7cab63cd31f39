"""Mask surfaces and what fabrication does to them."""

import numpy as np
import pytest

from opticaldr.models.optics import preset, psf, pupil_mask, zernike_height
from opticaldr.models.optics.fabrication import (
    as_made,
    blur,
    height_error,
    limit_sag,
    quantise,
    wrap,
)
from opticaldr.models.optics.quadrature import aperture_weights, interpolation
from opticaldr.models.optics.surfaces import focusing_height, start_parameters, surface


@pytest.mark.parametrize(
    ("kind", "modes", "shape"),
    [
        ("zernike", 15, {4: 2e-6, 7: -1e-6, 12: 5e-7}),
        ("radial", 12, {4: 2e-6, 11: 1e-6}),
        ("spline", 12, {2: 1e-6, 5: 2e-6, 7: -1e-6}),
        ("pixel", 15, {4: 2e-6, 9: 1e-6}),
    ],
)
def test_a_surface_returns_what_it_was_fitted_to(vary, kind, modes, shape):
    spec = vary("clinic", pupil__samples=64, mask__surface=kind, mask__modes=modes)
    height = zernike_height(shape, spec)
    made = surface(spec)
    parameters = made.fit(height)
    assert parameters.shape == (made.size,)
    assert np.allclose(made.height(parameters)[pupil_mask(spec)], height[pupil_mask(spec)], atol=1e-12)


def test_a_radial_surface_is_round(vary):
    spec = vary("clinic", pupil__samples=64, mask__surface="radial", mask__modes=8)
    made = surface(spec)
    height = made.height(np.random.default_rng(0).standard_normal(made.size) * 1e-6)
    assert np.allclose(height, height.T)
    assert np.allclose(height, height[::-1])


@pytest.mark.parametrize("kind", ["zernike", "radial", "spline", "pixel"])
def test_surfaces_are_the_same_in_torch(vary, kind):
    torch = pytest.importorskip("torch")
    made = surface(vary("clinic", pupil__samples=32, mask__surface=kind, mask__modes=6))
    parameters = np.random.default_rng(0).standard_normal(made.size) * 1e-6
    assert np.allclose(made.height(parameters), made.height(torch.tensor(parameters)).numpy(), atol=1e-18)


def test_the_papers_start_survives_the_fit():
    parameters = start_parameters(preset("paper"))
    assert parameters[3] == pytest.approx(-51e-6, rel=1e-9)
    assert np.delete(parameters, 3) == pytest.approx(0, abs=1e-15)


def test_a_focusing_height_needs_no_lens(vary):
    """The whole sag in one free form: nearly all light within a few pixels, near the paper's own start."""
    spec = vary("paper")
    height = focusing_height(spec, 1.0, 550e-9)
    spot = psf(height, spec, [550e-9], 1.0, shape=(9, 9), binned=False)[0]
    assert spot[3:6, 3:6].sum() > 0.85
    assert np.ptp(height[pupil_mask(spec)]) == pytest.approx(2 * 51e-6, rel=0.05)


def test_sag_is_limited_inside_the_stop(vary):
    spec = vary("clinic", pupil__samples=64)
    limited = limit_sag(zernike_height({4: 40e-6}, spec), 30e-6, pupil_mask(spec))
    assert np.ptp(limited[pupil_mask(spec)]) == pytest.approx(30e-6)


def test_wrapping_removes_whole_periods():
    height = np.linspace(-3e-6, 5e-6, 101)[None, :]
    folded = wrap(height, 1.1e-6)
    assert folded.min() >= 0
    assert folded.max() < 1.1e-6
    assert np.allclose(np.rint((height - folded) / 1.1e-6), (height - folded) / 1.1e-6, atol=1e-9)


def test_quantising_makes_that_many_levels():
    levels = np.unique(quantise(np.linspace(0, 0.999e-6, 1000)[None, :], 8, 1e-6).round(12))
    assert len(levels) in (8, 9)  # the top of a folded relief rounds to the foot of the next
    assert np.diff(levels) == pytest.approx(1e-6 / 8)


def test_blur_has_the_width_of_the_feature():
    step = np.zeros((64, 64))
    step[:, 32:] = 1
    edge = np.diff(blur(step, 6.0)[20])
    above = np.flatnonzero(edge >= edge.max() / 2)
    assert len(above) == pytest.approx(6, abs=1)
    assert np.allclose(blur(np.ones((16, 16)), 5.0), 1)


def test_height_errors_have_the_stated_spread_and_correlation():
    rng = np.random.default_rng(0)
    white = height_error((256, 256), 50e-9, 0.0, rng)
    assert np.abs(white).max() <= 50e-9
    assert white.std() == pytest.approx(50e-9 / np.sqrt(3), rel=0.01)
    smooth = height_error((256, 256), 50e-9, 8.0, rng)
    assert smooth.std() == pytest.approx(50e-9 / np.sqrt(3), rel=1e-9)
    along = np.mean(smooth * np.roll(smooth, 8, axis=1)) / smooth.var()
    assert along == pytest.approx(np.exp(-1), abs=0.06)


def test_as_made_does_what_the_spec_names(vary):
    spec = vary("clinic", pupil__samples=64, mask__levels=16, mask__wrap=1, mask__tolerance=2e-8)
    height = zernike_height({4: 3e-6}, spec)
    exact, wrong = as_made(height, spec), as_made(height, spec, np.random.default_rng(0))
    assert len(np.unique(exact.round(12))) <= 17
    assert 0 < np.abs(wrong - exact).max() <= 2e-8
    plain = vary("clinic", pupil__samples=64)
    assert np.array_equal(as_made(height, plain), height)


def test_aperture_weights_integrate_cubics_over_the_disc():
    """Coarse samples, sharp rim: ∫1 = π, ∫x² = π/4, ∫x²y² = π/24 over the unit disc."""
    x = centred_axis = (np.arange(40) - 19.5) * (2 / 36)

    def chord(y):
        half = np.sqrt(np.maximum(1 - y**2, 0))
        return -half, half

    weights = aperture_weights(x, centred_axis, chord) * (x[1] - x[0]) ** 2
    assert weights.sum() == pytest.approx(np.pi, rel=2e-5)
    assert (weights * x**2).sum() == pytest.approx(np.pi / 4, rel=1e-5)
    assert (weights * x**2 * x[:, None] ** 2).sum() == pytest.approx(np.pi / 24, rel=1e-5)
    assert (weights * x**3).sum() == pytest.approx(0, abs=1e-12)


def test_interpolation_is_exact_for_cubics():
    axis = (np.arange(16) - 7.5) * 0.5
    grid = (axis**3 - 2 * axis)[None, :] * (1 + axis[:, None] ** 2)
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-3.7, 3.7, (2, 50))
    values = interpolation(16, 0.5, x, y, nearest=False) @ grid.ravel()
    assert np.allclose(values, (x**3 - 2 * x) * (1 + y**2))
    at_samples = interpolation(16, 0.5, axis, axis, nearest=True) @ grid.ravel()
    assert np.array_equal(at_samples, np.diag(grid))
