"""How a BDI-II estimate is reported: beside what a constant and a list of names would score, with intervals."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
REPLICATES = 1000


@dataclass(frozen=True)
class Sessions:
    """Sessions of people: truth and estimate of each, ``[n]``; windows of one session are averaged before."""

    people: NDArray[Any]
    score: Floats
    estimate: Floats


def score_report(
    tested: Sessions,
    trained_people: NDArray[Any],
    trained_score: Floats,
    met: NDArray[np.bool_],
    seed: int,
) -> dict[str, Any]:
    """Errors of the estimates under both protocols, beside those of two baselines.

    ``official`` takes all tested sessions; ``subject-disjoint`` those of people who are nowhere in training. The
    baselines are the mean of the training sessions, and a lookup that knows people by name and nothing else: the
    mean of a person's training sessions, or the constant for a stranger. An estimator that does not beat the
    lookup may have learned who people are.

    Args:
        tested: what is judged.
        trained_people, trained_score: of the training sessions, people as in ``tested``.
        met: which tested sessions are of people who are in training or validation.
        seed: of the bootstrap.

    Returns:
        For each protocol ``sessions``, ``people`` and, for ``estimate``, ``constant`` and ``lookup``, the figures
        ``mae``, ``rmse`` and ``ccc`` as ``[value, low, high]`` with 95 % intervals over people. A protocol with
        fewer than two people is left out.
    """
    constant = float(trained_score.mean())
    own = {name: float(trained_score[trained_people == name].mean()) for name in np.unique(trained_people)}
    said = {
        "estimate": tested.estimate,
        "constant": np.full_like(tested.score, constant),
        "lookup": np.array([own.get(name, constant) for name in tested.people]),
    }
    report: dict[str, Any] = {}
    for protocol, chosen in (("official", np.ones_like(met)), ("subject-disjoint", ~met)):
        if len(people := np.unique(tested.people[chosen])) < 2:
            continue
        report[protocol] = {
            "sessions": int(chosen.sum()),
            "people": len(people),
            **{
                name: figures(values[chosen], tested.score[chosen], tested.people[chosen], seed)
                for name, values in said.items()
            },
        }
    return report


def figures(estimate: Floats, score: Floats, people: NDArray[Any], seed: int) -> dict[str, list[float]]:
    """MAE, RMSE and CCC, each ``[value, low, high]``: percentile bootstrap over whole people."""
    _, person = np.unique(people, return_inverse=True)
    rows = [np.flatnonzero(person == number) for number in range(person.max() + 1)]
    rng = np.random.default_rng(seed)
    draws = [
        np.concatenate([rows[n] for n in rng.integers(len(rows), size=len(rows))]) for _ in range(REPLICATES)
    ]

    def with_interval(figure: Callable[[Floats, Floats], float]) -> list[float]:
        samples = [figure(estimate[draw], score[draw]) for draw in draws]
        return [figure(estimate, score), *(float(bound) for bound in np.quantile(samples, (0.025, 0.975)))]

    return {
        "mae": with_interval(lambda e, s: float(np.abs(e - s).mean())),
        "rmse": with_interval(lambda e, s: float(np.sqrt(np.square(e - s).mean()))),
        "ccc": with_interval(concordance),
    }


def concordance(estimate: Floats, score: Floats) -> float:
    """Concordance correlation coefficient (Lin, Biometrics 45, 255, 1989); 0 where neither or one varies."""
    spread = estimate.var() + score.var() + (estimate.mean() - score.mean()) ** 2
    if spread == 0:
        return 0.0
    return float(2 * np.mean((estimate - estimate.mean()) * (score - score.mean())) / spread)
