"""The proof of the as-built fit: hidden builds, seen by the simulated camera, not by the model of the fit."""

from dataclasses import dataclass

import numpy as np
import pytest

from opticaldr.calibration.fit import fit_as_built, wavefront_difference
from opticaldr.calibration.gates import mosaic_ncc
from opticaldr.calibration.hdr import Merged, without_crosstalk
from opticaldr.calibration.hypothesis import Plate, State, View
from opticaldr.calibration.linearised import BuiltOptic
from opticaldr.hardware.as_built import PINHOLE, BuildErrors, Tolerances, build
from opticaldr.hardware.cameras.simulated import point_response
from opticaldr.models.optics import Optic, zernike_height

WAVELENGTH = 550e-9
DEPTHS = tuple(1 / np.linspace(1 / 0.4, 1 / 1.2, 5))
HELD_OUT = (1, 3)
BUILDS = 24
READ_NOISE = 2.4
pytestmark = pytest.mark.xdist_group("hidden builds")  # one process draws and fits them, for all of these


@dataclass(frozen=True)
class Outcome:
    """What one hidden build taught.

    `wavefront`: RMS error left, metres; `likeness`: NCC of prediction and noiseless truth at `DEPTHS`; `pulls`: errors
    in standard errors; `over_bound`: the same in Cramér–Rao bounds.
    """

    wavefront: float
    likeness: np.ndarray
    pulls: np.ndarray
    over_bound: np.ndarray


def seen(truth: Optic, errors: BuildErrors, depth: float, place, side: int, peak: float, rng):
    """The mosaic's middle [y, x] with `peak` electrons in its brightest pixel: clean, and as a camera counts it."""
    raw = point_response(truth, depth, place, PINHOLE + errors.source).astype(float)
    middle = tuple(slice((rows - side) // 2, (rows + side) // 2) for rows in raw.shape)
    clean = raw[middle] * (peak / raw.max())
    clean = np.maximum(without_crosstalk(clean, truth.spec.sensor.crosstalk), 0)
    counted = rng.poisson(clean) + READ_NOISE * rng.standard_normal(clean.shape)
    return clean, Merged(counted, np.maximum(counted, 0) + READ_NOISE**2 + 1)


def find(design: Optic, seed: int, decibel: float, side: int) -> Outcome:
    """Draw a build, look at it with this peak SNR, fit three of five depths, and compare with what was hidden."""
    rng = np.random.default_rng([seed, 7])
    errors = BuildErrors.draw(Tolerances(), rng)
    truth, place = build(design, errors), tuple(rng.uniform(-150e-6, 150e-6, 2))
    looks = [seen(truth, errors, depth, place, side, 10 ** (decibel / 10), rng) for depth in DEPTHS]
    kept = [i for i in range(len(DEPTHS)) if i not in HELD_OUT]
    views = [View(depth, (side, side)) for depth in DEPTHS]
    found = fit_as_built(
        design, [views[i] for i in kept], [looks[i][1] for i in kept], tolerances=Tolerances()
    )
    line = np.polynomial.polynomial.polyfit(1 / np.array(DEPTHS)[kept], found.state.shifts, 1)
    shifts = np.polynomial.polynomial.polyval(1 / np.array(DEPTHS), line).T
    predicted = BuiltOptic(Plate.of(design), State(found.state.shared, shifts), (side, side))
    likeness = [mosaic_ncc(looks[i][0], predicted.mosaic(i, view)) for i, view in enumerate(views)]
    bench = [errors.spacing, errors.aperture, errors.source]
    hidden = np.array([*errors.decentre, errors.rotation, *bench, *errors.form.values()])
    values, error, bound = np.array(list(found.parameters.values())).T
    off = wavefront_difference(found.optic, truth, 0.6, WAVELENGTH)
    return Outcome(
        float(np.sqrt(np.nanmean(off**2))),
        np.array(likeness),
        (values - hidden) / error,
        (values - hidden) / bound,
    )


@pytest.fixture(scope="module", params=[40.0, 25.0], ids=["40 dB", "25 dB"])
def outcomes(request, quick) -> tuple[float, list[Outcome]]:
    design = Optic(quick, zernike_height({4: 1e-6, 6: 1.5e-6, 7: 2e-6, 9: 2e-6, 11: 0.5e-6}, quick))
    return request.param, [find(design, seed, request.param, 96) for seed in range(BUILDS)]


def show(record_property, decibel: float, **figures: float) -> None:
    for name, value in figures.items():
        record_property(f"{name} at {decibel:g} dB", float(value))
        print(f"{name} at {decibel:g} dB: {value:.4g}")


@pytest.mark.proves("CALIBRATION-1")
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_hidden_wavefront_is_recovered(outcomes, record_property):
    decibel, found = outcomes
    worst = max(outcome.wavefront for outcome in found)
    show(record_property, decibel, worst_wavefront_nm=worst * 1e9)
    assert worst <= WAVELENGTH / (50 if decibel == 40 else 20)


@pytest.mark.proves("CALIBRATION-1")
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_measured_and_held_out_depths_are_predicted(outcomes, record_property):
    decibel, found = outcomes
    likeness = np.array([outcome.likeness for outcome in found])
    held_out, measured = likeness[:, HELD_OUT].min(), np.delete(likeness, HELD_OUT, axis=1).min()
    show(record_property, decibel, worst_measured=measured, worst_held_out=held_out)
    assert measured >= 0.99
    assert held_out >= 0.98


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_standard_errors_are_calibrated(outcomes, record_property):
    decibel, found = outcomes
    pulls = np.array([outcome.pulls for outcome in found])
    coverage = float(np.mean(np.abs(pulls) < 1))
    achieved = float(np.sqrt(np.mean(np.square([outcome.over_bound for outcome in found]))))
    show(
        record_property,
        decibel,
        coverage=coverage,
        rms_pull=np.sqrt(np.mean(pulls**2)),
        error_over_bound=achieved,
    )
    assert 0.60 <= coverage <= 0.76
    # Nobody does better than the bound; how far we stay above it is what the twin's own error costs.
    assert 0.8 <= achieved <= 1.3


def test_a_hidden_build_is_found(quick):
    gentle = Optic(quick, zernike_height({4: 1e-6, 6: 0.8e-6, 7: 1e-6, 9: 1e-6}, quick))
    found = find(gentle, 5, 40.0, 64)
    assert found.wavefront <= WAVELENGTH / 50
    assert found.likeness.min() >= 0.99
    assert 0.4 <= np.mean(np.abs(found.pulls) < 1) <= 0.95
