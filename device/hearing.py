"""The hearing end of the pipe: which records are believed, and how they are told to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opticaldr.device.budget import MOMENT_SLACK, RateLimit
from opticaldr.device.confinement import Protection
from opticaldr.device.records import BadRecord, Event, Kind, Quality, Record


@dataclass
class Hearing:
    """Checks records against what only an honest eye would send: its session, its order, its clock, its rate.

    What it says about bad ones holds nothing of their contents, or that would be a way out too.

    Args:
        session: what every record must carry.
        interval: least seconds between records in the long run.
    """

    session: bytes
    interval: float

    def __post_init__(self) -> None:
        self._sequence = 0
        self._began = self._listened = 0.0
        self._ending = self._ended = False
        # Eye keeps to the same limit by its own clock; a token more forgives the rounding of moments.
        self._limit = RateLimit(self.interval, spare=1.0)

    def silence(self, now: float) -> None:
        """Note that the pipe was empty at ``now``: what comes next was said later."""
        self._listened = now

    def accept(self, data: bytes, now: float) -> Record:
        """The record in ``data``, read at ``now`` (monotonic seconds); `BadRecord` says what is wrong with
        it."""
        record = Record.unpack(data)
        if record.session != self.session:
            raise BadRecord("it is from another session")
        if record.sequence != self._sequence:
            raise BadRecord("its number is not the next one")
        if not self._may_come(record.kind):
            raise BadRecord(f"a {record.kind.name} does not belong here")
        if record.kind is Kind.HELLO:
            self._began = self._listened = now
        earliest, latest = (moment - self._began for moment in (self._listened, now))
        if not earliest - MOMENT_SLACK <= record.moment <= latest + MOMENT_SLACK:
            raise BadRecord("its moment is not now")
        speaks = record.kind is Kind.ESTIMATE or record.event is Event.OPTICS_IN_DOUBT
        if speaks and not self._limit.allow(record.moment):
            raise BadRecord("records come faster than agreed")
        self._sequence += 1
        self._listened = now
        self._ending = self._ending or record.event not in (Event.NONE, Event.OPTICS_IN_DOUBT)
        self._ended = record.kind is Kind.FAREWELL
        return record

    def _may_come(self, kind: Kind) -> bool:
        """HELLO comes first and once, FAREWELL last, and nothing else between an event that ends eye and
        it."""
        if self._ended or (kind is Kind.HELLO) is not (self._sequence == 0):
            return False
        return kind is Kind.FAREWELL or not self._ending


def in_words(record: Record) -> dict[str, Any]:
    """A record as the log and the sinks tell it: only what its kind says, flags by name."""
    body: dict[str, Any] = {
        "key": f"{record.session.hex()}:{record.sequence}",
        "moment": record.moment,
        "quality": [name_of(flag) for flag in Quality if flag in record.quality],
    }
    if record.kind is Kind.HELLO:
        body["protections"] = [name_of(p) for p in Protection if p in Protection(record.protections)]
        return body
    body["interlock_margin"] = record.margin / 100
    if record.kind is Kind.ESTIMATE:
        body |= {"estimate": record.estimate, "sigma": record.sigma, "latency": record.latency}
    elif record.kind is Kind.EVENT:
        body["event"] = name_of(record.event)
    else:
        body |= {name: getattr(record, name) for name in ("frames", "dropped", "latency", "latency_p99")}
    return body


def name_of(member: Quality | Protection | Event) -> str:
    """A flag as it is written for people: lower case, spaces."""
    return (member.name or "").lower().replace("_", " ")
