"""CelebA (Liu, Luo, Wang & Tang, ICCV 2015): the aligned and cropped pictures with their official lists.

Bounding boxes are not read: they refer to the pictures before cropping.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from opticaldr.errors import Refusal
from opticaldr.models.data.dataset import SPLITS, DataSet, IncompleteDataSet, Recording, listing
from opticaldr.models.data.stills import LANDMARKS, film_still

PICTURES = "img_align_celeba"
ATTRIBUTES = "list_attr_celeba.txt"
PARTITION = "list_eval_partition.txt"
PLACES = "list_landmarks_align_celeba.txt"
IDENTITY = "identity_CelebA.txt"
_FOLDERS = ("", "Anno", "Eval", "Img")  # flat, or as it is distributed


def open_celeba(folder: Path) -> DataSet:
    """Read the lists of CelebA; pictures are read when they are filmed.

    Factors are the 40 attributes (0 or 1) and where the five landmarks come to lie (see `film_still`).

    Raises:
        IncompleteDataSet: a list or pictures are absent; says which, and where they are expected.
        Refusal: a list says something it cannot say, or a person is in two splits.
    """
    found = {name: _find(folder, name) for name in (PICTURES, ATTRIBUTES, PARTITION, PLACES, IDENTITY)}
    if absent := [folder / name for name, place in found.items() if place is None]:
        raise IncompleteDataSet(
            f"CelebA in {folder} is incomplete: {listing(absent)} is missing",
            "extract the aligned pictures and the lists there (identities are given on request by the authors)",
        )
    files = {name: place for name, place in found.items() if place is not None}
    split = {
        row[0]: _choice(files[PARTITION], line, row[1], {"0": 0, "1": 1, "2": 2})
        for line, row in _rows(files[PARTITION], 2)
    }
    _, names = next(_rows(files[ATTRIBUTES], None, skip=1))
    attributes = {
        row[0]: [_choice(files[ATTRIBUTES], line, value, {"-1": 0, "1": 1}) for value in row[1:]]
        for line, row in _rows(files[ATTRIBUTES], len(names) + 1, skip=2)
    }
    marks = {
        row[0]: np.array(row[1:], np.float32).reshape(5, 2) for _, row in _rows(files[PLACES], 11, skip=2)
    }
    people = {row[0]: row[1] for _, row in _rows(files[IDENTITY], 2)}
    present = {path.name for path in files[PICTURES].iterdir()}
    if absent := [files[PICTURES] / name for name in split if name not in present]:
        raise IncompleteDataSet(
            f"CelebA in {folder} is incomplete: {len(absent)} of {len(split)} pictures are missing: "
            f"{listing(absent)}",
            "extract img_align_celeba.zip again",
        )
    for file, listed in ((ATTRIBUTES, attributes), (PLACES, marks), (IDENTITY, people)):
        if silent := [name for name in split if name not in listed]:
            raise IncompleteDataSet(
                f"{files[file]} lacks {len(silent)} pictures: {listing(silent)}", "fetch the list again"
            )
    recordings = tuple(
        Recording(
            session=name,
            split=SPLITS[which],
            subject=people[name],
            file=files[PICTURES] / name,
            factors=dict(zip(names, attributes[name], strict=True)),
            landmarks=marks[name],
        )
        for name, which in split.items()
    )
    return DataSet(f"celeba:{folder}", recordings, (*names, *LANDMARKS), film_still()).require_disjoint()


def _find(folder: Path, name: str) -> Path | None:
    return next((folder / sub / name for sub in _FOLDERS if (folder / sub / name).exists()), None)


def _rows(file: Path, columns: int | None, skip: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Numbered lines of a list in columns, from after the first ``skip`` on."""
    with file.open(encoding="utf-8") as stream:
        for line, text in enumerate(stream, start=1):
            row = text.split()
            if line <= skip or not row:
                continue
            if columns is not None and len(row) != columns:
                raise Refusal(
                    f"{file} has {len(row)} columns in line {line}, not {columns}", "fetch it again"
                )
            yield line, row


def _choice(file: Path, line: int, value: str, allowed: dict[str, int]) -> int:
    if value not in allowed:
        raise Refusal(f"{file} says {value} in line {line}", f"allowed: {', '.join(allowed)}")
    return allowed[value]
