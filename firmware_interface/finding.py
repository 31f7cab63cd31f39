"""Which ports have a board on them."""

from __future__ import annotations

from dataclasses import dataclass

from serial.tools import list_ports

from opticaldr.firmware_interface.client import Board, BoardInfo
from opticaldr.firmware_interface.errors import BoardError, NoBoard
from opticaldr.firmware_interface.link import Port

RASPBERRY_PI = 0x2E8A  # USB vendor of the Pico


@dataclass(frozen=True)
class Found:
    """A serial port, and the board on it or why there is none."""

    port: str
    description: str
    info: BoardInfo | None
    problem: str


def find(*, every_port: bool = False) -> list[Found]:
    """Greet what is on the serial ports: on those of Raspberry Pi's USB vendor id, or on all of them.

    Opening a port resets some other makers' devices, so all of them only when asked for.
    """
    return [
        greet(port.device, port.description)
        for port in sorted(list_ports.comports())
        if every_port or port.vid == RASPBERRY_PI
    ]


def greet(port: str | Port, description: str = "") -> Found:
    """What is at ``port``."""
    board = Board(port)
    try:
        with board:
            return Found(board.port.name, description, board.info(), "")
    except BoardError as error:
        return Found(board.port.name, description, None, str(error))


def the_only_board() -> str:
    """The port of the one board that is plugged in; raises NoBoard when there is none, or more than one."""
    found = find()
    there = [each.port for each in found if each.info]
    if len(there) == 1:
        return there[0]
    if there:
        raise NoBoard(f"there are boards at {', '.join(there)}", "say which one: --port PORT")
    why = "; ".join(each.problem for each in found) or "no serial port belongs to a Raspberry Pi Pico"
    raise NoBoard(f"no board found ({why})", "plug it in, or name its port: --port PORT")
