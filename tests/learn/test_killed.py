"""The real process, really killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from opticaldr.artefacts import open_artefact

SCRIPT = """
import sys
from pathlib import Path
from opticaldr.models.training import DesignConfig, design_lens
from opticaldr.models.training.config import FitConfig, JointConfig, LensConfig, SubjectsConfig
config = DesignConfig(
    subjects=SubjectsConfig(train=8, test=4, validation=4, frames=4, depths=(0.7,)),
    lens=LensConfig(steps=12, batch=18, modes=(4, 5, 6), psf=15),
    networks=FitConfig(steps=2, batch=8),
    recogniser=FitConfig(steps=2, batch=8),
    head=FitConfig(steps=4, batch=8),
    joint=JointConfig(steps=12, windows=4),
    checkpoint_every=3,
)
design_lens(config, Path(sys.argv[1]), 0)
"""


@pytest.mark.proves("LEARNING-1")
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_in_every_other_stage_and_continued_it_ends_as_if_nothing_had_happened(tmp_path):
    def start(place):
        place.parent.mkdir(exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, "-c", SCRIPT, str(place)], env=environment)

    killed = tmp_path / "killed" / "design"
    for stage in ("lens", "attacker 0", "joint"):
        process = start(killed)
        deadline = time.monotonic() + 240
        while (
            not list(killed.parent.glob(f".design-in-progress-*/{stage}.pt")) and time.monotonic() < deadline
        ):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not killed.exists()
    assert start(killed).wait() == 0
    whole = tmp_path / "whole" / "design"
    assert start(whole).wait() == 0
    assert open_artefact(killed).id == open_artefact(whole).id
