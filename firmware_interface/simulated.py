"""A simulated board: the firmware itself in the simulated world, at the other end of an in-memory line."""

from __future__ import annotations

from collections.abc import Callable

from opticaldr.errors import Refusal
from opticaldr.firmware_interface.errors import NoBoard
from opticaldr.firmware_interface.firmware.application import Application
from opticaldr.firmware_interface.firmware.hal_sim import Hal
from opticaldr.firmware_interface.link import Link
from opticaldr.hardware.world import World

LATENCY = 0.5e-3  # seconds of simulated time from the host's write to the board's ear, as over USB
POLL = 2e-3  # seconds of simulated time between two rounds of the board's main loop


class SimulatedBoard:
    """A board in ``world``; give it to :class:`~opticaldr.firmware_interface.client.Board` in place of a URL.

    Waiting for it passes simulated time, so nothing sleeps (unless the world is ``paced``). One thread at a
    time may use a world.
    """

    name = "sim://"

    def __init__(self, world: World | None = None, *, serial: bytes = b"SIMBOARD") -> None:
        if len(serial) != 8:
            raise Refusal(f"serial {serial!r} has {len(serial)} bytes", "a board's unique id has 8")
        self.world = World() if world is None else world
        self._serial = serial
        self._boots = 0
        self._plugged = True
        self._link: _SimulatedLink | None = None
        self._application: Application | None = None
        self._pending = bytearray()
        self.power_on()
        self.world.every(POLL, self._run)

    # Port

    def open(self) -> Link:
        """Plug the host in; raises NoBoard while there is no board to plug into."""
        if not self._plugged or self._application is None:
            raise NoBoard(f"there is nothing at {self.name} (unplugged)", "plug it in")
        self._pending.clear()
        self._link = _SimulatedLink(self)
        return self._link

    def now(self) -> float:
        """Simulated seconds."""
        return self.world.now

    def wait(self, seconds: float) -> None:
        """Let simulated time pass."""
        self.world.advance(seconds)

    def every(self, period: float, action: Callable[[], None]) -> Callable[[], None]:
        """Do ``action`` every ``period`` simulated seconds."""
        return self.world.every(period, action)

    # What may happen to a board

    def power_off(self) -> None:
        """Take the supply away: the wiring makes the bench safe, the port vanishes."""
        self._application = None
        self._cut()
        self.world.lose_power()

    def power_on(self) -> None:
        """Give the supply back: the firmware starts from the beginning."""
        self._boots += 1
        hal = Hal(self.world, serial=self._serial, reset_reason=1, seed=self._boots)
        self._application = Application(hal)

    def unplug(self) -> None:
        """Pull the data cable of a board that has a supply of its own."""
        self._plugged = False
        self._cut()

    def plug(self) -> None:
        """Put the data cable back."""
        self._plugged = True

    def _cut(self) -> None:
        if self._link is not None:
            self._link.alive = False
            self._link = None

    # The main loop

    def _hear(self, data: bytes) -> None:
        if self._application is not None:
            self._application.receive(data)
            self._run()

    def _run(self) -> None:
        if self._application is not None:
            self._application.poll()
            said = self._application.take()
            if self._link is not None:
                self._pending.extend(said)


class _SimulatedLink:
    def __init__(self, board: SimulatedBoard) -> None:
        self.alive = True
        self._board = board

    def read(self, timeout: float) -> bytes:
        board, world = self._board, self._board.world
        until = world.now + timeout
        while True:
            self._check()
            if board._pending:
                said = bytes(board._pending)
                board._pending.clear()
                return said
            if world.now >= until:
                return b""
            world.advance(min(POLL, until - world.now))

    def write(self, data: bytes) -> None:
        self._check()
        self._board.world.advance(LATENCY)
        self._check()
        self._board._hear(data)

    def close(self) -> None:
        self.alive = False

    def _check(self) -> None:
        if not self.alive:
            raise OSError(5, "the simulated board has gone")
