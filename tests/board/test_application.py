"""The firmware's behaviour at the level of frames: sessions, exactly-once, and safety by itself."""

from __future__ import annotations

import struct

import pytest

from opticaldr.firmware_interface.firmware import mechanics, wire
from opticaldr.firmware_interface.firmware.application import Application
from opticaldr.firmware_interface.firmware.hal_sim import Hal
from opticaldr.hardware.world import World


class Bench:
    """The firmware in a world, spoken to in frames."""

    def __init__(self) -> None:
        self.world = World()
        self.application = Application(Hal(self.world, seed=0))
        self.decoder = wire.Decoder()

    def pass_time(self, seconds: float) -> list[tuple[int, int, bytes]]:
        for _ in range(round(seconds / 1e-3)):
            self.world.advance(1e-3)
            self.application.poll()
        return self.hear()

    def hear(self) -> list[tuple[int, int, bytes]]:
        return self.decoder.feed(self.application.take())

    def say(self, message: wire.Message, sequence: int, *values: int) -> list[tuple[int, int, bytes]]:
        body = struct.pack(message.asks, *values)
        self.application.receive(wire.pack(message.kind, sequence, body))
        return self.hear()


@pytest.fixture
def bench() -> Bench:
    """A bench in session 1, its shutter proven."""
    made = Bench()
    made.pass_time(0.2)
    assert made.say(wire.HELLO, 0, wire.PROTOCOL, 1)[0][0] == wire.HELLO.kind | wire.REPLY
    return made


def refusals(frames: list[tuple[int, int, bytes]]) -> list[int]:
    return [body[1] for kind, _, body in frames if kind == wire.REFUSED]


def kinds(frames: list[tuple[int, int, bytes]]) -> list[int]:
    return [kind for kind, _, _ in frames]


def test_nothing_happens_before_hello() -> None:
    bench = Bench()
    bench.pass_time(0.2)
    assert refusals(bench.say(wire.SOURCE, 1, 4095)) == [wire.NO_SESSION]
    assert bench.world.source_drive == 0.0


def test_a_retry_is_answered_and_not_carried_out_again(bench: Bench) -> None:
    first = bench.say(wire.TRIGGER, 1, 100, 0)
    bench.pass_time(0.01)
    assert bench.say(wire.TRIGGER, 1, 100, 0) == first
    bench.pass_time(0.01)
    assert len(bench.world.pulses) == 1


def test_a_refusal_is_kept_like_any_answer(bench: Bench) -> None:
    assert refusals(bench.say(wire.MOVE, 1, 100)) == [wire.NOT_HOMED]
    assert refusals(bench.say(wire.MOVE, 1, 100)) == [wire.NOT_HOMED]


def test_an_old_command_is_stale_also_across_the_wrap(bench: Bench) -> None:
    for sequence in (1, 30000, 60000, 65535, 3):
        assert not refusals(bench.say(wire.LIGHT, sequence, 1, 2, 3))
    assert refusals(bench.say(wire.LIGHT, 65535, 9, 9, 9)) == [wire.STALE]
    assert bench.world.status_light == pytest.approx((1 / 255, 2 / 255, 3 / 255))


def test_the_same_hello_again_does_not_begin_again(bench: Bench) -> None:
    bench.say(wire.SOURCE, 1, 4095)
    bench.say(wire.HELLO, 0, wire.PROTOCOL, 1)
    assert bench.world.source_drive == 1.0
    assert refusals(bench.say(wire.SOURCE, 0, 17)) == [wire.STALE]


def test_a_new_session_makes_the_bench_safe(bench: Bench) -> None:
    bench.say(wire.SOURCE, 1, 4095)
    bench.say(wire.SHUTTER, 2, 1)
    bench.say(wire.HOME, 3)
    bench.say(wire.HELLO, 0, wire.PROTOCOL, 2)
    assert bench.world.source_drive == 0.0
    assert not bench.world.shutter_command
    bench.pass_time(0.01)
    assert not bench.world.stage.moving


