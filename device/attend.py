"""One run, many sessions: eye looks while the shutter is wanted open, and only a deliberate act opens it again.

There is no way to tell a running eye anything. Closing the shutter ends eye, which closes it; opening it starts
eye anew, with everything proven again.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

from opticaldr.device.audit import AuditLog
from opticaldr.device.notify import ALIVE, notify
from opticaldr.device.orders import OK, TRIPPED, Orders
from opticaldr.device.perseverance import REARMED, persevere
from opticaldr.device.status import Status
from opticaldr.device.stop import StopSign
from opticaldr.device.voice import Session
from opticaldr.errors import Refusal

_TICK = 0.1  # seconds


class Shutter:
    """What people want of the shutter; asked from any thread.

    Attributes:
        wanted: whether it may be open.
    """

    def __init__(self, *, wanted: bool) -> None:
        self.wanted = wanted
        self._asked = threading.Event()

    def ask(self, *, opened: bool) -> None:
        """Want it open, or closed."""
        self.wanted = opened
        self._asked.set()

    def wait(self) -> None:
        """Wait a moment, or until somebody asks."""
        self._asked.wait(_TICK)
        self._asked.clear()


def attend(
    orders: Orders,
    log: AuditLog,
    shutter: Shutter,
    status: Status,
    *,
    about: Mapping[str, Any],
    seconds: float | None,
    on_entry: Callable[[Mapping[str, Any]], None],
) -> Session:
    """Listen to one eye after another until the run is over; returns their sessions as one.

    After a trip, a failure or a suspicion the shutter stays closed until somebody wants it open again. The other
    arguments are those of `opticaldr.device.voice.listen`.
    """
    session = Session(exit_code=OK)
    with StopSign((signal.SIGINT, signal.SIGTERM)) as sign:
        while not sign.seen:
            if not shutter.wanted:
                notify(ALIVE)
                shutter.wait()
                continue
            if session.exit_code == TRIPPED:
                log.append(REARMED, {"by": "page"})
            try:
                found = persevere(
                    orders,
                    log,
                    about=about,
                    seconds=seconds,
                    wanted=lambda: shutter.wanted,
                    on_entry=on_entry,
                )
            except Refusal as refusal:
                session.not_started = str(refusal)
                shutter.ask(opened=False)
                status.closed(str(refusal))
                continue
            session = found.after(session)
            if found.stopped or (shutter.wanted and found.exit_code == OK and not found.suspicion):
                break
            shutter.ask(opened=False)
    return session
