"""The board that drives bench and camera: protocol, host client, simulated board and the firmware itself."""

from opticaldr.firmware_interface.client import Board, BoardInfo, BoardState
from opticaldr.firmware_interface.errors import BoardError
from opticaldr.firmware_interface.session import Event
from opticaldr.firmware_interface.simulated import SimulatedBoard

__all__ = ["Board", "BoardError", "BoardInfo", "BoardState", "Event", "SimulatedBoard"]
