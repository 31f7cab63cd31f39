"""What every camera can do: be opened, told an exposure, and asked for one raw frame at a time."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from opticaldr.hardware.cameras.errors import WrongMode
from opticaldr.models.optics import SensorSpec

EXPOSURE_STEP = 40e-6
"""Seconds to which an exposure may be rounded: rows of a rolling shutter take 9 to 30 µs."""

GAIN_STEP = 0.04
"""Fraction to which a gain may be rounded: sensors count in 1/256 of its inverse, or in 0.1 to 0.3 dB."""


@dataclass(frozen=True)
class CameraInfo:
    """What is known about a camera before its first frame.

    Attributes:
        name: driver and model, for the record.
        shape: rows and columns of a raw frame.
        bits: bits per raw value.
        bayer: colour filters of the first 2 × 2 cell, row by row; None for a sensor without filters.
        black_level: raw value of a pixel without light, as the maker states it.
        linear: whether values are the sensor's own. False for pictures that a camera has developed (tone curve,
            denoising, eight bits): good for trying things out, never for measuring.
    """

    name: str
    shape: tuple[int, int]
    bits: int
    bayer: str | None
    black_level: int
    linear: bool = True

    @property
    def white_level(self) -> int:
        """Highest raw value."""
        return 2**self.bits - 1

    def check(self, sensor: SensorSpec) -> None:
        """Make sure that this camera has the sensor that optics were designed for.

        Raises:
            WrongMode: it has another shape, depth or colour filters, or gives pictures instead of raw values.
        """
        if not self.linear:
            raise WrongMode(
                f"{self.name} cannot measure: its camera develops the pictures",
                "use a camera that gives raw Bayer or mono planes",
            )
        for what, is_, should in (
            ("pixels", self.shape, sensor.shape),
            ("bits", self.bits, sensor.bits),
            ("colour filters", self.bayer, sensor.bayer),
        ):
            if is_ != should:
                raise WrongMode(
                    f"{self.name} has {what} {is_}, the optics were designed for {should}",
                    "choose another mode in the rig file, or design for this camera",
                )


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

    def taken_at(self, exposure: float, gain: float) -> bool:
        """Whether it has these settings, within what sensors can resolve: whole rows and steps of gain."""
        return (
            abs(self.exposure - exposure) <= max(EXPOSURE_STEP, 0.02 * exposure)
            and abs(self.gain - gain) <= GAIN_STEP * gain
        )


def central_region(raw: NDArray[np.uint16], shape: tuple[int, int]) -> NDArray[np.uint16]:
    """The middle of a frame [y, x], moved to even rows and columns so that the Bayer order stays.

    Args:
        raw: a whole frame.
        shape: rows and columns of the part, not larger than the frame.
    """
    top, left = ((whole - part) // 2 // 2 * 2 for whole, part in zip(raw.shape, shape, strict=True))
    return np.ascontiguousarray(raw[top : top + shape[0], left : left + shape[1]])


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
        """Set exposure (seconds) and gain; every later frame has them and began after this call, or is not returned.

        So it is called anew when the light was changed.

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
