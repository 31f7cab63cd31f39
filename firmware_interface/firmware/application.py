"""What the board does: answers commands, watches switches and the host, and keeps the bench safe.

Pure: bytes come in by :meth:`Application.receive`, bytes go out by :meth:`Application.take`, pins are behind
``hal``, and time is what ``hal.milliseconds()`` says.

Safe means: source dark, shutter closed, stage still, no pulse waiting. The board makes the bench safe by
itself when a session begins, when the host falls silent, when the cover opens and when the shutter does not
obey.
"""

import struct

from . import mechanics, wire
from .axis import Axis


class Refused(Exception):
    """A command that is not carried out; ``args[0]`` is the reason of ``wire``."""


class Application:
    """The board between power-up and power-down."""

    def __init__(self, hal) -> None:  # type: ignore[no-untyped-def]
        self.hal = hal
        self.axis = Axis(hal)
        self._decoder = wire.Decoder()
        self._out = bytearray()
        self._boot = hal.random()
        self._started = self._heard = self._spoke = hal.milliseconds()
        self._session: int | None = None
        self._latest: int | None = None  # a session that ended does not come back by an old HELLO
        self._sequence = self._boot & 0xFFFF  # of the last command acted on, and what was answered to it
        self._answer = b""
        self._event_sequence = 0
        self._patience = wire.PATIENCE_MS
        self._source = 0
        self._open = False
        self._blade_started = self._started
        self._interlocked = False
        self._cover_open = bool(hal.cover_open())
        self._pulses = hal.pulses()
        self._armed = False
        self._acts = {
            wire.STATE.kind: self._state,
            wire.SOURCE.kind: self._set_source,
            wire.HOME.kind: self._home,
            wire.MOVE.kind: self._move,
            wire.STOP.kind: self._stop,
            wire.SHUTTER.kind: self._set_shutter,
            wire.TRIGGER.kind: self._trigger,
            wire.LIGHT.kind: self._light,
            wire.TEMPERATURE.kind: self._temperature,
            wire.WATCHDOG.kind: self._watchdog,
        }
        self.make_safe()

    # The line

    def receive(self, data: bytes) -> None:
        """Take in what the host sent."""
        for kind, sequence, body in self._decoder.feed(data):
            if kind == wire.HELLO.kind:
                self._greet(sequence, body)
            elif kind == wire.BEAT:
                if self._session is not None:
                    self._heard = self.hal.milliseconds()
            elif kind < wire.BEAT:
                self._answer_to(kind, sequence, body)

    def take(self) -> bytes:
        """What is to be sent to the host now."""
        out = bytes(self._out)
        self._out = bytearray()
        return out

    def poll(self) -> None:
        """Look after everything that happens by itself; call it every millisecond or so."""
        self.hal.feed()
        now = self.hal.milliseconds()
        if self.axis.poll():
            self._tell(wire.STAGE, self.axis.position, self.axis.outcome)
        self._watch_pulse()
        self._watch_cover()
        self._watch_blade(now)
        if self._session is not None:
            if now - self._heard > self._patience:
                self._tell(wire.SILENCE, now - self._heard)
                self.make_safe()
                self._session = None
            elif now - self._spoke >= wire.ALIVE_MS:
                self._spoke = now
                self._tell_packed(wire.ALIVE.kind, self._state(()))

    def make_safe(self) -> None:
        """Source dark, shutter closed, stage still, no pulse waiting."""
        self._source = 0
        self.hal.source(0)
        self._turn_blade(False)
        self.axis.stop()
        self._disarm()

    # Sessions

    def _greet(self, sequence: int, body: bytes) -> None:
        if len(body) < 5:
            return
        protocol, session = struct.unpack("<BI", body[:5])
        if protocol == wire.PROTOCOL and session != self._latest:
            self._session = self._latest = session
            self._answer = b""
            self._patience = wire.PATIENCE_MS
            self._heard = self._spoke = self.hal.milliseconds()
            self.make_safe()
        self._out.extend(wire.pack(wire.HELLO.kind | wire.REPLY, sequence, self._introduction(session)))

    def _introduction(self, session: int) -> bytes:
        hal = self.hal
        return struct.pack(
            wire.HELLO.answers,
            wire.PROTOCOL,
            session,
            self._sequence,
            mechanics.FIRMWARE[0],
            mechanics.FIRMWARE[1],
            mechanics.FIRMWARE[2],
            hal.unique_id(),
            hal.capabilities(),
            hal.reset_reason(),
            self._boot,
            mechanics.STEP_NM,
            mechanics.TRAVEL,
            mechanics.SHUTTER_MS,
            self._patience,
        )

    def _answer_to(self, kind: int, sequence: int, body: bytes) -> None:
        if self._session is None:
            self._refuse(kind, sequence, wire.NO_SESSION)
            return
        self._heard = self.hal.milliseconds()
        step = wire.ahead(sequence, self._sequence)
        if step == 0 and self._answer:
            self._out.extend(self._answer)
        elif step <= 0:
            self._refuse(kind, sequence, wire.STALE)
        else:
            self._sequence = sequence
            try:
                self._answer = wire.pack(kind | wire.REPLY, sequence, self.execute(kind, body))
            except Refused as reason:
                refusal = struct.pack(wire.REFUSED_BODY, kind, reason.args[0])
                self._answer = wire.pack(wire.REFUSED, sequence, refusal)
            self._out.extend(self._answer)

    def _refuse(self, kind: int, sequence: int, reason: int) -> None:
        self._out.extend(wire.pack(wire.REFUSED, sequence, struct.pack(wire.REFUSED_BODY, kind, reason)))

    def _tell(self, event: wire.Message, *values: int) -> None:
        self._tell_packed(event.kind, struct.pack(event.answers, *values))

    def _tell_packed(self, kind: int, body: bytes) -> None:
        if self._session is not None:
            self._event_sequence = (self._event_sequence + 1) & 0xFFFF
            self._out.extend(wire.pack(kind, self._event_sequence, body))

    # Commands

    def execute(self, kind: int, body: bytes) -> bytes:
        """Carry out one command and return the body of its reply; raises Refused."""
        act = self._acts.get(kind)
        if act is None:
            raise Refused(wire.UNKNOWN)
        asks = wire.COMMANDS[kind].asks
        if len(body) != struct.calcsize(asks):
            raise Refused(wire.LENGTH)
        return act(struct.unpack(asks, body))

    def _state(self, _: tuple) -> bytes:  # type: ignore[type-arg]
        self._watch_cover()
        self._watch_blade(self.hal.milliseconds())
        low, high = self.hal.switches()
        flags = (
            (wire.COVER if self._cover_open else 0)
            | (wire.OPEN if self._open else 0)
            | (wire.SETTLED if self._blade_arrived(self.hal.milliseconds()) else 0)
            | (wire.INTERLOCKED if self._interlocked else 0)
            | (wire.IS_HOMED if self.axis.homed else 0)
            | (wire.MOVING if self.axis.moving else 0)
            | (wire.LOW if low else 0)
            | (wire.HIGH if high else 0)
            | (wire.ARMED if self._armed else 0)
        )
        return struct.pack(
            wire.STATE.answers,
            flags,
            self.axis.position,
            self.axis.outcome,
            self._source,
            self._pulses,
            self.hal.slm_frames() & 0xFFFFFFFF,
            self._decoder.bad & 0xFFFFFFFF,
            (self.hal.milliseconds() - self._started) & 0xFFFFFFFF,
        )

    def _set_source(self, asked: tuple) -> bytes:  # type: ignore[type-arg]
        level = asked[0]
        if level > wire.FULL_SOURCE:
            raise Refused(wire.RANGE)
        if level:
            self._demand_interlock()
        self._source = level
        self.hal.source(level)
        return b""

    def _home(self, _: tuple) -> bytes:  # type: ignore[type-arg]
        if self.axis.moving:
            raise Refused(wire.BUSY)
        self.axis.home()
        return b""

    def _move(self, asked: tuple) -> bytes:  # type: ignore[type-arg]
        if self.axis.moving:
            raise Refused(wire.BUSY)
        if not self.axis.homed:
            raise Refused(wire.NOT_HOMED)
        if not 0 <= asked[0] <= mechanics.TRAVEL:
            raise Refused(wire.RANGE)
        self.axis.move(asked[0])
        return b""

    def _stop(self, _: tuple) -> bytes:  # type: ignore[type-arg]
        self.axis.stop()
        self._disarm()
        return b""

    def _set_shutter(self, asked: tuple) -> bytes:  # type: ignore[type-arg]
        if asked[0] > 1:
            raise Refused(wire.RANGE)
        if asked[0]:
            self._demand_interlock()
        self._turn_blade(bool(asked[0]))
        return b""

    def _trigger(self, asked: tuple) -> bytes:  # type: ignore[type-arg]
        width, frames = asked
        if self._armed:
            raise Refused(wire.BUSY)
        if not wire.PULSE_RANGE_US[0] <= width <= wire.PULSE_RANGE_US[1]:
            raise Refused(wire.RANGE)
        self._armed = True
        self.hal.arm_pulse(width, frames)
        return struct.pack(wire.TRIGGER.answers, self._pulses)

    def _light(self, asked: tuple) -> bytes:  # type: ignore[type-arg]
        self.hal.light(*asked)
        return b""

    def _temperature(self, _: tuple) -> bytes:  # type: ignore[type-arg]
        millikelvin = self.hal.temperature()
        if millikelvin is None:
            raise Refused(wire.NO_PART)
        return struct.pack(wire.TEMPERATURE.answers, millikelvin)

    def _watchdog(self, asked: tuple) -> bytes:  # type: ignore[type-arg]
        if not wire.PATIENCE_RANGE_MS[0] <= asked[0] <= wire.PATIENCE_RANGE_MS[1]:
            raise Refused(wire.RANGE)
        self._patience = asked[0]
        return b""

    # What happens by itself

    def _demand_interlock(self) -> None:
        if self._cover_open:
            raise Refused(wire.COVER_OPEN)
        if not self._interlocked:
            raise Refused(wire.NO_INTERLOCK)

    def _turn_blade(self, open: bool) -> None:
        if open != self._open:
            self._open = open
            self._blade_started = self.hal.milliseconds()
        self.hal.shutter(open)

    def _blade_arrived(self, now: int) -> bool:
        return bool(now - self._blade_started >= mechanics.SHUTTER_MS)

    def _watch_blade(self, now: int) -> None:
        if not self._blade_arrived(now):
            return
        obeys = bool(self.hal.blade_closed()) != self._open
        if obeys != self._interlocked:
            self._interlocked = obeys
            self._tell(wire.INTERLOCK, obeys)
            if not obeys:
                self.make_safe()

    def _watch_cover(self) -> None:
        cover_open = bool(self.hal.cover_open())
        if cover_open != self._cover_open:
            self._cover_open = cover_open
            self._tell(wire.TAMPER, cover_open)
        if cover_open and (self._source or self._open):
            self.make_safe()

    def _watch_pulse(self) -> None:
        pulses = self.hal.pulses()
        if pulses != self._pulses:
            self._pulses = pulses
            self._armed = False
            self._tell(wire.PULSE, pulses)

    def _disarm(self) -> None:
        if self._armed:
            self._armed = False
            self.hal.disarm_pulse()
