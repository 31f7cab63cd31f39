"""What every board keeps to on its bench: the simulated one, and a real one where a variable names it.

OPTICALDR_BOARD=/dev/ttyACM0 pytest -m hardware tests/board/test_contract.py

The stage moves by 50 mm: keep the bench clear.
"""

import os

import pytest

from opticaldr.firmware_interface import Board, SimulatedBoard
from opticaldr.firmware_interface.errors import BeyondLimits
from opticaldr.hardware.world import World


def simulated() -> Board:
    return Board(SimulatedBoard(World()))


def real() -> Board:
    if not (port := os.environ.get("OPTICALDR_BOARD")):
        pytest.skip("set OPTICALDR_BOARD to the board's port")
    return Board(port)


@pytest.fixture(params=[simulated, pytest.param(real, marks=pytest.mark.hardware)], ids=["simulated", "real"])
def opened(request):
    return request.param


def with_part(board: Board, part: str) -> None:
    if part not in board.info().capabilities:
        pytest.skip(f"this board has no {part}")


def test_it_starts_safe_and_the_housing_is_at_a_bearable_temperature(opened):
    with opened() as board:
        state = board.state()
        assert (state.source, state.shutter_open, state.moving) == (0.0, False, False)
        with_part(board, "temperature")
        assert 273 < board.temperature() < 333


def test_the_carriage_goes_where_it_is_sent_and_home_again(opened):
    with opened() as board:
        with_part(board, "stage")
        board.home()
        reached = board.move_to(0.05)
        assert reached == pytest.approx(0.05, abs=board.info().step)
        assert board.where() == reached
        with pytest.raises(BeyondLimits):
            board.move_to(board.info().travel + 0.1)
        board.home()
        assert board.where() == 0


def test_light_follows_the_shutter_and_leaving_makes_the_bench_dark(opened):
    with opened() as board:
        with_part(board, "shutter")
        board.shutter(True)
        board.source(0.25)
        state = board.state()
        assert state.shutter_open
        assert state.source == pytest.approx(0.25, abs=1 / 4095)
    with opened() as board:
        assert (board.state().source, board.state().shutter_open) == (0.0, False)


def test_a_pulse_is_counted(opened):
    with opened() as board:
        before = board.state().pulses
        board.trigger(2e-3)
        assert board.state().pulses == before + 1
