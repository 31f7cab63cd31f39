"""A whole evaluation, small: what it writes, what it refuses, and where the two ends come out."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from opticaldr.artefacts import create, open_artefact
from opticaldr.cli.evaluate import evaluate as verb
from opticaldr.errors import Refusal
from opticaldr.models.evaluation import evaluation, populations
from opticaldr.models.evaluation.budgets import BUDGETS, Budget
from opticaldr.models.evaluation.depression import Clips, link_records
from opticaldr.models.evaluation.evaluation import evaluate
from opticaldr.models.evaluation.faces import Faces, check_disjoint, check_repeated
from opticaldr.models.evaluation.metrics import Interval
from opticaldr.models.evaluation.populations import simulated_study
from opticaldr.models.evaluation.retraining import Schedule
from opticaldr.models.evaluation.subject import Subject, read_subject
from opticaldr.models.evaluation.views import PsfView, half_energy_width, mean_width, sharp
from opticaldr.models.networks import FACTORS, Compact, FactorScale, TemporalHead, save_networks
from opticaldr.models.optics import Optic, preset, psf_bank, zernike_height

TINY = Budget(
    ladder="quick",
    train=(24, 3, 2),
    tune=6,
    test=(12, 3, 1),
    crop=48,
    clean=Schedule(12),
    attack=Schedule(2),
    utility=1,
    clips=(8, 4),
    tries=2,
    replicates=40,
)


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory):
    """A tiny budget, few clips, and a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BUDGETS, "quick", TINY)
        patch.setattr(evaluation, "JUDGED_ON", 4)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def spec():
    return preset("clinic")


@pytest.fixture(scope="module")
def design(tmp_path_factory, spec):
    with create("design", tmp_path_factory.mktemp("made") / "design", seed=0) as draft:
        Optic(spec, zernike_height({4: 3e-6, 6: 2e-6}, spec)).write(draft.path)
        scale = FactorScale.of(torch.randn(8, len(FACTORS), generator=torch.Generator().manual_seed(0)))
        save_networks(draft.path / "networks.safetensors", Compact(), TemporalHead(), scale)
    return draft.sealed()


@pytest.fixture(scope="module")
def found(design, tmp_path_factory):
    return evaluate(design, tmp_path_factory.mktemp("judged") / "evaluation", seed=1)


def test_the_evaluation_descends_from_what_it_judged_and_holds_a_page(found, design):
    again = open_artefact(found.path, kind="evaluation")
    assert again.manifest.parents == (design.id,)
    page = again.file("report.html").read_text()
    assert page.count("data:image/png;base64") >= 3
    assert "Worst case" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


@pytest.mark.proves("PRIVACY-1")
def test_the_headline_is_the_strongest_attack_on_the_lens(found):
    metrics = found.json("metrics.json")
    rows = [row for study in metrics["studies"] for row in study["rows"] if row["optic"] == "design"]
    assert metrics["headline"]["auc"] == max((row["auc"] for row in rows), key=lambda auc: auc[0])
    assert {row["attacker"] for row in rows} == {
        "A0 off the shelf",
        "A1 retrained",
        "A3 Wiener",
        "A7 attributes",
        "stored embedding",
    }
    assert {row["protocol"] for row in rows} == {"clean gallery", "captures only"}
    for row in rows:
        value, low, high = row["auc"]
        assert 0 <= low <= value <= high <= 1


def test_every_control_is_there_with_its_utility_beside_the_lens(found):
    study = found.json("metrics.json")["studies"][0]
    matched = {"Gaussian blur", "low resolution", "defocus only", "random Zernikes"}
    assert set(study["optics"]) == {"design", "clean", "mild blur (positive control)"} | matched
    assert set(study["matches"]) == matched
    for name, match in study["matches"].items():
        value, low, high = match["lens"]
        assert match["within"] == (low <= match["control"][0] <= high)
        assert match["control"] == study["optics"][name]["expression_r2"]
        assert match["lens"] == study["optics"]["design"]["expression_r2"]
        assert abs(match["control"][0] - value) == min(abs(u - value) for u in match["tried"].values())


def test_the_error_of_the_score_stands_beside_every_control_and_the_constant(found):
    study = found.json("metrics.json")["studies"][0]
    scores = {name: optic["score"] for name, optic in study["optics"].items() if optic["score"]}
    assert set(scores) == {"design", "clean", *study["matches"]}
    assert len({score["constant_mae"][0] for score in scores.values()}) == 1
    for score in scores.values():
        value, low, high = score["mae_above_lens"]
        assert low <= value <= high
        assert value == pytest.approx(score["mae"][0] - scores["design"]["mae"][0], abs=1e-6)
    assert "score error" in found.file("report.html").read_text()


