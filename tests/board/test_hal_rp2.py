"""The Pico's pins on a chip made of Python: PIO programs to the cycle, the whole firmware on top of them."""

from __future__ import annotations

import importlib.util
import itertools
import pathlib
import re
import struct
import sys

import pytest

from opticaldr.firmware_interface.firmware import mechanics, wire
from opticaldr.firmware_interface.firmware.application import Application


@pytest.fixture
def pico(monkeypatch: pytest.MonkeyPatch):
    """(chip, hal): the HAL as it would be imported on the board."""
    spec = importlib.util.spec_from_file_location("pico", pathlib.Path(__file__).parent / "pico.py")
    fake = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "pico", fake)
    spec.loader.exec_module(fake)
    chip = fake.install(monkeypatch)
    name = "opticaldr.firmware_interface.firmware.hal_rp2"
    monkeypatch.delitem(sys.modules, name, raising=False)
    hal = importlib.import_module(name).Hal()
    monkeypatch.delitem(sys.modules, name)
    return chip, hal


def rises(chip, pin: int) -> list[float]:
    return [when for when, level in chip.pin(pin).edges if level]


@pytest.mark.parametrize("width", [2, 3, 100, 5000])
def test_a_pulse_is_as_long_as_asked_to_the_microsecond(pico, width: int) -> None:
    chip, hal = pico
    hal.arm_pulse(width, 0)
    chip.advance(width + 100)
    (up, high), (down, low) = chip.pin(mechanics.PIN_TRIGGER).edges
    assert (high, low) == (1, 0)
    assert down - up == pytest.approx(width)
    assert hal.pulses() == 1


def test_a_pulse_waits_for_its_edges(pico) -> None:
    chip, hal = pico
    slm = chip.pin(mechanics.PIN_SLM)
    chip.outside = lambda: slm.drive(int(chip.now % 1000 < 500), chip.now)
    chip.advance(3700)
    hal.arm_pulse(50, 4)
    chip.advance(10_000)
    assert rises(chip, mechanics.PIN_TRIGGER) == pytest.approx([7000.0], abs=25)  # edges at 4, 5, 6, 7 ms
    assert hal.slm_frames() == 14


def test_a_pulse_that_waits_can_be_forgotten_and_the_next_one_goes_out(pico) -> None:
    chip, hal = pico
    hal.arm_pulse(50, 9)
    chip.advance(1000)
    hal.disarm_pulse()
    hal.arm_pulse(70, 0)
    chip.advance(1000)
    assert len(rises(chip, mechanics.PIN_TRIGGER)) == 1
    assert hal.pulses() == 1


@pytest.mark.parametrize("steps", [1, -1, 7, -250])
def test_steps_are_counted_and_timed(pico, steps: int) -> None:
    chip, hal = pico
    hal.stage_start(steps, 4000)
    assert hal.stage_moving()
    chip.advance(abs(steps) * 250 + 300)
    assert not hal.stage_moving()
    hal.stage_stop()
    made = rises(chip, mechanics.PIN_STEP)
    assert hal.stage_taken() == steps
    assert len(made) == abs(steps)
    assert chip.pin(mechanics.PIN_DIRECTION).level == (steps < 0)
    assert [b - a for a, b in itertools.pairwise(made)] == pytest.approx([250.0] * (len(made) - 1))


