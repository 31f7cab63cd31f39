"""Convolution against the direct sum, and PSFs that change over the field."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import convolve2d

from opticaldr.errors import Refusal
from opticaldr.models.optics import FieldVaryingPsf, form_image, psf_bank, zernike_height

sides = st.tuples(st.integers(1, 20), st.integers(1, 20))


@settings(deadline=None, max_examples=60)
@given(scene=sides, psf=sides, seed=st.integers(0, 99))
def test_convolution_is_linear_and_not_circular(scene, psf, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 1, *scene)), rng.random((1, *psf))
    image = form_image(a, b)
    top, left = (psf[0] - 1) // 2, (psf[1] - 1) // 2
    for i in range(2):
        full = convolve2d(a[i, 0], b[0])
        assert np.allclose(image[i, 0], full[top : top + scene[0], left : left + scene[1]])


def test_a_point_stays_where_it_is():
    """The middle of an odd PSF is the middle pixel: no half-pixel shift."""
    scene = np.zeros((1, 15, 15))
    scene[0, 4, 11] = 1
    psf = np.zeros((1, 7, 7))
    psf[0, 3, 3] = 1
    assert np.allclose(form_image(scene, psf), scene, atol=1e-15)


def test_light_at_the_border_does_not_come_back_on_the_other_side():
    scene = np.zeros((1, 16, 16))
    scene[0, 0, 0] = 1
    image = form_image(scene, np.ones((1, 9, 9)))
    assert np.allclose(image[0, :5, :5], 1)
    assert np.allclose(image[0, 5:], 0, atol=1e-15)
    assert np.allclose(image[0, :, 5:], 0, atol=1e-15)


def test_a_bank_serves_a_batch_by_broadcasting():
    rng = np.random.default_rng(0)
    scenes, bank = rng.random((4, 3, 8, 8)), rng.random((4, 3, 5, 5))
    images = form_image(scenes, bank)
    for scene, psf, image in zip(scenes, bank, images, strict=True):
        assert np.allclose(form_image(scene, psf), image)


def test_field_varying_model_is_exact_where_the_psfs_were_taken(vary):
    """At full rank, a point of light at a field position makes the PSF of that position."""
    spec = vary("clinic", pupil__samples=128, lens__seidel__coma=8.0, lens__seidel__astigmatism=8.0)
    fields = [(x, y) for x in (-0.15, 0.0, 0.15) for y in (-0.15, 0.0, 0.15)]
    bank = psf_bank(zernike_height({4: 1e-6}, spec), spec, [0.5], fields=fields, shape=(7, 7))[0]
    positions = np.array(fields) * spec.sensor_distance / spec.sensor.superpixel
    positions = np.rint(positions)
    shape = (91, 91)
    model = FieldVaryingPsf.decompose(bank, positions, shape, rank=9)
    assert model.residual < 1e-12
    for psf, (x, y) in zip(bank, positions.astype(int), strict=True):
        scene = np.zeros((3, *shape))
        scene[:, 45 + y, 45 + x] = 1
        image = model.form_image(scene)[:, 42 + y : 49 + y, 42 + x : 49 + x]
        assert np.allclose(image, psf, atol=1e-9)


def test_a_few_kernels_carry_most_of_a_smooth_field(vary):
    spec = vary("clinic", pupil__samples=64, lens__seidel__coma=2.0, lens__seidel__field_curvature=2.0)
    fields = [(x, y) for x in (-0.2, 0.0, 0.2) for y in (-0.2, 0.0, 0.2)]
    bank = psf_bank(zernike_height({4: 1e-6}, spec), spec, [0.5], fields=fields, shape=(7, 7))[0]
    residuals = [
        FieldVaryingPsf.decompose(bank, np.array(fields) * 200, (9, 9), rank).residual for rank in (1, 2, 4)
    ]
    assert residuals[0] > residuals[1] > residuals[2]
    assert residuals[2] < 0.05


def test_field_points_on_a_line_are_refused():
    with pytest.raises(Refusal, match="line"):
        FieldVaryingPsf.decompose(np.ones((3, 1, 3, 3)), np.array([[0, 0], [1, 1], [2, 2]]), (5, 5), 1)
    with pytest.raises(Refusal, match="rank"):
        FieldVaryingPsf.decompose(np.ones((3, 1, 3, 3)), np.eye(3)[:, :2], (5, 5), 4)
