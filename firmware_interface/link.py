"""The line to a board: where it is opened, the clock it lives by, and the bytes on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import serial

from opticaldr.firmware_interface.errors import cannot_open

_BLOCK = 0.01  # seconds for which one read of the port may block


class Link(Protocol):
    """An open line. Reading and writing raise OSError once the other end has gone."""

    def read(self, timeout: float) -> bytes:
        """What has arrived; waits up to ``timeout`` seconds for the first byte."""

    def write(self, data: bytes) -> None:
        """Send ``data``."""

    def close(self) -> None:
        """Give the line back."""


class Port(Protocol):
    """Where a line can be opened, and the clock by which one waits there."""

    name: str

    def open(self) -> Link:
        """Open the line; raises a BoardError that says why it cannot be."""

    def now(self) -> float:
        """Seconds on the clock of this port."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""

    def every(self, period: float, action: Callable[[], None]) -> Callable[[], None]:
        """Do ``action`` every ``period`` seconds until the returned function is called."""


class SerialPort:
    """A pyserial URL: ``/dev/ttyACM0``, ``socket://host:port``, ``rfc2217://…``, ``loop://``; in real time.

    A local port is opened exclusively. The speed matters only to a real UART; USB ignores it.
    """

    def __init__(self, url: str, baudrate: int = 115200) -> None:
        self.name = url
        self._baudrate = baudrate

    def open(self) -> Link:
        """Open the port; raises NoBoard, PortBusy or PortForbidden."""
        options = {} if "://" in self.name else {"exclusive": True}
        try:
            port = serial.serial_for_url(self.name, baudrate=self._baudrate, timeout=_BLOCK, **options)
        except (OSError, ValueError) as error:
            raise cannot_open(self.name, error) from None
        return SerialLink(port)

    def now(self) -> float:
        """See :class:`Port`."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """See :class:`Port`."""
        time.sleep(seconds)

    def every(self, period: float, action: Callable[[], None]) -> Callable[[], None]:
        """See :class:`Port`; the action runs in a thread of its own."""
        ended = threading.Event()

        def loop() -> None:
            while not ended.wait(period):
                action()

        threading.Thread(target=loop, name=f"keeper of {self.name}", daemon=True).start()
        return ended.set


class SerialLink:
    """An open pyserial port."""

    def __init__(self, port: serial.SerialBase) -> None:
        self._port = port

    def read(self, timeout: float) -> bytes:
        """See :class:`Link`."""
        until = time.monotonic() + timeout
        with _vanishing():
            while True:
                waiting = self._port.in_waiting
                if waiting:
                    return bytes(self._port.read(waiting))
                if time.monotonic() >= until:
                    return b""
                first = self._port.read(1)
                if first:
                    return bytes(first)

    def write(self, data: bytes) -> None:
        """See :class:`Link`."""
        with _vanishing():
            self._port.write(data)

    def close(self) -> None:
        """See :class:`Link`."""
        self._port.close()


@contextmanager
def _vanishing() -> Iterator[None]:
    """Pyserial shows a port that has vanished in several ways; here they all become OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # termios.error, TypeError on a closed descriptor
        raise OSError(str(error)) from error
