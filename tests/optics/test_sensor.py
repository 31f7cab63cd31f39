"""The sensor as a characterisation bench would see it (EMVA 1288)."""

import numpy as np
import pytest

from opticaldr.models.optics import bayer_masks, expose, expose_raw, preset, response_pattern


@pytest.fixture(scope="module")
def sensor():
    return preset("clinic").sensor


def flat(level, side=256):
    return np.full((3, side, side), level)


def without(sensor, **changes):
    return sensor.model_copy(update=changes)


def test_photon_transfer_gives_the_gain_and_read_noise(sensor):
    """Variance in DN² rises with the mean at K = DN per electron, from read noise and quantisation."""
    sensor = without(sensor, bits=12)  # so that read noise spans a level, and rounding is noise of 1/12
    k = (sensor.white_level - sensor.black_level) / sensor.full_well
    means, variances = [], []
    for level in (0.0, 0.1, 0.3, 0.5, 0.7):
        frame = expose_raw(flat(level), sensor, rng=np.random.default_rng(int(level * 10)))
        means.append(frame.mean() - sensor.black_level)
        variances.append(frame.var())
    slope = np.polyfit(means, variances, 1)[0]
    assert slope == pytest.approx(k, rel=0.02)
    assert variances[0] == pytest.approx((sensor.read_noise * k) ** 2 + 1 / 12, rel=0.05)


def test_the_expected_frame_is_linear_to_saturation(sensor):
    levels = [expose_raw(flat(level, 4), sensor)[0, 0] for level in (0, 0.25, 0.5, 1.0, 3.0)]
    span = sensor.white_level - sensor.black_level
    assert np.allclose(levels[:4], sensor.black_level + np.array([0, 0.25, 0.5, 1]) * span, atol=0.51)
    assert levels[4] == sensor.white_level


def test_raw_frames_are_whole_numbers_within_the_bits(sensor):
    frame = expose_raw(flat(0.99), sensor, rng=np.random.default_rng(0))
    assert np.all(frame == np.round(frame))
    assert frame.max() <= sensor.white_level
    assert frame.min() >= 0


def test_mosaic_puts_each_colour_behind_its_filter(sensor):
    red = np.zeros((3, 4, 4))
    red[0] = 0.5
    frame = expose_raw(red, without(sensor, crosstalk=0.0)) - sensor.black_level
    assert np.all((frame > 0) == bayer_masks("RGGB", 4, 4)[0].astype(bool))
    assert np.array_equal(bayer_masks("GBRG", 2, 2)[2], [[0, 1], [0, 0]])


def test_crosstalk_leaks_into_the_neighbours_and_keeps_the_light(sensor):
    """Red light under RGGB: a green pixel has two red neighbours, a blue one none."""
    red = flat(0.0, 8)
    red[0] = 0.5
    leaking = expose_raw(red, without(sensor, crosstalk=0.2, bits=16)) - sensor.black_level
    tight = expose_raw(red, without(sensor, crosstalk=0.0, bits=16)) - sensor.black_level
    assert leaking[2, 2] == pytest.approx(0.8 * tight[2, 2], abs=1)
    assert leaking[2, 3] == pytest.approx(0.1 * tight[2, 2], abs=1)
    assert leaking[3, 3] == pytest.approx(0, abs=2)
    assert leaking.sum() == pytest.approx(tight.sum(), rel=1e-4)


def test_dark_current_doubles_every_six_kelvin(sensor):
    hot = without(sensor, dark_current=2000.0)
    warm, warmer = (
        expose_raw(flat(0, 8), hot, exposure=1.0, temperature=t).mean() - sensor.black_level
        for t in (298.15, 304.15)
    )
    assert warmer / warm == pytest.approx(2, rel=0.01)


def test_prnu_is_the_spread_of_the_response(sensor):
    pattern = response_pattern(without(sensor, prnu=0.02), np.random.default_rng(0))
    assert pattern.shape == sensor.shape
    assert pattern.std() == pytest.approx(0.02, rel=0.02)
    side = 64
    frame = expose_raw(flat(0.5, side), without(sensor, bits=16), fixed_pattern=pattern[:side, :side])
    signal = (frame - sensor.black_level) / (frame.mean() - sensor.black_level)
    assert np.allclose(signal, pattern[:side, :side] / pattern[:side, :side].mean(), atol=2e-3)


def test_binning_lowers_noise_by_the_root_of_the_pixels_of_a_colour(sensor):
    """Of 64 raw pixels 16 are red, 32 green and 16 blue."""
    frame = expose(flat(0.4), sensor, rng=np.random.default_rng(0))
    electrons = 0.4 * sensor.full_well
    one = np.sqrt(electrons + sensor.read_noise**2) / sensor.full_well
    assert frame.mean(axis=(1, 2)) == pytest.approx([0.4] * 3, rel=1e-3)
    assert frame.std(axis=(1, 2)) == pytest.approx(one / np.sqrt([16, 32, 16]), rel=0.02)


def test_binned_and_raw_readout_tell_the_same(sensor):
    """Averaging the raw frame's superpixels by hand gives the binned frame, in mean and in noise."""
    colours = np.array([0.2, 0.3, 0.5])[:, None, None]
    sensor = without(sensor, crosstalk=0.1)  # large enough to see green in red
    raw = expose_raw(colours * flat(1.0, 512), sensor, rng=np.random.default_rng(1))
    masks = bayer_masks(sensor.bayer, 512, 512)
    b = sensor.binning
    sums = (masks * (raw - sensor.black_level)).reshape(3, 512 // b, b, 512 // b, b).sum(axis=(2, 4))
    by_hand = sums / (sensor.white_level - sensor.black_level) / np.array([16, 32, 16])[:, None, None]
    binned = expose(colours * flat(1.0, 64), sensor, rng=np.random.default_rng(2))
    assert by_hand.mean(axis=(1, 2)) == pytest.approx(binned.mean(axis=(1, 2)), rel=2e-3)
    assert by_hand.std(axis=(1, 2)) == pytest.approx(binned.std(axis=(1, 2)), rel=0.05)


def test_shot_noise_is_a_count(sensor):
    """In the dark corner of a few electrons the counts are Poisson: skewed, never below zero."""
    clean = without(sensor, read_noise=0.0, dark_current=0.0, bits=16, full_well=65535.0 - 60, crosstalk=0.0)
    frame = expose_raw(flat(3 / clean.full_well), clean, rng=np.random.default_rng(0)) - clean.black_level
    assert frame.min() == 0
    assert frame.mean() == pytest.approx(3, rel=0.01)
    assert frame.var() == pytest.approx(3, rel=0.02)
    assert np.mean((frame - 3) ** 3) == pytest.approx(3, rel=0.1)


def test_the_same_seed_gives_the_same_frame_in_torch(sensor):
    torch = pytest.importorskip("torch")
    for read_out in (expose, expose_raw):
        a = read_out(flat(0.2, 16), sensor, rng=np.random.default_rng(5))
        b = read_out(torch.tensor(flat(0.2, 16)), sensor, rng=np.random.default_rng(5))
        assert np.allclose(a, b.numpy())
