"""The only thing that ever leaves eye: a record of 64 bytes, every field bounded, every bit accounted for.

A record is what eye may say; whatever is outside the ranges below is refused by voice, so the ranges are an
upper bound on what a subverted eye could smuggle out. `bits` counts them.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum, IntFlag
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAGIC = b"ODR1"
VERSION = 1
_BODY = struct.Struct("<4sBB16sIIHBHBHIIHHI")
"""magic, version, kind, session, sequence, moment, estimate, sigma, quality, event, margin, frames, dropped,
latency p50 and p99, protections."""
_CRC = struct.Struct("<I")
SIZE = 64
"""Bytes of a record on the pipe; the rest up to it is zero."""
_PADDING = bytes(SIZE - _BODY.size - _CRC.size)
_NO_ESTIMATE = 0xFFFF
MAX_LATENCY = 6553.5e-3
"""Longest latency that can be told, seconds; longer ones are told as this."""


class Kind(IntEnum):
    """What a record is about."""

    HELLO = 1
    """Eye is confined and sees its first frame; `protections` says what was proven."""
    ESTIMATE = 2
    EVENT = 3
    """Something happened to the optics or the camera; there is no estimate."""
    FAREWELL = 4
    """The last word: how many frames, how many dropped, how long they took."""


class Event(IntEnum):
    """What happened. All but OPTICS_IN_DOUBT end eye; `perseverance` says which need somebody to arm it again."""

    NONE = 0
    OPTICS_NOT_IN_PLACE = 1
    OPTICS_IN_DOUBT = 2
    """Frames cannot be judged (too dark, too plain) and are dropped until they can."""
    CAMERA_SILENT = 3
    FAILED = 4
    COVER_OPEN = 5
    """The board's tamper switch: somebody opened the housing."""
    BOARD_SILENT = 6
    TEMPERATURE_OUT_OF_RANGE = 7
    CALIBRATION_EXPIRED = 8
    SHUTTER_STUCK = 9


class Quality(IntFlag):
    """Why an estimate deserves less trust; 0 is a good one."""

    DARK = 1
    SATURATED = 2
    MOVING = 4
    DOUBTFUL_OPTICS = 8
    """A frame of this window was dropped because the optics were in doubt."""
    OUT_OF_RANGE = 16
    """The model answered outside 0 to 63, or less sure than knowing nothing."""
    SIMULATED = 32
    UNPROTECTED = 64
    """Eye runs in development mode: not every protection holds."""


class BadRecord(Exception):
    """Bytes on the pipe that eye, in its right mind, would never write."""


class Record(BaseModel):
    """One record.

    Attributes:
        kind: what it is about.
        session: the 16 bytes voice gave eye at its start.
        sequence: 0 for HELLO, then one more each time.
        moment: whole seconds since eye's HELLO.
        estimate: BDI-II total, 0 to 63 in steps of 0.1; only in ESTIMATE.
        sigma: its standard deviation, 0.1 to 25.5 in steps of 0.1; only in ESTIMATE.
        quality: reasons for less trust.
        event: what happened; only in EVENT.
        margin: interlock statistic as a percentage of its threshold, the highest of the window.
        frames, dropped: frames seen and frames thrown away since the start; only in FAREWELL.
        latency, latency_p99: seconds (steps of 0.1 ms) from the end of the capture until the frame was
            done with: median and 99th percentile of the session in FAREWELL; of an ESTIMATE, only
            ``latency``: from capture to record.
        protections: bit mask of what eye has proven about its own confinement; only in HELLO.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Kind
    session: Annotated[bytes, Field(min_length=16, max_length=16)]
    sequence: Annotated[int, Field(ge=0, lt=2**32)]
    moment: Annotated[int, Field(ge=0, lt=2**32)] = 0
    estimate: Annotated[float, Field(ge=0, le=63, allow_inf_nan=False)] | None = None
    sigma: Annotated[float, Field(ge=0.1, le=25.5, allow_inf_nan=False)] | None = None
    quality: Quality = Quality(0)
    event: Event = Event.NONE
    margin: Annotated[int, Field(ge=0, le=1000)] = 0
    frames: Annotated[int, Field(ge=0, lt=2**32)] = 0
    dropped: Annotated[int, Field(ge=0, lt=2**32)] = 0
    latency: Annotated[float, Field(ge=0, le=MAX_LATENCY)] = 0.0
    latency_p99: Annotated[float, Field(ge=0, le=MAX_LATENCY)] = 0.0
    protections: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="after")
    def _says_only_what_its_kind_may(self) -> Self:
        estimating = self.kind is Kind.ESTIMATE
        if (self.estimate is None) is estimating or (self.sigma is None) is estimating:
            raise ValueError("an estimate and its sigma belong in an ESTIMATE, and nowhere else")
        if (self.event is Event.NONE) is (self.kind is Kind.EVENT):
            raise ValueError("an event belongs in an EVENT, and nowhere else")
        if self.kind is not Kind.FAREWELL and (self.frames or self.dropped or self.latency_p99):
            raise ValueError("counts belong in the FAREWELL")
        if self.kind in (Kind.HELLO, Kind.EVENT) and self.latency:
            raise ValueError("a latency belongs in an ESTIMATE or the FAREWELL")
        if self.protections and self.kind is not Kind.HELLO:
            raise ValueError("protections belong in the HELLO")
        return self

    def pack(self) -> bytes:
        """The record as `SIZE` bytes, little-endian, closed by the CRC-32 of all that precedes it."""
        body = _BODY.pack(
            MAGIC,
            VERSION,
            self.kind,
            self.session,
            self.sequence,
            self.moment,
            _NO_ESTIMATE if self.estimate is None else round(self.estimate * 10),
            0 if self.sigma is None else round(self.sigma * 10),
            self.quality,
            self.event,
            self.margin,
            self.frames,
            self.dropped,
            round(self.latency * 1e4),
            round(self.latency_p99 * 1e4),
            self.protections,
        )
        body += _PADDING
        return body + _CRC.pack(zlib.crc32(body))

    @classmethod
    def unpack(cls, data: bytes) -> Record:
        """Read a record back; `BadRecord` for anything `pack` would not have written."""
        if len(data) != SIZE:
            raise BadRecord(f"{len(data)} bytes instead of {SIZE}")
        if _CRC.unpack_from(data, SIZE - _CRC.size)[0] != zlib.crc32(data[: -_CRC.size]):
            raise BadRecord("the checksum is wrong")
        magic, version, *fields = _BODY.unpack_from(data)
        if magic != MAGIC or version != VERSION:
            raise BadRecord("it is of another kind or version")
        kind, session, sequence, moment, estimate, sigma, quality, event, margin, *counts = fields
        frames, dropped, latency, latency_p99, protections = counts
        if quality & ~sum(Quality):
            raise BadRecord("it has unknown flags")
        try:
            record = cls(
                kind=Kind(kind),
                session=session,
                sequence=sequence,
                moment=moment,
                estimate=None if estimate == _NO_ESTIMATE else estimate / 10,
                sigma=None if sigma == 0 else sigma / 10,
                quality=Quality(quality),
                event=Event(event),
                margin=margin,
                frames=frames,
                dropped=dropped,
                latency=latency / 1e4,
                latency_p99=latency_p99 / 1e4,
                protections=protections,
            )
        except ValueError:  # pydantic's is one too
            raise BadRecord("a field is outside what it may hold") from None
        if record.pack() != data:
            raise BadRecord("there is something in the padding")
        return record
