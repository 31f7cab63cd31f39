"""What an optic still tells that it is meant to tell: expression, and the depression score.

A small network of one architecture is trained in the same way on the captures of every optic, so that a lens
and its controls can be set against each other. Where the subject brings networks of its own, they are run on
clips of people they have never seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.evaluation.alignment import FloatArray, align
from opticaldr.models.evaluation.faces import Faces
from opticaldr.models.evaluation.metrics import Floats, Interval, bootstrap
from opticaldr.models.evaluation.regression import CROP, explained_variance, train_reader
from opticaldr.models.evaluation.views import Captures
from opticaldr.models.networks import FACTORS

SMILE = 0.3
"""Lip corner pull from which a picture counts as smiling."""

SIDEWAYS = ("gaze_x", "yaw", "roll")
"""Factors that change sign in a mirror."""

MIRROR = [-1.0 if name in SIDEWAYS else 1.0 for name in FACTORS]


EXPRESSION = ("smile", "mouth", "brow", "blink")
"""Factors that a face makes, not the head or the eyes: what `Utility.expression` is about."""


@dataclass(frozen=True)
class Utility:
    """What can still be read off the captures of one optic.

    Attributes:
        expression: share of the variance of the `EXPRESSION` factors that is explained (R²), mean over those known.
        accuracy: balanced accuracy of telling smiling faces from others, 0.5 for whoever always says the same.
    """

    expression: Interval
    accuracy: Interval

    def json(self) -> dict[str, list[float]]:
        """``{name: [value, low, high]}``."""
        return {"expression_r2": self.expression.json(), "smile_accuracy": self.accuracy.json()}


def measure_utility(captures: Captures, train: Faces, test: Faces, *, epochs: int, seed: int) -> Utility:
    """Train a network to read all that is known of faces off the captures of some, and try it on others.

    A smile is what it reads above the threshold that does best on the training people.
    """
    names = [name for name in FACTORS if name in train.factors]
    known = align(captures.train, train.landmarks, CROP)
    mirror = [-1.0 if name in SIDEWAYS else 1.0 for name in names]
    read = train_reader(known, _factors(train, names), epochs=epochs, seed=seed, mirror=mirror)
    said, truth = read(align(captures.test, test.landmarks, CROP)), _factors(test, names)
    smile, smiling = read(known)[:, names.index("smile")], train.factors["smile"] > SMILE
    tried = np.quantile(smile, np.linspace(0.02, 0.98, 97))
    does = [(np.mean(smile[smiling] > t) + np.mean(smile[~smiling] <= t)) / 2 for t in tried]
    smiles = said[:, names.index("smile")] > tried[int(np.argmax(does))]
    chosen = [names.index(name) for name in EXPRESSION if name in names]
    return Utility(
        explained_variance(said[:, chosen], truth[:, chosen], test.people, seed=seed),
        balanced_accuracy(smiles, test.factors["smile"] > SMILE, test.people, seed=seed),
    )


def _factors(faces: Faces, names: Sequence[str]) -> FloatArray:
    return np.stack([faces.factors[name] for name in names], axis=1)


def balanced_accuracy(
    said: NDArray[np.bool_], truth: NDArray[np.bool_], people: NDArray[np.int64], *, seed: int
) -> Interval:
    """Mean of the accuracies on both classes, with a 95 % interval over people."""
    _, person = np.unique(people, return_inverse=True)
    right = said == truth
    counts = [np.bincount(person, weights=truth == label) for label in (False, True)]
    hits = [np.bincount(person, weights=right & (truth == label)) for label in (False, True)]

    def accuracy(multiplicity: Floats) -> list[float]:
        shares = [
            float(multiplicity @ hit) / max(float(multiplicity @ count), 1e-9)
            for hit, count in zip(hits, counts, strict=True)
        ]
        return [float(np.mean(shares))]

    return bootstrap(accuracy, len(counts[0]), seed, 400)[0]


@dataclass(frozen=True)
class Estimates:
    """Depression scores of sessions: estimated, true, whose, and what a constant predictor says."""

    said: Floats
    truth: Floats
    people: NDArray[np.int64]
    constant: float


def regression(estimates: Estimates, *, seed: int) -> dict[str, Interval]:
    """MAE, RMSE and concordance (CCC) in points, beside the constant predictor's MAE, with intervals over
    people.

    ``mae_reduction`` is by which fraction MAE lies below the constant's. CCC: Lin, Biometrics 45, 255 (1989).
    """
    said, truth = estimates.said, estimates.truth
    _, person = np.unique(estimates.people, return_inverse=True)

    def figures(multiplicity: Floats) -> list[float]:
        weight = multiplicity[person] / multiplicity[person].sum()
        mae = float(weight @ np.abs(said - truth))
        baseline = float(weight @ np.abs(estimates.constant - truth))
        rmse = float(np.sqrt(weight @ (said - truth) ** 2))
        a, b = said - weight @ said, truth - weight @ truth
        apart = float(weight @ (a * a) + weight @ (b * b) + (weight @ said - weight @ truth) ** 2)
        return [mae, rmse, float(2 * (weight @ (a * b)) / max(apart, 1e-12)), baseline, 1 - mae / baseline]

    names = ("mae", "rmse", "ccc", "constant_mae", "mae_reduction")
    return dict(zip(names, bootstrap(figures, int(person.max()) + 1, seed, 400), strict=True))
