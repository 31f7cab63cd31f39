import json

import numpy as np
import pytest

from opticaldr.artefacts import create, open_artefact
from opticaldr.calibration import capture
from opticaldr.calibration.calibrate import calibrate
from opticaldr.calibration.capture import Plan
from opticaldr.calibration.check import check
from opticaldr.calibration.fit import wavefront_difference
from opticaldr.calibration.measure import measure
from opticaldr.calibration.measured import read_measured
from opticaldr.calibration.rig import Rig
from opticaldr.calibration.session import Session
from opticaldr.errors import Refusal
from opticaldr.hardware.chart import Display, noise_chart
from opticaldr.hardware.faults import Faults
from opticaldr.hardware.rig import RigSpec, load_rig
from opticaldr.models.optics import Optic, preset, psf_bank
from opticaldr.models.optics.metrics import registered_ncc

QUICK = Plan(depths=1, exposures=1, frames=1, dark_frames=2, flats=4)


def silent(stage, done, total):
    return None


def test_an_interrupted_session_goes_on_where_it_stopped(small, tmp_path, monkeypatch):
    rig, taken = load_rig("simulated"), []
    spot = capture.spot

    def pulled_plug(bench, plan, depth, shape):
        taken.append("spot")
        if len(taken) == 3:
            raise KeyboardInterrupt
        return spot(bench, plan, depth, shape)

    monkeypatch.setattr(capture, "spot", pulled_plug)
    with pytest.raises(KeyboardInterrupt), Session(tmp_path, {}) as session:
        measure(small, rig, QUICK, session, 1, silent)
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("*.npz")}
    assert sorted(kept) == ["dark.npz", "flat.npz", "look.npz", "spot-0.npz"]
    monkeypatch.setattr(capture, "dark", None)  # would fail if it were measured again
    with Session(tmp_path, {}) as session:
        found = measure(small, rig, QUICK, session, 1, silent)
    assert len(found.spots) == 1
    assert len(taken) == 4
    assert all((tmp_path / name).read_bytes() == content for name, content in kept.items())


def test_a_folder_that_exists_is_refused_before_anything_is_measured(small, tmp_path, monkeypatch):
    with create("design", tmp_path / "design", seed=0) as draft:
        small.write(draft.path)
    (tmp_path / "made").mkdir()
    monkeypatch.setattr(capture, "spot", None)  # would fail if it were called
    with pytest.raises(Refusal, match="made exists already"):
        calibrate(draft.sealed(), load_rig("simulated"), tmp_path / "made")