def test_another_protocol_is_answered_but_gets_no_session(bench: Bench) -> None:
    (kind, _, body) = bench.say(wire.HELLO, 0, 9, 5)[0]
    assert (kind, body[0]) == (wire.HELLO.kind | wire.REPLY, wire.PROTOCOL)
    assert not refusals(bench.say(wire.STATE, 1))  # the session goes on


@pytest.mark.proves("BOARD-1")
@pytest.mark.parametrize("beats", [True, False])
def test_silence_makes_the_bench_safe_and_beats_prevent_it(bench: Bench, beats: bool) -> None:
    bench.say(wire.SOURCE, 1, 4095)
    bench.say(wire.SHUTTER, 2, 1)
    bench.say(wire.TRIGGER, 3, 1000, 65535)
    heard = []
    for _ in range(6):
        heard += kinds(bench.pass_time(0.5))
        if beats:
            bench.application.receive(wire.pack(wire.BEAT, 0))
    assert (bench.world.source_drive == 1.0) is beats
    assert bench.world.shutter_command is beats
    assert (wire.SILENCE.kind in heard) is not beats
    assert refusals(bench.say(wire.STATE, 4)) == ([] if beats else [wire.NO_SESSION])


def test_a_session_that_ended_does_not_come_back_by_an_old_hello(bench: Bench) -> None:
    bench.pass_time(3.0)
    bench.say(wire.HELLO, 0, wire.PROTOCOL, 1)
    assert refusals(bench.say(wire.SOURCE, 1, 4095)) == [wire.NO_SESSION]


def test_an_old_hello_between_two_sessions_does_not_let_old_commands_in(bench: Bench) -> None:
    bench.say(wire.TRIGGER, 1, 100, 0)
    bench.say(wire.HELLO, 2, wire.PROTOCOL, 2)
    bench.say(wire.HELLO, 0, wire.PROTOCOL, 1)
    assert refusals(bench.say(wire.TRIGGER, 1, 100, 0)) == [wire.STALE]
    assert len(bench.world.pulses) == 1


@pytest.mark.proves("BOARD-1")
def test_opening_the_cover_darkens_and_closes(bench: Bench) -> None:
    bench.say(wire.SOURCE, 1, 4095)
    bench.say(wire.SHUTTER, 2, 1)
    bench.world.at(bench.world.now + 0.3, lambda: setattr(bench.world, "cover_closed", False))
    heard = bench.pass_time(0.4)
    assert [body for kind, _, body in heard if kind == wire.TAMPER.kind] == [b"\x01"]
    assert bench.world.source_drive == 0.0
    assert not bench.world.shutter_command
    assert refusals(bench.say(wire.SOURCE, 3, 1)) == [wire.COVER_OPEN]
    assert refusals(bench.say(wire.SHUTTER, 4, 1)) == [wire.COVER_OPEN]
    assert not refusals(bench.say(wire.SOURCE, 5, 0))
    bench.world.cover_closed = True
    assert kinds(bench.pass_time(0.01)) == [wire.TAMPER.kind]
    assert not refusals(bench.say(wire.SOURCE, 6, 1))


@pytest.mark.proves("BOARD-1")
def test_no_light_without_a_shutter_that_obeys(bench: Bench) -> None:
    bench.world.shutter_fitted = False
    assert wire.INTERLOCK.kind in kinds(bench.pass_time(0.01))
    assert refusals(bench.say(wire.SOURCE, 1, 1)) == [wire.NO_INTERLOCK]
    bench.world.shutter_fitted = True
    bench.pass_time(0.2)
    assert not refusals(bench.say(wire.SOURCE, 2, 1))


def test_a_blade_that_jams_while_opening_ends_the_light(bench: Bench) -> None:
    bench.say(wire.SOURCE, 1, 4095)
    bench.world.shutter_jammed = True
    bench.say(wire.SHUTTER, 2, 1)
    bench.pass_time(0.1)
    assert bench.world.source_drive == 1.0
    heard = bench.pass_time(0.3)
    assert [body for kind, _, body in heard if kind == wire.INTERLOCK.kind] == [b"\x00", b"\x01"]
    assert bench.world.source_drive == 0.0
    assert not bench.world.shutter_command


