"""The housing around the optics: cover, temperature, the board that watches both, and the calibration's age.

What the pictures cannot show, these do. Each closes the interlock: eye stops looking, closes the shutter and
says why.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from opticaldr.artefacts.bundle import BundleSpec
from opticaldr.device.records import Event
from opticaldr.firmware_interface import Board, BoardError
from opticaldr.firmware_interface import Event as BoardEvent

PATIENCE = 2.5
"""Seconds without a word from the board (it says that it is alive once a second) after which it is silent."""
_BETWEEN_READINGS = 10.0  # seconds between two looks at the thermometer


class Housing:
    """A context manager, asked at every frame whether looking is still allowed.

    Args:
        board: not open yet, or None for a camera without one: then only the calibration's age is watched.
        spec: the bundle's: temperatures and date of expiry.
        wall: the time of day, seconds since 1970.
    """

    def __init__(
        self, board: Board | None, spec: BundleSpec, *, wall: Callable[[], float] = time.time
    ) -> None:
        self._board, self._wall = board, wall
        self._lowest, self._highest = spec.interlock.temperatures
        self._expires = spec.expires.timestamp() if spec.expires else float("inf")
        self._event = Event.NONE
        self._heard = self._next_reading = 0.0

    def __enter__(self) -> Self:
        if self._board is not None:
            self._board.__enter__()
            self._heard = self._next_reading = self._board.port.now()
            self._board.on_event(self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board is None:
            return
        try:
            self._board.__exit__(kind, error, trace)
        except BoardError:
            if self._event is Event.NONE:  # otherwise it has been said already
                raise

    def open(self) -> Event:
        """Open the shutter; returns what speaks against it, ``NONE`` if nothing does."""
        if self._board is None:
            return self.fault()
        try:
            if self._board.tamper():
                self._event = Event.COVER_OPEN
            if self.fault() is Event.NONE:
                self._board.shutter(True)
                self._heard = self._board.port.now()
        except BoardError:
            self._event = self._event or Event.BOARD_SILENT
        return self._event

    def fault(self) -> Event:
        """Why looking is not allowed any more; ``NONE`` while it is. Once there is a reason it stays."""
        if self._event is Event.NONE and self._wall() >= self._expires:
            self._event = Event.CALIBRATION_EXPIRED
        if self._event is Event.NONE and self._board is not None:
            self._event = self._ask(self._board)
        return self._event

    def close(self) -> None:
        """Close the shutter, as far as the board still listens; without it the blade closes by itself."""
        if self._board is not None and self._event is not Event.BOARD_SILENT:
            with contextlib.suppress(BoardError):
                self._board.shutter(False)

    def _ask(self, board: Board) -> Event:
        now = board.port.now()
        if now >= self._next_reading:
            self._next_reading = now + _BETWEEN_READINGS
            try:
                warmth = board.temperature()
                self._heard = board.port.now()
            except BoardError:
                return Event.BOARD_SILENT
            if not self._lowest <= warmth <= self._highest:
                return Event.TEMPERATURE_OUT_OF_RANGE
        return Event.BOARD_SILENT if now - self._heard > PATIENCE else self._event

    def _hear(self, said: BoardEvent) -> None:
        """Listener of the board's events; may be called by the thread that keeps its line."""
        assert self._board is not None
        self._heard = self._board.port.now()
        if said.kind == "tamper" and said.values == (1,):
            self._event = Event.COVER_OPEN
        elif said.kind == "interlock" and said.values == (0,):
            self._event = self._event or Event.SHUTTER_STUCK
        elif said.kind in ("silence", "lost"):
            self._event = self._event or Event.BOARD_SILENT
