"""Adapting to measured optics: what is learned, what is refused, and how the gap is counted."""

import pytest
import torch

from opticaldr.artefacts import open_artefact
from opticaldr.calibration.measured import failed_gates
from opticaldr.errors import Refusal
from opticaldr.models.networks import load_networks
from opticaldr.models.training import FinetuneConfig, finetune
from opticaldr.models.training.config import FitConfig, SubjectsConfig
from opticaldr.models.training.finetune import closure

CONFIG = FinetuneConfig(
    subjects=SubjectsConfig(train=8, test=4, depths=(1.0, 1.2)),
    networks=FitConfig(steps=12, batch=16),
    head=FitConfig(steps=20, batch=16),
    checkpoint_every=5,
)


def test_a_head_is_made_stopped_and_made_again_with_the_same_id(design, calibration, tmp_path):
    class Stop(Exception):
        pass

    def stop(stage, done, total):
        if stage == "network" and done == 7:
            raise Stop

    with pytest.raises(Stop):
        finetune(design, calibration, CONFIG, tmp_path / "stopped", 0, stop)
    assert not (tmp_path / "stopped").exists()
    stages = []
    resumed = finetune(
        design,
        calibration,
        CONFIG,
        tmp_path / "stopped",
        0,
        lambda stage, done, total: stages.append((stage, done)),
    )
    whole = finetune(design, calibration, CONFIG, tmp_path / "whole", 0)
    assert ("network", 5) not in stages  # done before the stop
    assert resumed.manifest.files["networks.safetensors"] == whole.manifest.files["networks.safetensors"]
    assert resumed.id == whole.id
    assert sorted(p.name for p in tmp_path.iterdir()) == ["stopped", "whole"]

    head = open_artefact(tmp_path / "whole", kind="head")
    metrics = head.json("metrics.json")
    assert metrics["after"]["factor_error"] < metrics["before"]["factor_error"]  # untrained networks learn
    assert metrics["window"] == {"frames": 6, "fps": 1.0}
    assert (
        "Adapting closes" in head.file("report.html").read_text()
        or "no gap" in head.file("report.html").read_text()
    )


def test_normalisation_alone_leaves_the_convolutions(design, calibration, tmp_path, spec):
    config = CONFIG.model_copy(update={"adapt": "normalisation"})
    head = finetune(design, calibration, config, tmp_path / "head", 0)
    size = spec.sensor.binned_shape[0]
    before, _, _ = load_networks(design.file("networks.safetensors"), size)
    after, _, _ = load_networks(head.file("networks.safetensors"), size)
    for name, value in before.named_parameters():
        same = torch.equal(value, dict(after.named_parameters())[name])
        assert same == (value.dim() > 1), name


def test_failed_gates_need_to_be_accepted(design, make_calibration, tmp_path):
    failed = make_calibration(tmp_path / "failed", design, passed=False)
    with pytest.raises(Refusal, match="--accept-failed-gates"):
        finetune(design, failed, CONFIG, tmp_path / "head")
    head = finetune(design, failed, CONFIG, tmp_path / "head", accept_failed_gates=True)
    assert head.json("metrics.json")["accepted_failed_gates"] is True


def test_a_calibration_of_another_design_is_refused(make_design, calibration, tmp_path):
    with pytest.raises(Refusal, match="another design"):
        finetune(make_design(tmp_path / "stranger", seed=2), calibration, CONFIG, tmp_path / "head")


def test_gates_are_read_as_a_list_or_by_name():
    assert failed_gates({"gates": [{"name": "a", "passed": True}, {"name": "b", "passed": False}]}) == ["b"]
    assert failed_gates({"a": {"passed": True}, "b": {"passed": False}}) == ["b"]


def test_closure_is_counted_only_where_there_is_a_gap():
    assert closure(before=0.8, after=0.6, reference=0.5) == pytest.approx(2 / 3)
    assert closure(before=0.8, after=0.9, reference=0.5) == pytest.approx(-1 / 3)
    assert closure(before=0.505, after=0.5, reference=0.5) is None
