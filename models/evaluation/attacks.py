"""The ladder of attackers, each rung behind one interface.

An attack is given what an attacker would have: clean pictures and captures of people who are not in the test,
the camera's PSF, and any recogniser. It is asked for vectors of the test captures and for the vectors of the
clean gallery that they are to be compared with. True landmarks are always given to it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.evaluation.alignment import FloatArray, align
from opticaldr.models.evaluation.faces import Faces, Progress
from opticaldr.models.evaluation.inversion import (
    RICHARDSON_LUCY_ROUNDS,
    WIENER_NOISE,
    richardson_lucy,
    wiener,
)
from opticaldr.models.evaluation.metrics import roc
from opticaldr.models.evaluation.recognisers import NetworkRecogniser, Recogniser
from opticaldr.models.evaluation.retraining import Schedule, train_recogniser
from opticaldr.models.evaluation.verification import Embedded, compare
from opticaldr.models.evaluation.views import Captures, View


@dataclass(frozen=True)
class Ground:
    """What all attackers share: people to learn from, people to be tested on, recognisers.

    Attributes:
        train: people for training and tuning, none of them in `test`.
        test: people that figures are taken on.
        recognisers: off-the-shelf recognisers.
        base: the one whose clean vectors retrained attackers aim at.
        schedule: how long attackers train.
        seed: of their training.
        tune: which training pictures settings are chosen with: people whom the base has not been trained on.
        shown: which of the test pictures the report shows.
        progress: of long work.
    """

    train: Faces
    test: Faces
    recognisers: list[Recogniser]
    base: Recogniser
    schedule: Schedule
    seed: int
    tune: NDArray[np.int64]
    shown: NDArray[np.int64]
    progress: Progress = lambda stage, done, total: None
    _gallery: dict[str, FloatArray] = field(default_factory=dict, repr=False)

    def gallery(self, recogniser: Recogniser) -> FloatArray:
        """Vectors of the clean test pictures."""
        if recogniser.name not in self._gallery:
            self._gallery[recogniser.name] = recogniser.embed(self.test.scenes, self.test.landmarks)
        return self._gallery[recogniser.name]


@dataclass(frozen=True)
class Reading:
    """What one attacker with one recogniser makes of the test captures.

    Attributes:
        attacker: name of the rung.
        recogniser: name of the recogniser.
        gallery: unit vectors of the clean test pictures.
        probes: unit vectors of the captures, to be compared with the gallery and with one another.
        restored: the pictures of `Ground.shown` that the probes were read from, if they are not the captures
            themselves.
        notes: what the attacker chose, and its training curve.
    """

    attacker: str
    recogniser: str
    gallery: FloatArray
    probes: FloatArray
    restored: FloatArray | None = None
    notes: dict[str, Any] = field(default_factory=dict)


class Attack(Protocol):
    """One rung of the ladder."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    def read(self, ground: Ground, view: View, captures: Captures) -> Iterator[Reading]:
        """Fit to the training people if need be, then read the test captures."""
        ...


@dataclass(frozen=True)
class OffTheShelf:
    """A0: recognisers as they come, on the captured image."""

    name: str = "A0 off the shelf"

    def read(self, ground: Ground, view: View, captures: Captures) -> Iterator[Reading]:
        """See `Attack`."""
        for recogniser in ground.recognisers:
            probes = recogniser.embed(captures.test, ground.test.landmarks)
            yield Reading(self.name, recogniser.name, ground.gallery(recogniser), probes)


@dataclass(frozen=True)
class Retrained:
    """A1 and A2 in one: a network trained on captures, with a margin loss and pulled towards clean vectors.

    It starts from the weights of the recogniser trained on clean faces where that is the base, and its
    vectors can be compared with one another (A1) and, because of the pull, with a clean gallery (A2).
    """

    name: str = "A1 retrained"

    def read(self, ground: Ground, view: View, captures: Captures) -> Iterator[Reading]:
        """See `Attack`."""
        yield retrained_reading(ground, captures, self.name)


