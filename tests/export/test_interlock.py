"""Frames through the mask pass, frames without it do not, and what cannot be judged is not trusted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opticaldr.calibration.interlock import StopBand, derive_interlock, stop_band, superpixel_bank
from opticaldr.calibration.measured import read_measured
from opticaldr.errors import Refusal
from opticaldr.models.data import SimulatedSubjects
from opticaldr.models.optics import expose, form_image, psf_bank


@pytest.fixture(scope="module")
def bench(calibration):
    """Thresholds, the statistic, measured optics, and the PSF of the camera without its mask."""
    measured = read_measured(calibration)
    interlock = derive_interlock(measured.bank, measured.spec.sensor)
    band = StopBand.of(measured.bank, measured.spec.sensor.binned_shape, interlock)
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
    _, band, measured, bare = bench
    for at in range(len(measured.depths)):
        for field in range(len(measured.fields)):
            through = frames(measured, measured.bank[at, field], exposure=exposure)
            assert [band.judge(frame) for frame in through] == ["in place"] * 12
        without = frames(measured, bare[at], exposure=exposure)
        assert [band.judge(frame) for frame in without] == ["absent"] * 12


def test_darkness_and_a_plain_wall_are_doubt(bench):
    _, band, measured, _ = bench
    sensor, rng = measured.spec.sensor, np.random.default_rng(0)
    for level in (0.0, 0.5):
        frame = expose(np.full((3, *sensor.binned_shape), level), sensor, rng=rng)
        assert band.judge(frame) == "doubt"
    assert band.judge(np.full((3, *sensor.binned_shape), np.nan)) == "doubt"


def test_the_fraction_is_the_spectrum_of_a_known_pattern(bench):
    interlock, statistic, measured, _ = bench
    rows, columns = measured.spec.sensor.binned_shape
    band = stop_band(measured.bank, (rows, columns), interlock.transfer_limit)
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
    fraction, _ = statistic.fraction(statistic.spectrum(frame))
    assert fraction == pytest.approx(0.2, abs=0.02)  # 0.1² of 0.1² + 0.2²


def test_the_statistic_is_its_definition_in_double_precision(bench):
    interlock, statistic, measured, bare = bench
    rows, columns = measured.spec.sensor.binned_shape
    band = stop_band(measured.bank, (rows, columns), interlock.transfer_limit)
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    for psf in (measured.bank[0, 0], bare[0]):
        frame = next(frames(measured, psf, exposure=0.5))
        grey = frame.sum(axis=0, dtype=float)
        energy = np.abs(np.fft.fft2((grey - (grey * window).sum() / window.sum()) * window)) ** 2
        electrons, read = (np.array(v)[:, None, None] for v in (interlock.electrons, interlock.read_noise))
        energy -= ((frame / electrons + (read / electrons) ** 2) * window**2).sum()
        y, x = np.mgrid[:rows, :columns]
        mirrored = x > columns // 2
        whole = band[np.where(mirrored, -y % rows, y), np.where(mirrored, columns - x, x)]
        fraction, _ = statistic.fraction(statistic.spectrum(frame))
        assert fraction == pytest.approx((energy * whole).sum() / energy.sum(), rel=1e-4, abs=1e-7)


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


def test_superpixels_of_a_raw_bank_are_the_twins_own(bench, built, spec):
    """The twin integrates the same surface over superpixels directly."""
    _, _, measured, _ = bench
    side = measured.bank.shape[-1]
    direct = psf_bank(built[0].height, spec, measured.depths[:1], fields=[(0.0, 0.0)], shape=(side, side))
    assert np.abs(measured.bank[:1, :1] - direct).sum(axis=(-2, -1)).max() < 0.05
