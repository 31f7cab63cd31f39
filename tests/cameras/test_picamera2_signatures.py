"""The double of picamera2 against picamera2 itself."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from opticaldr.hardware.cameras.picamera2 import _UNPACKED


@pytest.fixture(scope="module")
def real():
    python = os.environ.get("OPTICALDR_PICAMERA2")
    if not python and importlib.util.find_spec("picamera2"):
        python = sys.executable
    if not python:
        pytest.skip("no picamera2: run tests/cameras/get_picamera2.sh FOLDER and set OPTICALDR_PICAMERA2")
    script = pathlib.Path(__file__).parent / "real_signatures.py"
    done = subprocess.run([python, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def ours(load_double):
    double, script = load_double("libcamera_stack"), load_double("real_signatures")
    owners = {"Picamera2": double.Picamera2, "CompletedRequest": double.Request}
    return {
        owner: {call: script.parameters(getattr(owners[owner], call)) for call in calls}
        for owner, calls in script.CALLS.items()
    }


@pytest.mark.parametrize("owner", ["Picamera2", "CompletedRequest"])
def test_every_call_has_the_real_parameters_in_the_real_order(real, ours, owner):
    for call, parameters in real[owner].items():
        assert list(ours[owner][call].items()) == list(parameters.items()), call


def test_modes_and_controls_are_properties(real):
    assert real["properties"] == ["sensor_modes", "camera_controls"]


def test_every_unpacked_format_is_understood_and_no_packed_one(real):
    for name in real["formats"]:
        found = _UNPACKED.match(name)
        assert bool(found) == ("_" not in name), name
        if found:
            assert real["parsed"][name] == [name, int(found["bits"])]
