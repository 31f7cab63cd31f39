"""A Raspberry Pi camera through picamera2: the raw stream, with every automatic off.

Four surprises of that stack are dealt with here. On a Pi 5 a packed raw format silently becomes a lossy compression
(PiSP COMP1), so unpacked values are asked for and the configuration is read back. A Pi 5 left-aligns unpacked values in
16 bits, a Pi 4 does not. Rows are padded to the stride. And controls take some frames to arrive, so a frame counts only
once its own metadata has the settings.

Source: picamera2 manual (Raspberry Pi Ltd), libcamera's control documentation.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from glob import glob
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
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

_UNPACKED = re.compile(r"^(?:S(?P<bayer>[RGB]{4})|R)(?P<bits>\d+)$")
_BUFFERS = 4
_PATIENCE = 4 * _BUFFERS  # frames within which a control must have arrived
_ANSWER = 5.0  # seconds beyond the exposure after which a silent camera is lost
_READOUT = 3e-3  # seconds that a frame must be longer than its exposure
_ZERO_CELSIUS = 273.15
_LENS_SHADING = "rpi.alsc"
_OFF = {"AeEnable": False, "AwbEnable": False, "NoiseReductionMode": 0, "HdrMode": 0, "AfMode": 0}
"""Controls and what switches each off (libcamera: off, manual); a camera without one has nothing to switch off."""


class Picamera2Camera:
    """A camera of the Raspberry Pi.

    Args:
        number: which, in the order of ``opticaldr camera find``.
        mode: rows and columns of the sensor mode; None for the largest.
        bits: of the sensor mode; None for the deepest of that size.
        region: rows and columns of the central part to hand out; None for all.
        tuning: name of the tuning file, from which lens shading is taken out; None for the sensor's own.

    Raises:
        NoCamera, CameraForbidden, CameraBusy: on opening.
        WrongMode: the raw stream is not what was asked for, or not raw.
        OutOfRange: on `configure`.
        SettingIgnored: on `capture`, a setting did not arrive; it is named.
        CameraLost: on `capture`, no frame came.
    """

    def __init__(
        self,
        number: int = 0,
        *,
        mode: tuple[int, int] | None = None,
        bits: int | None = None,
        region: tuple[int, int] | None = None,
        tuning: str | None = None,
    ) -> None:
        self._number, self._mode, self._bits, self._region = number, mode, bits, region
        self._tuning = tuning
        self._camera: Any = None
        self._info: CameraInfo | None = None

    def __enter__(self) -> Self:
        cameras = cameras_of_this_pi()
        if self._number >= len(cameras):
            for device in glob("/dev/media*"):
                check_access(device)
            raise NoCamera(
                f"there is no Raspberry Pi camera number {self._number} ({len(cameras)} found)",
                "look at its ribbon cable (power off first); rpicam-hello --list-cameras lists what is there",
            )
        self._model = str(cameras[self._number]["Model"])
        try:
            self._camera = self._acquire()
            size, depth, asked = self._choose_mode()
            self._start(size, depth, asked)
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
        """Set exposure (to whole rows of the sensor) and gain; `capture` waits until they have arrived."""
        shortest, longest, _ = self._camera.camera_controls["ExposureTime"]
        lowest, highest, _ = self._camera.camera_controls["AnalogueGain"]
        if not shortest * 1e-6 <= exposure <= (longest or math.inf) * 1e-6:
            raise OutOfRange(
                f"exposure {exposure:g} s is out of range",
                f"the {self._model} exposes for {shortest * 1e-6:g} to {longest * 1e-6:g} s",
            )
        if not 1 <= gain <= highest / lowest:
            raise OutOfRange(
                f"gain {gain:g} is out of range",
                f"the {self._model} amplifies 1 to {highest / lowest:.3g} times",
            )
        self._lowest_gain = lowest
        self._camera.set_controls(self._settings(exposure, gain))
        self._asked = exposure, gain
        self._since = time.monotonic_ns()

    def capture(self) -> RawFrame:
        """The next frame whose own metadata has the settings asked for."""
        _ = self.info  # it is open
        exposure, gain = self._asked
        for _ in range(_PATIENCE):
            frame = self._next()
            if frame.taken_at(exposure, gain):
                return frame
        name = "ExposureTime" if frame.taken_at(frame.exposure, gain) else "AnalogueGain"
        raise SettingIgnored(
            f"the {self._model} did not take {name}: frames have {frame.exposure:g} s at gain {frame.gain:.3g} instead "
            f"of {exposure:g} s at {gain:g}",
            "ask for what opticaldr camera info says it can",
        )

    def _acquire(self) -> Any:
        from picamera2 import Picamera2

        name = self._tuning or f"{self._model}.json"
        try:
            tuning = Picamera2.load_tuning_file(name)
        except RuntimeError:
            raise Refusal(
                f"there is no tuning file {name} to take lens shading out of",
                "name one as tuning in the rig file",
            ) from None
        try:
            return Picamera2(self._number, tuning=_without_lens_shading(tuning))
        except RuntimeError as error:
            cause: BaseException = error
            while cause.__cause__ is not None:  # picamera2 wraps what libcamera says
                cause = cause.__cause__
            if "busy" in str(cause).lower() or "acquire" in str(cause):
                raise busy(f"the {self._model}") from None
            raise NoCamera(
                f"the {self._model} does not start ({cause})", "look at its ribbon cable"
            ) from None

    def _choose_mode(self) -> tuple[tuple[int, int], int, str]:
        """Width and height, bits, and the unpacked format to ask for."""
        modes = [each for each in self._camera.sensor_modes if "bit_depth" in each]
        if not modes:
            raise WrongMode(f"the {self._model} gives no raw stream", "drive a USB camera with driver opencv")
        size = self._mode[::-1] if self._mode else max((each["size"] for each in modes), key=math.prod)
        fitting = [each for each in modes if each["size"] == size and self._bits in (None, each["bit_depth"])]
        if not fitting:
            there = ", ".join(f"{m['size'][1]} × {m['size'][0]} at {m['bit_depth']} bit" for m in modes)
            asked = f"{size[1]} × {size[0]}" + (f" at {self._bits} bit" if self._bits else "")
            raise WrongMode(f"the {self._model} has no mode {asked}", f"it has {there}")
        deepest = max(fitting, key=lambda each: each["bit_depth"])
        return size, deepest["bit_depth"], str(deepest["unpacked"])

    def _start(self, size: tuple[int, int], depth: int, asked: str) -> None:
        camera = self._camera
        configuration = camera.create_video_configuration(
            main={"size": (640, 480)},
            raw={"format": asked, "size": size},
            sensor={"output_size": size, "bit_depth": depth},
            buffer_count=_BUFFERS,
            queue=False,
        )
        camera.configure(configuration)
        found = camera.camera_configuration()
        self._check(found, size, depth, asked)
        known = camera.camera_controls
        camera.set_controls({name: value for name, value in _OFF.items() if name in known})
        self.configure(exposure=max(0.01, known["ExposureTime"][0] * 1e-6))
        camera.start()
        level = self._next().black_level
        match = _UNPACKED.match(asked)
        assert match is not None
        shape = self._region or size[::-1]
        self._info = CameraInfo(f"picamera2 {self._model}", shape, depth, match["bayer"], level)

    def _check(self, found: Mapping[str, Any], size: tuple[int, int], depth: int, asked: str) -> None:
        """Refuse a raw stream that is not what was asked for, and learn how its values are laid out."""
        raw = found["raw"]
        if raw is None:
            raise WrongMode(f"the {self._model} gives no raw stream", "drive a USB camera with driver opencv")
        wanted, given = _UNPACKED.match(asked), _UNPACKED.match(raw["format"])
        if wanted is None or given is None:
            why = "which is lossy compression" if "PISP" in raw["format"] else "which is packed"
            raise WrongMode(
                f"the {self._model} gives {raw['format']}, {why}, instead of {asked}",
                "update picamera2 and libcamera",
            )
        container = int(given["bits"])
        sensor = found.get("sensor") or {}
        surprises = {
            "format": (raw["format"], asked, given["bayer"] == wanted["bayer"] and container in (depth, 16)),
            "size": (raw["size"], size, tuple(raw["size"]) == size),
            "bit depth": (sensor.get("bit_depth"), depth, sensor.get("bit_depth") == depth),
        }
        for what, (is_, should, fits) in surprises.items():
            if not fits:
                raise WrongMode(
                    f"the {self._model} has raw {what} {is_} instead of {should}",
                    "name a mode that rpicam-hello --list-cameras lists",
                )
        if self._region and (self._region[0] > size[1] or self._region[1] > size[0]):
            raise WrongMode(
                f"the {self._model} gives {size[1]} × {size[0]} pixels, "
                f"{self._region[0]} × {self._region[1]} are needed",
                "name a larger mode in the rig file",
            )
        self._size, self._depth, self._shift = size, depth, container - depth

    def _settings(self, exposure: float, gain: float) -> dict[str, Any]:
        shortest, _, _ = self._camera.camera_controls["FrameDurationLimits"]
        duration = max(shortest, round((exposure * 1.02 + _READOUT) * 1e6))
        return {
            "ExposureTime": round(exposure * 1e6),
            "AnalogueGain": gain * self._lowest_gain,
            "FrameDurationLimits": (duration, duration),
        }

    def _next(self) -> RawFrame:
        """The next frame that began after `configure`, whatever its settings."""
        try:
            request = self._camera.capture_request(wait=self._asked[0] + _ANSWER, flush=self._since)
        except TimeoutError:
            self._camera.cancel_all_and_flush()
            raise CameraLost(
                f"the {self._model} gives no frames any more",
                "look at its ribbon cable (power off first), and run again",
            ) from None
        try:
            data, metadata = request.make_array("raw"), request.get_metadata()
        finally:
            request.release()
        levels = metadata.get("SensorBlackLevels")
        if levels is None:
            raise WrongMode(f"the {self._model} does not tell its black level", "update libcamera")
        exposure = metadata["ExposureTime"] * 1e-6
        return RawFrame(
            self._unpack(data),
            exposure,
            metadata["AnalogueGain"] / self._lowest_gain,
            round(float(np.mean(levels)) / 2 ** (16 - self._depth)),
            metadata.get("SensorTemperature", math.nan) + _ZERO_CELSIUS,
            metadata["SensorTimestamp"] * 1e-9 - exposure,
        )

    def _unpack(self, data: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """Values [y, x] from rows of bytes, without the padding of the stride."""
        columns, rows = self._size
        values = np.ascontiguousarray(data[:rows, : 2 * columns]).view("<u2")
        spare = int(np.bitwise_or.reduce(values, axis=None))
        if spare & (2**self._shift - 1) or spare >> (self._depth + self._shift):
            raise WrongMode(
                f"raw values of the {self._model} are not {self._depth} bits where they should be",
                "update picamera2 and libcamera",
            )
        return central_region((values >> self._shift).astype(np.uint16), self._region or (rows, columns))

    def _close(self) -> None:
        if self._camera is not None:
            self._camera.stop()
            self._camera.close()
        self._camera = self._info = None


def cameras_of_this_pi() -> list[dict[str, Any]]:
    """Model, Id, Num, Location and Rotation of every camera that libcamera sees.

    Raises:
        Refusal: picamera2 is not installed.
    """
    try:
        from picamera2 import Picamera2
    except ModuleNotFoundError:
        raise Refusal(
            "picamera2 is not installed",
            "on a Raspberry Pi: sudo apt install python3-picamera2, and an environment with --system-site-packages",
        ) from None
    return [dict(each) for each in Picamera2.global_camera_info()]


def _without_lens_shading(tuning: Mapping[str, Any]) -> dict[str, Any]:
    """The tuning without its lens-shading algorithm, in both versions of the file format."""
    if "algorithms" not in tuning:
        return {name: part for name, part in tuning.items() if name != _LENS_SHADING}
    kept = [each for each in tuning["algorithms"] if _LENS_SHADING not in each]
    return {**tuning, "algorithms": kept}
