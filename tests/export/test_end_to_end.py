"""From a mask that came back to an estimate on the device, through the commands that people type."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from opticaldr.artefacts import open_artefact
from opticaldr.calibration.rig import Rig
from opticaldr.hardware.cameras.recording import read_recording, record
from opticaldr.hardware.cameras.scene import SceneCamera
from opticaldr.hardware.rig import load_rig
from opticaldr.models.data import SimulatedSubjects
from opticaldr.models.export.parity import TOLERANCE, bin_raw
from opticaldr.models.networks import load_networks
from opticaldr.models.optics import Optic, face_width, psf_bank

SEED, DEPTH, FRAMES = 5, 0.7, 6
WIRE = 0.05
"""Half a step of the estimate in a record."""
CONFIG = """
[subjects]
train = 8
validation = 4
test = 4
depths = [0.6, 0.9]
[networks]
steps = 10
batch = 16
[head]
steps = 20
batch = 16
[recogniser]
steps = 3
batch = 16
"""


def opticaldr(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "opticaldr.cli.main", *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.proves("BUNDLE-1")
@pytest.mark.slow
def test_the_device_estimates_what_the_adapted_networks_do_on_a_hidden_build(design, tmp_path):
    calibration, head, bundle = (tmp_path / name for name in ("calibration", "head", "bundle"))
    opticaldr("calibrate", design.path, "--depths", 3, "--seed", SEED, "--out", calibration)
    (tmp_path / "finetune.toml").write_text(CONFIG)
    opticaldr("finetune", design.path, calibration, "--config", tmp_path / "finetune.toml", "--out", head)
    key = tmp_path / "signing.key"
    told = opticaldr("export", head, "--calibration", calibration, "--key", key, "--out", bundle)
    assert told["parity_frames"] >= 1000
    assert told["worst_estimate_difference"] <= TOLERANCE

    # The optic that stood on the bench, hidden from all of the above, films somebody.
    hidden = Rig(load_rig("simulated"), design=Optic.read(design.path), seed=SEED).world.optic
    psf = psf_bank(hidden.height, hidden.spec, [DEPTH], fields=[(0.0, 0.0)], shape=(25, 25))[0, 0]
    sensor = hidden.spec.sensor
    filmed = SimulatedSubjects(9).clip(
        0, 0, FRAMES, sensor.binned_shape, face_width(hidden.spec, DEPTH), fps=1.0
    )
    with SceneCamera(iter(filmed.frames), psf, sensor) as camera:
        record(camera, tmp_path / "recording", FRAMES)

    summary = opticaldr(
        "run", bundle, "--source", f"replay:{tmp_path / 'recording'}", "--trust", f"{key}.pub",
        "--interval", 1, "--out", tmp_path / "run", "--development",
    )  # fmt: skip
    (estimate,) = summary["estimates"]
    expected = by_torch(head, tmp_path / "recording", sensor)
    assert estimate["estimate"] == pytest.approx(expected, abs=TOLERANCE + WIRE)


def by_torch(head: Path, recording: Path, sensor) -> float:
    """The estimate of the adapted networks, frames taken apart by NumPy."""
    adapted = open_artefact(head, kind="head")
    network, temporal, _ = load_networks(adapted.file("networks.safetensors"), sensor.binned_shape[0])
    taken = read_recording(recording)
    frames = np.stack([bin_raw(each.read(recording, taken.camera).raw, sensor) for each in taken.frames])
    with torch.no_grad():
        return float(temporal(network(torch.from_numpy(frames))[None])[0])
