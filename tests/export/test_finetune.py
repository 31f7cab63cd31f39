"""Adapting to measured optics: what is learned, what is refused, and how the gap is counted."""

import sys

import numpy as np
import pytest
import torch

from opticaldr.artefacts import open_artefact
from opticaldr.calibration.measured import Measured, failed_gates
from opticaldr.errors import Refusal
from opticaldr.models.networks import load_networks
from opticaldr.models.training import FinetuneConfig, finetune
from opticaldr.models.training.adaptation import Adapter, Best, MeasuredCamera, Places, align_statistics
from opticaldr.models.training.camera import Camera
from opticaldr.models.training.config import FitConfig, SubjectsConfig
from opticaldr.models.training.finetune import closure
from opticaldr.models.training.pool import film

finetune_module = sys.modules["opticaldr.models.training.finetune"]  # the package's name is the function

CONFIG = FinetuneConfig(
    subjects=SubjectsConfig(train=8, validation=4, test=4, depths=(1.0, 1.2)),
    networks=FitConfig(steps=12, batch=16),
    head=FitConfig(steps=20, batch=16),
    recogniser=FitConfig(steps=3, batch=16),
    unlabelled=64,
    checkpoint_every=5,
)

BRIEF = CONFIG.model_copy(update={"adapt": "head", "head": FitConfig(steps=2, batch=16)})


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
    assert sorted(p.name for p in tmp_path.iterdir()) == ["stopped", "whole"]  # no work is left over

    head = open_artefact(tmp_path / "whole", kind="head")
    metrics = head.json("metrics.json")
    assert metrics["after"]["factor_error"] < metrics["before"]["factor_error"]  # untrained networks learn
    assert metrics["window"] == {"frames": 6, "fps": 1.0}
    page = head.file("report.html").read_text()
    assert "Adapting closes" in page or "no gap" in page
    assert any(metrics["best_step"].values()) != ("own weights" in page)


def test_normalisation_alone_leaves_the_convolutions(design, calibration, tmp_path, spec):
    config = CONFIG.model_copy(update={"adapt": "normalisation"})
    head = finetune(design, calibration, config, tmp_path / "head", 0)
    size = spec.sensor.binned_shape[0]
    before, _, _ = load_networks(design.file("networks.safetensors"), size)
    after, _, _ = load_networks(head.file("networks.safetensors"), size)
    for name, value in before.named_parameters():
        same = torch.equal(value, dict(after.named_parameters())[name])
        assert same == (value.dim() > 1), name


@pytest.mark.proves("CALIBRATION-4")
def test_failed_gates_need_to_be_accepted(design, make_calibration, tmp_path):
    failed = make_calibration(tmp_path / "failed", design, passed=False)
    with pytest.raises(Refusal, match="--accept-failed-gates"):
        finetune(design, failed, CONFIG, tmp_path / "head")
    head = finetune(design, failed, BRIEF, tmp_path / "head", accept_failed_gates=True)
    assert head.json("metrics.json")["accepted_failed_gates"] is True


def test_people_of_the_design_neither_stop_nor_judge_an_adaptation(
    design, calibration, tmp_path, monkeypatch
):
    """Networks look finished on people that they have met, however wrong the optics are."""
    filmed, stopped_by = [], []

    def watch_film(people, *rest):
        filmed.append(people)
        return film(people, *rest)

    def watch_adapter(config, train, held_out, *rest):
        stopped_by.append(len(held_out))
        return Adapter(config, train, held_out, *rest)

    monkeypatch.setattr(finetune_module, "film", watch_film)
    monkeypatch.setattr(finetune_module, "Adapter", watch_adapter)
    finetune(design, calibration, BRIEF, tmp_path / "head")
    learned, stopping, judging = map(set, filmed)
    met = set(range(10_000))  # a design numbers its people from 0
    assert learned <= met
    assert not met & (stopping | judging)
    assert not stopping & judging
    assert stopped_by == [len(stopping) * BRIEF.subjects.sessions]


@pytest.mark.proves("CALIBRATION-4")
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


