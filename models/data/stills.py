"""How a photograph becomes a clip of one frame, its face at the size that its distance gives it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.data.clips import Clip, FloatArray
from opticaldr.models.data.dataset import Recording, Take
from opticaldr.models.data.photographs import (
    FaceDetector,
    UnreadableImage,
    aligned_landmarks,
    place_landmarks,
    place_template,
    read_photograph,
    scene_from_photograph,
)

_MARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
LANDMARKS = tuple(f"{mark}_{axis}" for mark in _MARKS for axis in "xy")
"""Factors that say where the landmarks lie, in face widths from where those of an average face lie."""


def film_still(
    read: Callable[[Recording], FloatArray] | None = None, detector: FaceDetector | None = None
) -> Callable[[Recording, Take], Clip]:
    """A way to film photographs.

    A face is brought to its place by the landmarks that came with it, or else by those that the detector
    finds, or else as if its central half were the usual recognition template. In the first two cases the
    `LANDMARKS` are factors.

    Args:
        read: gives linear RGB ``[y, x, 3]``; by default the recording's file is decoded.
        detector: for recordings that bring no landmarks.
    """

    def film(recording: Recording, take: Take) -> Clip:
        if read is not None:
            photograph = read(recording)
        else:
            assert recording.file is not None
            photograph = read_photograph(recording.file)
        marks: NDArray[np.float64] | FloatArray | None = recording.landmarks
        if marks is None and detector is not None:
            marks = detector.landmarks(photograph)
            if marks is None:
                raise UnreadableImage(f"{recording.file} shows no face that was found", "remove it")
        return still_clip(photograph[None], recording, take, marks)

    return film


def still_clip(
    photographs: FloatArray,
    recording: Recording,
    take: Take,
    marks: NDArray[np.float64] | FloatArray | None,
    each: NDArray[np.float64] | None = None,
) -> Clip:
    """Photographs ``[t, y, x, 3]`` brought to their frame by one and the same placement.

    Args:
        photographs: linear RGB.
        recording: what they are of.
        take: what is wanted.
        marks: landmarks ``[5, 2]`` that decide the placement; None: as if aligned.
        each: landmarks of every photograph ``[t, 5, 2]``; by default ``marks`` for all.
    """
    frames = np.stack([scene_from_photograph(p, take.size, take.face_width, marks) for p in photographs])
    count = len(frames)
    factors = {name: np.full(count, value, np.float32) for name, value in recording.factors.items()}
    placed = None
    if marks is not None:
        own = np.broadcast_to(marks, (count, 5, 2)) if each is None else each
        placed = np.stack([place_landmarks(m, marks, take.size, take.face_width) for m in own])
        away = (placed - place_template(take.size, take.face_width)) / take.face_width
        for index, name in enumerate(LANDMARKS):
            factors[name] = away[:, index // 2, index % 2].astype(np.float32)
    else:
        standard = aligned_landmarks(photographs.shape[1:])
        placed = np.stack([place_landmarks(standard, standard, take.size, take.face_width)] * count)
    return Clip(
        frames,
        recording.subject or "",
        recording.session,
        recording.score,
        take.fps,
        factors,
        placed.astype(np.float32),
    )
