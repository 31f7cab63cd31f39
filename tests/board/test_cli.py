"""`opticaldr board`: the real commands, on a simulated board and on a terminal with the firmware behind."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner, Result

from opticaldr.cli.board import board
from opticaldr.firmware_interface import finding
from opticaldr.firmware_interface.errors import NoBoard


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(board, arguments, input=stdin)


def test_info_is_one_object(board_terminal) -> None:
    said = json.loads(run("info", "--port", board_terminal.path, "--json").stdout)
    assert said["port"] == board_terminal.path
    assert said["protocol"] == 1
    assert said["temperature"] == pytest.approx(295, abs=2)
    assert said["state"]["source"] == 0.0
    assert "serial" in run("info", "--port", board_terminal.path).stdout


def test_monitor_shows_signs_of_life(board_terminal) -> None:
    said = json.loads(run("monitor", "--port", board_terminal.path, "--seconds", "1.3", "--json").stdout)
    assert "alive" in [event["kind"] for event in said["events"]]


def test_monitor_writes_a_line_for_each_event() -> None:
    lines = run("monitor", "--port", "sim://", "--seconds", "1.2").stdout.splitlines()
    assert any(line.split()[1] == "alive" for line in lines)


def test_the_shell_operates_the_bench() -> None:
    lines = ["source 0.5", "state", "move 0.1", "shutter open", "shutter ajar", "light 1 2", "fly"]
    lines += ["temperature", "quit", "source 1"]
    done = run("shell", "--port", "sim://", "--json", stdin="\n".join(lines))
    answers = {each["command"]: each for each in json.loads(done.stdout)["answers"]}
    assert answers["state"]["source"] == pytest.approx(0.5, abs=1e-3)
    assert "home it first" in answers["move 0.1"]["error"]
    assert answers["shutter open"]["shutter"] == "done"
    assert "open|closed" in answers["shutter ajar"]["error"]
    assert "RED GREEN BLUE" in answers["light 1 2"]["error"]
    assert "no command" in answers["fly"]["error"]
    assert 290 < answers["temperature"]["temperature"] < 300
    assert "source 1" not in answers
    assert done.exit_code == 1


def test_find_greets_what_is_there(board_terminal, terminal, monkeypatch) -> None:
    class Listed:
        def __init__(self, device: str, vid: int) -> None:
            self.device, self.vid, self.description = device, vid, "serial"

        def __lt__(self, other: Listed) -> bool:
            return self.device < other.device

    monkeypatch.setattr("opticaldr.firmware_interface.session.GREETING_ATTEMPTS", 2)
    monkeypatch.setattr(
        finding.list_ports,
        "comports",
        lambda: [Listed(board_terminal.path, finding.RASPBERRY_PI), Listed(terminal(None).path, 0x1234)],
    )
    said = json.loads(run("find", "--json").stdout)["boards"]
    assert [each["port"] for each in said] == [board_terminal.path]
    assert said[0]["info"]["protocol"] == 1
    said = json.loads(run("find", "--all", "--json").stdout)["boards"]
    assert sorted(bool(each["info"]) for each in said) == [False, True]
    assert finding.the_only_board() == board_terminal.path


def test_find_without_any(monkeypatch) -> None:
    monkeypatch.setattr(finding.list_ports, "comports", list)
    done = run("find", "--json")
    assert json.loads(done.stdout) == {"boards": []}
    assert done.exit_code == 1
    with pytest.raises(NoBoard, match="--port PORT"):
        finding.the_only_board()


def test_help_touches_no_heavy_import() -> None:
    code = "import sys, opticaldr.cli.board; sys.exit(bool({'serial', 'numpy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
