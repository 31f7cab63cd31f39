"""The board as a Python object: typed methods, SI units, one context manager."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from opticaldr.firmware_interface.errors import (
    BeyondLimits,
    BoardError,
    BoardLost,
    CoverOpen,
    InterlockOpen,
    SlmSilent,
    StageLost,
)
from opticaldr.firmware_interface.firmware import wire
from opticaldr.firmware_interface.link import Port, SerialPort
from opticaldr.firmware_interface.session import Event, Session

_LOOK = 0.01  # seconds between two looks at something that takes time
_LONGEST_MOTION = 120.0  # seconds


@dataclass(frozen=True)
class BoardInfo:
    """Who answered, and the mechanics it was built with.

    Attributes:
        protocol: version of the protocol.
        firmware: version of the firmware, ``major.minor.patch``.
        serial: unique id of the chip, hexadecimal.
        capabilities: what is fitted, out of ``wire.CAPABILITIES``.
        reset_reason: why the board last started, out of ``wire.RESET_REASONS``.
        step: metres the stage moves per step.
        travel: metres from home to the soft limit.
        shutter_time: seconds after which the blade has arrived.
    """

    protocol: int
    firmware: str
    serial: str
    capabilities: tuple[str, ...]
    reset_reason: str
    step: float
    travel: float
    shutter_time: float


@dataclass(frozen=True)
class BoardState:
    """Everything the board knows about the bench at one moment.

    Attributes:
        cover_open: the tamper switch.
        shutter_open: the shutter is asked to be open.
        interlocked: the blade was last seen where it was asked to be.
        homed: the stage knows where it is.
        moving: the stage is under way.
        position: metres from home.
        source: drive of the point source, 0 … 1.
        pulses: trigger pulses completed since the board started.
        slm_frames: frame-sync edges seen since the board started.
        bad_frames: frames the board received damaged.
        uptime: seconds since the board started.
    """

    cover_open: bool
    shutter_open: bool
    interlocked: bool
    homed: bool
    moving: bool
    position: float
    source: float
    pulses: int
    slm_frames: int
    bad_frames: int
    uptime: float


class Board:
    """The board at ``port``: a pyserial URL (``/dev/ttyACM0``, ``socket://host:port``), or a SimulatedBoard.

    Nothing touches the port before the ``with`` block begins; when the block ends, the source is turned off,
    the shutter closed and the stage stopped. Any thread may use it (a simulated one: one at a time).

    ``with Board("/dev/ttyACM0") as board: board.home(); board.move_to(0.25)``

    Every method raises a `BoardError` with a remedy: `BoardLost` when the port goes away, `NoAnswer` after
    bounded retries, `BoardWentSafe` when the board ended the session, and what its own text says.
    """

    def __init__(self, port: str | Port) -> None:
        self.port: Port = SerialPort(port) if isinstance(port, str) else port
        self._session = Session(self.port)

    def __enter__(self) -> Board:
        """Open the port and greet the board. The bench is safe from here on until told otherwise.

        Raises NoBoard, PortBusy, PortForbidden, WrongDevice, VersionMismatch or NoAnswer.
        """
        self._session.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Make the bench safe and give the port back; a board that has gone makes it safe by itself."""
        try:
            if not isinstance(error, BoardError):
                self.source(0.0)
                self.stop()
                self.shutter(False)
        except BoardError:
            if error is None:
                raise
        finally:
            self._session.close()

    def info(self) -> BoardInfo:
        """What the board said of itself when it was greeted."""
        said = self._session.greeting
        if said is None:
            raise BoardLost(f"{self.port.name} is not open", "use the board inside its `with` block")
        reset = said.reset_reason
        return BoardInfo(
            protocol=said.protocol,
            firmware=f"{said.major}.{said.minor}.{said.patch}",
            serial=said.unique_id.hex(),
            capabilities=tuple(p for bit, p in enumerate(wire.CAPABILITIES) if said.capabilities >> bit & 1),
            reset_reason=wire.RESET_REASONS[reset] if reset < len(wire.RESET_REASONS) else "unknown",
            step=said.step_nm * 1e-9,
            travel=said.step_nm * said.travel_steps * 1e-9,
            shutter_time=said.shutter_ms * 1e-3,
        )

    def state(self) -> BoardState:
        """Everything the board knows about the bench now."""
        return self._look()[0]

    # Light

    def source(self, power: float) -> None:
        """Drive the point source at ``power`` 0 … 1 (12 bit).

        Raises InterlockOpen or CoverOpen (only for power > 0), BeyondLimits.
        """
        _within("source power", power, 0.0, 1.0)
        self._session.ask(wire.SOURCE, round(power * wire.FULL_SOURCE))

    def shutter(self, open: bool) -> None:
        """Open or close the shutter; returns when the blade has arrived.

        Raises InterlockOpen when it does not arrive, CoverOpen.
        """
        self._session.ask(wire.SHUTTER, int(open))
        while True:
            state, flags, _ = self._look()
            if state.cover_open and open:
                raise CoverOpen("the cover was opened, so the board closed the shutter", "close the housing")
            if state.shutter_open != open or (flags & wire.SETTLED and not state.interlocked):
                raise InterlockOpen(
                    f"the shutter did not {'open' if open else 'close'}",
                    "look what blocks its blade; plug it and its closed-contact in, see hardware/board/README.md",
                )
            if flags & wire.SETTLED:
                return
            self.port.wait(_LOOK)

    def light(self, red: float, green: float, blue: float) -> None:
        """Colour of the status light, 0 … 1 each."""
        for name, value in (("red", red), ("green", green), ("blue", blue)):
            _within(name, value, 0.0, 1.0)
        self._session.ask(wire.LIGHT, round(red * 255), round(green * 255), round(blue * 255))

    # Stage

    def home(self) -> None:
        """Find the low end switch: where it lets go on the way up is position 0. Blocks until done.

        Raises StageLost when the switch is not found.
        """
        self._session.ask(wire.HOME)
        self._await_motion(wire.HOMED)

    def move_to(self, position: float) -> float:
        """Move the stage to ``position`` metres from home; returns the position reached, a whole step.

        Every position is approached from below, which takes up the play of the drive. Blocks until the stage
        stands. Raises BeyondLimits, NotHomed, Busy, StageLost.
        """
        info = self.info()
        _within("stage position", position, 0.0, info.travel + info.step / 2, " m")
        self._session.ask(wire.MOVE, round(position / info.step))
        return self._await_motion(wire.ARRIVED).position

    def where(self) -> float:
        """Stage position by the motor's count, metres from home."""
        return self.state().position

    def stop(self) -> None:
        """Stop the stage now and forget a pulse that waits."""
        self._session.ask(wire.STOP)

    def _await_motion(self, wanted: int) -> BoardState:
        until = self.port.now() + _LONGEST_MOTION
        while self.port.now() < until:
            state, _, outcome = self._look()
            if not state.moving:
                if outcome == wanted:
                    return state
                raise StageLost(*_MOTION_ENDED.get(outcome, _MOTION_ENDED[wire.STOPPED]))
            self.port.wait(_LOOK)
        self.stop()
        raise StageLost(
            f"the stage was still moving after {_LONGEST_MOTION:.0f} s", "check the motor's driver"
        )

    # Trigger, senses

    def trigger(self, seconds: float, *, after_slm_frames: int = 0) -> None:
        """Send one pulse of ``seconds`` (whole microseconds) down the trigger line; blocks until it is over.

        With ``after_slm_frames``, it begins at that edge of the SLM's frame sync, counted from now.
        Raises BeyondLimits, Busy, SlmSilent.
        """
        low, high = wire.PULSE_RANGE_US
        _within("pulse width", seconds, low * 1e-6, high * 1e-6, " s")
        _within("SLM frames to wait", after_slm_frames, 0, 0xFFFF)
        (before,) = self._session.ask(wire.TRIGGER, round(seconds * 1e6), after_slm_frames)
        until = self.port.now() + seconds + 1.0 + 0.1 * after_slm_frames
        while self.state().pulses == before:
            if self.port.now() >= until:
                self.stop()
                raise SlmSilent(
                    "the pulse did not come: the SLM's frame sync is silent",
                    "switch the SLM on and connect its sync output, see hardware/board/README.md",
                )
            self.port.wait(min(_LOOK, seconds))

    def temperature(self) -> float:
        """Temperature inside the housing, kelvin. Raises PartMissing."""
        return float(self._session.ask(wire.TEMPERATURE)[0]) * 1e-3

    def tamper(self) -> bool:
        """Whether the cover is open."""
        return self.state().cover_open

    # Life

    def watchdog(self, seconds: float) -> None:
        """How long the board bears silence before it makes the bench safe by itself (2 s after greeting).

        Signs of life are sent by themselves, four times as often. Raises BeyondLimits.
        """
        low, high = wire.PATIENCE_RANGE_MS
        _within("watchdog", seconds, low * 1e-3, high * 1e-3, " s")
        self._session.ask(wire.WATCHDOG, round(seconds * 1e3))
        self._session.patience = seconds

    @property
    def retries(self) -> int:
        """How often a command had to be sent again since the board object was made."""
        return self._session.retries

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """What the board says unasked, as it comes; ends after ``timeout`` seconds without anything."""
        return self._session.events(timeout)

    def on_event(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` with every event, from whichever thread hears it; it may use the board.

        What a listener raises is logged and goes no further.
        """
        self._session.listeners.append(listener)

    def _look(self) -> tuple[BoardState, int, int]:
        """The state, its raw flags, and how the last motion ended."""
        flags, position, outcome, source, pulses, slm_frames, bad, uptime = self._session.ask(wire.STATE)
        state = BoardState(
            cover_open=bool(flags & wire.COVER),
            shutter_open=bool(flags & wire.OPEN),
            interlocked=bool(flags & wire.INTERLOCKED),
            homed=bool(flags & wire.IS_HOMED),
            moving=bool(flags & wire.MOVING),
            position=position * self.info().step,
            source=source / wire.FULL_SOURCE,
            pulses=pulses,
            slm_frames=slm_frames,
            bad_frames=bad,
            uptime=uptime * 1e-3,
        )
        return state, flags, outcome


_MOTION_ENDED = {
    wire.STOPPED: ("the stage was stopped on its way", "see why (cover, silence, stop), then home it again"),
    wire.HIT_SWITCH: (
        "the stage ran into an end switch where none should be: steps were lost",
        "free the carriage, then home it again",
    ),
    wire.NO_SWITCH: ("the stage found no low end switch", "check the switch and the motor's direction"),
}


def _within(what: str, value: float, low: float, high: float, unit: str = "") -> None:
    if not low <= value <= high:  # also catches NaN
        raise BeyondLimits(f"{what} {value:g}{unit} is beyond {low:g} … {high:g}{unit}", "ask for less")
