"""Photographs that bring their labels in folder names or in a table: people (LFW style), expressions (FER style)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.colour import srgb_to_linear
from opticaldr.models.data.dataset import SPLITS, DataSet, IncompleteDataSet, Recording, Split, listing
from opticaldr.models.data.photographs import FaceDetector, list_people
from opticaldr.models.data.stills import LANDMARKS, film_still

SHARES = (0.7, 0.1, 0.2)  # of people to train, validate and test where the set itself does not say
FER_EXPRESSIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
_FER_USAGE: dict[str, Split] = {"Training": "train", "PublicTest": "validate", "PrivateTest": "test"}
_FER_SIDE = 48


def open_people(folder: Path, detector: FaceDetector | None = None, seed: int = 0) -> DataSet:
    """A folder of photographs per person; people are divided at random, seven tenths to train on.

    The `LANDMARKS` that a detector finds are the only factors; without one the set knows people alone.
    """
    people = list_people(folder)
    split = _divide(list(people), seed)
    recordings = tuple(
        Recording(session=file.name, split=split[person], subject=person, file=file)
        for person, files in people.items()
        for file in files
    )
    factors = LANDMARKS if detector else ()
    return DataSet(f"people:{folder}", recordings, factors, film_still(detector=detector))


def open_expressions(place: Path, detector: FaceDetector | None = None, seed: int = 0) -> DataSet:
    """Photographs labelled with an expression; each expression is a factor, 0 or 1.

    Args:
        place: a folder of photographs per expression; or a CSV with columns ``file`` (relative to it),
            ``expression`` and, if known, ``person`` and ``split`` (train, validate, test); or ``fer2013.csv``
            (``emotion``, ``pixels``, ``Usage``; Goodfellow et al., ICONIP 2013).
        detector: finds the faces; None where they are aligned.
        seed: of the division into splits where the set does not say.

    Raises:
        IncompleteDataSet: the table names files that are not there.
        Refusal: a missing column, an unknown split, an expression out of range, people in two splits.
    """
    if not place.is_file():
        labelled = [(file, name, None, None) for name, files in list_people(place).items() for file in files]
        return _labelled(f"expressions:{place}", labelled, detector, seed)
    with place.open(newline="", encoding="utf-8-sig") as stream:
        table = csv.DictReader(stream)
        columns = set(table.fieldnames or ())
        if {"emotion", "pixels", "Usage"} <= columns:
            return _fer(place, table)
        if absent := {"file", "expression"} - columns:
            raise Refusal(
                f"{place} lacks the column {' and '.join(sorted(absent))}",
                "columns are file, expression and, if known, person and split",
            )
        rows = list(table)
    missing = [place.parent / row["file"] for row in rows if not (place.parent / row["file"]).is_file()]
    if missing:
        raise IncompleteDataSet(
            f"{place} names {len(missing)} files that are not there: {listing(missing)}",
            "put them there or remove their lines",
        )
    splits: dict[str | None, Split] = {split: split for split in SPLITS}
    for line, row in enumerate(rows, start=2):
        if row.get("split") and row["split"] not in splits:
            raise Refusal(
                f"{place} gives split {row['split']} in line {line}", f"allowed: {', '.join(SPLITS)}"
            )
    labelled_rows = [
        (
            place.parent / row["file"],
            row["expression"],
            row.get("person") or None,
            splits.get(row.get("split")),
        )
        for row in rows
    ]
    return _labelled(f"expressions:{place}", labelled_rows, detector, seed)


def _labelled(
    name: str,
    rows: Sequence[tuple[Path, str, str | None, Split | None]],
    detector: FaceDetector | None,
    seed: int,
) -> DataSet:
    names = tuple(sorted({expression for _, expression, _, _ in rows}))
    if len(names) < 2:
        raise Refusal(f"{name} knows {len(names)} expressions", "at least two are needed")
    split = _divide(list(dict.fromkeys(person or str(file) for file, _, person, _ in rows)), seed)
    recordings = tuple(
        Recording(
            session=str(file),
            split=own or split[person or str(file)],
            subject=person,
            file=file,
            factors={known: float(known == expression) for known in names},
        )
        for file, expression, person, own in rows
    )
    factors = (*names, *LANDMARKS) if detector else names
    return DataSet(name, recordings, factors, film_still(detector=detector)).require_disjoint()


def _fer(place: Path, table: csv.DictReader[str]) -> DataSet:
    """FER-2013: small grey pictures in the table itself, of people nobody has named."""
    pictures: list[NDArray[np.uint8]] = []
    recordings: list[Recording] = []
    for line, row in enumerate(table, start=2):
        pixels = np.array((row["pixels"] or "").split(), np.uint8)
        if row["emotion"] not in map(str, range(len(FER_EXPRESSIONS))) or pixels.size != _FER_SIDE**2:
            raise Refusal(
                f"{place} has emotion {row['emotion']} and {pixels.size} pixels in line {line}",
                f"emotions are 0 to 6, pixels {_FER_SIDE**2}: fetch it again",
            )
        if row["Usage"] not in _FER_USAGE:
            raise Refusal(f"{place} says {row['Usage']} in line {line}", f"allowed: {', '.join(_FER_USAGE)}")
        labels = {name: float(i == int(row["emotion"])) for i, name in enumerate(FER_EXPRESSIONS)}
        recordings.append(Recording(str(len(pictures)), _FER_USAGE[row["Usage"]], file=place, factors=labels))
        pictures.append(pixels.reshape(_FER_SIDE, _FER_SIDE))

    def read(recording: Recording) -> FloatArray:
        grey = np.asarray(srgb_to_linear(pictures[int(recording.session)]), np.float32)
        # The pictures are cut out closely; the frame has room for twice a face, so its edge goes on.
        return np.pad(np.repeat(grey[..., None], 3, axis=2), ((24, 24), (24, 24), (0, 0)), mode="edge")

    return DataSet(f"expressions:{place}", tuple(recordings), FER_EXPRESSIONS, film_still(read))


def _divide(people: Sequence[str], seed: int) -> dict[str, Split]:
    """Give every person to one split, at random."""
    order = np.random.default_rng(seed).permutation(len(people))
    train, validate = round(SHARES[0] * len(people)), round((SHARES[0] + SHARES[1]) * len(people))
    names: list[Split] = ["train" if n < train else "validate" if n < validate else "test" for n in order]
    return dict(zip(people, names, strict=True))
