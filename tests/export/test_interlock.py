"""Frames through the mask pass, frames without it do not, and what cannot be judged is not trusted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opticaldr.calibration.interlock import (
    derive_interlock,
    judge,
    stop_band,
    stop_band_fraction,
    superpixel_bank,
)
from opticaldr.calibration.measured import read_measured
from opticaldr.errors import Refusal
from opticaldr.models.data import SimulatedSubjects
from opticaldr.models.optics import expose, form_image, psf_bank


@pytest.fixture(scope="module")
def bench(calibration):
    """Thresholds, stop band, measured optics, and the PSF of the camera without its mask."""
    measured = read_measured(calibration)
    interlock = derive_interlock(measured.bank, measured.spec.sensor)
    band = stop_band(measured.bank, measured.spec.sensor.binned_shape, interlock.transfer_limit)
    flat = np.zeros((measured.spec.pupil.samples,) * 2)
    bare = psf_bank(flat, measured.spec, measured.depths, shape=(9, 9))
    return interlock, band, measured, bare


def frames(measured, psf, *, exposure, count=12):
    rng = np.random.default_rng(4)
    for person in range(count):
        scene = SimulatedSubjects(3).clip(person, 0, 1, measured.spec.sensor.binned_shape, 40.0).frames[0]
        image = form_image(np.ascontiguousarray(scene.transpose(2, 0, 1)), psf.astype(np.float32))
        yield expose(exposure * image, measured.spec.sensor, rng=rng)


@pytest.mark.parametrize("exposure", [0.9, 0.3, 0.08])
def test_mask_in_place_passes_and_mask_off_does_not(bench, exposure):
    interlock, band, measured, bare = bench
    for at in range(len(measured.depths)):
        for field in range(len(measured.fields)):
            through = frames(measured, measured.bank[at, field], exposure=exposure)
            assert [judge(frame, band, interlock) for frame in through] == ["in place"] * 12
        without = frames(measured, bare[at], exposure=exposure)
        assert [judge(frame, band, interlock) for frame in without] == ["absent"] * 12


def test_darkness_and_a_plain_wall_are_doubt(bench):
    interlock, band, measured, _ = bench
    sensor, rng = measured.spec.sensor, np.random.default_rng(0)
    for level in (0.0, 0.5):
        frame = expose(np.full((3, *sensor.binned_shape), level), sensor, rng=rng)
        assert judge(frame, band, interlock) == "doubt"
    assert judge(np.full((3, *sensor.binned_shape), np.nan), band, interlock) == "doubt"


def test_the_fraction_is_the_spectrum_of_a_known_pattern(bench):
    interlock, band, measured, _ = bench
    rows, columns = measured.spec.sensor.binned_shape
    inside = np.argwhere(band[: rows // 2])
    y, x = np.mgrid[:rows, :columns]
    # A fine grating whose frequency and its neighbours (the window spreads it over them) are stopped.
    fine = next(
        (r, c) for r, c in inside if r > 2 and 2 < c < 28 and band[r - 2 : r + 3, c - 2 : c + 3].all()
    )
    coarse = (0, 3)

    def grating(frequency, amplitude):
        phase = 2 * np.pi * (frequency[0] * y / rows + frequency[1] * x / columns)
        return np.stack([amplitude * np.cos(phase)] * 3)

    frame = 0.4 + grating(coarse, 0.2) + grating(fine, 0.1)
    fraction, _ = stop_band_fraction(frame, band, interlock)
    assert fraction == pytest.approx(0.2, abs=0.02)  # 0.1² of 0.1² + 0.2²


def test_a_mask_that_stops_nothing_has_no_interlock(bench):
    _, _, measured, bare = bench
    with pytest.raises(Refusal, match="interlock"):
        derive_interlock(bare, measured.spec.sensor)


@settings(deadline=None, max_examples=40)
@given(side=st.integers(1, 60), binning=st.sampled_from([2, 4, 8]), seed=st.integers(0, 99))
def test_superpixels_keep_all_energy_and_its_centre(side, binning, seed):
    psf = np.random.default_rng(seed).random((side, side))
    binned = superpixel_bank(psf, binning)
    assert binned.shape[0] % 2 == 1
    assert binned.sum() == pytest.approx(psf.sum())
    symmetric = psf + psf[::-1, ::-1]
    assert np.allclose(superpixel_bank(symmetric, binning), superpixel_bank(symmetric, binning)[::-1, ::-1])


def test_superpixels_of_a_raw_bank_are_the_twins_own(bench, spec):
    _, _, measured, _ = bench
    # The twin integrates the same surface over superpixels directly.
    from opticaldr.models.optics import zernike_height

    built = zernike_height({4: 7e-6, 5: 3e-6, 8: 1.5e-6, 6: 0.5e-6}, spec)
    side = measured.bank.shape[-1]
    direct = psf_bank(built, spec, measured.depths, fields=[(0.0, 0.0)], shape=(side, side))
    assert np.abs(measured.bank[:, :1] - direct).sum(axis=(-2, -1)).max() < 0.05
