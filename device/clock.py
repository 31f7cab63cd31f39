"""The time of day may be set while a camera runs (a Raspberry Pi starts without it); the log says when it was."""

from __future__ import annotations

import time

LEAST_JUMP = 2.0
"""Seconds; less is what a clock that is being disciplined does."""


class WallClock:
    """Compares the time of day with the steady clock, which nobody can set."""

    def __init__(self) -> None:
        self._ahead = self._difference()

    def jump(self) -> float:
        """Seconds by which the time of day was set forward since this was last asked; 0 if it was not."""
        ahead = self._difference()
        jump = ahead - self._ahead
        if abs(jump) < LEAST_JUMP:
            return 0.0
        self._ahead = ahead
        return jump

    @staticmethod
    def _difference() -> float:
        return time.time() - time.monotonic()
