"""Boards at the other end of a real line: the firmware in a process of its own, behind a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import opticaldr.firmware_interface

ROOM = Path(opticaldr.firmware_interface.__file__).parent
MAIN = ROOM / "firmware" / "main.py"

# CPython runs the same main.py once `micropython` exists and the line is not read ahead.
CPYTHON = """
import io, runpy, sys, types
sys.modules["micropython"] = types.SimpleNamespace(kbd_intr=lambda key: None)
class Line:
    def __init__(self, fd, mode): self.buffer, self.fileno = io.FileIO(fd, mode), lambda: fd
sys.stdin, sys.stdout = Line(0, "r"), Line(1, "w")
sys.path.insert(0, {room!r})
runpy.run_path({main!r})
"""


def micropython() -> str | None:
    """The MicroPython to test under: `$OPTICALDR_MICROPYTHON`, or the one on the path."""
    return os.environ.get("OPTICALDR_MICROPYTHON") or shutil.which("micropython")


@dataclass
class Terminal:
    """A pseudo-terminal: a program on one end, a path that looks like a serial port on the other."""

    path: str
    process: subprocess.Popen[bytes] | None
    master: int
    slave: int

    def kill(self) -> None:
        """What pulling the cable does: the other end is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


@pytest.fixture
def terminal() -> Iterator[Callable[[list[str] | None], Terminal]]:
    """Make a terminal with ``command`` at its other end (or nobody: the test itself holds ``master``)."""
    made: list[Terminal] = []

    def make(command: list[str] | None) -> Terminal:
        master, slave = pty.openpty()
        tty.setraw(slave)
        process = None
        if command is not None:
            process = subprocess.Popen(
                command, stdin=master, stdout=master, env={**os.environ, "MICROPYPATH": str(ROOM)}
            )
        made.append(Terminal(os.ttyname(slave), process, master, slave))
        return made[-1]

    yield make
    for each in made:
        each.kill()
        os.close(each.slave)


@pytest.fixture(params=["cpython", "micropython"])
def board_command(request: pytest.FixtureRequest) -> list[str]:
    """How to start the firmware's own main.py: under CPython, and under MicroPython."""
    if request.param == "cpython":
        return [sys.executable, "-c", CPYTHON.format(room=str(ROOM), main=str(MAIN))]
    found = micropython()
    if found is None:
        pytest.skip("no MicroPython: run tests/board/get_micropython.sh FOLDER and set OPTICALDR_MICROPYTHON")
    return [found, str(MAIN)]


@pytest.fixture
def board_terminal(board_command: list[str], terminal: Callable[[list[str] | None], Terminal]) -> Terminal:
    """The firmware behind a terminal."""
    return terminal(board_command)
