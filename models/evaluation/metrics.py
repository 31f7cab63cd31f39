"""How well scores tell the same person from another, and how sure one can be of it.

Faces of one person are not independent, so intervals come from resampling *people*, never pairs (the subsets
bootstrap: Bolle, Ratha & Pankanti, Computer Vision and Image Understanding 93, 1, 2004). A person drawn twice
counts
twice: a genuine pair gets the multiplicity of its person, an impostor pair the product of its two people's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

Floats = NDArray[np.float64]

FALSE_MATCH_RATES = (1e-1, 1e-2, 1e-3)
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def json(self) -> list[float]:
        """``[value, low, high]``."""
        return [self.value, self.low, self.high]

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Trials:
    """Comparisons of two faces: the score and the two people of each, as equally long arrays.

    People are numbers from 0; a comparison is genuine where both are the same.
    """

    scores: Floats
    first: NDArray[np.int64]
    second: NDArray[np.int64]

    @property
    def genuine(self) -> NDArray[np.bool_]:
        """Whether a comparison is of one person with themselves."""
        return np.asarray(self.first == self.second)

    def people(self) -> NDArray[np.int64]:
        """Everybody who takes part."""
        return np.unique(np.concatenate([self.first, self.second]))


@dataclass(frozen=True)
class Roc:
    """False and true match rates as the threshold falls, from (0, 0) to (1, 1); tied scores make one step."""

    false_match: Floats
    true_match: Floats

    @property
    def auc(self) -> float:
        """Chance that a genuine pair scores above an impostor pair, ties counting half."""
        return float(np.trapezoid(self.true_match, self.false_match))

    @property
    def eer(self) -> float:
        """Equal error rate: where false matches are as frequent as false non-matches."""
        gap = self.false_match - (1 - self.true_match)
        at = int(np.argmax(gap >= 0))
        share = gap[at] / (gap[at] - gap[at - 1])
        return float(self.false_match[at] - share * (self.false_match[at] - self.false_match[at - 1]))

    def tpr(self, false_match_rate: float) -> float:
        """True match rate at the lowest threshold whose false match rate does not exceed the one given."""
        return float(self.true_match[self.false_match <= false_match_rate + 1e-12].max())


class _SortedTrials:
    """Trials in falling order of score, so that every reweighting is one cumulative sum."""

    def __init__(self, trials: Trials) -> None:
        order = np.argsort(-trials.scores, kind="stable")
        scores = trials.scores[order]
        self.people = trials.people()
        self.first = np.searchsorted(self.people, trials.first[order])
        self.second = np.searchsorted(self.people, trials.second[order])
        self.genuine = self.first == self.second
        self.step_ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)

    def roc(self, multiplicity: Floats) -> Roc:
        once = multiplicity[self.first]
        weights = np.where(self.genuine, once, once * multiplicity[self.second])
        genuine = np.cumsum(weights * self.genuine)[self.step_ends]
        impostor = np.cumsum(weights * ~self.genuine)[self.step_ends]
        return Roc(np.append(0.0, impostor / impostor[-1]), np.append(0.0, genuine / genuine[-1]))


def roc(trials: Trials) -> Roc:
    """Receiver operating characteristic of all trials, each counted once."""
    ordered = _SortedTrials(trials)
    return ordered.roc(np.ones(len(ordered.people)))


def verification(trials: Trials, *, seed: int, replicates: int = 400) -> dict[str, Interval]:
    """AUC, EER and true match rates with 95 % intervals over people.

    Args:
        trials: at least two people with at least one genuine pair each on average.
        seed: of the resampling.
        replicates: bootstrap samples.

    Returns:
        ``auc``, ``eer`` and ``tpr@0.1`` … ``tpr@0.001``. A false match rate for which there are fewer than
        ten
        expected impostor pairs is left out: nothing can be said about it.
    """
    ordered = _SortedTrials(trials)
    impostors = int(np.sum(~trials.genuine))
    rates = [rate for rate in FALSE_MATCH_RATES if impostors * rate >= 10]

    def figures(multiplicity: Floats) -> list[float]:
        curve = ordered.roc(multiplicity)
        return [curve.auc, curve.eer, *(curve.tpr(rate) for rate in rates)]

    names = ["auc", "eer", *(f"tpr@{rate:g}" for rate in rates)]
    return dict(zip(names, bootstrap(figures, len(ordered.people), seed, replicates), strict=True))


def identification(
    scores: Floats, gallery: NDArray[np.int64], probes: NDArray[np.int64], *, seed: int, replicates: int = 400
) -> dict[str, Interval]:
    """Closed-set rank-1 and rank-5 rates with intervals over the probes' people; the gallery stays as it is.

    Args:
        scores: ``[probe, gallery]``.
        gallery: person of each gallery entry, each person once.
        probes: person of each probe, all of them in the gallery.
        seed: of the resampling.
        replicates: bootstrap samples.

    Returns:
        ``rank-1`` and, where the gallery holds more than five people, ``rank-5``.
    """
    own = scores[probes[:, None] == gallery[None, :]]
    # The true person stands in the middle of those with the same score: a constant score identifies nobody.
    ahead = (scores > own[:, None]).sum(1) + 0.5 * ((scores == own[:, None]).sum(1) - 1)
    ranks = [rank for rank in (1, 5) if rank < len(gallery)]
    return {
        f"rank-{rank}": proportion(ahead < rank, probes, seed=seed, replicates=replicates) for rank in ranks
    }


def open_set(
    scores: Floats, gallery: NDArray[np.int64], probes: NDArray[np.int64], *, seed: int, replicates: int = 400
) -> dict[str, Interval]:
    """Open-set identification: how often an enrolled person is found and named, while strangers raise few alarms.

    A probe raises an alarm if its best gallery entry scores above the threshold; TPIR counts those of enrolled
    people that name the right one, at the threshold at which the share FPIR of strangers' probes raises one
    (ISO/IEC 19795-1). Intervals are over the probes' people; the gallery stays as it is.

    Args:
        scores: ``[probe, gallery]``.
        gallery: person of each gallery entry, each person once.
        probes: person of each probe, some of them in the gallery and some not.
        seed: of the resampling.
        replicates: bootstrap samples.

    Returns:
        ``tpir@0.1`` and, where at least five alarms are expected, ``tpir@0.01`` and ``tpir@0.001``.
    """
    known = np.isin(probes, gallery)
    names, person = np.unique(probes, return_inverse=True)
    best = scores.max(1)
    right = known & (gallery[scores.argmax(1)] == probes)
    rates = [rate for rate in FALSE_MATCH_RATES if rate == FALSE_MATCH_RATES[0] or (~known).sum() * rate >= 5]
    falling = np.argsort(-best[~known], kind="stable")
    alarms = best[~known][falling]

    def figures(multiplicity: Floats) -> list[float]:
        weight = multiplicity[person]
        enrolled, strangers = weight[known].sum(), np.cumsum(weight[~known][falling])
        if enrolled == 0 or strangers[-1] == 0:
            return [0.0] * len(rates)
        found = []
        for rate in rates:
            # Just above the first alarm that would be one too many.
            over = np.flatnonzero(strangers > rate * strangers[-1] + 1e-12)
            found.append(float(weight[right & (best > alarms[over[0]])].sum() / enrolled))
        return found

    return dict(
        zip([f"tpir@{r:g}" for r in rates], bootstrap(figures, len(names), seed, replicates), strict=True)
    )


def proportion(
    hits: NDArray[np.bool_], people: NDArray[np.int64], *, seed: int, replicates: int = 400
) -> Interval:
    """Share of hits with a 95 % interval over people.

    Where all or none hit, resampling shows no spread; then the exact binomial interval (Clopper & Pearson,
    Biometrika 26, 404, 1934) over as many trials as there are people is given, as if each had one.
    """
    _, person = np.unique(people, return_inverse=True)
    total, good = np.bincount(person), np.bincount(person, weights=hits)
    count = len(total)
    share = float(good.sum() / total.sum())
    if share in (0.0, 1.0):
        edge = float(beta.ppf((1 - LEVEL) / 2, count, 1))
        return Interval(share, edge, 1.0) if share == 1.0 else Interval(share, 0.0, 1 - edge)
    return bootstrap(lambda m: [float((m @ good) / (m @ total))], count, seed, replicates)[0]


def bootstrap(
    figures: Callable[[Floats], list[float]], people: int, seed: int, replicates: int
) -> list[Interval]:
    """Percentile intervals of figures that are functions of how often each person counts.

    Args:
        figures: from the multiplicity of each person ``[people]`` (ones for the sample itself) to the
            figures.
        people: how many there are, at least two.
        seed: of the resampling.
        replicates: bootstrap samples; one in which fewer than two people were drawn is drawn again.
    """
    rng = np.random.default_rng(seed)
    values = figures(np.ones(people))
    samples: list[Any] = []
    while len(samples) < replicates:
        multiplicity = rng.multinomial(people, np.full(people, 1 / people)).astype(float)
        if np.count_nonzero(multiplicity) >= 2:
            samples.append(figures(multiplicity))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(samples, [tail, 1 - tail], axis=0)
    return [Interval(v, float(a), float(b)) for v, a, b in zip(values, low, high, strict=True)]