def test_networks_of_the_artefact_are_judged_beside_the_constant_predictor(found):
    figures = found.json("metrics.json")["depression"]
    assert set(figures) == {"mae", "rmse", "ccc", "constant_mae", "mae_reduction"}
    mae, rmse = figures["mae"][0], figures["rmse"][0]
    assert 0 < mae <= rmse < 63


def test_what_was_computed_once_is_not_computed_again_and_says_the_same(found, design, tmp_path):
    stages = []
    again = evaluate(
        design, tmp_path / "again", seed=1, progress=lambda stage, done, total: stages.append(stage)
    )
    assert "A1 retrained" in stages
    assert not [stage for stage in stages if stage.startswith(("train", "capture", "read expressions"))]
    assert again.json("metrics.json") == found.json("metrics.json")


def test_a_measured_bank_is_used_and_one_of_other_distances_is_refused(tmp_path, spec):
    height, depths, fields = zernike_height({4: 5e-6}, spec), [0.5, 0.9], [(0.2, 0.0), (0.0, 0.0)]
    raw = psf_bank(height, spec, depths, fields=fields, shape=(8 * 11, 8 * 11), binned=False)

    def calibration(name: str, at: list[float]):
        with create("calibration", tmp_path / name, seed=0) as draft:
            Optic(spec, np.zeros_like(height)).write(draft.path)
            np.savez(draft.path / "psf.npz", psf=raw.astype(np.float32), depths=at, fields=fields)
        return draft.sealed()

    subject = read_subject(calibration("good", depths))
    assert subject.measured
    assert subject.depths == (0.5, 0.9)
    expected = raw[:, 1].reshape(2, 3, 11, 8, 11, 8).sum((3, 5))
    np.testing.assert_allclose(subject.view.bank, expected, atol=1e-5)
    with pytest.raises(Refusal, match="calibration of this design"):
        read_subject(calibration("far", [5.0, 9.0]))


def test_an_attacker_may_know_the_design_alone_but_only_the_optics_own(design, tmp_path, spec):
    with create("calibration", tmp_path / "built", parents=[design], seed=0) as draft:
        Optic(spec, zernike_height({4: 5e-6}, spec)).write(draft.path)
    built = draft.sealed()
    with create("design", tmp_path / "foreign", seed=3) as draft:
        Optic(spec, zernike_height({4: 1e-6}, spec)).write(draft.path)
    subject = read_subject(built, design)
    assert subject.designed.shape == subject.view.bank.shape
    assert np.abs(subject.designed - subject.view.bank).sum((2, 3)).min() > 0.1
    with pytest.raises(Refusal, match="not what"):
        read_subject(built, draft.sealed())


def test_the_raw_file_shows_the_same_optics_in_finer_pixels(design):
    coarse, fine = read_subject(design), read_subject(design, binning=2)
    assert fine.spec.sensor.binned_shape == (448, 448)
    assert fine.network is None
    assert mean_width(fine.view.bank) == pytest.approx(4 * mean_width(coarse.view.bank), rel=0.25)
    assert fine.view.bank.sum((2, 3)).min() > 0.98


def test_linked_by_estimates_is_judged_beside_them(found):
    linked = found.json("metrics.json")["linked_by_estimates"]
    assert 0 <= linked["auc"][1] <= linked["auc"][0] <= linked["auc"][2] <= 1


def test_records_link_people_whose_estimates_persist_and_nobody_else():
    rng = np.random.default_rng(0)
    people, sessions = np.repeat(np.arange(30), 3), np.tile(np.arange(3), 30)
    clips = Clips(*(np.zeros(90),) * 3, people, sessions, *(np.zeros(90),) * 2)
    own = np.repeat(rng.uniform(0, 60, 30), 3)
    persisting = link_records(own + rng.normal(0, 0.5, 90), np.full(90, 5.0), clips, seed=0)
    drawn = link_records(rng.uniform(0, 60, 90), rng.uniform(4, 6, 90), clips, seed=0)
    assert persisting["auc"].low > 0.95
    assert drawn["auc"].low < 0.5 < drawn["auc"].high


def test_the_window_of_a_computed_psf_holds_its_light(design):
    bank = read_subject(design).view.bank
    assert bank.sum((-2, -1)).min() > 0.99
    assert bank.shape[-1] < 21


def test_an_artefact_without_optics_is_refused(tmp_path):
    with create("head", tmp_path / "head", seed=0) as draft:
        (draft.path / "x.json").write_text("{}")
    with pytest.raises(Refusal, match=r"no optics\.json"):
        read_subject(draft.sealed())


def test_photographs_without_a_recogniser_and_an_occupied_out_are_refused_before_any_work(design, tmp_path):
    with pytest.raises(Refusal, match="--recogniser"):
        evaluate(design, tmp_path / "new", faces=tmp_path)
    with pytest.raises(Refusal, match="exists already"):
        evaluate(design, tmp_path)


