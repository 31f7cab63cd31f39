"""The only way out of eye: records, numbered, at a bounded rate."""

from __future__ import annotations

import os
import select
import time

from opticaldr.device.budget import RateLimit
from opticaldr.device.orders import Orders
from opticaldr.device.records import Kind, Record


class Mouth:
    """The writing end of the pipe: numbers records, keeps to the rate, notices that voice is gone."""

    def __init__(self, orders: Orders) -> None:
        self._pipe = orders.pipe
        self._session = bytes.fromhex(orders.session)
        self._limit = RateLimit(orders.interval)
        self._sequence = 0
        self._began = time.monotonic()
        self._poll = select.poll()
        self._poll.register(self._pipe, 0)

    def may_speak(self) -> bool:
        """Whether the rate allows a record now; if so it must be said."""
        return self._limit.allow(time.monotonic())

    def heard(self) -> bool:
        """Whether voice still holds the other end."""
        return not self._poll.poll(0)

    def say(self, kind: Kind, **fields: object) -> None:
        """Write one record; `BrokenPipeError` if voice is gone."""
        record = Record.model_validate(
            {
                "kind": kind,
                "session": self._session,
                "sequence": self._sequence,
                "moment": int(time.monotonic() - self._began),
                **fields,
            }
        )
        os.write(self._pipe, record.pack())
        self._sequence += 1