@pytest.mark.parametrize("moment", range(1000, 1500, 37))
def test_a_stop_on_the_way_knows_the_steps_that_were_made(pico, moment: int) -> None:
    chip, hal = pico
    hal.stage_start(-100, 4000)
    chip.advance(moment)
    assert abs(hal.stage_taken() + moment // 250) <= 4  # by the clock, in whole milliseconds
    hal.stage_stop()
    chip.advance(10_000)
    assert hal.stage_taken() == -len(rises(chip, mechanics.PIN_STEP))
    hal.stage_start(5, 4000)
    chip.advance(2000)
    hal.stage_stop()
    assert hal.stage_taken() == 5


def test_no_step_is_made_for_no_distance(pico) -> None:
    chip, hal = pico
    hal.stage_start(0, 4000)
    assert not hal.stage_moving()
    hal.stage_stop()
    chip.advance(1000)
    assert hal.stage_taken() == 0
    assert rises(chip, mechanics.PIN_STEP) == []


def test_source_shutter_light_and_thermometer(pico) -> None:
    chip, hal = pico
    assert chip.duty[mechanics.PIN_SOURCE] == 0
    assert chip.duty[mechanics.PIN_SHUTTER] == 0
    hal.source(4095)
    hal.shutter(True)
    hal.light(1, 2, 3)
    assert chip.duty[mechanics.PIN_SOURCE] == 65535
    assert chip.colour == (1, 2, 3)
    assert hal.temperature() == 298150
    chip.registers[0x48] = struct.pack(">h", -1280)
    assert hal.temperature() == 263150
    assert hal.capabilities() == 0xFF
    chip.registers.clear()
    assert hal.temperature() is None
    assert hal.capabilities() == 0xDF
    assert hal.reset_reason() == wire.RESET_REASONS.index("watchdog")


def test_the_shutter_is_pulled_in_and_then_held(pico) -> None:
    chip, hal = pico
    hal.shutter(True)
    chip.advance(mechanics.PULL_IN_MS * 1e3 - 20)
    assert chip.duty[mechanics.PIN_SHUTTER] == 65535
    chip.advance(40)
    assert chip.duty[mechanics.PIN_SHUTTER] == 65535 * mechanics.HOLD_PERCENT // 100
    hal.shutter(False)
    assert chip.duty[mechanics.PIN_SHUTTER] == 0


def test_a_shutter_closed_while_it_is_pulled_in_stays_closed(pico) -> None:
    chip, hal = pico
    hal.shutter(True)
    chip.advance(1000)
    hal.shutter(False)
    chip.advance(mechanics.PULL_IN_MS * 1e3)
    assert chip.duty[mechanics.PIN_SHUTTER] == 0


def test_a_bench_without_a_shutter_says_so_and_has_light(pico, monkeypatch) -> None:
    chip, hal = pico
    chip.pin(mechanics.PIN_BLADE).value(1)
    assert not hal.blade_closed()
    monkeypatch.setattr(mechanics, "SHUTTER", False)
    assert "shutter" not in {n for bit, n in enumerate(wire.CAPABILITIES) if hal.capabilities() >> bit & 1}
    for way in (True, False):
        hal.shutter(way)
        assert hal.blade_closed() is not way


def test_a_broken_wire_reads_as_the_unsafe_state(pico) -> None:
    chip, hal = pico
    for contact in (mechanics.PIN_LOW, mechanics.PIN_HIGH, mechanics.PIN_BLADE, mechanics.PIN_COVER):
        chip.pin(contact).value(1)  # the pull-up alone
    assert hal.switches() == (True, True)
    assert not hal.blade_closed()
    assert hal.cover_open()


def test_time_goes_on_where_the_ticks_wrap(pico) -> None:
    chip, hal = pico
    before = hal.milliseconds()
    for _ in range(7):
        chip.now += 0x0FFFFFFF * 1000.0
        hal.milliseconds()
    assert hal.milliseconds() - before == 7 * 0x0FFFFFFF


def test_the_firmware_homes_and_moves_on_the_chip(pico) -> None:
    """Application and PIO together: a carriage that follows the step pin, a low switch at zero, no play."""
    chip, hal = pico
    carriage, seen = [150], [0]
    step, direction = chip.pin(mechanics.PIN_STEP), chip.pin(mechanics.PIN_DIRECTION)

    def bench() -> None:
        made = [edge for edge in step.edges[seen[0] :] if edge[1]]
        seen[0] = len(step.edges)
        carriage[0] += len(made) * (-1 if direction.level else 1)
        chip.pin(mechanics.PIN_LOW).level = int(carriage[0] <= 0)

    chip.outside = bench
    application = Application(hal)
    decoder = wire.Decoder()
    sequence = 0

    def say(message: wire.Message, *values: int) -> tuple[int, int, bytes]:
        nonlocal sequence
        sequence = (sequence + 1) & 0xFFFF
        application.receive(wire.pack(message.kind, sequence, struct.pack(message.asks, *values)))
        return next(
            f for f in decoder.feed(application.take()) if f[0] in (message.kind | wire.REPLY, wire.REFUSED)
        )

    def run(seconds: float) -> None:
        for _ in range(round(seconds * 1000)):
            chip.advance(1000)
            application.poll()
            application.receive(wire.pack(wire.BEAT, 0))

    run(0.2)
    greeting = struct.unpack(wire.HELLO.answers, say(wire.HELLO, wire.PROTOCOL, 5)[2])
    assert greeting[6] == b"\xe6\x61\x10\x03\x0b\x32\x1f\x2a"
    sequence = greeting[2]
    say(wire.HOME)
    run(3.0)
    state = struct.unpack(wire.STATE.answers, say(wire.STATE)[2])
    assert state[0] & wire.IS_HOMED
    assert state[2] == wire.HOMED
    assert carriage[0] in (1, 2)  # where the switch has just let go
    home = carriage[0]
    for target in (300, 120, 0):
        assert say(wire.MOVE, target)[0] == wire.MOVE.kind | wire.REPLY
        run(0.3)
        assert carriage[0] - home == target
    assert chip.now - chip.fed <= 1000


def test_the_wiring_table_is_the_one_that_is_compiled_in() -> None:
    root = pathlib.Path(__file__).parents[2]
    text = (root / "hardware" / "board" / "README.md").read_text()
    written = {name: int(pin) for pin, name in re.findall(r"^\| (\d+) \| (PIN_\w+) \|", text, re.M)}
    assert written == {name: pin for name, pin in vars(mechanics).items() if name.startswith("PIN_")}
    modules = {path.name for path in (root / "firmware_interface" / "firmware").glob("*.py")}
    copied = set(re.findall(r"firmware/(\w+\.py)", text))
    assert copied == modules - {"hal_sim.py"} | {"mechanics.py"}
