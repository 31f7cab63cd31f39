"""The people an evaluation uses: pictures as an ideal lens would form them on the sensor, at several
depths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.models.data import Shot, SimulatedSubjects, Take, film_all
from opticaldr.models.data.identity import Identity
from opticaldr.models.data.photographs import (
    aligned_landmarks,
    list_people,
    place_template,
    read_photograph,
    scene_from_photograph,
)
from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.landmarks import find_landmarks
from opticaldr.models.evaluation.scratch import scratch
from opticaldr.models.optics import OpticsSpec, face_width

Progress = Callable[[str, int, int], None]

SESSION_SECONDS = 120.0

LEAST_DETAIL = 0.5
"""Pixels that a photograph has to have for each superpixel along a face."""


@dataclass(frozen=True)
class Faces:
    """Pictures of people; first axis ``n`` everywhere.

    Attributes:
        scenes: linear RGB in [0, 1], float32 ``[n, y, x, 3]``, sharp, on the sensor's grid of superpixels.
        people: who, numbers from 0.
        sessions: which recording of that person, numbers from 0; light, background and clothes belong to it.
        landmarks: true positions (x, y) in pixels ``[n, 5, 2]``: eyes, nose tip, mouth corners.
        depths: which of the evaluation's depths the subject sits at.
        factors: what is known of each picture, such as ``smile``.
        attributes: what is known of its person, such as ``glasses``; empty if nothing is.
    """

    scenes: FloatArray
    people: NDArray[np.int64]
    sessions: NDArray[np.int64]
    landmarks: FloatArray
    depths: NDArray[np.int64]
    factors: dict[str, FloatArray] = field(default_factory=dict)
    attributes: dict[str, FloatArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.people)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "Faces":
        """Some of the pictures."""
        return Faces(
            self.scenes[index],
            self.people[index],
            self.sessions[index],
            self.landmarks[index],
            self.depths[index],
            {name: values[index] for name, values in self.factors.items()},
            {name: values[index] for name, values in self.attributes.items()},
        )


def simulated_faces(
    people: range,
    sessions: int,
    frames: int,
    widths: Sequence[float],
    *,
    seed: int,
    size: tuple[int, int] = (112, 112),
    progress: Progress = lambda stage, done, total: None,
) -> Faces:
    """Pictures of simulated subjects: each session at a depth drawn at random, at moments far apart.

    Args:
        people: numbers of the subjects.
        sessions: sessions of each.
        frames: pictures of each session.
        widths: width of a face in pixels at each depth.
        seed: of the stage, the moments and the depths.
        size: rows and columns.
        progress: called as ``progress("film faces", done, total)``.
    """
    stage = SimulatedSubjects(seed)
    recordings = [(person, session) for person in people for session in range(sessions)]

    shots, depths = [], []
    for recording in recordings:
        rng = np.random.default_rng([seed, *recording])
        depths.append(int(rng.integers(len(widths))))
        start, rate = float(rng.uniform(0, SESSION_SECONDS)), frames / SESSION_SECONDS
        shots.append(Shot(*recording, Take(frames, rate, size, float(widths[depths[-1]]), start)))
    scenes = scratch((len(recordings) * frames, *size, 3))
    known = []
    for done, clip in enumerate(film_all(stage, shots)):
        scenes[done * frames : (done + 1) * frames] = clip.frames
        known.append((clip.landmarks, clip.factors))
        progress("film faces", done + 1, len(recordings))
    return Faces(
        scenes,
        np.repeat(np.array(people, np.int64), sessions * frames),
        np.tile(np.repeat(np.arange(sessions), frames), len(people)),
        np.concatenate([landmarks for landmarks, _ in known if landmarks is not None]),
        np.repeat(np.array(depths, np.int64), frames),
        {name: np.concatenate([factors[name] for _, factors in known]) for name in known[0][1]},
        _attributes([stage.identity(person) for person in people], sessions * frames),
    )


def _attributes(people: Sequence[Identity], pictures: int) -> dict[str, FloatArray]:
    """What somebody would describe a person by, for each of their pictures."""
    described = {
        "skin tone": [float(np.log(np.mean(one.skin))) for one in people],
        "hair tone": [float(np.log(np.mean(one.hair))) for one in people],
        "hair length": [one.hair_end for one in people],
        "glasses": [float(one.glasses > 0) for one in people],
        "beard": [one.beard for one in people],
        "width of the jaw": [one.jaw for one in people],
        "length of the nose": [one.nose_length for one in people],
        "width of the mouth": [one.mouth_width for one in people],
    }
    return {name: np.repeat(np.array(values, np.float32), pictures) for name, values in described.items()}


def photographed_faces(
    folder: Path,
    widths: Sequence[float],
    *,
    seed: int,
    size: tuple[int, int] = (112, 112),
    detector: Path | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Faces:
    """Photographs, a folder a person, each put at a depth drawn at random: every one counts as a session of
    its own. Pictures may differ in size. Where every name begins with ``smile`` or ``neutral``, smiles are known.

    Args:
        folder: holds one folder per person.
        widths: width of a face in pixels at each depth.
        seed: of the depths.
        size: rows and columns.
        detector: finds the landmarks (see `find_landmarks`).
        progress: called as ``progress("read photographs", done, total)``.

    Raises:
        Refusal: no folder, no pictures, a picture that cannot be read, a face that is not found, or one so small that
            its blur would count as the lens's.
    """
    people = list_people(folder)
    pictures = [
        (number, session, path)
        for number, paths in enumerate(people.values())
        for session, path in enumerate(paths)
    ]
    landmarks = find_landmarks(folder, [path for *_, path in pictures], detector)
    depths = np.random.default_rng(seed).integers(len(widths), size=len(pictures))
    placed = [widths[depth] for depth in depths]
    scenes = scratch((len(pictures), *size, 3))
    for done, (*_, path) in enumerate(pictures):
        picture, marks = read_photograph(path), landmarks.get(path)
        found = eye_distance(aligned_landmarks(picture.shape) if marks is None else marks)
        if found < LEAST_DETAIL * eye_distance(place_template(size, placed[done])):
            raise Refusal(
                f"the eyes of {path} are {found:.0f} pixels apart: too few, its own blur would count as the lens's",
                "replace it by a larger picture or remove it",
            )
        scenes[done] = scene_from_photograph(picture, size, placed[done], marks)
        progress("read photographs", done + 1, len(pictures))
    return Faces(
        scenes,
        np.array([number for number, *_ in pictures], np.int64),
        np.array([session for _, session, _ in pictures], np.int64),
        np.stack([place_template(size, width) for width in placed]).astype(np.float32),
        depths,
        _smiles([path.stem for *_, path in pictures]),
    )


def eye_distance(landmarks: NDArray[np.floating]) -> float:
    """Pixels between the eyes of landmarks ``[5, 2]``."""
    return float(np.linalg.norm(landmarks[1] - landmarks[0]))


def _smiles(names: Sequence[str]) -> dict[str, FloatArray]:
    """1 for pictures whose names begin with ``smile``, 0 for ``neutral``; nothing if any begins otherwise."""
    if not all(name.lower().startswith(("smile", "neutral")) for name in names):
        return {}
    return {"smile": np.array([name.lower().startswith("smile") for name in names], np.float32)}


def face_widths(spec: OpticsSpec, depths: Sequence[float]) -> list[float]:
    """Width of a face in superpixels at each depth."""
    return [face_width(spec, depth) for depth in depths]


def check_disjoint(train: Faces, test: Faces) -> None:
    """Refuse an attacker who has met the people it is tested on."""
    shared = np.intersect1d(train.people, test.people)
    if len(shared):
        raise Refusal(
            f"{len(shared)} people are both in training and in test", "split by person, not by picture"
        )


def check_repeated(faces: Faces) -> None:
    """Refuse people with fewer than two sessions: nothing genuine to compare, and a crowd of fewer than
    two."""
    people, counts = np.unique(faces.people, return_counts=True)
    if len(people) < 2:
        raise Refusal(f"{len(people)} person in the test set", "give at least two people")
    if counts.min() < 2:
        raise Refusal(
            f"{int((counts < 2).sum())} of {len(people)} people have a single picture",
            "give at least two pictures of everybody",
        )
