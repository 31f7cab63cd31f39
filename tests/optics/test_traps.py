"""Mistakes that other propagators make, each shown to be absent here."""

import numpy as np
import pytest

from opticaldr.models.optics import psf, psf_bank, sampling, zernike_height
from opticaldr.models.optics.fourier import fourier_power
from opticaldr.models.optics.geometry import centred, pupil_positions, relative_distance
from opticaldr.models.optics.metrics import centroid

RED = 640e-9


def stop_coverage(spec):
    """Fraction of each sample's square inside the circular stop, by brute force."""
    fine = centred(spec.pupil.samples * 8, spec.pupil.pitch / 8)
    inside = fine[:, None] ** 2 + fine**2 <= (spec.pupil.diameter / 2) ** 2
    return inside.reshape(spec.pupil.samples, 8, spec.pupil.samples, 8).mean(axis=(1, 3))


def reference_psf(height, spec, wavelength, depth, side, propagate, **options):
    """The same PSF by propagating the whole wave, quadratic phase and all, and looking at the middle."""
    x, y = pupil_positions(spec)
    k = 2 * np.pi / wavelength
    coverage = stop_coverage(spec)
    wave = np.exp(1j * k * (np.sqrt(depth**2 + x**2 + y**2) - depth))
    wave *= np.exp(1j * k * (spec.mask.material.index(wavelength) - 1) * height)
    field = propagate(coverage * wave, spec.pupil.pitch, wavelength, spec.sensor_distance, **options)
    start = (len(field) - side) // 2
    middle = field[start : start + side, start : start + side]
    return np.abs(middle[::-1, ::-1]) ** 2 / np.sum(coverage)  # the array is the upright image


def difference(a, b):
    return np.abs(a - b).sum() / np.abs(b).sum()


@pytest.fixture(scope="module")
def paper(vary, angular_spectrum):
    """The paper's optics with half a micrometre of aberrations: spec, height, exact and paraxial reference."""
    spec = vary("paper")
    rng = np.random.default_rng(0)
    coefficients = {4: -51e-6} | {j: 0.5e-6 * rng.standard_normal() for j in range(5, 16)}
    height = zernike_height(coefficients, spec)
    exact, paraxial = (
        reference_psf(height, spec, RED, 1.0, 256, angular_spectrum, paraxial=p) for p in (False, True)
    )
    return spec, height, exact, paraxial


@pytest.mark.proves("OPTICS-1")
def test_agrees_with_the_exact_angular_spectrum_in_single_precision(paper):
    spec, height, exact, paraxial = paper
    single = psf(
        height.astype(np.float32), spec, [RED], 1.0, shape=(256, 256), binned=False, integrated=False
    )[0]
    assert single.dtype == np.float32
    assert difference(single, exact) <= 1e-3
    # The paraxial transfer function that often goes by the name would not have passed.
    assert difference(paraxial, exact) > 5e-3


def test_single_precision_loses_nothing_to_the_long_way(paper):
    """k·z is 3.5·10⁵ rad here: a kernel built in float32 is wrong by 2e-3."""
    spec, height, _, _ = paper
    both = [
        psf(height.astype(kind), spec, [RED], 1.0, shape=(256, 256), binned=False, integrated=False)[0]
        for kind in (np.float32, np.float64)
    ]
    assert difference(*both) <= 1e-4


