import numpy as np
import pytest

from opticaldr.calibration.fit import centroid, surface_difference
from opticaldr.calibration.hdr import Merged, without_crosstalk
from opticaldr.calibration.hypothesis import SHARED, Plate, State, View
from opticaldr.calibration.likelihood import brightened
from opticaldr.calibration.linearised import BuiltOptic
from opticaldr.hardware.as_built import PINHOLE, BuildErrors, Tolerances, build
from opticaldr.hardware.cameras.simulated import point_response
from opticaldr.models.optics import psf_bank

SIDE = 96


def hypothesis(seed: int, views: int) -> tuple[BuildErrors, State]:
    errors = BuildErrors.draw(Tolerances(), np.random.default_rng(seed))
    bench = [errors.spacing, errors.aperture, errors.source]
    shared = np.array([*errors.decentre, errors.rotation, *bench, *errors.form.values()])
    return errors, State(shared, np.zeros((views, 2)))


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (SIDE, SIDE + 32)])
def test_the_bench_twin_is_the_optical_twin(design, shape):
    errors, state = hypothesis(1, 1)
    optic = build(design, errors)
    whole = point_response(optic, 0.5, (0.0, 0.0), PINHOLE + errors.source).astype(float)
    middle = tuple(
        slice((count - side) // 2, (count + side) // 2)
        for count, side in zip(whole.shape, shape, strict=True)
    )
    expected = without_crosstalk(whole[middle], design.spec.sensor.crosstalk)
    mosaic = BuiltOptic(Plate.of(design), state, shape).mosaic(0, View(0.5, shape))
    found = brightened(mosaic, Merged(expected, expected))
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 8e-4


def test_its_psf_is_that_of_the_optical_twin(design):
    shape = SIDE, SIDE + 32
    expected = psf_bank(design.height, design.spec, [0.5], shape=shape, binned=False)[0]
    found = BuiltOptic(Plate.of(design), State.nominal(0), shape).psf(View(0.5, shape))
    # Raw pixels hardly resolve the finest fringes; the optical twin interpolates between them, this one does not.
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.01


@pytest.fixture(scope="module")
def slopes(small) -> tuple[State, np.ndarray]:
    """A hypothesis, and the twin's derivatives around it [parameter, y, x]."""
    _, state = hypothesis(2, 1)
    return state, BuiltOptic(Plate.of(small), state, (64, 64)).mosaic_and_slopes(0, View(0.6, (64, 64)))[1]


@pytest.mark.parametrize(
    "name", ["decentre x", "rotation", "spacing", "aperture", "source", "Z4", "Z11", "Z30"]
)
def test_slopes_are_differences(small, slopes, name):
    state, found = slopes
    step = {"decentre x": 1e-6, "rotation": 1e-3, "spacing": 2e-6, "aperture": 2e-3, "source": 4e-6}.get(
        name, 4e-9
    )
    ahead, behind = (
        BuiltOptic(Plate.of(small), state.nudged(name, s), (64, 64))
        .mosaic(0, View(0.6, (64, 64)))
        .astype(float)
        for s in (step, -step)
    )
    difference = (ahead - behind) / (2 * step)
    slope = found[SHARED.index(name)]
    assert np.linalg.norm(slope - difference) / np.linalg.norm(difference) < 0.05


def test_a_shift_moves_the_spot(design):
    view, pitch = View(0.5, (SIDE, SIDE)), design.spec.sensor.pitch
    still, moved = (
        BuiltOptic(Plate.of(design), State(np.zeros(len(SHARED)), np.array([place])), (SIDE, SIDE)).mosaic(
            0, view
        )
        for place in ((0.0, 0.0), (3 * pitch, -5 * pitch))
    )
    assert centroid(moved) - centroid(still) == pytest.approx([-5, 3], abs=0.3)


def test_surfaces_behind_stops_of_two_sizes_are_compared_point_by_point(design):
    wider = build(design, BuildErrors(aperture=0.02))
    assert np.nanmax(np.abs(surface_difference(wider, design))) < 2e-9
    raised = build(design, BuildErrors(aperture=0.02, form={11: 20e-9}))
    assert np.sqrt(np.nanmean(surface_difference(raised, design) ** 2)) == pytest.approx(20e-9, rel=0.03)
