"""The housing: cover, shutter, thermometer and silence, in the simulated world with the real firmware."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from device_bundle import make_bundle

from opticaldr.artefacts import load_public_key
from opticaldr.artefacts.bundle import require_fresh, verify_bundle
from opticaldr.device.housing import PATIENCE, Housing
from opticaldr.device.records import Event
from opticaldr.errors import Refusal
from opticaldr.firmware_interface import Board, SimulatedBoard
from opticaldr.hardware.world import World

FRAME = 1 / 30


@pytest.fixture
def spec(bundle, maker_key):
    return verify_bundle(bundle, load_public_key(Path(f"{maker_key}.pub")))[1]


@pytest.fixture
def bench(spec):
    """World, simulated board, and a housing whose shutter is open."""
    world = World()
    simulated = SimulatedBoard(world)
    with Housing(Board(simulated), spec) as housing:
        assert housing.open() is Event.NONE
        yield world, simulated, housing


def frames_until(world, housing, event, longest):
    for frame in range(1, longest + 1):
        world.advance(FRAME)
        if (found := housing.fault()) is not Event.NONE:
            assert found is event
            return frame
    raise AssertionError(f"no {event.name} within {longest} frames")


def test_ten_minutes_without_incident_is_no_fault(bench):
    world, _, housing = bench
    for _ in range(600):
        world.advance(1.0)
        assert housing.fault() is Event.NONE
    assert world.shutter_transmission == 1.0


@pytest.mark.proves("EYE-5")
def test_an_open_cover_is_noticed_within_two_frames_and_stays(bench):
    world, _, housing = bench
    world.cover_closed = False
    assert frames_until(world, housing, Event.COVER_OPEN, 2) <= 2
    world.cover_closed = True
    world.advance(60.0)
    assert housing.fault() is Event.COVER_OPEN
    assert world.shutter_transmission == 0.0  # the board itself closed it


@pytest.mark.proves("EYE-5")
def test_a_board_that_loses_its_power_or_its_plug_is_silent(bench):
    world, simulated, housing = bench
    simulated.power_off()
    frames_until(world, housing, Event.BOARD_SILENT, 2 + round(PATIENCE / FRAME))
    world.advance(1.0)
    assert world.shutter_transmission == 0.0


@pytest.mark.proves("EYE-5")
@pytest.mark.parametrize("celsius", [-20.0, 71.0])
def test_it_is_too_cold_or_too_hot(bench, celsius):
    world, _, housing = bench
    world.ambient_temperature = 273.15 + celsius
    frames_until(world, housing, Event.TEMPERATURE_OUT_OF_RANGE, round(11 / FRAME))
    housing.close()
    world.advance(1.0)
    assert world.shutter_transmission == 0.0


def test_a_blade_that_sticks_open_or_was_pulled_off_is_noticed(bench):
    world, _, housing = bench
    world.shutter_jammed = True
    housing.close()
    world.advance(1.0)
    assert housing.fault() in (Event.SHUTTER_STUCK, Event.BOARD_SILENT)


def test_it_does_not_open_with_the_cover_open(spec):
    world = World(cover_closed=False)
    with Housing(Board(SimulatedBoard(world)), spec) as housing:
        assert housing.open() is Event.COVER_OPEN
        assert world.shutter_transmission == 0.0


@pytest.mark.proves("EYE-5")
def test_the_calibration_expires_while_it_runs_and_before_it_starts(spec):
    expires = datetime(2030, 1, 1, tzinfo=UTC)
    aged = spec.model_copy(update={"expires": expires})
    now = [expires.timestamp() - 1]
    housing = Housing(None, aged, wall=lambda: now[0])
    assert housing.open() is Event.NONE
    now[0] += 2
    assert housing.fault() is Event.CALIBRATION_EXPIRED
    require_fresh(aged, expires - timedelta(seconds=1))
    with pytest.raises(Refusal, match="expired on 2030-01-01"):
        require_fresh(aged, expires)
    require_fresh(spec)


def test_an_expired_bundle_is_refused_by_name(tmp_path, key):
    from opticaldr.device.run import run

    old = make_bundle(tmp_path / "b", key, expires="2026-01-01T00:00:00Z")
    with pytest.raises(Refusal, match="expired on 2026-01-01"):
        run(old, out=tmp_path / "out", frames=1)
