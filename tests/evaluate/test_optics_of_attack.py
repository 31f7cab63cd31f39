"""Views, their controls and what undoes them, against closed forms."""

import numpy as np
import pytest

from opticaldr.errors import Refusal
from opticaldr.models.data import SimulatedSubjects
from opticaldr.models.evaluation.alignment import align, similarity, template
from opticaldr.models.evaluation.controls import families, gaussian_psf, gaussian_view, match
from opticaldr.models.evaluation.faces import Faces
from opticaldr.models.evaluation.inversion import richardson_lucy, wiener
from opticaldr.models.evaluation.metrics import Interval
from opticaldr.models.evaluation.spots import Spots
from opticaldr.models.evaluation.views import (
    LowResolutionView,
    PsfView,
    capture,
    half_energy_width,
    mean_width,
    sharp,
)
from opticaldr.models.optics import preset, psf_bank, zernike_height


@pytest.fixture(scope="module")
def scenes():
    return SimulatedSubjects(0).clip(3, 0, 4, (96, 96), 60.0, fps=0.1).frames


@pytest.fixture(scope="module")
def people(scenes):
    n = len(scenes)
    marks = np.repeat((template(60) + 18)[None], n, 0).astype(np.float32)
    return Faces(scenes, np.arange(n), np.zeros(n, int), marks, np.zeros(n, int))


def test_alignment_brings_rotated_and_shrunk_landmarks_home():
    turn = np.deg2rad(20)
    matrix = 0.6 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = template(112) @ matrix.T + [30, 20]
    found = similarity(moved, template(112))
    np.testing.assert_allclose(moved @ found[:, :2].T + found[:, 2], template(112), atol=1e-9)


def test_a_crop_shows_the_pixel_under_each_landmark_at_its_template_point():
    image = np.zeros((1, 120, 120, 3), np.float32)
    marks = template(112) * 0.9 + [10, 12]
    for channel, at in enumerate([0, 1, 4]):  # both eyes and a mouth corner
        x, y = marks[at].round().astype(int)
        image[0, y - 2 : y + 3, x - 2 : x + 3, channel] = 1.0
    crop = align(image, marks[None], 112)[0]
    for channel, at in enumerate([0, 1, 4]):
        y, x = np.indices((112, 112))
        light = crop[..., channel] / crop[..., channel].sum()
        centre = [(x * light).sum(), (y * light).sum()]
        np.testing.assert_allclose(centre, template(112)[at], atol=0.8)


def test_half_energy_widths_of_a_gaussian_and_a_disc():
    assert half_energy_width(gaussian_psf(5.0, 61)) == pytest.approx(5.0 * np.sqrt(2 * np.log(2)), rel=0.03)
    y, x = np.indices((61, 61)) - 30
    disc = (np.hypot(y, x) <= 20).astype(float)
    assert half_energy_width(disc) == pytest.approx(20 / np.sqrt(2), rel=0.03)


def test_the_sharp_view_is_the_scene_and_blur_keeps_its_light(scenes):
    np.testing.assert_allclose(sharp(1).optical_image(scenes, 0), scenes, atol=1e-5)
    flat = np.full_like(scenes, 0.4)
    np.testing.assert_allclose(gaussian_view(6.0, 1, "g").optical_image(flat, 0), flat, rtol=1e-3)


def test_coarse_pixels_hold_the_mean_of_their_block(scenes):
    coarse = LowResolutionView(8, 1).optical_image(scenes, 0)
    np.testing.assert_allclose(coarse[:, :8, :8].mean((1, 2)), scenes[:, :8, :8].mean((1, 2)), rtol=1e-5)
    assert np.ptp(coarse[0, :8, :8, 0]) == 0.0


def test_controls_are_as_wide_as_they_are_asked_to_be():
    spec, depths = preset("clinic"), (0.45, 0.9)
    start = {4: 2e-6, 6: -3e-6}
    for family in families(spec, depths, window=25, seed=0, start=start):
        control = family.at_width(3.0)
        assert mean_width(control.bank) == pytest.approx(3.0, rel=0.12), control.name
        assert control.bank.shape[:2] == (2, 3)


def utility_of(width_at_half: float):
    """A utility that falls from 1 with the logarithm of a Gaussian's width, one half at the one given."""

    def utility(view):
        value = 1 / (1 + mean_width(view.bank) / width_at_half)
        return Interval(value, value - 0.04, value + 0.04)

    return utility


