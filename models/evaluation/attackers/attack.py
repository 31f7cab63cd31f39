"""What every attacker is given, and what it hands back.

An attacker is given what an attacker would have: clean pictures and captures of people who are not in the test,
the camera's PSF, and any recogniser. It is asked for vectors of the test captures and for the vectors of the
clean gallery that they are to be compared with. True landmarks are always given to it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.faces import Faces, Progress
from opticaldr.models.evaluation.metrics import roc
from opticaldr.models.evaluation.recognisers import Recogniser
from opticaldr.models.evaluation.retraining import Schedule
from opticaldr.models.evaluation.verification import Embedded, compare
from opticaldr.models.evaluation.views import Captures, View
from opticaldr.models.optics import SensorSpec


@dataclass(frozen=True)
class Ground:
    """What all attackers share: people to learn from, people to be tested on, recognisers, the sensor.

    Attributes:
        train: people for training and tuning, none of them in `test`.
        test: people that figures are taken on.
        recognisers: off-the-shelf recognisers.
        base: the one whose clean vectors retrained attackers aim at.
        sensor: what reads the optical image.
        schedule: how long attackers train.
        crop: side of the faces that networks trained by attackers look at.
        seed: of their training.
        tune: which training pictures settings are chosen with: people whom the base has not been trained on.
        shown: which of the test pictures the report shows.
        progress: of long work.
    """

    train: Faces
    test: Faces
    recognisers: list[Recogniser]
    base: Recogniser
    sensor: SensorSpec
    schedule: Schedule
    crop: int
    seed: int
    tune: NDArray[np.int64]
    shown: NDArray[np.int64]
    progress: Progress = lambda stage, done, total: None
    _vectors: dict[str, FloatArray] = field(default_factory=dict, init=False, repr=False)

    def gallery(self, recogniser: Recogniser) -> FloatArray:
        """Vectors of the clean test pictures."""
        return self._remembered(f"test {recogniser.name}", recogniser, self.test)

    def teaching(self) -> FloatArray:
        """The base's vectors of the clean training pictures."""
        return self._remembered(f"train {self.base.name}", self.base, self.train)

    def tuning_auc(self, restored: FloatArray) -> float:
        """How well the base recognises the tuning people in what an attacker made of their captures, against a
        clean gallery."""
        sample = self.train.take(self.tune)
        clean = Embedded(self.teaching()[self.tune], sample.people, sample.sessions)
        vectors = self.base.embed(restored, sample.landmarks)
        return roc(compare(clean, Embedded(vectors, sample.people, sample.sessions))).auc

    def _remembered(self, name: str, recogniser: Recogniser, faces: Faces) -> FloatArray:
        if name not in self._vectors:
            self._vectors[name] = recogniser.embed(faces.scenes, faces.landmarks)
        return self._vectors[name]


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
    """One rung of the ladder: a frozen dataclass whose fields are all that its result depends on, besides what it
    is given."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    def read(self, ground: Ground, view: View, captures: Captures) -> Iterator[Reading]:
        """Fit to the training people if need be, then read the test captures."""
        ...
