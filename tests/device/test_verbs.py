"""The verbs of the device as a person types them: two streams and an exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from opticaldr.device.landlock import interface_version

pytestmark = pytest.mark.skipif(interface_version() == 0, reason="this kernel has no Landlock")

VERBS = """
import typer
from opticaldr.cli import audit, main, run
if not any(command.callback is run.run for command in main.app.registered_commands):
    main.app.command()(run.run)
if not any(group.name == "audit" for group in main.app.registered_groups):
    main.app.add_typer(audit.app, name="audit")
main.main()
"""


def opticaldr(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", VERBS, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def out(bundle, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    done = opticaldr("run", bundle, "--frames", 10, "--interval", 1, "--out", folder, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)  # one object and nothing else
    assert summary["frames"] == 10
    assert len(summary["estimates"]) == 1
    return folder


def test_a_person_sees_estimates_and_the_summary(bundle, tmp_path):
    done = opticaldr(
        "run", bundle, "--frames", 30, "--interval", 1, "--unmask-at", 20, "--out", tmp_path / "out"
    )
    assert done.returncode == 1
    assert "eye is locked in: locked frames" in done.stdout
    assert done.stdout.count("BDI-II") == 2
    assert "optics not in place" in done.stdout
    assert "Research use only" in done.stdout
    assert "3 delivered, 0 waiting" in done.stdout
    assert done.stderr == ""


def test_development_mode_says_so(bundle, tmp_path):
    done = opticaldr("run", bundle, "--frames", 1, "--development", "--out", tmp_path / "out")
    assert done.returncode == 0
    assert "DEVELOPMENT MODE" in done.stderr


def test_a_log_verifies_until_it_is_touched(out):
    log = out / "audit.ndjson"
    good = opticaldr("audit", "verify", out, "--json")
    assert good.returncode == 0
    assert json.loads(good.stdout)["verified"]
    log.write_bytes(log.read_bytes().replace(b'"frames":10', b'"frames":11'))
    bad = opticaldr("audit", "verify", log)
    assert bad.returncode == 1
    assert bad.stdout == ""
    assert "changed after it was written" in bad.stderr
    assert "Traceback" not in bad.stderr


def test_what_is_not_there_is_refused_in_a_line(tmp_path):
    for arguments in (("run", tmp_path / "none"), ("audit", "verify", tmp_path / "audit.ndjson")):
        done = opticaldr(*arguments)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert str(tmp_path) in done.stderr
    assert "there is no audit log" in opticaldr("audit", "verify", tmp_path / "nowhere").stderr
