"""The Python surface, in the simulated world: SI units in, physics out, and every refusal with its remedy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from opticaldr.firmware_interface import Board, BoardError, Event, SimulatedBoard
from opticaldr.firmware_interface.errors import (
    BeyondLimits,
    BoardLost,
    Busy,
    CoverOpen,
    InterlockOpen,
    NotHomed,
    PartMissing,
    SlmSilent,
    StageLost,
)
from opticaldr.firmware_interface.firmware import wire
from opticaldr.firmware_interface.firmware.hal_sim import Hal
from opticaldr.hardware.world import World


@pytest.fixture
def world() -> World:
    return World(seed=3)


def test_nothing_touches_the_port_before_the_block(world: World) -> None:
    board = Board(SimulatedBoard(world))
    assert world.now == 0.0
    with pytest.raises(BoardLost, match="inside its `with` block"):
        board.state()


def test_info_and_state(world: World) -> None:
    with Board(SimulatedBoard(world, serial=b"\x01\x02\x03\x04\x05\x06\x07\x08")) as board:
        info, state = board.info(), board.state()
    assert info.serial == "0102030405060708"
    assert info.capabilities == wire.CAPABILITIES
    assert info.reset_reason == "power-on"
    assert info.travel == pytest.approx(0.895)
    assert state.interlocked
    assert not state.homed


def test_source_power_is_light_in_the_world(world: World) -> None:
    with Board(SimulatedBoard(world)) as board:
        for power in (0.0, 0.25, 1.0):
            board.source(power)
            assert world.source_drive == pytest.approx(power, abs=0.5 / 4095)
            assert world.source_intensity == pytest.approx(power * 6e-4, rel=0.012)
    assert world.source_intensity == 0.0


def test_the_stage_moves_the_source_and_takes_its_time(world: World) -> None:
    with Board(SimulatedBoard(world)) as board:
        board.home()
        offset = world.depth - board.where()
        for target in (0.3, 0.1, 0.2):
            started = world.now
            before = board.where()
            reached = board.move_to(target)
            assert reached == pytest.approx(target, abs=board.info().step / 2)
            assert world.depth - reached == pytest.approx(offset, abs=1e-9)
            assert world.now - started >= abs(target - before) / 0.05


def test_the_shutter_has_arrived_when_the_call_returns(world: World) -> None:
    with Board(SimulatedBoard(world)) as board:
        board.shutter(True)
        assert world.shutter_transmission == 1.0
        board.shutter(False)
        assert world.shutter_transmission == 0.0
        board.shutter(True)
    assert world.shutter_transmission == 0.0


def test_trigger_pulses_reach_the_camera(world: World) -> None:
    seen: list[tuple[float, float]] = []
    world.on_pulse.append(lambda start, width: seen.append((start, width)))
    with Board(SimulatedBoard(world)) as board:
        board.trigger(1.25e-3)
        board.trigger(0.05, after_slm_frames=5)
        assert board.state().pulses == 2
    assert [width for _, width in seen] == pytest.approx([1.25e-3, 0.05])
    assert seen[1][0] * 60 == pytest.approx(round(seen[1][0] * 60), abs=1e-6)  # on a frame's edge


def test_temperature_light_and_tamper(world: World) -> None:
    with Board(SimulatedBoard(world)) as board:
        world.ambient_temperature, world.temperature_swing = 305.125, 0.0
        assert board.temperature() == pytest.approx(305.125, abs=1e-3)
        board.light(1, 0.5, 0)
        assert world.status_light == pytest.approx((1, 0.5, 0), abs=2e-3)
        assert not board.tamper()
        world.cover_closed = False
        assert board.tamper()


def test_a_scripted_tamper_is_an_event_and_darkness(world: World) -> None:
    heard: list[Event] = []
    with Board(SimulatedBoard(world)) as board:
        board.on_event(heard.append)
        board.source(1.0)
        board.shutter(True)
        world.at(world.now + 1.0, lambda: setattr(world, "cover_closed", False))
        world.advance(1.1)
        assert world.source_drive == 0.0
        assert ("tamper", (1,)) in [(event.kind, event.values) for event in heard]
        with pytest.raises(CoverOpen, match="close the housing"):
            board.source(0.1)
        world.cover_closed = True


def test_a_listener_may_use_the_board(world: World) -> None:
    with Board(SimulatedBoard(world)) as board:
        board.on_event(lambda event: board.light(1, 0, 0) if event.kind == "tamper" else None)
        world.at(world.now + 0.5, lambda: setattr(world, "cover_closed", False))
        world.advance(1.0)
        assert world.status_light == (1.0, 0.0, 0.0)


def test_a_listener_that_fails_disturbs_nobody(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with Board(SimulatedBoard(world)) as board:
        board.on_event(lambda event: 1 / 0)
        board.source(1.0)
        world.advance(5.0)
        assert world.source_drive == 1.0  # the keeper still keeps
    assert "a listener failed" in caplog.text


def test_events_come_in_order_and_the_wait_for_them_ends(world: World) -> None:
    with Board(SimulatedBoard(world)) as board:
        board.trigger(1e-3)
        world.at(world.now + 0.2, lambda: setattr(world, "cover_closed", False))
        world.at(world.now + 0.3, lambda: setattr(world, "cover_closed", True))
        events = [e for e in board.events(timeout=0.5) if e.kind in ("tamper", "pulse")]
    assert [(e.kind, e.values) for e in events] == [("pulse", (1,)), ("tamper", (1,)), ("tamper", (0,))]
    assert [e.time for e in events] == sorted(e.time for e in events)


def test_who_waits_for_events_gives_the_signs_of_life_himself(world: World) -> None:
    """He holds the line nearly always, so that the keeper would hardly ever get to it."""

    class Unkept(SimulatedBoard):
        def every(self, period: float, action: Callable[[], None]) -> Callable[[], None]:
            return lambda: None

    with Board(Unkept(world)) as board:
        board.source(1.0)
        began = world.now
        for _ in board.events(timeout=10.0):
            if world.now - began > 5 * wire.PATIENCE_MS * 1e-3:
                break
        assert board.state().source == 1.0


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda b: b.source(1.5), r"source power 1\.5 is beyond 0 … 1"),
        (lambda b: b.source(-0.1), "source power"),
        (lambda b: b.source(math.nan), "source power nan"),
        (lambda b: b.move_to(0.9), r"stage position 0\.9 m is beyond 0 … 0\.895"),
        (lambda b: b.move_to(-1e-3), "stage position"),
        (lambda b: b.trigger(0.0), "pulse width"),
        (lambda b: b.trigger(11.0), "pulse width 11 s"),
        (lambda b: b.trigger(1e-3, after_slm_frames=-1), "SLM frames"),
        (lambda b: b.watchdog(0.1), "watchdog"),
        (lambda b: b.light(0, 2, 0), "green 2"),
    ],
)
def test_figures_beyond_the_limits_are_refused_with_the_limits(world: World, ask, words) -> None:
    with Board(SimulatedBoard(world)) as board:
        before = board.state()
        with pytest.raises(BeyondLimits, match=words):
            ask(board)
        after = board.state()
    assert (before.position, before.source, before.pulses) == (after.position, after.source, after.pulses)


def test_a_move_before_homing(world: World) -> None:
    with Board(SimulatedBoard(world)) as board, pytest.raises(NotHomed, match=r"board\.home\(\)"):
        board.move_to(0.1)


def test_a_move_during_a_move(world: World) -> None:
    simulated = SimulatedBoard(world)
    with Board(simulated) as board:
        board.home()
        board._session.ask(wire.MOVE, 8000)
        with pytest.raises(Busy, match=r"board\.stop\(\)"):
            board.move_to(0.2)
        board.stop()
        assert 0 < board.where() < 0.1


def test_light_without_the_interlock(world: World) -> None:
    world.shutter_fitted = False
    with Board(SimulatedBoard(world)) as board:
        with pytest.raises(InterlockOpen, match="plug the shutter"):
            board.source(0.1)
        world.shutter_fitted = True


def test_a_jammed_shutter_is_not_reported_as_open(world: World) -> None:
    with Board(SimulatedBoard(world)) as board:
        world.shutter_jammed = True
        with pytest.raises(InterlockOpen, match="did not open"):
            board.shutter(True)


def test_a_shutter_that_did_not_close_at_the_end_is_said(world: World) -> None:
    with pytest.raises(InterlockOpen, match="did not close"), Board(SimulatedBoard(world)) as board:
        board.shutter(True)
        world.shutter_jammed = True
    assert world.source_drive == 0.0


def test_the_stage_without_its_switch(world: World, monkeypatch) -> None:
    monkeypatch.setattr(Hal, "switches", lambda self: (False, False))
    with Board(SimulatedBoard(world)) as board, pytest.raises(StageLost, match="no low end switch"):
        board.home()


def test_a_silent_slm(world: World) -> None:
    world.slm_frame_rate = 0.0
    with Board(SimulatedBoard(world)) as board:
        with pytest.raises(SlmSilent, match="switch the SLM on"):
            board.trigger(1e-3, after_slm_frames=1)
        board.trigger(1e-3)
    assert len(world.pulses) == 1


def test_no_thermometer(world: World, monkeypatch) -> None:
    monkeypatch.setattr(Hal, "temperature", lambda self: None)
    with Board(SimulatedBoard(world)) as board, pytest.raises(PartMissing, match="wiring"):
        board.temperature()


def test_an_error_in_the_block_leaves_the_bench_safe(world: World) -> None:
    with pytest.raises(ZeroDivisionError), Board(SimulatedBoard(world)) as board:
        board.source(1.0)
        board.shutter(True)
        1 / 0  # noqa: B018
    assert world.source_drive == 0.0
    assert world.shutter_transmission == 0.0


def test_every_board_error_has_a_remedy() -> None:
    from opticaldr.firmware_interface.errors import refusal

    for reason in range(20):
        error = refusal(reason, "move")
        assert isinstance(error, BoardError)
        assert error.remedy


def test_runs_are_repeatable() -> None:
    def run() -> list[float]:
        world = World(seed=11)
        with Board(SimulatedBoard(world)) as board:
            board.home()
            board.source(0.7)
            board.move_to(0.123)
            return [world.now, world.depth, world.source_intensity, board.temperature()]

    assert run() == run()


def test_drift_is_slow_bounded_and_independent_of_how_time_is_cut() -> None:
    coarse, fine = World(seed=5, source_drive=1.0), World(seed=5, source_drive=1.0)
    trace = []
    for _ in range(60):
        coarse.advance(10.0)
        for _ in range(100):
            fine.advance(0.1)
        assert fine.source_intensity == pytest.approx(coarse.source_intensity, rel=1e-9)
        trace.append(coarse.source_intensity / coarse.source_full_intensity - 1)
    assert np.ptp(trace) > 1e-3
    assert np.max(np.abs(trace)) <= 0.01
    assert np.max(np.abs(np.diff(trace))) < 0.25 * 0.01 * 10  # no jump within ten seconds


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="backwards"):
        World().advance(-1.0)
