import numpy as np
import pytest

from opticaldr.calibration.hdr import Bracket, Mean, merge, without_crosstalk
from opticaldr.calibration.photon_transfer import QUANTISATION, SensorNoise
from opticaldr.models.optics.sensor import share_charge

NOISE = SensorNoise(
    gain_e_per_dn=10.9, gain_error=0.01, read_noise_e=2.4, read_noise_gain=8, full_well_e=10500,
    black_level_dn=60, dark_current_e_per_s=4, temperature_k=298, prnu=0, linearity=0, defects=0,
    white_level_dn=1023,
)  # fmt: skip
EXPOSURES = np.array([1e-3, 4e-3, 16e-3])


def bracket_of(rate, frames, rng):
    """Frames of a scene with `rate` electrons a second, as the noise model says."""

    def mean(light):
        total = Mean()
        for _ in range(frames):
            electrons = rng.poisson(light) + NOISE.read_noise_e * rng.standard_normal(light.shape)
            raw = np.clip(np.round(60 + electrons / NOISE.gain_e_per_dn), 0, 1023)
            total.add(raw.astype(np.uint16))
        return total.mean

    light = np.stack([mean(rate * t) for t in EXPOSURES])
    dark = np.stack([mean(0 * rate) for _ in EXPOSURES])
    return Bracket(EXPOSURES, light, dark, frames)


def merged(rate, frames=4, seed=0):
    bracket = bracket_of(rate, frames, np.random.default_rng(seed))
    return merge(bracket, NOISE, np.ones(rate.shape, np.float32), np.ones(rate.shape, bool))


def test_merged_light_is_unbiased_over_four_decades_and_its_variance_is_true():
    for level in (1e3, 1e4, 1e5, 1e6, 7e6):
        found = merged(np.full((120, 120), level))
        pull = (found.rate - level) / np.sqrt(found.variance)
        assert abs(pull.mean()) < 0.05
        # Below half a digital number of noise, rounding is not quite the independent noise it is taken for.
        assert pull.std() == pytest.approx(1, abs=0.12)


def test_long_exposures_serve_the_shadows_and_short_ones_the_lights():
    shadow, light = merged(np.full((40, 40), 1e4)), merged(np.full((40, 40), 7e6))
    reading = NOISE.read_noise_e**2 + QUANTISATION * NOISE.gain_e_per_dn**2
    one_long_frame = (1e4 * 16e-3 + 2 * reading) / (16e-3) ** 2 / 4
    assert np.median(shadow.variance) < one_long_frame
    assert np.median(light.variance) == pytest.approx(7e6 / 1e-3 / 4, rel=0.1)


def test_what_saturates_everywhere_and_what_is_defect_is_not_invented():
    rate = np.full((8, 8), 1e5)
    rate[2, 3] = 5e7
    good = np.ones((8, 8), bool)
    good[5, 5] = False
    bracket = bracket_of(rate, 2, np.random.default_rng(1))
    found = merge(bracket, NOISE, np.ones((8, 8), np.float32), good)
    assert np.argwhere(np.isnan(found.rate)).tolist() == [[2, 3], [5, 5]]


def test_uneven_pixels_are_evened():
    response = 1 + 0.05 * np.random.default_rng(2).standard_normal((60, 60)).astype(np.float32)
    bracket = bracket_of(1e6 * response, 16, np.random.default_rng(3))
    even = merge(bracket, NOISE, response, np.ones(response.shape, bool))
    assert even.rate.std() / even.rate.mean() < 0.01


def test_crosstalk_is_undone():
    mosaic = np.random.default_rng(4).random((20, 22))
    assert without_crosstalk(share_charge(mosaic, 0.03), 0.03) == pytest.approx(mosaic, abs=1e-12)
