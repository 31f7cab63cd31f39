"""What an optic still tells that it is meant to tell: expression, and the depression score.

Two figures. A small network of one architecture is trained in the same way on the captures of every optic, so
that a lens and its controls can be set against each other. Where the subject brings networks of its own, they
are run on clips of people they have never seen.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from opticaldr.models.evaluation.alignment import FloatArray, align
from opticaldr.models.evaluation.attacks import Captures
from opticaldr.models.evaluation.faces import Faces
from opticaldr.models.evaluation.metrics import Floats, Interval, bootstrap
from opticaldr.models.networks import FACTORS, Compact

SMILE = 0.3
"""Lip corner pull from which a picture counts as smiling."""

CROP = 48

SIDEWAYS = ("gaze_x", "yaw", "roll")
"""Factors that change sign in a mirror."""


def expression_accuracy(captures: Captures, train: Faces, test: Faces, *, epochs: int, seed: int) -> Interval:
    """Balanced accuracy of telling smiling faces from others, of a network trained on the same optic's
    captures.

    The network reads all of a face's factors; its threshold for a smile is the one that does best on the
    training people.
    Balanced: the mean of the two classes' accuracies, 0.5 for whoever always says the same.
    """
    factors = np.stack([train.factors[name] for name in FACTORS], axis=1)
    read = _fit_factors(align(captures.train, train.landmarks, CROP), factors, epochs, seed)
    known, truth = read(align(captures.train, train.landmarks, CROP)), train.factors["smile"] > SMILE
    tried = np.quantile(known, np.linspace(0.02, 0.98, 97))
    does = [(np.mean(known[truth] > t) + np.mean(known[~truth] <= t)) / 2 for t in tried]
    said = read(align(captures.test, test.landmarks, CROP)) > tried[int(np.argmax(does))]
    return balanced_accuracy(said, test.factors["smile"] > SMILE, test.people, seed=seed)


def _fit_factors(
    crops: FloatArray, factors: FloatArray, epochs: int, seed: int
) -> Callable[[FloatArray], FloatArray]:
    """Train on crops ``[n, y, x, 3]`` and factors ``[n, f]``; gives what reads smiles ``[m]`` off other
    crops."""
    pictures = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)))
    truth = torch.from_numpy((factors - factors.mean(0)) / factors.std(0))
    mirror = torch.tensor([-1.0 if name in SIDEWAYS else 1.0 for name in FACTORS])
    steps = -(-len(crops) // 64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Compact(size=CROP).to(memory_format=torch.channels_last)
        optimiser = torch.optim.AdamW(network.parameters(), 4e-3, weight_decay=1e-2)
        pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=epochs * steps)
        for _ in range(epochs):
            for index in torch.randperm(len(pictures)).chunk(steps):
                seen, goal = pictures[index], truth[index]
                if torch.rand(()) < 0.5:
                    seen, goal = seen.flip(-1), goal * mirror
                loss = (network.factors(network(seen)) - goal).square().mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                pace.step()
    network.eval()
    smile = FACTORS.index("smile")

    def read(crops: FloatArray) -> FloatArray:
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)))
            return np.concatenate([network.factors(network(b))[:, smile].numpy() for b in batch.split(64)])

    return read


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
