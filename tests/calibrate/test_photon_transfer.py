import numpy as np
import pytest

from opticaldr.calibration import capture
from opticaldr.calibration.capture import Plan
from opticaldr.calibration.photon_transfer import characterise, fit_line, outliers
from opticaldr.calibration.rig import Rig
from opticaldr.hardware.rig import load_rig


@pytest.fixture(scope="module")
def characterised(design):
    plan = Plan()
    with Rig(load_rig("simulated"), design=design, seed=11) as rig:
        dark, flat = capture.dark(rig, plan), capture.flat(rig, plan)
    return characterise(
        dark, flat, exposures=(capture.SHORT, capture.LONG), high_gain=capture.HIGH_GAIN, white_level=1023
    )


@pytest.mark.proves("CALIBRATION-2")
def test_gain_read_noise_and_well_within_two_per_cent(characterised, design):
    sensor, noise = design.spec.sensor, characterised.noise
    gain = sensor.full_well / (sensor.white_level - sensor.black_level)
    assert noise.gain_e_per_dn == pytest.approx(gain, rel=0.02)
    assert abs(noise.gain_e_per_dn - gain) < 4 * noise.gain_error
    assert noise.read_noise_e == pytest.approx(sensor.read_noise, rel=0.02)
    assert noise.full_well_e == pytest.approx(sensor.full_well, rel=0.02)
    assert noise.black_level_dn == pytest.approx(sensor.black_level, abs=0.1)


def test_dark_current_prnu_linearity_and_hot_pixels(characterised, design):
    sensor, noise = design.spec.sensor, characterised.noise
    expected = sensor.dark_current * 2 ** ((noise.temperature_k - 298.15) / 6)
    assert noise.dark_current_e_per_s == pytest.approx(expected, rel=0.1)
    assert noise.prnu == pytest.approx(sensor.prnu, rel=0.1)
    assert noise.linearity < 0.005
    assert 30 < noise.defects < 200  # a ten-thousandth of 800 000 pixels is hot


def test_a_line_is_found_with_an_honest_error():
    rng = np.random.default_rng(0)
    x, pulls = np.linspace(0, 10, 12), []
    for _ in range(400):
        line = fit_line(x, 2 + 0.5 * x + 0.1 * rng.standard_normal(12), np.full(12, 0.1))
        pulls.append((line.slope - 0.5) / line.slope_error)
    assert np.std(pulls) == pytest.approx(1, abs=0.12)


def test_outliers_are_found_however_many_digits_the_rest_share():
    values = np.full(1000, 3.0)
    values[7] = 50
    assert np.flatnonzero(outliers(values)).tolist() == [7]