def test_photographs_and_recognisers_that_cannot_be_used_are_refused_before_any_work(design, tmp_path):
    said = []

    def refused(folder, model, words):
        with pytest.raises(Refusal, match=words):
            evaluate(
                design,
                tmp_path / "new",
                faces=folder,
                recogniser=model,
                progress=lambda *told: said.append(told),
            )

    (tmp_path / "empty").mkdir()
    (tmp_path / "no.onnx").write_bytes(b"no network")
    (tmp_path / "no.toml").write_text('name = "no"\nsize = 16\n')
    refused(tmp_path / "empty", tmp_path / "missing.onnx", "does not exist")
    refused(tmp_path / "empty", tmp_path / "no.onnx", "no ONNX network")
    assert said == []


@pytest.mark.parametrize(
    ("people", "words"), [(0, "holds no folder"), (1, "1 person"), (3, "give at least 4")], ids=str
)
def test_too_few_people_are_refused(design, tmp_path, monkeypatch, people, words):
    monkeypatch.setattr(populations, "OnnxRecogniser", lambda model: None)
    for person in range(people):
        (tmp_path / str(person)).mkdir()
        for session in range(2):
            cv2.imwrite(str(tmp_path / str(person) / f"{session}.png"), np.full((160, 160, 3), 90, np.uint8))
    with pytest.raises(Refusal, match=words):
        evaluate(design, tmp_path / "new", faces=tmp_path, recogniser=tmp_path / "any.onnx")


@pytest.mark.proves("PRIVACY-3")
def test_people_met_in_training_and_people_with_one_picture_are_refused():
    def faces(people: list[int]) -> Faces:
        n = len(people)
        return Faces(
            np.zeros((n, 4, 4, 3), np.float32),
            np.array(people),
            np.arange(n),
            np.zeros((n, 5, 2), np.float32),
            np.zeros(n, int),
        )

    with pytest.raises(Refusal, match="1 people are both"):
        check_disjoint(faces([0, 1, 2]), faces([2, 3]))
    with pytest.raises(Refusal, match="1 of 2 people have a single picture"):
        check_repeated(faces([0, 0, 1]))
    with pytest.raises(Refusal, match="1 person"):
        check_repeated(faces([0, 0]))


def test_the_verb_prints_one_object_and_exits_with_1_if_nothing_was_proven(design, tmp_path, monkeypatch):
    app = typer.Typer()
    app.command()(verb)
    out = tmp_path / "spoken"
    said = CliRunner().invoke(app, [str(design.path), "--out", str(out), "--seed", "1", "--json"])
    result = json.loads(said.stdout)
    assert said.exit_code == (0 if result["valid"] else 1)
    assert result["headline"]["attacker"]
    assert CliRunner().invoke(app, []).exit_code == 2
    assert CliRunner().invoke(app, [str(design.path), "--stage"]).exit_code == 2


@pytest.mark.proves("PRIVACY-2")
def test_a_study_whose_attackers_are_blind_or_whose_protocol_leaks_proves_nothing(design, found):
    study = simulated_study(read_subject(design), "quick", seed=1)
    blind = replace(
        study,
        rows=[
            replace(row, figures={**row.figures, "auc": Interval(0.6, 0.5, 0.7)})
            if "mild" in row.view
            else row
            for row in study.rows
        ],
    )
    leaking = replace(study, null=Interval(0.7, 0.6, 0.8))
    assert any("mild blur" in fault for fault in blind.faults)
    assert any("names shuffled" in fault for fault in leaking.faults)


@pytest.mark.proves("PRIVACY-1")
@pytest.mark.slow
def test_a_sharp_lens_and_a_constant_frame_come_out_at_the_two_ends(spec, monkeypatch):
    monkeypatch.setitem(BUDGETS, "quick", replace(TINY, train=(60, 3, 2), test=(40, 4, 1)))
    sharp_lens = simulated_study(
        Subject(spec, (0.6,), replace(sharp(1), name="design"), False), "quick", seed=2
    )
    assert sharp_lens.worst().auc.low > 0.95
    assert not sharp_lens.faults

    class Dark(PsfView):
        def optical_image(self, scenes, depth):
            return np.full_like(scenes, 0.3)

    side = 9
    flat = np.full((1, 3, side, side), 1 / side**2, np.float32)
    constant = simulated_study(Subject(spec, (0.6,), Dark("design", flat), False), "quick", seed=2)
    assert all(row.auc.low < 0.5 < row.auc.high or row.auc.value < 0.6 for row in constant.of("design"))
    assert half_energy_width(flat[0, 0]) > 0
