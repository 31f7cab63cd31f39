"""The board as a Python object: typed methods, SI units, one context manager.

Sketch of the surface; the bodies follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BoardInfo:
    """Who answered: versions, identity and the mechanics the board was built with."""

    protocol: int
    firmware: str
    serial: str
    capabilities: frozenset[
        str
    ]  # "source", "stage", "shutter", "trigger", "light", "temperature", "tamper", "slm"
    reset_reason: str  # "power-on", "watchdog", ...
    step: float  # metres per motor step
    travel: float  # metres between the end switches
    shutter_time: float  # seconds


@dataclass(frozen=True)
class Event:
    """Something the board said unasked."""

    kind: str  # "tamper", "interlock", "heartbeat-lost", "stage", "pulse", "alive", "restarted"
    time: float  # seconds on the clock of the link when it was received
    detail: dict[str, Any]


class Board:
    """The board behind ``port``: a pyserial URL (``/dev/ttyACM0``, ``socket://host:port``) or a SimulatedBoard.

    ``with Board(SimulatedBoard(world)) as board:`` or ``with Board("/dev/ttyACM0") as board:``; nothing
    touches the port before the block begins. Leaving the block turns the source off and closes the shutter.
    """

    def __init__(self, port: Any) -> None: ...
    def __enter__(self) -> Board: ...
    def __exit__(self, *_: object) -> None: ...
    def info(self) -> BoardInfo: ...
    def source(self, power: float) -> None:
        """Set the point source to ``power`` 0 … 1 (12 bit PWM)."""

    def home(self) -> None:
        """Find the low end switch; position 0 from then on. Blocks until done."""

    def move_to(self, position: float) -> float:
        """Move the stage to ``position`` metres from home, always approached from below (takes up backlash);
        blocks until it stands; returns the position reached (a whole number of steps)."""

    def where(self) -> float:
        """Stage position, metres from home, by the motor's count."""

    def shutter(self, open: bool) -> None:
        """Open or close the shutter; returns when the blade has arrived."""

    def trigger(self, seconds: float, *, after_slm_frames: int = 0) -> None:
        """One pulse on the trigger line (µs resolution), after that many SLM frame-sync edges; blocks until over."""

    def light(self, red: float, green: float, blue: float) -> None: ...
    def temperature(self) -> float:
        """Temperature inside the housing, kelvin."""

    def tamper(self) -> bool:
        """True while the housing's cover is open."""

    def watchdog(self, seconds: float) -> None:
        """How long the board waits for a sign of life before it makes the bench safe by itself."""

    def events(self, timeout: float | None = None) -> Iterator[Event]: ...
    def on_event(self, callback: Callable[[Event], None]) -> None: ...
