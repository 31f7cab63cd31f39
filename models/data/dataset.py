"""One interface for everything faces come from: recordings of people, and how each becomes a clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from opticaldr.errors import Refusal
from opticaldr.models.data.clips import Clip, FloatArray

Split = Literal["train", "validate", "test"]
SPLITS: tuple[Split, ...] = ("train", "validate", "test")

BDI_MAXIMUM = 63
_NAMED = 5  # how many absent or overlapping things a refusal names before it only counts


class IncompleteDataSet(Refusal):
    """Something that belongs to a data set is not where it should be."""


@dataclass(frozen=True)
class Take:
    """How a recording is wanted.

    Attributes:
        frames: how many; a still has one, however many are wanted.
        fps: frames per second.
        size: rows and columns of a frame.
        face_width: pixels that an average face (160 mm) spans.
        start: seconds into the recording at which the first frame lies.
    """

    frames: int
    fps: float
    size: tuple[int, int]
    face_width: float
    start: float = 0.0


@dataclass(frozen=True)
class Recording:
    """One still, film or session of one person.

    Attributes:
        session: which recording; unique within the subject.
        split: what it may be used for.
        subject: who is seen; None where nobody says.
        file: where it lies; None where it is made on demand.
        score: BDI-II total, 0 to 63.
        factors: what is known of the recording as a whole, by name.
        landmarks: ``[5, 2]`` pixels (x, y) in the file: eyes, nose tip, mouth corners, left of the image first.
    """

    session: str
    split: Split
    subject: str | None = None
    file: Path | None = None
    score: int | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    landmarks: FloatArray | None = None


@dataclass(frozen=True)
class DataSet:
    """Recordings and the way to look at them.

    Attributes:
        name: what it was opened as.
        recordings: all that can be used.
        factors: names of what is labelled in at least some of them.
        film: brings a recording to linear light at the wanted size; refuses one that cannot be read.
        moving: whether recordings are films; a still has one frame.
        remarks: what was mended or left out when it was opened, a line each.
    """

    name: str
    recordings: tuple[Recording, ...]
    factors: tuple[str, ...]
    film: Callable[[Recording, Take], Clip]
    moving: bool = False
    remarks: tuple[str, ...] = ()

    def split(self, which: Split) -> tuple[Recording, ...]:
        """The recordings of one split."""
        return tuple(recording for recording in self.recordings if recording.split == which)

    def shared_people(self) -> dict[str, tuple[Split, ...]]:
        """People who are seen in more than one split, and in which."""
        where: dict[str, set[Split]] = {}
        for recording in self.recordings:
            if recording.subject is not None:
                where.setdefault(recording.subject, set()).add(recording.split)
        return {
            subject: tuple(split for split in SPLITS if split in splits)
            for subject, splits in sorted(where.items())
            if len(splits) > 1
        }

    def require_disjoint(self) -> DataSet:
        """Itself, if nobody is in two splits.

        Raises:
            Refusal: names who is where.
        """
        if shared := self.shared_people():
            named = listing(f"{subject} ({' and '.join(splits)})" for subject, splits in shared.items())
            raise Refusal(
                f"{self.name} shows {len(shared)} people in more than one split: {named}",
                "give every person to one split",
            )
        return self

    def __str__(self) -> str:
        counts = Counter(recording.split for recording in self.recordings)
        return f"{self.name} ({', '.join(f'{counts[split]} to {split}' for split in SPLITS)})"


def listing(names: object) -> str:
    """The first few of some names, and how many more there are."""
    every = [str(name) for name in names]  # type: ignore[attr-defined]
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more


def check_score(score: int, place: object) -> int:
    """A BDI-II total, if it is one; otherwise a `Refusal` that names the place."""
    if not 0 <= score <= BDI_MAXIMUM:
        raise Refusal(
            f"{place} gives a BDI-II total of {score}", f"totals lie between 0 and {BDI_MAXIMUM}: mend it"
        )
    return score
