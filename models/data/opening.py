"""Data sets by name: ``celeba:DIR``, ``avec2014:DIR``, ``people:DIR`` …"""

from __future__ import annotations

from pathlib import Path

from opticaldr.errors import Refusal
from opticaldr.models.data.avec import open_avec
from opticaldr.models.data.celeba import open_celeba
from opticaldr.models.data.dataset import DataSet, IncompleteDataSet
from opticaldr.models.data.folders import open_expressions, open_people
from opticaldr.models.data.photographs import FaceDetector

KINDS = {
    "celeba": "CelebA: aligned pictures and official lists",
    "avec2013": "AVEC 2013: films with BDI-II totals",
    "avec2014": "AVEC 2014: films with BDI-II totals",
    "people": "a folder of photographs per person",
    "expressions": "a folder of photographs per expression, or a CSV",
}


def open_dataset(name: str, detector: Path | None = None, *, aligned: bool = False, seed: int = 0) -> DataSet:
    """Open a data set; nothing is copied, and pictures are read when they are filmed.

    Args:
        name: one of `KINDS`, a colon, and where it lies.
        detector: ONNX file of a YuNet face detector, for what brings no landmarks.
        aligned: the films of AVEC have been cropped and aligned already.
        seed: of the division into splits where a set does not say.

    Raises:
        IncompleteDataSet: something is absent; says what, and where it is expected.
        Refusal: an unknown kind, a set without pictures, or labels that cannot be.
    """
    kind, _, place = name.partition(":")
    if kind.lower() in ("daic", "daic-woz", "daicwoz", "edaic", "e-daic"):
        raise Refusal(
            f"{kind} holds no video, only features computed from it: no lens can be put before them",
            "use a set with films, such as avec2014:DIR",
        )
    if kind not in KINDS or not place:
        raise Refusal(f"{name} names no data set", f"allowed: {', '.join(f'{k}:PATH' for k in KINDS)}")
    folder = Path(place).expanduser()
    if not folder.exists():
        raise IncompleteDataSet(f"{folder} is missing", f"expected there: {KINDS[kind]}")
    finder = FaceDetector(detector) if detector is not None else None
    if kind == "celeba":
        return open_celeba(folder)
    if kind == "people":
        return open_people(folder, finder, seed)
    if kind == "expressions":
        return open_expressions(folder, finder, seed)
    if finder is None and not aligned:
        raise Refusal(
            f"{name} shows more than faces and brings no landmarks",
            "name a YuNet detector (--detector, data.detector), or set data.aligned if it has been cropped",
        )
    return open_avec(kind, folder, finder)