def retrained_reading(ground: Ground, captures: Captures, name: str) -> Reading:
    """Train on the training people's captures, then read the test people's."""
    base = ground.base
    start = base.network if isinstance(base, NetworkRecogniser) else None
    size = base.size if isinstance(base, NetworkRecogniser) else CROP
    network, curve = train_recogniser(
        align(captures.train, ground.train.landmarks, size),
        ground.train.people,
        ground.schedule,
        seed=ground.seed,
        start=start,
        towards=base.embed(ground.train.scenes, ground.train.landmarks),
        stage="train attacker",
        progress=ground.progress,
    )
    attacker = NetworkRecogniser(network, size, f"student of {base.name}")
    probes = attacker.embed(captures.test, ground.test.landmarks)
    return Reading(name, attacker.name, ground.gallery(base), probes, notes={"loss": curve})


CROP = 64
"""Side of the crops of an attacker whose teacher does not set it."""

Invert = Callable[[FloatArray, NDArray[np.floating], float], FloatArray]


@dataclass(frozen=True)
class Inversion:
    """A3: undo the known PSF, with the regularisation that recognises the tuning people best.

    Attributes:
        name: what the report calls it.
        invert: frames, PSF and one setting to restored frames.
        settings: what the attacker tries.
        retrain: whether a recogniser is then trained on restored pictures (A3 then A1).
    """

    name: str
    invert: Invert
    settings: tuple[float, ...]
    retrain: bool = False

    def read(self, ground: Ground, view: View, captures: Captures) -> Iterator[Reading]:
        """See `Attack`."""
        sample, seen = ground.train.take(ground.tune), captures.train[ground.tune]
        clean = Embedded(ground.base.embed(sample.scenes, sample.landmarks), sample.people, sample.sessions)
        scores = {}
        for done, setting in enumerate(self.settings):
            restored = self.restore(view, seen, sample.depths, setting)
            vectors = ground.base.embed(restored, sample.landmarks)
            scores[setting] = roc(compare(clean, Embedded(vectors, sample.people, sample.sessions))).auc
            ground.progress(f"tune {self.name}", done + 1, len(self.settings))
        best = max(scores, key=lambda setting: scores[setting])
        restored = self.restore(view, captures.test, ground.test.depths, best)
        notes = {"setting": best, "tuning_auc": {f"{setting:g}": auc for setting, auc in scores.items()}}
        shown = restored[ground.shown]
        for recogniser in ground.recognisers:
            probes = recogniser.embed(restored, ground.test.landmarks)
            yield Reading(self.name, recogniser.name, ground.gallery(recogniser), probes, shown, notes)
        if self.retrain:
            train = self.restore(view, captures.train, ground.train.depths, best)
            reading = retrained_reading(ground, Captures(train, restored), f"{self.name}, then A1")
            yield replace(reading, restored=shown, notes=notes | reading.notes)

    def restore(
        self, view: View, frames: FloatArray, depths: NDArray[np.int64], setting: float
    ) -> FloatArray:
        """Undo the PSF of each frame's own depth, a batch at a time."""
        restored = np.empty_like(frames)
        for depth in np.unique(depths).tolist():
            index = np.flatnonzero(depths == depth)
            for start in range(0, len(index), 32):
                batch = index[start : start + 32]
                restored[batch] = self.invert(frames[batch], view.bank[depth], setting)
        return restored


def ladder(budget: str) -> list[Attack]:
    """The attackers of a budget, weakest first."""
    if budget == "quick":
        return [OffTheShelf(), Retrained(), Inversion("A3 Wiener", wiener, WIENER_NOISE)]
    rounds = tuple(map(float, RICHARDSON_LUCY_ROUNDS))
    return [
        OffTheShelf(),
        Retrained(),
        Inversion("A3 Wiener", wiener, WIENER_NOISE, retrain=True),
        Inversion("A3 Richardson-Lucy", lambda frames, psf, n: richardson_lucy(frames, psf, int(n)), rounds),
    ]
