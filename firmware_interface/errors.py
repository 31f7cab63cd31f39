"""What can go wrong with a board, each with what a person can do about it."""

from __future__ import annotations

import grp
import os

from opticaldr.errors import Refusal
from opticaldr.firmware_interface.firmware import wire


class BoardError(Refusal):
    """Something about the board that a person can mend."""


class NoBoard(BoardError):
    """There is no such port."""


class PortBusy(BoardError):
    """Another program holds the port."""


class PortForbidden(BoardError):
    """The user may not open the port."""


class WrongDevice(BoardError):
    """Something is on the port, and it is not this board."""


class VersionMismatch(BoardError):
    """The board speaks another version of the protocol."""


class NoAnswer(BoardError):
    """The board was asked several times and did not answer."""


class BoardLost(BoardError):
    """The port went away: cable pulled, or the board without power."""


class BoardWentSafe(BoardError):
    """The board had not heard from the host and made the bench safe by itself."""


class BeyondLimits(BoardError):
    """A figure outside what the board can do."""


class NotHomed(BoardError):
    """The stage does not know where it is."""


class Busy(BoardError):
    """A motion or a pulse is still under way."""


class InterlockOpen(BoardError):
    """The shutter does not obey, so there must be no light."""


class CoverOpen(BoardError):
    """The housing is open, so there must be no light."""


class PartMissing(BoardError):
    """The board was built without that part, or it does not answer."""


class StageLost(BoardError):
    """A motion ended where it should not have."""


class SlmSilent(BoardError):
    """No frame-sync edges arrive from the SLM."""


def refusal(reason: int, command: str) -> BoardError:
    """The exception for a reason of refusal in ``wire``, as answered to ``command``."""
    what = f"the board refused '{command}'"
    match reason:
        case wire.RANGE:
            return BeyondLimits(f"{what}: outside its limits", "see `opticaldr board info` for the limits")
        case wire.NOT_HOMED:
            return NotHomed(f"{what}: the stage is not homed", "home it first (board.home())")
        case wire.BUSY:
            return Busy(f"{what}: it is busy with the one before", "wait for it, or stop it (board.stop())")
        case wire.NO_INTERLOCK:
            return InterlockOpen(
                f"{what}: the shutter is not where it was asked to be",
                "plug the shutter and its closed-contact in, see hardware/board/README.md",
            )
        case wire.COVER_OPEN:
            return CoverOpen(f"{what}: the cover is open", "close the housing so that it presses its switch")
        case wire.NO_PART:
            return PartMissing(
                f"{what}: the part does not answer", "check its wiring, see hardware/board/README.md"
            )
        case wire.NO_SESSION:
            return BoardWentSafe(
                f"{what}: it had heard nothing from this program for too long and made the bench safe",
                "set source and shutter again; allow longer silences with board.watchdog(seconds)",
            )
        case wire.STALE:
            return BoardWentSafe(
                f"{what}: another program has spoken to it meanwhile",
                "let one program at a time use the board, then set source and shutter again",
            )
        case _:
            return VersionMismatch(
                f"{what}: it does not know such a message (reason {reason})",
                "flash the firmware that came with this version, see hardware/board/README.md",
            )


def cannot_open(port: str, error: Exception) -> BoardError:
    """The exception for a port that did not open."""
    number = getattr(error, "errno", None)
    text = str(error)
    if number == 13 or "Permission denied" in text or isinstance(error, PermissionError):
        return PortForbidden(f"{port}: permission denied", _permission_remedy(port))
    if number in (16, 11) or "exclusively lock" in text or "busy" in text.lower():
        return PortBusy(
            f"{port} is in use by another program",
            f"close the other one (`fuser {port}` names it; a serial monitor or another opticaldr?)",
        )
    if number in (2, 6, 19) or "could not open port" in text or "Connection refused" in text:
        return NoBoard(
            f"there is nothing at {port} ({_brief(error)})",
            "plug the board in; `opticaldr board find` lists what is there",
        )
    return NoBoard(f"{port} cannot be opened ({_brief(error)})", "give a pyserial URL such as /dev/ttyACM0")


def _permission_remedy(port: str) -> str:
    try:
        group = grp.getgrgid(os.stat(port).st_gid).gr_name
    except (OSError, KeyError):
        group = "dialout"
    return f"join its group: `sudo usermod -aG {group} $USER`, then log in again"


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
