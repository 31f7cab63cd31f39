"""The noise chart against closed forms, and against the point source behind the same hidden optic."""

import numpy as np
import pytest
from PIL import Image
from scipy.special import ndtr

from opticaldr.calibration.calibrate import spot_of
from opticaldr.calibration.capture import Plan
from opticaldr.calibration.hdr import Merged
from opticaldr.calibration.measure import chart_of, measure
from opticaldr.calibration.noise_chart import PARTS, chart_psf, compare
from opticaldr.calibration.session import Session
from opticaldr.errors import Refusal
from opticaldr.hardware.chart import WHITE, Display, Radiance, noise_chart
from opticaldr.hardware.rig import load_rig
from opticaldr.models.optics import Optic
from opticaldr.models.optics.geometry import centred
from opticaldr.models.optics.metrics import centroid

REACH = (10, 10)
WIDTH = np.array([2.2, 1.6])  # standard deviations along y and x, raw pixels
SHIFT = np.array([5.3, -3.6])


@pytest.fixture(scope="module")
def spec(quick):
    return quick.model_copy(update={"sensor": quick.sensor.model_copy(update={"shape": (288, 288)})})


@pytest.fixture(scope="module")
def chart(spec):
    return noise_chart(Display(), spec, REACH)


@pytest.fixture(scope="module")
def blurred(chart, spec):
    """The chart 1 % larger than it should be, through a Gaussian: each display pixel's light is a product of error
    functions."""
    scale = 1.01 * chart.display.magnification(spec)
    edges = []
    for count, rows, shift, width in zip(spec.sensor.shape, chart.picture.shape, SHIFT, WIDTH, strict=True):
        rims = (np.arange(rows + 1) - rows / 2) * scale + shift
        edges.append(np.diff(ndtr((rims - centred(count, 1.0)[:, None]) / width), axis=1))
    return edges[0] @ (chart.picture / WHITE) @ edges[1].T


def counted(light, full, frames, seed=0):
    """`frames` of so many electrons for white, averaged."""
    electrons = full * light
    variance = (electrons + 2 * 2.4**2) / frames
    noise = np.random.default_rng(seed).standard_normal(light.shape)
    return Merged(electrons + noise * np.sqrt(variance), variance)


def gaussian(psf):
    """The Gaussian that was used, with the plain shift that dots cannot tell from the PSF's centroid."""
    x, y = np.array(centroid(psf, 1 / PARTS))
    down, across = (
        np.exp(-0.5 * ((centred(side, 1 / PARTS) - middle) / width) ** 2)
        for side, middle, width in zip(psf.shape, (y, x), WIDTH, strict=True)
    )
    ideal = np.outer(down, across)
    return ideal / ideal.sum() * PARTS**2


@pytest.fixture(scope="module")
def found(blurred, chart, spec):
    return chart_psf(counted(blurred, 8000, 32), chart, spec)


def test_a_gaussian_is_found_within_its_standard_error(found):
    assert found.psf.sum((1, 2)) == pytest.approx(PARTS**2)
    for psf, uncertainty in zip(found.psf, found.uncertainty, strict=True):
        ideal = gaussian(psf)
        off = psf - ideal
        assert 0.8 < np.sqrt(np.mean(off[ideal < 1e-6] ** 2)) / uncertainty < 1.2
        assert np.sqrt(np.mean(off**2)) / uncertainty < 1.7  # smoothness costs a little of the peak
        assert np.hypot(*centroid(psf, 1 / PARTS)) < 0.1
    assert found.residual == pytest.approx(np.ones(3), abs=0.1)
    assert found.background == pytest.approx(np.zeros(3), abs=0.01)


