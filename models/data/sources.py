"""Scenes for a running device: a video file, a folder of images, a webcam or a simulated subject."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from opticaldr.errors import Refusal
from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.colour import srgb_to_linear
from opticaldr.models.data.photographs import list_images, read_photograph
from opticaldr.models.data.quiet import quiet_opencv
from opticaldr.models.data.subjects import SimulatedSubjects

SIMULATED = "simulated:"


@dataclass(frozen=True)
class Source:
    """An open source of scenes.

    Attributes:
        name: what it was opened from.
        fps: nominal frames per second.
        frames: pairs of seconds since the start and linear RGB ``[y, x, 3]``, float32 in [0, 1].
    """

    name: str
    fps: float
    frames: Iterator[tuple[float, FloatArray]]


@contextmanager
def open_source(
    name: str,
    *,
    fps: float = 30.0,
    size: tuple[int, int] = (112, 112),
    face_width: float = 60.0,
    seed: int = 0,
) -> Iterator[Source]:
    """Open a source of scenes for the length of a ``with`` block.

    Args:
        name: ``simulated:7`` (a subject's number), a path to a video or to a folder of images (shown in the
            order of their names), or the index of a camera such as ``0``.
        fps: pace of a simulated subject or a folder of images; others bring their own.
        size, face_width, seed: of simulated subjects, see `SimulatedSubjects.clip`.

    Raises:
        Refusal: nothing there, nothing in it, or it cannot be opened; a damaged image when its turn comes.
    """
    path = Path(name)
    if name.startswith(SIMULATED):
        yield Source(name, fps, _film(name, fps, size, face_width, seed))
    elif path.is_dir():
        images = list_images(path)
        yield Source(name, fps, ((index / fps, read_photograph(image)) for index, image in enumerate(images)))
    elif path.is_file():
        with _capture(
            name, f"{name} is not a video that can be played", "convert it, for example to MP4"
        ) as video:
            pace = video.get(cv2.CAP_PROP_FPS)
            pace = pace if 0 < pace < 1000 else 30.0  # some containers do not say
            first = _first(
                video, f"{name} holds no picture that can be decoded", "convert it, for example to MP4"
            )
            yield Source(name, pace, ((i / pace, picture) for i, picture in enumerate(_play(first, video))))
    elif name.isdecimal():
        remedy = "plug it in, close other programs that use it, or name another index"
        with _capture(int(name), f"camera {name} cannot be opened", remedy) as camera:
            first = _first(camera, f"camera {name} delivers no picture", remedy)
            pace = camera.get(cv2.CAP_PROP_FPS)
            began = time.monotonic()
            yield Source(
                f"camera {name}",
                pace if pace > 0 else 30.0,
                ((time.monotonic() - began, picture) for picture in _play(first, camera)),
            )
    else:
        raise Refusal(
            f"source {name} is missing",
            f"name a video, a folder of images, a camera index or {SIMULATED}<subject>",
        )


@contextmanager
def _capture(target: str | int, what: str, remedy: str) -> Iterator[Any]:
    """Hold an OpenCV capture open."""
    with quiet_opencv():
        capture = cv2.VideoCapture(target)
    try:
        if not capture.isOpened():
            raise Refusal(what, remedy)
        yield capture
    finally:
        capture.release()


def _first(capture: Any, what: str, remedy: str) -> Any:
    found, picture = capture.read()
    if not found:
        raise Refusal(what, remedy)
    return picture


def _play(picture: Any, capture: Any) -> Iterator[FloatArray]:
    """The pictures of a capture, from one already read to the last, decoded to linear RGB."""
    found = True
    while found:
        yield np.asarray(srgb_to_linear(np.ascontiguousarray(picture[..., ::-1])), np.float32)
        found, picture = capture.read()


def _film(
    name: str, fps: float, size: tuple[int, int], face_width: float, seed: int
) -> Iterator[tuple[float, FloatArray]]:
    """Endless frames of a simulated subject's first session, filmed a second at a time."""
    number = name.removeprefix(SIMULATED)
    if not number.isdecimal():
        raise Refusal(f"source {name} names no subject", f"give a number, for example {SIMULATED}7")
    stage, batch = SimulatedSubjects(seed), max(1, round(fps))
    return (
        ((take * batch + index) / fps, frame)
        for take in itertools.count()
        for index, frame in enumerate(
            stage.clip(int(number), 0, batch, size, face_width, fps=fps, start=take * batch / fps).frames
        )
    )
