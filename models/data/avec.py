"""AVEC 2013 and 2014 (Valstar et al., AVEC workshops 2013 and 2014): films of sessions with a BDI-II total.

How the archives nest varies, so films and labels are searched for: ``203_1_cut_combined.mp4`` (2013) and
``203_1_Northwind_video.mp4`` (2014) somewhere below a folder Training, Development or Testing, each label one
integer in ``203_1_Depression.csv``, below a folder of the same partition. 203 is the person, 1 the session.

The official partitions share people, so results on them are also given without those (see
`DataSet.shared_people`).
"""

from __future__ import annotations

import re
from pathlib import Path

from opticaldr.errors import Refusal
from opticaldr.models.data.dataset import (
    DataSet,
    IncompleteDataSet,
    Recording,
    Split,
    check_score,
    listing,
)
from opticaldr.models.data.films import film_video
from opticaldr.models.data.photographs import FaceDetector
from opticaldr.models.data.stills import LANDMARKS

SESSIONS = 50  # in each partition, in both years
_PARTITIONS: dict[str, Split] = {"training": "train", "development": "validate", "testing": "test"}
_FILMS = {
    "avec2013": re.compile(r"(?P<subject>\d+)_(?P<session>\d+)_cut_combined\.mp4", re.IGNORECASE),
    "avec2014": re.compile(
        r"(?P<subject>\d+)_(?P<session>\d+)_(?P<task>Freeform|Northwind)_video\.mp4", re.IGNORECASE
    ),
}
_LABEL = re.compile(r"(?P<subject>\d+)_(?P<session>\d+)_Depression\.csv", re.IGNORECASE)
Key = tuple[Split, str, str]  # partition, person, session


def open_avec(year: str, folder: Path, detector: FaceDetector | None = None) -> DataSet:
    """Find the films of ``avec2013`` or ``avec2014`` and their labels.

    A label whose session does not exist is given to the one session of the same person and partition that has
    none: in the public archives 205_1 and 205_2 are mixed up. It is remarked on.

    Args:
        year: which of the two.
        folder: where the archives were extracted.
        detector: finds the faces; None where the films are cropped and aligned already.

    Raises:
        IncompleteDataSet: no films, a partition without films, or films without a label or the other way round.
        Refusal: a label that is not one integer from 0 to 63.
    """
    films: dict[tuple[Split, str, str, str], Path] = {}
    labels: dict[Key, Path] = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if (split := _partition(file, folder)) is None:
            continue
        if match := _FILMS[year].fullmatch(file.name):
            task = match.groupdict().get("task") or ""
            films.setdefault((split, match["subject"], match["session"], task), file)
        elif match := _LABEL.fullmatch(file.name):
            labels.setdefault((split, match["subject"], match["session"]), file)
    expected = {
        "avec2013": "Training/203_1_cut_combined.mp4",
        "avec2014": "Video/Training/Northwind/203_1_Northwind_video.mp4",
    }[year]
    for name, split in _PARTITIONS.items():
        for what, found in (("film", films), ("label", labels)):
            if not any(key[0] == split for key in found):
                place = folder / (expected if what == "film" else "Training/203_1_Depression.csv").replace(
                    "Training", name.capitalize()
                )
                raise IncompleteDataSet(
                    f"{year} in {folder} is incomplete: no {what} of the {name.capitalize()} partition",
                    f"extract it; expected, for example, {place}",
                )
    sessions = sorted({key[:3] for key in films})
    scores, remarks = _match(sessions, labels, year, folder)
    for name, split in _PARTITIONS.items():
        count = sum(session[0] == split for session in sessions)
        if count != SESSIONS:
            remarks.append(f"{name.capitalize()} holds {count} sessions, not {SESSIONS}")
    recordings = tuple(
        Recording(
            session=f"{session}_{task}" if task else session,
            split=split,
            subject=subject,
            file=file,
            score=scores[split, subject, session],
        )
        for (split, subject, session, task), file in films.items()
    )
    factors = LANDMARKS if detector else ()
    made = DataSet(f"{year}:{folder}", recordings, factors, film_video(detector), True)
    if shared := made.shared_people():
        remarks.append(f"{len(shared)} people are in more than one partition: {listing(shared)}")
    return DataSet(made.name, recordings, factors, made.film, True, tuple(remarks))


def _match(
    sessions: list[Key], labels: dict[Key, Path], year: str, folder: Path
) -> tuple[dict[Key, int], list[str]]:
    """The total of every session, and what had to be mended for it."""
    remarks = []
    labels = dict(labels)
    for key in [session for session in sessions if session not in labels]:
        split, subject, session = key
        loose = [other for other in labels if other[:2] == key[:2] and other not in sessions]
        if len(loose) == 1:
            labels[key] = labels.pop(loose[0])
            remarks.append(f"{subject}_{session} ({split}) takes the label {labels[key].name}: same person")
    without = [f"{s}_{n} ({split})" for split, s, n in sessions if (split, s, n) not in labels]
    unfilmed = [labels[key] for key in labels if key not in sessions]
    for absent, what, have in ((without, "label", "a film"), (unfilmed, "film", "a label")):
        if absent:
            raise IncompleteDataSet(
                f"{year} in {folder} is incomplete: {len(absent)} sessions have {have} and no {what}: "
                f"{listing(absent)}",
                "extract the missing part, or remove the other",
            )
    return {key: _score(labels[key]) for key in sessions}, remarks


def _partition(file: Path, folder: Path) -> Split | None:
    """The partition that a part of the path names: Training, AVEC2014_Labels_Testing, dev …"""
    for part in reversed(file.relative_to(folder).parts[:-1]):
        for name, split in _PARTITIONS.items():
            if name in part.lower():
                return split
    return None


def _score(file: Path) -> int:
    text = file.read_text(encoding="utf-8-sig", errors="replace").strip().rstrip(",;")
    if not re.fullmatch(r"-?\d+", text):
        raise Refusal(f"{file} holds {text[:30]!r}", "it should hold one integer: mend it")
    return check_score(int(text), file)