def test_the_chart_is_registered_to_a_hundredth_of_a_pixel(found, chart, spec):
    corners = np.array([[x, y, 1] for x in (-100, 100) for y in (-100, 100)]).T
    landed = found.where @ corners
    landed = landed[:2] / landed[2]
    true = corners[:2] * 1.01 * chart.display.magnification(spec)
    assert landed - landed.mean(1, keepdims=True) == pytest.approx(true, abs=0.01)
    assert landed.mean(1) == pytest.approx(SHIFT[::-1], abs=0.1)


def test_sixteen_times_the_frames_make_a_quarter_of_the_error(found, blurred, chart, spec):
    few = chart_psf(counted(blurred, 8000, 2), chart, spec)
    errors = [np.sqrt(np.mean((one.psf[1] - gaussian(one.psf[1])) ** 2)) for one in (few, found)]
    assert errors[1] < errors[0] / 2.5
    assert found.uncertainty[1] < few.uncertainty[1] / 2.5


def test_a_frame_without_the_chart_is_refused(chart, spec):
    dark = np.zeros(spec.sensor.shape)
    with pytest.raises(Refusal, match="dots are not seen"):
        chart_psf(counted(dark, 8000, 4), chart, spec)
    half = np.where(np.arange(288)[:, None] < 144, 1.0, 0.0) + dark
    with pytest.raises(Refusal, match="dots are not seen"):
        chart_psf(counted(half, 8000, 4), chart, spec)


def test_the_picture_is_black_and_white_and_survives_its_file(chart, tmp_path):
    chart.write(tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as shown:
        assert shown.size == (1920, 1080)
        assert np.array_equal(np.asarray(shown), chart.picture)
    assert set(np.unique(chart.picture)) == {0, WHITE}
    for x, y in chart.dots:
        row, column = (int(place + side / 2) for place, side in zip((y, x), chart.picture.shape, strict=True))
        assert chart.picture[row, column] == WHITE


def test_a_display_too_small_is_refused(spec):
    with pytest.raises(Refusal, match="leaves no room"):
        noise_chart(Display(distance=3.0), spec, (60, 60))


def test_light_is_counted_on_either_side_of_the_dark_rims():
    picture = np.array([[0, 255], [255, 0]], np.uint8)
    radiance = Radiance(picture, fill=0.25)
    x = np.array([[0.0, 0.5, -0.5, 0.5]])
    y = np.array([[0.0, -0.5, -0.5, 0.0]])
    # The whole, a bright pixel, a dark pixel, a bright pixel's lower half beside a dark one's upper half.
    sides = [2.0, 1.0, 1.0, 1.0]
    found = [float(radiance.mean(x[:, [i]], y[:, [i]], side)[0, 0]) for i, side in enumerate(sides)]
    assert found == pytest.approx([0.5, 1.0, 0.0, 0.5])
    lit = radiance.mean(np.array([[0.5, 0.95]]), np.array([[-0.5, -0.5]]), 0.1)
    assert lit == pytest.approx(np.array([[4.0, 0.0]]))


@pytest.mark.slow
def test_chart_and_point_source_agree_behind_a_hidden_optic(small, tmp_path):
    """The whole session on the simulated bench: another target, another light, the same hidden build."""
    sensor = small.spec.sensor.model_copy(update={"shape": (448, 448)})
    design = Optic(small.spec.model_copy(update={"sensor": sensor}), small.height)
    rig, likeness = load_rig("simulated"), []
    for frames in (1, 4):
        plan = Plan(depths=1, exposures=3, frames=frames, dark_frames=2, flats=4, chart=True)
        with Session(tmp_path / str(frames), {}) as session:
            measured = measure(design, rig, plan, session, 3, lambda *_: None)
        light, spot = (spot_of(arrays, measured.sensor, design.spec) for arrays in measured.chart)
        found = chart_psf(light, chart_of(design, rig.chart), design.spec)
        compared = compare(found, spot, sensor.bayer)
        print(frames, compared.likeness, found.uncertainty, found.residual)
        likeness.append(compared.likeness)
    assert likeness[0] >= 0.99
    assert likeness[1] > likeness[0]
