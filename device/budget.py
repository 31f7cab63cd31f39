"""How much eye may say: a token bucket at both ends of the pipe, and the bits that fit through it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from opticaldr.device.records import Kind, Quality

FACE_IMAGE_BITS = 112 * 112 * 3 * 8
"""One face as recognisers like it: 112 × 112 pixels, RGB, 8 bits, uncompressed."""
MOMENT_SLACK = 2
"""Seconds by which a record's moment may differ from voice's own clock."""
BURST = 4
"""Estimates that may come at once after a quiet time."""

_CHOICES = {
    "kind": len(Kind),
    "moment": 2 * MOMENT_SLACK + 1,
    "estimate": 631,
    "sigma": 255,
    "quality": 2 ** len(Quality),
    "margin": 1001,
    "latency": 2**16,
}
"""Values that each field of an ESTIMATE can take; all other fields are zero or known to voice beforehand."""

BITS_PER_ESTIMATE = sum(math.log2(choices) for choices in _CHOICES.values())
"""Upper bound on what one estimate can carry, however eye was subverted."""


def bits_per_hour(interval: float) -> float:
    """Upper bound on what eye can say in any hour with one estimate every ``interval`` seconds.

    The burst counts in full. When an estimate comes is a message too: each may come in any second of its
    interval.
    """
    estimates = 3600 / interval + BURST
    return estimates * (BITS_PER_ESTIMATE + math.log2(max(interval, 1) + 1))


@dataclass
class RateLimit:
    """A token bucket: one record every ``interval`` seconds, up to `BURST` at once after a quiet time.

    Args:
        interval: seconds between records in the long run.
        spare: tokens that the bucket holds beyond `BURST`.
    """

    interval: float
    spare: float = 0.0

    def __post_init__(self) -> None:
        self._tokens = BURST + self.spare
        self._last: float | None = None

    def allow(self, now: float) -> bool:
        """Take a token if there is one; ``now`` is a monotonic clock in seconds."""
        if self._last is not None:
            self._tokens = min(BURST + self.spare, self._tokens + max(now - self._last, 0.0) / self.interval)
        self._last = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
