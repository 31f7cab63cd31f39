import numpy as np
import pytest

from opticaldr.calibration.fit import as_optic, centroid, fit_as_built, wavefront_difference
from opticaldr.calibration.hdr import Merged
from opticaldr.calibration.linearised import SHARED, BuiltOptic, Plate, State, View
from opticaldr.hardware.as_built import BuildErrors, Tolerances, build
from opticaldr.models.optics import psf_bank
from opticaldr.models.optics.sensor import mosaic

SIDE = 96


def hypothesis(seed: int, views: int) -> tuple[BuildErrors, State]:
    errors = BuildErrors.draw(Tolerances(), np.random.default_rng(seed))
    shared = np.array([*errors.decentre, errors.rotation, errors.spacing, *errors.form.values()])
    return errors, State(shared, np.zeros((views, 2)))


def test_the_bench_twin_is_the_optical_twin(design):
    errors, state = hypothesis(1, 1)
    optic = build(design, errors)
    psf = psf_bank(optic.height, optic.spec, [0.5], shape=(SIDE, SIDE), binned=False)[0]
    expected = mosaic(psf, design.spec.sensor)
    found = BuiltOptic(Plate.of(design), state, SIDE).mosaic(0, View(0.5, SIDE))
    assert np.abs(found - expected).sum() / expected.sum() < 0.012


@pytest.mark.parametrize("name", ["decentre x", "rotation", "spacing", "Z4", "Z11", "Z30"])
def test_slopes_are_differences(design, name):
    _, state = hypothesis(2, 1)
    plate, view = Plate.of(design), View(0.6, SIDE)
    _, slopes = BuiltOptic(plate, state, SIDE).mosaic_and_slopes(0, view)
    step = {"decentre x": 1e-6, "rotation": 1e-3, "spacing": 2e-6}.get(name, 4e-9)
    ahead, behind = (
        BuiltOptic(plate, state.nudged(name, s), SIDE).mosaic(0, view).astype(float) for s in (step, -step)
    )
    difference = (ahead - behind) / (2 * step)
    slope = slopes[SHARED.index(name)]
    assert np.linalg.norm(slope - difference) / np.linalg.norm(difference) < 0.05


def test_a_shift_moves_the_spot(design):
    view, pitch = View(0.5, SIDE), design.spec.sensor.pitch
    still, moved = (
        BuiltOptic(Plate.of(design), State(np.zeros(len(SHARED)), np.array([place])), SIDE).mosaic(0, view)
        for place in ((0.0, 0.0), (3 * pitch, -5 * pitch))
    )
    assert centroid(moved) - centroid(still) == pytest.approx([-5, 3], abs=0.3)


@pytest.mark.slow
def test_a_hidden_build_is_found_from_noisy_spots(design):
    errors, state = hypothesis(3, 3)
    truth = build(design, errors)
    views = [View(depth, SIDE) for depth in (0.4, 0.6, 1.2)]
    built, rng = BuiltOptic(Plate.of(design), state, SIDE), np.random.default_rng(0)
    spots = []
    for index, view in enumerate(views):
        clean = built.mosaic(index, view).astype(float)
        clean *= 2e4 / clean.max()  # electrons: a peak of 43 dB
        spots.append(Merged(rng.poisson(np.maximum(clean, 0)).astype(float), clean + 20))
    found = fit_as_built(design, views, spots)
    before, after = (
        np.sqrt(np.nanmean(wavefront_difference(optic, truth, 0.6) ** 2)) for optic in (design, found.optic)
    )
    assert before > 550e-9 / 10
    assert after < 550e-9 / 50
    assert found.parameters["spacing"][0] == pytest.approx(errors.spacing, abs=15e-6)
    assert np.abs(as_optic(design, found.state).height - found.optic.height).max() == 0
