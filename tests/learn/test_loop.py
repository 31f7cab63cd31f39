"""Training that is stopped goes on exactly, and ends when the loss is no number."""

import pytest
import torch

from opticaldr.models.training.loop import Diverged, Work, run_stage


def train(work, steps=20, stop_at=None, poison_at=None):
    torch.manual_seed(3)
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01, total_steps=steps)

    def step(number):
        if number == stop_at:
            raise KeyboardInterrupt
        inputs = torch.randn(16, 4)
        loss = (network(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean()
        if number == poison_at:
            loss = loss * float("nan")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        return {"loss": loss.item()}

    parts = {"network": network, "optimiser": optimiser, "schedule": schedule}
    history = run_stage("toy", steps, step, parts, work, seed=5, every=4)
    return history, torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.proves("LEARNING-1")
@pytest.mark.parametrize("stop_at", [1, 4, 7, 19])
def test_stopped_anywhere_it_ends_with_the_same_weights(tmp_path, stop_at):
    history, weights = train(Work(tmp_path / "a", "toy", "x"))
    work = Work(tmp_path / "b", "toy", "x")
    with pytest.raises(KeyboardInterrupt):
        train(work, stop_at=stop_at)
    again, weights_again = train(work)
    assert torch.equal(weights, weights_again)
    assert again == history


@pytest.mark.proves("LEARNING-2")
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    work = Work(tmp_path, "toy", "x")
    with pytest.raises(Diverged, match="step 10") as refusal:
        train(work, poison_at=10)
    assert "step 8" in str(refusal.value)
    kept = work.load("toy")
    assert len(kept["history"]) == 8
    assert all(torch.isfinite(value).all() for value in kept["parts"]["network"].values())


def test_a_checkpoint_cut_short_while_writing_leaves_the_old_one(tmp_path, monkeypatch):
    work = Work(tmp_path, "toy", "x")
    with pytest.raises(KeyboardInterrupt):
        train(work, stop_at=5)
    before = work.load("toy")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="space"):
        train(work)
    monkeypatch.undo()
    assert work.load("toy")["history"] == before["history"]


def test_other_work_is_not_picked_up(tmp_path):
    train(Work(tmp_path, "toy", "one config"))
    assert Work(tmp_path, "toy", "another config").load("toy") is None


def test_what_is_logged_is_read_back_as_one_curve_although_it_was_stopped(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    work = Work(tmp_path, "toy", "x")
    with pytest.raises(KeyboardInterrupt):
        train(work, stop_at=7)
    history, _ = train(work)
    (file,) = (work.logs / "toy").iterdir()
    data, found = file.read_bytes(), []
    while data:  # TFRecord: length, its checksum, the event, its checksum
        size = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + size])
        found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        data = data[16 + size :]
    assert [(step, tag) for step, tag, _ in found] == [(step, "loss") for step in range(20)]
    assert [value for *_, value in found] == pytest.approx([record["loss"] for record in history], rel=1e-6)