@pytest.mark.parametrize(
    ("message", "values", "reason"),
    [
        (wire.SOURCE, (4096,), wire.RANGE),
        (wire.SHUTTER, (2,), wire.RANGE),
        (wire.TRIGGER, (1, 0), wire.RANGE),
        (wire.TRIGGER, (10_000_001, 0), wire.RANGE),
        (wire.WATCHDOG, (100,), wire.RANGE),
        (wire.MOVE, (5,), wire.NOT_HOMED),
    ],
)
def test_figures_out_of_range_are_refused(bench: Bench, message, values, reason) -> None:
    assert refusals(bench.say(message, 1, *values)) == [reason]


def test_unknown_commands_and_wrong_bodies_are_refused(bench: Bench) -> None:
    bench.application.receive(wire.pack(0x30, 1))
    bench.application.receive(wire.pack(wire.SOURCE.kind, 2, b"\1"))
    bench.application.receive(wire.pack(wire.HELLO.kind, 3, b"\1"))
    assert refusals(bench.hear()) == [wire.UNKNOWN, wire.LENGTH]


def test_homing_and_moves_end_where_the_switch_let_go(bench: Bench) -> None:
    """Home is where the low switch lets go on the way up; every move then ends at count x step, exactly."""
    stage = bench.world.stage
    bench.say(wire.WATCHDOG, 1, 60000)
    bench.say(wire.HOME, 2)
    bench.pass_time(8.0)
    home = stage.carriage
    assert 0 <= home < 20e-6
    for sequence, target in enumerate((8000, 4000, 4001, 0), start=3):
        assert not refusals(bench.say(wire.MOVE, sequence, target))
        bench.pass_time(2.5)
        assert stage.carriage - home == pytest.approx(target * 12.5e-6, abs=1e-9)


def test_without_the_approach_from_below_the_play_would_show(bench: Bench, monkeypatch) -> None:
    """The control: the same descent, not taken up from below, ends wrong by the play."""
    monkeypatch.setattr(mechanics, "APPROACH", 0)
    stage = bench.world.stage
    bench.say(wire.WATCHDOG, 1, 60000)
    bench.say(wire.HOME, 2)
    bench.pass_time(8.0)
    home = stage.carriage
    bench.say(wire.MOVE, 3, 8000)
    bench.pass_time(2.5)
    bench.say(wire.MOVE, 4, 4000)
    bench.pass_time(2.5)
    assert stage.carriage - home - 4000 * 12.5e-6 == pytest.approx(stage.backlash, abs=1e-9)


def test_lost_steps_are_noticed_at_a_switch(bench: Bench) -> None:
    bench.say(wire.WATCHDOG, 1, 60000)
    bench.say(wire.HOME, 2)
    bench.pass_time(8.0)
    bench.say(wire.MOVE, 3, 8000)
    bench.pass_time(2.5)
    bench.world.stage.carriage = bench.world.stage.motor = bench.world.stage.target = (
        0.85  # somebody pushed it
    )
    bench.say(wire.MOVE, 4, 70000)
    heard = bench.pass_time(20.0)
    endings = [struct.unpack("<iB", body)[1] for kind, _, body in heard if kind == wire.STAGE.kind]
    assert endings == [wire.HIT_SWITCH]
    assert refusals(bench.say(wire.MOVE, 5, 0)) == [wire.NOT_HOMED]


def test_a_missing_switch_ends_the_search(bench: Bench, monkeypatch) -> None:
    monkeypatch.setattr(Hal, "switches", lambda self: (False, False))
    bench.say(wire.WATCHDOG, 1, 60000)
    bench.say(wire.HOME, 2)
    heard = bench.pass_time(20.0)
    endings = [struct.unpack("<iB", body)[1] for kind, _, body in heard if kind == wire.STAGE.kind]
    assert endings == [wire.NO_SWITCH]


def test_stop_forgets_a_pulse_that_waits(bench: Bench) -> None:
    bench.say(wire.TRIGGER, 1, 100, 3)
    assert refusals(bench.say(wire.TRIGGER, 2, 100, 0)) == [wire.BUSY]
    bench.say(wire.STOP, 3)
    bench.pass_time(0.2)
    assert bench.world.pulses == []
    bench.say(wire.TRIGGER, 4, 100, 0)
    assert len(bench.world.pulses) == 1
