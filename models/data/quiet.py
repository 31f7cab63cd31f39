"""OpenCV without its own words on the terminal: what went wrong is said once, by a refusal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read once, when the first video is opened or written


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Silence OpenCV's log, and FFmpeg's behind it, within a block."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
