"""What ships is known, and may be shipped."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
sys.path.insert(0, str(HOUSE / "packaging"))
import supply  # noqa: E402

WEAK = {"pygame-ce"}
"""LGPL: an unmodified library beside ours, of the extra `slm` alone; nothing of it is in the wheel or the .deb."""


@pytest.mark.proves("SUPPLY-1")
def test_nothing_that_ships_is_copyleft():
    licences = {name: supply.licence(package) for name, package in supply.shipped().items()}
    assert len(licences) > 30
    assert not [name for name, licence in licences.items() if not licence], "packages without a licence"
    forbidden = r"GPL|General Public|\bMPL|Mozilla Public|Non-?Commercial"
    found = {name for name, licence in licences.items() if re.search(forbidden, licence, re.I)}
    assert found <= WEAK


@pytest.mark.proves("SUPPLY-1")
def test_copyleft_libraries_inside_wheels_are_named_in_the_notice():
    """FFmpeg, the GCC runtime and audio libraries ride in the wheels of packages that are permissive themselves."""
    notice = (HOUSE / "NOTICE").read_text(encoding="utf-8")
    carried = set().union(*(supply.bundled(package) for package in supply.shipped().values()))
    weak = {
        name
        for name in carried
        if re.match(r"lib(av|sw|g?fortran|quadmath|fluidsynth|mpg123|sndfile|asound)", name)
    }
    assert {"libavcodec", "libgfortran"} <= weak, "the wheels are not looked into"
    assert not {name for name in weak - {"libavif"} if name not in notice}
    assert not {name for name in carried if re.match(r"libx26|libpostproc|libmp3lame|libQt", name)}


@pytest.mark.proves("SUPPLY-1")
def test_the_bill_of_materials_lists_everything_that_ships(tmp_path):
    pytest.importorskip("cyclonedx_py", reason="cyclonedx-bom is in the extra lint")
    bill = tmp_path / "bill.json"
    made = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "environment",
        "--pyproject",
        HOUSE / "pyproject.toml",
        "--output-file",
        bill,
        sys.executable,
    ]
    done = subprocess.run(made, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = {
        re.sub(r"[-_.]+", "-", part["name"]).lower() for part in json.loads(bill.read_text())["components"]
    }
    assert set(supply.shipped()) <= listed
