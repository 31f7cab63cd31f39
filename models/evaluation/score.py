"""The depression score through any optic: one small network and one head, trained in the same way behind each.

A lens and its controls are set at the same expression R². One strength cannot meet two utilities, so the error of the
score is not tuned: it is measured beside the match, together with by how much it differs from the lens's.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from opticaldr.models.evaluation import cache as store
from opticaldr.models.evaluation.alignment import FloatArray, align
from opticaldr.models.evaluation.depression import (
    Clips,
    Window,
    constant_score,
    film_clips,
    train_head,
)
from opticaldr.models.evaluation.faces import Progress
from opticaldr.models.evaluation.metrics import Floats, Interval, bootstrap
from opticaldr.models.evaluation.regression import CROP, train_reader
from opticaldr.models.evaluation.utility import MIRROR, Estimates
from opticaldr.models.evaluation.views import View, read
from opticaldr.models.optics import SensorSpec

WINDOW = Window(frames=12, fps=1.0)
SESSIONS = 2
"""Of each person."""

READER_EPOCHS = 6
HEAD_STEPS = 400


@dataclass(frozen=True)
class Recordings:
    """Sharp clips of people to learn from and of people to be tested on, and what says the same of everybody."""

    train: Clips
    test: Clips
    constant: float

    @cached_property
    def key(self) -> str:
        """Hash of everything in them."""
        arrays = [array for clips in (self.train, self.test) for array in vars(clips).values()]
        return store.content_key(self.constant, *arrays)

    def estimates(self, said: Floats) -> Estimates:
        """What somebody says of the test people's sessions, beside the truth."""
        return Estimates(said, self.test.scores.astype(np.float64), self.test.people, self.constant)


def record(
    train: range,
    test: range,
    widths: Sequence[float],
    *,
    seed: int,
    size: tuple[int, int],
    progress: Progress = lambda stage, done, total: None,
) -> Recordings:
    """Film sessions of simulated people, by their numbers.

    Args:
        train, test: whom to learn from and to be tested on.
        widths: width of a face in pixels at each depth.
        seed: of the subjects.
        size: rows and columns of a frame.
        progress: of filming.
    """
    first, second = (
        film_clips(people, SESSIONS, WINDOW, list(widths), seed=seed, size=size, progress=progress)
        for people in (train, test)
    )
    return Recordings(first, second, constant_score(train.stop, seed))


def read_scores(view: View, recordings: Recordings, sensor: SensorSpec, *, seed: int) -> Floats:
    """The test people's scores as they are read through an optic, one a session.

    A network learns to read the factors of every captured face of the training people, a head their scores from a
    session's factors.
    """
    train, test = recordings.train, recordings.test
    known, tried = (_faces(view, clips, sensor, 2 * seed + n) for n, clips in enumerate((train, test)))
    read_factors = train_reader(
        known.reshape(-1, *known.shape[2:]),
        train.factors.reshape(-1, train.factors.shape[-1]),
        epochs=READER_EPOCHS,
        seed=seed,
        mirror=MIRROR,
    )
    windows = [
        torch.from_numpy(np.stack([read_factors(session) for session in sessions]))
        for sessions in (known, tried)
    ]
    head = train_head(windows[0], train, HEAD_STEPS, seed)
    with torch.inference_mode():
        said, _ = head(windows[1])
    return np.asarray(said.double().numpy())


def _faces(view: View, clips: Clips, sensor: SensorSpec, seed: int) -> FloatArray:
    """Captured faces, aligned: ``[r, t, y, x, 3]``."""

    def film(row: int) -> FloatArray:
        image = view.optical_image(clips.frames[row].astype(np.float32), int(clips.depths[row]))
        return align(read(image, sensor, np.random.default_rng([seed, row])), clips.landmarks[row], CROP)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return np.stack(list(threads.map(film, range(len(clips.frames)))))


def excess_error(other: Estimates, lens: Estimates, *, seed: int) -> Interval:
    """By how many points the mean absolute error of `other` is above that of the lens, on the same sessions; the 95 %
    interval is over people."""
    _, person = np.unique(lens.people, return_inverse=True)
    above = np.abs(other.said - other.truth) - np.abs(lens.said - lens.truth)

    def mean(multiplicity: Floats) -> list[float]:
        weight = multiplicity[person]
        return [float(weight @ above / weight.sum())]

    return bootstrap(mean, int(person.max()) + 1, seed, 400)[0]
