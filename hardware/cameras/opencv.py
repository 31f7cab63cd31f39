"""A USB (UVC) camera through OpenCV and Video4Linux: everything automatic off, every setting read back.

UVC devices take a setting in silence and do something else, and hand out frames that were exposed before a change. So
what counts is what is read back, and after a change as many frames are thrown away as may have been under way.

What the driver cannot know stands in the rig: which value of the gain control means 1, and the black level. Denoising
has no UVC control; raw formats come before it.
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from opticaldr.hardware.cameras.camera import CameraInfo, RawFrame, central_region
from opticaldr.hardware.cameras.errors import (
    CameraLost,
    NoCamera,
    OutOfRange,
    SettingIgnored,
    WrongMode,
    busy,
    check_access,
)
from opticaldr.hardware.cameras.replay import mosaic_of_picture

EXPOSURE_UNIT = 1e-4
"""Seconds to which UVC counts exposures (V4L2_CID_EXPOSURE_ABSOLUTE)."""

_BUFFERS = 4  # that Video4Linux fills ahead where the number cannot be read or is raised
_IN_FLIGHT = 3  # frames that a device may have begun before it obeys
_MANUAL = 1  # V4L2_EXPOSURE_MANUAL
_ABSENT = -1  # what OpenCV reads of a control that the device does not have


@dataclass(frozen=True)
class Raw:
    """A pixel format without processing: colour filters of the 2 × 2 cell (None: mono), bits and bytes a value."""

    bayer: str | None
    bits: int
    bytes: int


RAW_FORMATS = {
    "GREY": Raw(None, 8, 1), "Y10 ": Raw(None, 10, 2), "Y12 ": Raw(None, 12, 2), "Y16 ": Raw(None, 16, 2),
    "RGGB": Raw("RGGB", 8, 1), "RG10": Raw("RGGB", 10, 2), "RG12": Raw("RGGB", 12, 2), "RG16": Raw("RGGB", 16, 2),
    "BA81": Raw("BGGR", 8, 1), "BG10": Raw("BGGR", 10, 2), "BG12": Raw("BGGR", 12, 2), "BYR2": Raw("BGGR", 16, 2),
    "GRBG": Raw("GRBG", 8, 1), "BA10": Raw("GRBG", 10, 2), "BA12": Raw("GRBG", 12, 2), "GR16": Raw("GRBG", 16, 2),
    "GBRG": Raw("GBRG", 8, 1), "GB10": Raw("GBRG", 10, 2), "GB12": Raw("GBRG", 12, 2), "GB16": Raw("GBRG", 16, 2),
}  # fmt: skip
"""Video4Linux's four-character codes of unpacked raw formats (Linux media documentation, pixfmt-bayer, -yuv-luma)."""