def test_views_are_drawn_over_depths_and_fields():
    measured = Measured(None, np.zeros((3, 2, 3, 5, 5)), (0.5, 1.0, 2.0), np.zeros((2, 2)))
    places = Places(measured, (0.5, 4 / 3, 3.0))
    torch.manual_seed(0)
    near = places.draw(torch.zeros(400, dtype=torch.long))
    assert set(near.tolist()) == {0, 1}  # the first depth, either field
    between = places.draw(torch.ones(4000, dtype=torch.long))
    assert set(between.tolist()) == {2, 3, 4, 5}
    # 1/depth of 4/3 m lies half way between those of 1 m and 2 m.
    assert (between >= 4).float().mean() == pytest.approx(0.5, abs=0.03)
    assert set(places.draw(torch.full((400,), 2)).tolist()) == {4, 5}  # beyond the bank: its last depth


def test_a_capture_draws_what_the_measurement_leaves_open(spec):
    bank = torch.zeros(1, 3, 5, 5)
    bank[..., 2, 2] = 1.0
    error = torch.full_like(bank, 0.01)
    sensor = spec.sensor.model_copy(update={"prnu": 0.0})
    scenes, view = torch.full((8, 3, 32, 32), 0.5), torch.zeros(8, dtype=torch.long)
    sharp, open_ended = Camera(bank, sensor), MeasuredCamera(bank, sensor, error)
    spread = {}
    for name, camera in (("known", sharp), ("open", open_ended)):
        torch.manual_seed(0)
        ratios = [
            (f := camera.capture(scenes, view))[:, 0].mean((1, 2)) / f[:, 1].mean((1, 2)) for _ in range(40)
        ]
        spread[name] = float(torch.stack(ratios)[:, 0].std())
    # 25 values of 0.01 standard error add up to 0.05 in the sum of each colour's PSF.
    assert spread["open"] == pytest.approx(0.05 * 2**0.5, rel=0.4)
    assert spread["known"] < 0.2 * spread["open"]


def test_statistics_follow_unlabelled_frames_and_no_weight_moves():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    weights = [p.detach().clone() for p in network.parameters()]
    frames = 3 + 2 * torch.randn(640, 3, 4, 4)
    align_statistics(network, frames)
    assert not network.training
    assert network[1].momentum == 0.1
    assert all(torch.equal(p, w) for p, w in zip(network.parameters(), weights, strict=True))
    with torch.no_grad():
        out = network(frames)
    assert torch.allclose(out.mean((0, 2, 3)), torch.zeros(4), atol=0.02)
    assert torch.allclose(out.std((0, 2, 3)), torch.ones(4), atol=0.05)


def test_the_best_weights_on_held_out_people_come_back():
    module = torch.nn.Linear(1, 1, bias=False)
    best = Best(module, lambda: (module.weight - 2).square().sum())
    for step, weight in enumerate((0.0, 1.5, 5.0)):
        with torch.no_grad():
            module.weight.fill_(weight)
        best.look(step)
    resumed = Best(module, lambda: torch.tensor(0.0))
    resumed.load_state_dict(best.state_dict())
    assert resumed.take() == 1
    assert module.weight.item() == 1.5


@pytest.mark.parametrize("adapt", ["head", "statistics"])
def test_choices_that_leave_every_weight_of_the_network(design, calibration, tmp_path, spec, adapt):
    head = finetune(design, calibration, CONFIG.model_copy(update={"adapt": adapt}), tmp_path / "head", 0)
    size = spec.sensor.binned_shape[0]
    before, _, _ = load_networks(design.file("networks.safetensors"), size)
    after, _, _ = load_networks(head.file("networks.safetensors"), size)
    assert all(torch.equal(p, q) for p, q in zip(before.parameters(), after.parameters(), strict=True))
    same = all(torch.equal(p, q) for p, q in zip(before.buffers(), after.buffers(), strict=True))
    assert same == (adapt == "head")
    metrics = head.json("metrics.json")
    assert {"design_auc", "built_auc", "margin"} == set(metrics["privacy"])
    assert metrics["unlabelled"]["score"]["mae"] > 0
