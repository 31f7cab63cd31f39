"""How a video file becomes a clip: frames at a steady pace, one placement for all, in linear light."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.models.data.clips import Clip, FloatArray
from opticaldr.models.data.colour import srgb_to_linear
from opticaldr.models.data.dataset import Recording, Take
from opticaldr.models.data.photographs import FaceDetector
from opticaldr.models.data.quiet import quiet_opencv
from opticaldr.models.data.stills import still_clip


class UnreadableVideo(Refusal):
    """A video that is missing, damaged, empty or too short."""


def film_video(detector: FaceDetector | None) -> Callable[[Recording, Take], Clip]:
    """A way to film videos.

    The median of the landmarks over the clip places all its frames alike, so that a head moves in the frame as
    it moved before the camera. Where the detector finds no face in a frame, its landmarks are not known (NaN).

    Args:
        detector: finds the faces; None: the middle of the frame is the usual recognition template.
    """

    def film(recording: Recording, take: Take) -> Clip:
        assert recording.file is not None
        photographs = read_frames(recording.file, take.frames, take.fps, take.start)
        if detector is None:
            return still_clip(photographs, recording, take, None)
        found = [detector.landmarks(photograph) for photograph in photographs]
        each = np.stack([np.full((5, 2), np.nan) if marks is None else marks for marks in found])
        if np.isnan(each).all():
            raise UnreadableVideo(
                f"{recording.file} shows no face from {take.start:g} s on", "remove or replace it"
            )
        marks: NDArray[np.float64] = np.nanmedian(each, axis=0)
        return still_clip(photographs, recording, take, marks, each)

    return film


def read_frames(file: Path, count: int, fps: float, start: float = 0.0) -> FloatArray:
    """The frames of a video shown at ``start + k / fps`` seconds, linear RGB ``[count, y, x, 3]``.

    Raises:
        UnreadableVideo: it cannot be played, or ends before.
    """
    with quiet_opencv():
        video = cv2.VideoCapture(str(file))
    try:
        if not file.is_file() or not video.isOpened():
            raise UnreadableVideo(f"{file} is not a video that can be played", "replace or remove it")
        pace = video.get(cv2.CAP_PROP_FPS)
        pace = pace if 0 < pace < 1000 else 30.0
        wanted = [round((start + k / fps) * pace) for k in range(count)]
        frames = []
        for number in range(wanted[-1] + 1):
            if not video.grab():
                raise UnreadableVideo(
                    f"{file} ends after {number} frames; {wanted[-1] + 1} are needed",
                    "ask for fewer frames, or replace or remove it",
                )
            for _ in range(wanted.count(number)):
                decoded, picture = video.retrieve()
                if not decoded:
                    raise UnreadableVideo(f"{file} is damaged at frame {number}", "replace or remove it")
                frames.append(srgb_to_linear(np.ascontiguousarray(picture[..., ::-1])))
    finally:
        video.release()
    return np.stack(frames)


def duration(file: Path) -> float:
    """Seconds that a video says it lasts; 0 where it cannot be played."""
    with quiet_opencv():
        video = cv2.VideoCapture(str(file))
    try:
        pace = video.get(cv2.CAP_PROP_FPS) if video.isOpened() else 0.0
        return float(video.get(cv2.CAP_PROP_FRAME_COUNT) / pace) if pace > 0 else 0.0
    finally:
        video.release()