@pytest.mark.parametrize("start", [0.5, 3.0, 20.0])
def test_a_control_is_tuned_to_the_utility_of_the_lens_from_whichever_side_it_starts(start):
    gaussian = families(preset("clinic"), (0.6,), window=25, seed=0)[0]
    found = match(gaussian, Interval(0.4, 0.36, 0.44), start, utility_of(2.0), tries=10)
    assert found.within
    assert found.reached.value == pytest.approx(0.4, abs=0.02)
    assert mean_width(found.view.bank) == pytest.approx(3.0, rel=0.15)
    assert found.tried[found.width] == found.reached.value


def test_a_utility_out_of_reach_is_reported_as_a_miss_with_the_closest_strength():
    coarse = families(preset("clinic"), (0.6,), window=25, seed=0)[1]
    found = match(coarse, Interval(1.5, 1.45, 1.55), 2.0, utility_of(2.0), tries=3)
    assert not found.within
    assert found.reached.value == max(found.tried.values())


def test_pixels_of_any_size_keep_the_light_and_their_footprint_is_theirs(scenes):
    for factor in (1.0, 2.6, 8.0):
        view = LowResolutionView(factor, 1)
        assert view.bank.sum() == pytest.approx(3.0, rel=1e-5)
        assert view.optical_image(scenes, 0).mean() == pytest.approx(scenes.mean(), rel=0.02)
    np.testing.assert_allclose(LowResolutionView(1.0, 1).optical_image(scenes, 0), scenes, atol=1e-6)


def test_a_spot_of_rays_is_the_wave_optical_psf_as_superpixels_see_it():
    spec = preset("clinic")
    shape = {4: 6e-6, 7: 3e-6}
    rays = Spots(shape, spec, [0.45]).bank(1.0, 15)
    wave = psf_bank(zernike_height(shape, spec), spec, [0.45], shape=(15, 15))
    assert np.abs(rays - wave).sum((2, 3)).max() < 0.12
    assert mean_width(rays) == pytest.approx(mean_width(wave), rel=0.05)


def test_both_inversions_bring_a_noise_free_blur_back_towards_the_scene(people):
    view = gaussian_view(2.0, 1, "blur")
    seen = capture(view, people, None, seed=0)
    blurred = np.abs(seen - people.scenes).mean()
    for restored in (wiener(seen, view.bank[0], 1e-5), richardson_lucy(seen, view.bank[0], 60)):
        assert np.abs(restored - people.scenes).mean() < 0.65 * blurred


def test_wiener_loses_its_edge_over_the_plain_blur_as_read_noise_grows(people):
    view = gaussian_view(2.0, 1, "blur")
    sensor = preset("clinic").sensor
    blurred = np.abs(view.optical_image(people.scenes, 0) - people.scenes).mean()
    gain = []
    for electrons in (2.4, 300.0, 3000.0):
        seen = capture(view, people, sensor.model_copy(update={"read_noise": electrons}), seed=0)
        tried = [wiener(seen, view.bank[0], noise) for noise in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)]
        gain.append(blurred / min(np.abs(picture - people.scenes).mean() for picture in tried))
    assert gain[0] > gain[1] > gain[2]
    assert gain[0] > 1.4
    assert gain[2] < 1.1


def test_the_psf_of_the_wrong_depth_restores_less_than_the_right_one(people):
    spec = preset("clinic")
    bank = Spots({4: 1.0, 6: 0.8}, spec, [0.45, 1.2]).bank(8e-6, 25)
    seen = capture(PsfView("mask", bank), people, None, seed=0)
    right, wrong = (np.abs(wiener(seen, bank[d], 1e-3) - people.scenes).mean() for d in (0, 1))
    assert right < 0.9 * wrong


def test_a_bank_that_is_no_bank_of_energies_is_refused():
    with pytest.raises(Refusal, match="shape"):
        PsfView("x", np.zeros((3, 5, 5), np.float32))
    with pytest.raises(Refusal, match="energies"):
        PsfView("x", np.full((1, 3, 5, 5), -1.0, np.float32))


def test_noise_is_the_same_for_the_same_seed_and_differs_for_another(people):
    view, sensor = sharp(1), preset("clinic").sensor
    one, again, other = (capture(view, people, sensor, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0
