"""Gates on PSFs: what agrees with its design passes, and every kind of departure fails the gate that names it."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from opticaldr.calibration.bank import Bank
from opticaldr.calibration.gates import Gate, agreement_gates
from opticaldr.models.optics import Optic, psf_bank, zernike_height
from opticaldr.models.optics.metrics import registered_ncc

SIDE, DEPTHS = 64, (0.5, 0.9)


@pytest.fixture(scope="module")
def designed(small: Optic) -> np.ndarray:
    return psf_bank(small.height.astype(np.float32), small.spec, DEPTHS, shape=(SIDE, SIDE), binned=False)


def gates_of(psf: np.ndarray, designed: np.ndarray, pitch: float) -> dict[str, Gate]:
    bank = Bank(
        psf=psf[:, None],
        uncertainty=np.zeros_like(psf[:, None]),
        depths=np.array(DEPTHS),
        fields=np.zeros((1, 2)),
        scale=np.ones((2, 1, 3)),
        background=np.zeros((2, 1, 3)),
        centre=np.zeros((2, 1, 2)),
    )
    return {gate.name: gate for gate in agreement_gates(bank, designed, pitch)}


def test_the_design_itself_passes(designed, small):
    gates = gates_of(designed, designed, small.spec.sensor.pitch)
    assert all(gate.passed for gate in gates.values())
    for name in ("centroid", "EE50 radius", "EE80 radius", "MTF50"):
        assert gates[f"{name} against the design"].value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        (lambda psf: gaussian_filter(psf, (0, 0, 6, 6)), "EE50 radius against the design"),
        (lambda psf: gaussian_filter(psf, (0, 0, 6, 6)), "MTF50 against the design"),
        (lambda psf: gaussian_filter(psf, (0, 0, 6, 6)), "peak against the design"),
        (lambda psf: psf[..., ::-1], "not a mirror image"),
        (lambda psf: np.roll(psf, 1, -1), "centroid against the design"),
        (lambda psf: 0.85 * psf + 0.15 / SIDE**2, "EE80 radius against the design"),
        (lambda psf: 0.8 * psf + 0.2 / SIDE**2, "energy at the window's rim"),
    ],
)
def test_a_departure_fails_the_gate_that_names_it(designed, small, change, failed):
    gates = gates_of(change(designed), designed, small.spec.sensor.pitch)
    assert not gates[failed].passed
    assert gates[failed].remedy


@pytest.mark.proves("MASK-3")
def test_a_fan_turned_over_fails_although_it_is_nearly_its_own_mirror_image(quick):
    fan = zernike_height({4: 2.5e-6, 6: 2.5e-6, 8: 0.25e-6, 11: 0.5e-6}, quick)
    designed = psf_bank(fan.astype(np.float32), quick, DEPTHS, shape=(96, 96), binned=False)
    over = designed[..., ::-1]
    assert registered_ncc(over[0, 1], designed[0, 1]) > 0.95
    gate = gates_of(over, designed, quick.sensor.pitch)["not a mirror image"]
    assert not gate.passed
