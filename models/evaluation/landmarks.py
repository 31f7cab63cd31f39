"""Where the faces of photographs are: given, found by a detector on the clean picture, or known by alignment.

Faces are looked for before any optics, never through them: a face that is not found must not count as privacy.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.models.data import FaceDetector, read_photograph

GIVEN = "landmarks.csv"
"""File beside the people's folders: rows of ``person/picture.jpg, x, y`` of eyes, nose tip, mouth corners."""

Landmarks = dict[Path, NDArray[np.float64]]


def find_landmarks(folder: Path, pictures: Sequence[Path], detector: Path | None) -> Landmarks:
    """Landmarks ``[5, 2]`` of each picture: those in `GIVEN`, else what the detector finds. A picture that is in
    neither, where no detector is given, is left out: it has to be aligned already.

    Args:
        folder: of the people's folders.
        pictures: files in them.
        detector: a YuNet ONNX file.

    Raises:
        Refusal: a row of the file cannot be used, or the detector finds no face in a picture.
    """
    found = read_landmarks(folder / GIVEN)
    if detector is None:
        return found
    finder, missed = FaceDetector(detector), []
    for path in pictures:
        if path not in found:
            marks = finder.landmarks(read_photograph(path))
            if marks is None:
                missed.append(path)
            else:
                found[path] = marks
    if missed:
        raise Refusal(
            f"no face is found in {len(missed)} of {len(pictures)} photographs, the first {missed[0]}",
            f"give their landmarks in {folder / GIVEN} or remove them: a face not found is not a face hidden",
        )
    return found


def read_landmarks(file: Path) -> Landmarks:
    """Rows of a picture's path, relative to the file, and ten numbers (x and y in its pixels); empty without a file."""
    if not file.exists():
        return {}
    found: Landmarks = {}
    with file.open(newline="", encoding="utf-8") as rows:
        for number, row in enumerate(csv.reader(rows), start=1):
            if not row or row[0].startswith("#"):
                continue
            try:
                marks = np.array([float(value) for value in row[1:]]).reshape(5, 2)
            except ValueError:
                marks = np.full((5, 2), np.nan)
            if not np.isfinite(marks).all() or np.ptp(marks, axis=0).min() <= 0:
                raise Refusal(
                    f"{file}, row {number}: not five points",
                    "write person/picture.jpg and ten numbers x, y, x, y …",
                )
            found[file.parent / row[0].strip()] = marks
    return found
