"""A panel with a hidden curve and a hidden form error on the simulated bench: both are found from intensities alone."""

import contextlib
import json

import numpy as np
import pytest

from opticaldr.artefacts import open_artefact
from opticaldr.calibration import slm
from opticaldr.calibration.slm_flatness import measure_flatness
from opticaldr.calibration.slm_response import Bench, _rounded, measure_response
from opticaldr.errors import Refusal
from opticaldr.hardware.slms import Panel, Response, read_response
from opticaldr.hardware.slms.panel import FIGURES
from opticaldr.hardware.slms.simulated import FarFieldCamera, Modulator, SimulatedDisplay
from opticaldr.hardware.world import World

TURN = 2 * np.pi
PANEL = Panel(
    title="small", columns=320, rows=200, pitch=8e-6, fill_factor=0.93, bits=8, sources=dict.fromkeys(FIGURES, "test")
)  # fmt: skip


def modulator(seed: int) -> Modulator:
    return Modulator.draw(PANEL, np.random.default_rng(seed))


@contextlib.contextmanager
def bench_with(part: Modulator, wavelength: float, seed: int = 0):
    world = World(seed=seed)
    with (
        SimulatedDisplay(part, world) as display,
        FarFieldCamera(display, wavelength, seed=seed) as camera,
    ):
        yield Bench(display, camera, PANEL, world.advance)


@pytest.mark.parametrize(("seed", "wavelength", "polarity"), [(0, 532e-9, 1), (1, 640e-9, -1)])
def test_the_hidden_curve_is_found_within_a_hundredth_of_a_wave(seed, wavelength, polarity):
    part = modulator(seed)
    with bench_with(part, wavelength, seed) as bench:
        found = measure_response(bench, wavelength, polarity=polarity)
    error = polarity * found.response.phase - part.phase(wavelength)
    assert np.sqrt(np.mean(error**2)) < TURN / 100
    assert all(gate.passed for gate in found.gates())
    # To 2 %: four time constants of the crystals, and the frames' own period.
    assert 2 * part.settling < found.settling < 14 * part.settling


def test_a_panel_that_does_not_reach_a_turn_is_named():
    part = modulator(3)
    weak = Modulator(PANEL, 0.8 * part.retardance, part.flatness, part.settling)
    with bench_with(weak, 700e-9) as bench:
        gates = {gate.name: gate for gate in measure_response(bench, 700e-9).gates()}
    assert not gates["reach"].passed
    assert "drive voltage" in gates["reach"].remedy


def test_a_dead_panel_is_refused():
    part = modulator(4)
    dead = Modulator(PANEL, np.zeros(256), part.flatness, part.settling)
    with bench_with(dead, 532e-9) as bench, pytest.raises(Refusal, match="no difference between grey levels"):
        measure_response(bench, 532e-9)


def test_a_laser_that_is_off_is_refused():
    with bench_with(modulator(5), 532e-9) as bench:
        bench.camera._intensity = lambda: np.zeros(bench.camera.info.shape)
        with pytest.raises(Refusal, match="switch the laser on"):
            bench.expose()


def test_an_ellipse_is_made_round_without_moving_its_angles():
    angle = np.linspace(0, 5, 30)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    unit, scatter = _rounded(circle @ np.array([[3.0, 0.4], [-0.2, 0.7]]) + [5.0, -2.0])
    turned = np.unwrap(np.arctan2(unit[:, 1], unit[:, 0]))
    assert np.abs(turned - turned[0]) == pytest.approx(angle, abs=1e-9)
    assert scatter < 1e-9


def test_the_table_is_what_fabrication_reads(tmp_path, monkeypatch):
    part = modulator(6)
    still = np.zeros(PANEL.shape), 1.0
    monkeypatch.setattr(slm, "measure_flatness", lambda bench, response, progress: still)
    made = slm.characterise_slm(lambda length: bench_with(part, length), [532e-9], tmp_path / "response")
    table = read_response(open_artefact(made.path, kind="response").file("lut-532nm.csv")).checked(256)
    assert table.phase == pytest.approx(part.phase(532e-9), abs=TURN / 50)
    assert json.loads((made.path / "response.json").read_text())[0]["passed"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_hidden_form_error_is_taken_out(seed):
    part, wavelength = modulator(seed), 640e-9
    with bench_with(part, wavelength, seed) as bench:
        table = Response(part.phase(wavelength), wavelength)
        correction, sharpened = measure_flatness(bench, table)
        beam = bench.camera._beam.astype(float)
    y, x = np.indices(PANEL.shape)
    span = np.stack([np.ones(PANEL.shape), x, y], axis=-1) * beam[..., None]

    def waves(phase):
        seen = (beam * phase).ravel()
        plane = np.linalg.lstsq(span.reshape(-1, 3), seen, rcond=None)[0]
        return np.linalg.norm(seen - span.reshape(-1, 3) @ plane) / TURN

    bare = TURN / wavelength * part.flatness
    assert waves(bare) > 0.1
    assert waves(bare + correction) < 1 / 50
    assert sharpened > 1.5
