"""Entry point on the board: copied to ``/main.py``, beside the folder ``firmware``.

The same file runs under MicroPython on a PC, where there are no pins and the simulated bench stands in for
them; standard input and output are then whatever line the host opened.
"""

import select
import sys

import micropython  # type: ignore[import-not-found]
from firmware.application import Application  # type: ignore[import-not-found]

try:
    from firmware.hal_rp2 import Hal, serviced  # type: ignore[import-not-found]
except ImportError:
    from firmware.hal_sim import Hal, serviced  # type: ignore[import-not-found]


def run() -> None:
    """Serve the host for ever; if this ends or hangs, the watchdog resets the chip and the pins fall safe."""
    micropython.kbd_intr(-1)  # the line carries any byte, also 0x03
    board = Application(Hal())
    line_in, line_out = sys.stdin.buffer, sys.stdout.buffer
    waiting = select.poll()
    waiting.register(sys.stdin, select.POLLIN)
    while True:
        if waiting.poll(1):
            data = bytearray()
            while len(data) < 64 and waiting.poll(0):
                byte = line_in.read(1)
                if not byte:
                    return
                data.extend(byte)
            board.receive(bytes(data))
        board.poll()
        reply = board.take()
        if reply:
            line_out.write(reply)


if not serviced():
    run()
