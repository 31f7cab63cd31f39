"""What voice knows right now, for the local page and the metrics: taken from the entries of the log, so that it
cannot say anything else."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from opticaldr.device.audit import AuditLog
from opticaldr.device.budget import BITS_PER_ESTIMATE, FACE_IMAGE_BITS, bits_per_hour
from opticaldr.device.chain import Entry, latest
from opticaldr.device.confinement import Protection
from opticaldr.device.delivery import Delivery
from opticaldr.device.hearing import name_of
from opticaldr.device.records import Event

HISTORY = 720
"""Estimates that the page shows: twelve hours at one a minute."""


@dataclass(frozen=True)
class Facts:
    """What does not change during a run.

    Attributes:
        bundle: its id.
        calibrated: when the optics were measured; None if the bundle does not say.
        interval: least seconds between two estimates.
        purpose: what the estimates may be used for.
    """

    bundle: str
    calibrated: datetime | None
    interval: float
    purpose: str


@dataclass
class Status:
    """Follows the log; one thread writes, others read.

    Attributes:
        facts: about this run.
        log: open audit log.
        deliveries: to the sinks.
        version: grows with every change.
    """

    facts: Facts
    log: AuditLog
    deliveries: Sequence[Delivery] = ()
    version: int = 0
    _shutter: str = "closed"
    _why_closed: str = ""
    _in_doubt: bool = False
    _latest: dict[str, Any] | None = None
    _history: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=HISTORY))
    _protections: frozenset[str] = frozenset()
    _margin: float | None = None
    _counts: dict[str, int] = field(default_factory=lambda: {"estimate": 0, "event": 0, "bad record": 0})
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        for entry in islice(latest(self.log.path, ("estimate",)), HISTORY):
            self._history.appendleft(_shown(entry))

    def take(self, entry: Entry) -> None:
        """Take in an entry that was just logged."""
        kind, body = entry["kind"], entry["body"]
        with self._lock:
            if kind in self._counts:
                self._counts[kind] += 1
            if kind == "started":
                self._shutter, self._why_closed, self._latest, self._margin = "opening", "", None, None
                self._in_doubt = False
            elif kind == "hello":
                self._shutter, self._protections = "open", frozenset(body["protections"])
            elif kind == "estimate":
                self._latest, self._in_doubt = _shown(entry), False
                self._history.append(self._latest)
            elif kind == "event" and body["event"] == name_of(Event.OPTICS_IN_DOUBT):
                self._in_doubt = True
            elif kind == "event":
                self._why_closed = body["event"]
            elif kind in ("suspicion", "refused"):
                self._why_closed = body.get("why", "eye could not start")
            elif kind == "ended":
                self._shutter, self._latest, self._in_doubt = "closed", None, False
            self._margin = body.get("interlock_margin", self._margin)
            self.version += 1

    def closed(self, why: str) -> None:
        """Note why eye is not running."""
        with self._lock:
            self._shutter, self._why_closed = "closed", why
            self.version += 1

    def snapshot(self) -> dict[str, Any]:
        """Everything, ready for JSON. It holds numbers and words, and nothing that was seen."""
        hourly = bits_per_hour(self.facts.interval)
        calibrated = self.facts.calibrated
        with self._lock:
            return {
                "now": datetime.now(UTC).isoformat(timespec="seconds"),
                "shutter": self._shutter,
                "why_closed": self._why_closed,
                "in_doubt": self._in_doubt,
                "estimate": self._latest,
                "history": list(self._history),
                "interval": self.facts.interval,
                "interlock_margin": self._margin,
                "bits": {
                    "per_estimate": BITS_PER_ESTIMATE,
                    "per_hour": hourly,
                    "face_image": FACE_IMAGE_BITS,
                    "hours_for_one_face_image": FACE_IMAGE_BITS / hourly,
                },
                "bundle": self.facts.bundle,
                "calibrated": calibrated.isoformat(timespec="seconds") if calibrated else None,
                "calibration_age_days": (time.time() - calibrated.timestamp()) / 86400
                if calibrated
                else None,
                "protections": [
                    {"name": name_of(protection), "holds": name_of(protection) in self._protections}
                    for protection in Protection
                ],
                "tested": bool(self._protections),
                "audit": {"entries": self.log.entries, "head": self.log.head},
                "counts": dict(self._counts),
                "lost": self.log.lost,
                "deliveries": [delivery.progress() for delivery in self.deliveries],
                "purpose": self.facts.purpose,
            }


def _shown(entry: Entry) -> dict[str, Any]:
    body: Mapping[str, Any] = entry["body"]
    return {"time": entry["time"], **{name: body[name] for name in ("estimate", "sigma", "quality")}}
