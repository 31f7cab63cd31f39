"""What every camera can do: be opened, told an exposure, and asked for one raw frame at a time."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class CameraInfo:
    """What is known about a camera before its first frame.

    Attributes:
        name: driver and model, for the record.
        shape: rows and columns of a raw frame.
        bits: bits per raw value.
        bayer: colour filters of the first 2 × 2 cell, row by row; None for a sensor without filters.
        black_level: raw value of a pixel without light, as the maker states it.
    """

    name: str
    shape: tuple[int, int]
    bits: int
    bayer: str | None
    black_level: int

    @property
    def white_level(self) -> int:
        """Highest raw value."""
        return 2**self.bits - 1


@dataclass(frozen=True)
class RawFrame:
    """One frame as the sensor read it, with the settings it was taken at.

    Attributes:
        raw: digital numbers, uint16 [y, x], one value a pixel behind its own colour filter.
        exposure: seconds, of this frame.
        gain: analogue gain of this frame, relative to the sensor's lowest.
        black_level: raw value of a pixel without light.
        temperature: of the sensor in kelvin; NaN where the camera does not tell.
        timestamp: start of the exposure in seconds, on the camera's own clock.
    """

    raw: NDArray[np.uint16]
    exposure: float
    gain: float
    black_level: int
    temperature: float
    timestamp: float


class Camera(Protocol):
    """A camera is a context manager; nothing touches hardware before the block begins.

    with SimulatedCamera(world) as camera:
        camera.configure(exposure=2e-3)
        frame = camera.capture()
    """

    @property
    def info(self) -> CameraInfo:
        """What this camera is; only inside the ``with`` block."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def configure(self, *, exposure: float, gain: float = 1.0) -> None:
        """Set exposure (seconds) and gain; every later frame has them, or is not returned.

        Raises:
            Refusal: the camera cannot do this exposure or gain.
        """
        ...

    def capture(self) -> RawFrame:
        """Take one frame.

        Raises:
            Refusal: the camera has no more frames or does not answer.
        """
        ...
