"""A device without training libraries: the wheel alone, really installed into an environment of its own."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from opticaldr.artefacts import create, create_key
from opticaldr.models.optics import Optic, preset, zernike_height

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "device"))

pytestmark = [pytest.mark.install, pytest.mark.timeout(900)]


def checked(*command, **more):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """`opticaldr` in an environment without any extra."""
    place = tmp_path_factory.mktemp("bare")
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)  # setuptools would pack files that are gone
    checked(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place, ROOT)
    checked(sys.executable, "-m", "venv", place / "venv")
    [wheel] = place.glob("opticaldr-*.whl")
    python = place / "venv" / "bin" / "python"
    checked(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel)
    return python.with_name("opticaldr")


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    spec = preset("clinic")
    with create("design", tmp_path_factory.mktemp("design") / "design", seed=0) as draft:
        Optic(spec, np.asarray(zernike_height({4: 1.5e-6, 6: 3e-6, 9: 2e-6}, spec))).write(draft.path)
    return draft.sealed().path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    from device_bundle import make_bundle

    return make_bundle(
        tmp_path_factory.mktemp("bundle") / "bundle",
        create_key(tmp_path_factory.mktemp("key") / "maker.key"),
    )


def test_the_wheel_holds_every_file_of_every_room_and_nothing_else(bare):
    rooms = (
        "artefacts",
        "calibration",
        "cli",
        "device",
        "errors",
        "firmware_interface",
        "hardware",
        "models",
    )
    [wheel] = bare.parents[2].glob("opticaldr-*.whl")
    held = {
        name.removeprefix("opticaldr/")
        for name in zipfile.ZipFile(wheel).namelist()
        if ".dist-info/" not in name
    }
    listed = checked("git", "-C", ROOT, "ls-files", *rooms).split()
    assert held == set(listed) - {"hardware/board/README.md"}  # for whoever solders


def test_there_is_no_torch_and_doctor_says_so(bare):
    python = bare.with_name("python")
    assert subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode == 1
    report = json.loads(checked(bare, "doctor", "--json"))
    assert report["base"] == "complete"
    assert report["design"].startswith("not installed")
    assert "pip install 'opticaldr[design]'" in report["design"]


def test_a_verb_that_needs_torch_says_so_in_one_line(bare, tmp_path):
    done = subprocess.run([bare, "design"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "this verb needs torch" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_camera_runs(bare, bundle, tmp_path):
    summary = json.loads(
        checked(bare, "run", bundle, "--frames", 24, "--out", tmp_path / "run", "--json", cwd=tmp_path)
    )
    assert summary["passed"]
    assert summary["frames"] == 24


def test_a_calibration_session_is_captured_and_sealed(bare, design, tmp_path):
    done = subprocess.run(
        [bare, "calibrate", design, "--rig", "simulated", "--out", tmp_path / "calibration", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    result = json.loads(done.stdout)
    assert (tmp_path / "calibration" / "psf.npz").exists(), result