def test_the_transform_itself_agrees_to_a_millionth(angular_spectrum):
    """A Gaussian beam with aberrations, no rim: path and Fourier sum against the angular spectrum in float64."""
    wavelength, distance, waist, side = 550e-9, 2.0, 0.6e-3, 512
    k, pitch = 2 * np.pi / wavelength, 12e-6

    def pupil(x, y):
        aberration = 2e-8 * (x / waist) * ((x / waist) ** 2 + (y / waist) ** 2) + 1e-7 * (y / waist) ** 2
        return np.exp(-(x**2 + y**2) / waist**2) * np.exp(1j * k * aberration)

    axis = centred(side, pitch)
    x, y = np.meshgrid(axis, axis)
    lens = np.exp(-1j * k * relative_distance(x, y, distance, (0.0, 0.0)))
    reference = np.abs(angular_spectrum(pupil(x, y) * lens, pitch, wavelength, distance)) ** 2
    reference = reference[side // 2 + 128 : side // 2 + 384, side // 2 + 128 : side // 2 + 384]
    s = centred(256, 2 * pitch / distance)
    s_x, s_y = np.meshgrid(s, s)
    s_z = np.sqrt(1 - s_x**2 - s_y**2)
    field = pupil(distance * s_x / s_z, distance * s_y / s_z) / s_z**2 * distance / wavelength
    planes = np.stack([field.real, field.imag], axis=1) * (2 * pitch / distance) ** 2
    u = centred(256, pitch)
    ours = fourier_power(planes, k, (s, s), (u, u))
    assert difference(ours[::-1, ::-1], reference) <= 1e-6


@pytest.mark.parametrize("side", [16, 17])
def test_a_symmetric_mask_gives_a_centred_psf_at_every_wavelength(vary, side):
    """Grids that hold both end points, or the origin on a corner, shift the image by a part of a pixel, in
    proportion to the wavelength."""
    spec = vary("clinic", pupil__samples=64)
    images = psf(
        zernike_height({4: 1e-6, 11: 5e-7}, spec), spec, spec.sensor.wavelengths, 0.5, shape=(side, side)
    )
    for image in images:
        assert np.hypot(*centroid(image, 1.0)) < 1e-10
        assert np.allclose(image, image[::-1, ::-1], rtol=1e-9, atol=1e-14)


def test_light_that_leaves_the_window_does_not_come_back(vary):
    """A blur disc of 2.4 windows across: the window holds its geometric share of the light and not more."""
    spec = vary("clinic", pupil__samples=512, sensor__binning=1, sensor__shape=(64, 64))
    depth = 0.05
    disc = spec.pupil.diameter * spec.sensor_distance * (1 / depth - 1 / spec.lens.focus)
    image = psf(np.zeros((512, 512)), spec, [550e-9], depth, shape=(48, 48), binned=False)[0]
    window = 48 * spec.sensor.pitch
    assert disc > 1.3 * window
    assert image.sum() == pytest.approx(window**2 / (np.pi * disc**2 / 4), rel=0.03)


def test_a_wrapped_relief_is_never_interpolated(vary):
    """Folded at whole waves the mask is the same at the design wavelength: its steps are kept, not smoothed over."""
    smooth = vary("clinic", pupil__samples=256)
    folded = vary("clinic", pupil__samples=256, mask__wrap=1)
    height = zernike_height({4: 2e-6, 7: 1e-6}, smooth)
    period = 550e-9 / (smooth.mask.material.index(550e-9) - 1)
    a = psf(height, smooth, [550e-9], 0.6, shape=(17, 17))[0]
    b = psf(height % period, folded, [550e-9], 0.6, shape=(17, 17))[0]
    assert difference(b, a) < 0.02


def test_numpy_and_torch_agree(vary):
    torch = pytest.importorskip("torch")
    spec = vary("clinic", pupil__samples=64)
    height = zernike_height({4: 1e-6, 8: 5e-7}, spec)
    a = psf_bank(height, spec, [0.5, 1.0], fields=[(0, 0), (0.1, 0)], shape=(7, 7))
    b = psf_bank(torch.tensor(height), spec, [0.5, 1.0], fields=[(0, 0), (0.1, 0)], shape=(7, 7))
    assert a.shape == (2, 2, 3, 7, 7)
    assert np.allclose(a, b.numpy(), rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize(("waviness", "most"), [(0.0, 2e-4), (2e-6, 7e-4)])
def test_the_guard_samples_the_pupil_finely_enough(vary, monkeypatch, waviness, most):
    """Against five times what the rays alone would need."""
    spec = vary("paper")
    rng = np.random.default_rng(0)
    height = zernike_height({4: -51e-6} | {j: waviness * rng.standard_normal() for j in range(5, 16)}, spec)
    usual, finer = (
        (
            monkeypatch.setattr(sampling, "GUARD", guard),
            psf(height, spec, [460e-9], 1.0, shape=(256, 256))[0],
        )[1]
        for guard in (sampling.GUARD, 5.0)
    )
    assert 0 < difference(usual, finer) <= most
