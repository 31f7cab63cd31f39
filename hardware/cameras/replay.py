"""A camera that plays frames from disk: a raw recording, or a video or pictures (then plainly called that)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.hardware.cameras.camera import CameraInfo, RawFrame
from opticaldr.hardware.cameras.errors import FramesEnded, OutOfRange
from opticaldr.hardware.cameras.recording import is_recording, read_recording

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_ORDER = "RGGB"
_PICTURE_PERIOD = 1 / 30


class ReplayCamera:
    """Plays what is at `source`, each frame once and in order.

    Of a recording, `configure` picks the frames with that exposure and gain: frames come with the settings they were
    taken at. A video or picture has been developed and has none; whatever is configured, it is played as it is, as an
    RGGB mosaic of its 8-bit values that calls itself not linear.

    Args:
        source: folder of a recording, folder of pictures, or a video.

    Raises:
        Refusal: on opening, there is nothing of that kind; on `capture`, a frame cannot be read.
        OutOfRange: on `configure`, no frame was recorded at these settings.
        FramesEnded: on `capture`, all were played.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self._info: CameraInfo | None = None
        self._asked: tuple[float, float] | None = None
        self._settings: list[tuple[float, float]] = []
        self._frames: Iterator[RawFrame] = iter(())

    def __enter__(self) -> Self:
        if is_recording(self.source):
            recording = read_recording(self.source)
            self._settings = sorted({(each.exposure, each.gain) for each in recording.frames})
            self._frames = (each.read(self.source, recording.camera) for each in recording.frames)
            self._info = recording.camera.info
            return self
        pictures = _pictures(self.source)
        first = next(pictures, None)
        if first is None:
            raise Refusal(
                f"{self.source} holds no frames",
                "give a folder made by opticaldr camera snap, a folder of pictures, or a video",
            )
        self._settings = []
        self._frames = _as_frames(first, pictures)
        name = f"replay of {self.source.name} (8-bit pictures, not raw)"
        self._info = CameraInfo(name, first[1].shape[:2], 8, _ORDER, 0, linear=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._frames = iter(())
        self._info = self._asked = None

    @property
    def info(self) -> CameraInfo:
        """The camera that took the recording, or a name that says that these are pictures."""
        if self._info is None:
            raise RuntimeError("the camera is not open: use it in a with block")
        return self._info

    def configure(self, *, exposure: float, gain: float = 1.0) -> None:
        """Play only frames with these settings from here on."""
        if not self._settings:
            return
        if not any(_same(setting, (exposure, gain)) for setting in self._settings):
            there = ", ".join(f"{e:g} s at gain {g:g}" for e, g in self._settings[:6])
            raise OutOfRange(
                f"{self.source} has no frame of {exposure:g} s at gain {gain:g}",
                f"ask for what it has: {there}",
            )
        self._asked = exposure, gain

    def capture(self) -> RawFrame:
        """The next frame that has the settings asked for."""
        _ = self.info
        for frame in self._frames:
            if self._asked is None or _same((frame.exposure, frame.gain), self._asked):
                return frame
        raise FramesEnded(f"{self.source} has no more frames", "record more of them")


def _same(setting: tuple[float, float], asked: tuple[float, float]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(setting, asked, strict=True))


def mosaic_of_picture(picture: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """An 8-bit BGR picture [y, x, 3] as what pixels behind RGGB filters would hold, uint16 [y, x]."""
    raw = picture[..., 1].astype(np.uint16)
    raw[0::2, 0::2] = picture[0::2, 0::2, 2]
    raw[1::2, 1::2] = picture[1::2, 1::2, 0]
    return raw


def _as_frames(
    first: tuple[float, NDArray[np.uint8]], rest: Iterator[tuple[float, NDArray[np.uint8]]]
) -> Iterator[RawFrame]:
    shape = first[1].shape
    for seconds, picture in (each for part in ((first,), rest) for each in part):
        if picture.shape != shape:
            raise Refusal(
                f"a picture has {picture.shape[0]} × {picture.shape[1]} pixels, the first {shape[0]} × {shape[1]}",
                "give pictures of one size",
            )
        yield RawFrame(mosaic_of_picture(picture), _PICTURE_PERIOD, 1.0, 0, math.nan, seconds)


def _pictures(source: Path) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Seconds and BGR pictures [y, x, 3] of a video or a folder, in order."""
    import cv2

    if source.is_dir():
        files = sorted(path for path in source.iterdir() if path.suffix.lower() in PICTURES)
        for number, path in enumerate(files):
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is None:
                raise Refusal(f"{path} is no picture", "remove it from the folder")
            yield number * _PICTURE_PERIOD, np.asarray(picture, np.uint8)
        return
    if not source.exists():
        raise Refusal(f"{source} does not exist", "check the path")
    from opticaldr.models.data.quiet import quiet_opencv

    with quiet_opencv():
        video = cv2.VideoCapture(str(source))
    try:
        period = 1 / (video.get(cv2.CAP_PROP_FPS) or 1 / _PICTURE_PERIOD)
        number = 0
        while True:
            there, picture = video.read()
            if not there:
                return
            yield number * period, np.asarray(picture, np.uint8)
            number += 1
    finally:
        video.release()