def test_a_chart_asked_for_is_not_drawn_before_its_turn(small, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("opticaldr.calibration.measure.look", interrupted)
    monkeypatch.setattr(
        "opticaldr.calibration.measure.chart_of",
        lambda *_: noise_chart(Display(), preset("clinic"), (60, 60)),
    )
    plan = QUICK.model_copy(update={"chart": True})
    with pytest.raises(KeyboardInterrupt), Session(tmp_path / "work", {}) as session:
        measure(small, load_rig("simulated"), plan, session, 1, silent)
    assert not (tmp_path / "work").exists()


def test_two_builds_are_never_mixed_in_one_calibration(small, tmp_path, monkeypatch):
    with create("design", tmp_path / "design", seed=0) as draft:
        small.write(draft.path)
    spot, taken = capture.spot, []

    def interrupted(*arguments):
        taken.append(1)
        if len(taken) == 3:
            raise KeyboardInterrupt
        return spot(*arguments)

    monkeypatch.setattr(capture, "spot", interrupted)
    rig, work = RigSpec(), tmp_path / "work"
    with pytest.raises(KeyboardInterrupt):
        calibrate(draft.sealed(), rig, tmp_path / "made", plan=QUICK, work=work)
    slipped = rig.model_copy(update={"faults": Faults(slipped=(60e-6, 0.0))})
    with pytest.raises(Refusal, match="measurements of another design, rig"):
        calibrate(draft.sealed(), slipped, tmp_path / "made", plan=QUICK, work=work)


def test_files_in_the_work_folder_that_are_not_the_session_s_stay(small, tmp_path):
    with create("design", tmp_path / "design", seed=0) as draft:
        small.write(draft.path)
    work = tmp_path / "work"
    work.mkdir()
    (work / "notes.txt").write_text("the bench of Tuesday")
    calibrate(draft.sealed(), load_rig("simulated"), tmp_path / "made", plan=QUICK, work=work)
    assert [path.name for path in work.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (lambda bench: setattr(bench.camera, "plugged", False), "unplugged"),
        (lambda bench: bench.board.port.power_off(), "the board at .* went away"),
    ],
    ids=["camera unplugged", "board without power"],
)
def test_a_part_that_goes_away_costs_one_measurement(small, tmp_path, monkeypatch, cut, said):
    rig, spot, calls = load_rig("simulated"), capture.spot, []
    plan = QUICK.model_copy(update={"depths": 2})

    def broken(bench, plan, depth, shape):
        calls.append(depth)
        if len(calls) == 3:
            cut(bench)
        return spot(bench, plan, depth, shape)

    monkeypatch.setattr(capture, "spot", broken)
    with pytest.raises(Refusal, match=said) as refused, Session(tmp_path / "cut", {}) as session:
        measure(small, rig, plan, session, 1, silent)
    assert "4 measurements are kept" in refused.value.remedy
    with Session(tmp_path / "cut", {}) as session:
        resumed = measure(small, rig, plan, session, 1, silent)
    assert len(calls) == 5
    with Session(tmp_path / "left alone", {}) as session:
        alone = measure(small, rig, plan, session, 1, silent)
    for found, expected in zip([*resumed.spots, resumed.again], [*alone.spots, alone.again], strict=True):
        assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_depths_are_uniform_in_inverse_depth_within_scene_and_reach(design):
    depths = capture.planned_depths(Plan(depths=4), design.spec, (0.5, 1.245))
    assert depths[[0, -1]] == pytest.approx([0.5, 1.2])
    assert np.ptp(np.diff(1 / depths)) < 1e-12
    with pytest.raises(Refusal, match="stage reaches"):
        capture.planned_depths(Plan(), design.spec, (1.3, 2.0))


def test_a_source_that_does_not_shine_is_said_within_a_minute(small):
    with Rig(load_rig("simulated"), design=small) as rig:
        rig.world.source_full_intensity = 0.0
        began = rig.world.now
        with pytest.raises(Refusal, match="not seen"):
            capture.spot(rig, QUICK, 0.5, (96, 96))
        assert rig.world.now - began < 60


@pytest.mark.proves("CALIBRATION-1")
@pytest.mark.slow
def test_a_hidden_build_is_calibrated_from_design_to_artefact(design, tmp_path):
    with create("design", tmp_path / "design", seed=0) as draft:
        design.write(draft.path)
    rig = load_rig("simulated")
    made = calibrate(draft.sealed(), rig, tmp_path / "calibration", seed=3)
    assert json.loads((made.path / "gates.json").read_text())["passed"]
    found, truth = Optic.read(made.path), Rig(rig, design=design, seed=3).truth
    before, after = (
        np.sqrt(np.nanmean(wavefront_difference(optic, truth, 0.6) ** 2)) for optic in (design, found)
    )
    assert after < min(before / 2, 550e-9 / 20)
    measured = read_measured(open_artefact(made.path, kind="calibration"))
    assert measured.bank.shape[:3] == (5, 1, 3)
    assert measured.bank.sum((-2, -1)) == pytest.approx(np.ones((5, 1, 3)), abs=1e-3)
    assert made.manifest.parents == (draft.sealed().id,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calibration", "design"]
    with np.load(made.file("predicted.npz")) as predicted:
        assert len(predicted["depths"]) == 4
        shape = predicted["psf"].shape[-2:]
        ideal = psf_bank(truth.height, truth.spec, list(predicted["depths"]), shape=shape, binned=False)
        for found_psf, true_psf in zip(predicted["psf"][:, 1], ideal[:, 1], strict=True):
            assert registered_ncc(found_psf, true_psf) >= 0.98
    assert all(gate.passed for gate in check(made, rig, seed=3))
    moved = [gate.name for gate in check(made, rig, seed=4) if not gate.passed]
    assert "departure from the calibrated optic" in moved