class OpenCVCamera:
    """A UVC camera.

    A format of `RAW_FORMATS` gives raw planes; any other (YUYV, MJPG) pictures that the camera developed, as an RGGB
    mosaic of 8-bit values that calls itself not linear.

    Args:
        device: node of the device, ``/dev/videoN`` or a link to it such as those in ``/dev/v4l/by-id``.
        pixel_format: four-character code to ask for; None for the one that is set.
        mode: rows and columns to ask for; None for those that are set.
        region: rows and columns of the central part to hand out; None for all.
        black_level: raw value of a pixel without light.
        unity_gain: value of the gain control that means gain 1.

    Raises:
        NoCamera, CameraForbidden, CameraBusy: on opening.
        WrongMode: on opening, another size or format than asked.
        SettingIgnored: a setting did not take; it is named.
        CameraLost: on `capture`.
    """

    def __init__(
        self,
        device: str = "/dev/video0",
        *,
        pixel_format: str | None = None,
        mode: tuple[int, int] | None = None,
        region: tuple[int, int] | None = None,
        black_level: int = 0,
        unity_gain: float = 1.0,
    ) -> None:
        self.device = device
        self._format, self._mode, self._region = pixel_format, mode, region
        self._black_level, self._unity_gain = black_level, unity_gain
        self._video: Any = None
        self._info: CameraInfo | None = None

    def __enter__(self) -> Self:
        import cv2

        number = re.fullmatch(r"video(\d+)", Path(self.device).resolve().name)
        if number is None:
            raise NoCamera(f"{self.device} is no video device", "opticaldr camera find lists what is there")
        check_access(self.device)
        self._video = cv2.VideoCapture(int(number[1]), cv2.CAP_V4L2)
        try:
            if not self._video.isOpened():
                raise busy(self.device)
            self._choose_mode()
            self._switch_automatics_off()
            self._stale = max(_BUFFERS, int(self._video.get(cv2.CAP_PROP_BUFFERSIZE))) + _IN_FLIGHT
            self._exposure, self._gain = 0.01, 1.0
            self.configure(exposure=self._exposure)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def info(self) -> CameraInfo:
        """What was read back after opening."""
        if self._info is None:
            raise RuntimeError("the camera is not open: use it in a with block")
        return self._info

    def configure(self, *, exposure: float, gain: float = 1.0) -> None:
        """Set exposure (in steps of 100 µs) and gain, and forget what was exposed before."""
        import cv2

        steps = round(exposure / EXPOSURE_UNIT)
        if steps < 1:
            raise OutOfRange(
                f"exposure {exposure:g} s", f"UVC cameras expose for {EXPOSURE_UNIT:g} s or longer"
            )
        if gain < 1:
            raise OutOfRange(f"gain {gain:g}", "gain 1 is the lowest")
        self._set("exposure", cv2.CAP_PROP_EXPOSURE, steps)
        if self._video.get(cv2.CAP_PROP_GAIN) != _ABSENT:
            self._set("gain", cv2.CAP_PROP_GAIN, round(gain * self._unity_gain))
        elif gain != 1:
            raise OutOfRange(f"gain {gain:g}: {self.device} has no gain control", "ask for gain 1")
        self._exposure = steps * EXPOSURE_UNIT
        self._gain = gain if gain == 1 else round(gain * self._unity_gain) / self._unity_gain
        self._to_drop = self._stale

    def capture(self) -> RawFrame:
        """The next frame that was exposed with the present settings."""
        import cv2

        info = self.info
        for _ in range(self._to_drop):
            self._read()
        self._to_drop = 0
        raw = self._planes(self._read())
        arrived = self._video.get(cv2.CAP_PROP_POS_MSEC) / 1000
        start = (arrived if arrived > 0 else time.monotonic()) - self._exposure
        return RawFrame(
            central_region(raw, info.shape), self._exposure, self._gain, info.black_level, math.nan, start
        )

    def _choose_mode(self) -> None:
        import cv2

        if self._format is not None:
            self._video.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*self._format))
        if self._mode is not None:
            self._video.set(cv2.CAP_PROP_FRAME_HEIGHT, self._mode[0])
            self._video.set(cv2.CAP_PROP_FRAME_WIDTH, self._mode[1])
        given = int(self._video.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("ascii", "replace")
        rows, columns = (
            int(self._video.get(side)) for side in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
        )
        if self._format not in (None, given):
            raise WrongMode(
                f"{self.device} gives {given.strip()} instead of {str(self._format).strip()}",
                f"v4l2-ctl -d {self.device} --list-formats-ext says what it has",
            )
        if self._mode not in (None, (rows, columns)):
            raise WrongMode(
                f"{self.device} gives {rows} × {columns} pixels instead of {self._mode[0]} × {self._mode[1]}",  # type: ignore[index]
                f"v4l2-ctl -d {self.device} --list-formats-ext says what it has",
            )
        self._whole = rows, columns
        shape = self._region or self._whole
        if shape[0] > rows or shape[1] > columns:
            raise WrongMode(
                f"{self.device} gives {rows} × {columns} pixels, {shape[0]} × {shape[1]} are needed",
                "name a larger mode in the rig",
            )
        self._raw = RAW_FORMATS.get(given)
        self._set("conversion to RGB", cv2.CAP_PROP_CONVERT_RGB, int(self._raw is None))
        self._video.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        name = f"{self.device} {given.strip()}"
        if self._raw is None:
            self._info = CameraInfo(f"{name} (8-bit pictures, not raw)", shape, 8, "RGGB", 0, linear=False)
        else:
            self._info = CameraInfo(name, shape, self._raw.bits, self._raw.bayer, self._black_level)

    def _switch_automatics_off(self) -> None:
        import cv2

        self._set("automatic exposure", cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL)
        for name, control, value in (
            ("automatic white balance", cv2.CAP_PROP_AUTO_WB, 0),
            ("automatic focus", cv2.CAP_PROP_AUTOFOCUS, 0),
            ("backlight compensation", cv2.CAP_PROP_BACKLIGHT, 0),
            ("sharpening", cv2.CAP_PROP_SHARPNESS, 0),
        ):
            if self._video.get(control) != _ABSENT:
                self._set(name, control, value)

    def _set(self, name: str, control: int, value: int) -> None:
        self._video.set(control, value)
        found = self._video.get(control)
        if round(found) != value:
            there = "it has no such control" if found == _ABSENT else f"{found:g} is set instead of {value}"
            raise SettingIgnored(
                f"{self.device} did not take {name}: {there}",
                f"v4l2-ctl -d {self.device} --list-ctrls says what it can; use another camera",
            )

    def _read(self) -> NDArray[Any]:
        there, frame = self._video.read()
        if not there:
            raise CameraLost(f"{self.device} gives no frames any more", "look at its cable, and run again")
        return np.asarray(frame)

    def _planes(self, frame: NDArray[Any]) -> NDArray[np.uint16]:
        """Raw values [y, x]; OpenCV hands formats that it does not know out as one row of bytes."""
        rows, columns = self._whole
        if self._raw is None:
            return mosaic_of_picture(frame)
        values = np.frombuffer(np.ascontiguousarray(frame).tobytes(), "<u2" if self._raw.bytes == 2 else "u1")
        if values.size != rows * columns:
            raise WrongMode(
                f"a frame of {self.device} has {values.size} values, {rows} × {columns} were agreed",
                "name another format or mode in the rig",
            )
        if values.max() >> self._raw.bits:
            raise WrongMode(
                f"{self.device} gives values beyond {self._raw.bits} bits", "name another format in the rig"
            )
        return values.reshape(rows, columns).astype(np.uint16)

    def _close(self) -> None:
        if self._video is not None:
            self._video.release()
        self._video = self._info = None
