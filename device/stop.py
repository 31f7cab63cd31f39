"""Ending on request, between two steps and never within one."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self


class StopSign:
    """A context manager: signals that would end the process are only noted meanwhile.

    Attributes:
        seen: whether one has come.

    Args:
        heeded: signals that ask to stop.
        ignored: signals that are somebody else's business.
    """

    def __init__(self, heeded: tuple[signal.Signals, ...], ignored: tuple[signal.Signals, ...] = ()) -> None:
        self.seen = False
        self._heeded, self._ignored = heeded, ignored
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in self._heeded:
            self._before[number] = signal.signal(number, self._see)
        for number in self._ignored:
            self._before[number] = signal.signal(number, signal.SIG_IGN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _see(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
