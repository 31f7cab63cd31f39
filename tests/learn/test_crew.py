"""Two processes that share every batch lose what one loses with the whole batch."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from torch import nn

from opticaldr.errors import Refusal
from opticaldr.models.networks import frame_network, parallel
from opticaldr.models.training.crew import crew

LAYERS = """
import sys, torch
from torch import nn
from opticaldr.models.networks.parallel import (
    BatchNorm1d, BatchNorm2d, Dropout, average_gradients, gathered, rank, share)
from opticaldr.models.training.crew import crew
with crew("32-true", 8):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), BatchNorm2d(3), nn.ReLU(), nn.Flatten(), Dropout(0.3),
                        nn.Linear(27, 4, bias=False), BatchNorm1d(4))
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    optimiser.register_step_pre_hook(average_gradients)
    losses = []
    for step in range(5):
        torch.manual_seed(step)
        whole = torch.randn(8, 2, 5, 5)
        out = gathered(net(share(whole)))
        loss = torch.cdist(out, out).sigmoid().mean() + (out[:, 0] * torch.arange(8)).mean()
        optimiser.zero_grad(); loss.backward(); optimiser.step()
        losses.append(loss.item())
    net.eval()
    losses += net(whole).detach().flatten().tolist()
    if rank() == 0:
        print(losses)
"""

DESIGN = """
import json, sys
from pathlib import Path
from opticaldr.models.training import DesignConfig, design_lens
from opticaldr.models.training.config import FitConfig, JointConfig, LensConfig, SubjectsConfig
# Small rates: what rounds differently over two processes would otherwise grow by Adam, whose steps are as long for a
# small gradient as for a large one. One run nudged by a rounding error drifts by as much.
config = DesignConfig(
    subjects=SubjectsConfig(train=12, test=4, validation=4, frames=4, depths=(0.7, 0.9)),
    lens=LensConfig(steps=4, batch=16, modes=(4, 5, 6), psf=15, lens_rate=1e-4, network_rate=1e-5, opponent_rate=1e-5),
    networks=FitConfig(steps=4, batch=8, rate=1e-4), recogniser=FitConfig(steps=3, batch=8, rate=1e-5),
    head=FitConfig(steps=4, batch=8, rate=1e-4), joint=JointConfig(steps=2, windows=4, rate=1e-5, lens_rate=1e-4),
    checkpoint_every=2,
)
design_lens(config, Path(sys.argv[1]), 0)
"""


def run(script, *arguments, processes=1):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(processes):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if processes > 1:  # what torchrun sets
            environment |= {
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes),
                "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(processes),
                "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test",
            }  # fmt: skip
        command = [sys.executable, "-c", script, *map(str, arguments)]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    said = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0] * processes
    return said[0]


@pytest.mark.slow
def test_layers_and_losses_do_not_know_how_many_processes_there_are():
    alone, together = (json.loads(run(LAYERS, processes=count).splitlines()[-1]) for count in (1, 2))
    assert together == pytest.approx(alone, rel=1e-4, abs=1e-5)


@pytest.mark.slow
def test_a_design_loses_in_two_processes_what_it_loses_in_one(tmp_path):
    histories = []
    for count in (1, 2):
        run(DESIGN, tmp_path / f"d{count}", processes=count)
        histories.append(json.loads((tmp_path / f"d{count}" / "history.json").read_text()))
    alone, together = histories
    for stage in ("lens", "network", "head", "joint"):
        losses = [[record["loss"] for record in history[stage]] for history in (alone, together)]
        assert losses[1] == pytest.approx(losses[0], rel=2e-3), stage
    assert together["lens"][-1]["z4"] == pytest.approx(alone["lens"][-1]["z4"], abs=1e-3)


def test_alone_everything_is_the_identity():
    batch = torch.rand(4, 3)
    assert parallel.share(batch) is batch
    assert parallel.gathered(batch) is batch
    layer, torchs = parallel.BatchNorm1d(3), nn.BatchNorm1d(3)
    assert torch.equal(layer(batch), torchs(batch))


def test_a_batch_that_does_not_divide_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with (
        pytest.raises(Refusal, match="batch of 42 does not divide among 4 processes"),
        crew("32-true", 48, 42),
    ):
        pass


def test_mixed_precision_is_for_convolutions_alone():
    torch.manual_seed(0)
    network, frames = frame_network("sanet", 3, 32).eval(), torch.rand(4, 3, 32, 32)
    seen = []
    network.features[1][0].register_forward_hook(lambda layer, inputs, output: seen.append(output.dtype))
    plain = network(frames)
    with crew("bf16-mixed", 8):
        mixed = network(frames)
        assert (frames[0, 0] @ frames[0, 0]).dtype == torch.float32  # what optics do
    assert seen == [torch.float32, torch.bfloat16]
    assert mixed.dtype == torch.float32
    assert 0 < (mixed - plain).abs().max() < 0.05 * plain.abs().max()


def test_plain_training_does_not_import_lightning():
    script = """
import sys
from opticaldr.models.training.crew import crew
with crew("32-true", 3):
    print("lightning_fabric" in sys.modules)
"""
    assert run(script).strip() == "False"
