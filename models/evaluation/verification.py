"""Protocols: which face is compared with which, and what the comparisons say."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.evaluation.metrics import (
    Interval,
    Trials,
    identification,
    open_set,
    roc,
    verification,
)

Embeddings = NDArray[np.float32]


@dataclass(frozen=True)
class Embedded:
    """Unit vectors ``[n, d]`` of faces, with the person and the session of each."""

    vectors: Embeddings
    people: NDArray[np.int64]
    sessions: NDArray[np.int64]

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "Embedded":
        """Some of the faces."""
        return Embedded(self.vectors[index], self.people[index], self.sessions[index])

    def one_each(self) -> "Embedded":
        """The first face of every session."""
        return self.take(np.unique(np.stack([self.people, self.sessions]), axis=1, return_index=True)[1])


def compare(gallery: Embedded, probes: Embedded) -> Trials:
    """Every gallery face against every probe of another session, by cosine.

    Two pictures of one session share their light, background and clothes, so they are never compared;
    sessions are numbered per person, hence only pairs of one person are left out. Comparing a set with itself
    counts each pair once.
    """
    scores = gallery.vectors.astype(np.float64) @ probes.vectors.T.astype(np.float64)
    same_person = gallery.people[:, None] == probes.people[None, :]
    allowed = ~(same_person & (gallery.sessions[:, None] == probes.sessions[None, :]))
    if gallery is probes:
        allowed = np.triu(allowed, 1)
    g, p = np.nonzero(allowed)
    return Trials(scores[g, p], gallery.people[g], probes.people[p])


def enrolled(faces: Embedded) -> tuple[Embeddings, NDArray[np.int64]]:
    """One gallery entry a person: the face of their first session."""
    first = faces.sessions == faces.sessions.min()
    people, index = np.unique(faces.people[first], return_index=True)
    return faces.vectors[first][index], people


def measure(gallery: Embedded, probes: Embedded, *, seed: int, replicates: int = 400) -> dict[str, Interval]:
    """Verification over all allowed pairs, and identification of the later sessions' probes among the first's
    faces: closed set with everybody enrolled, open set with every second person enrolled."""
    figures = verification(compare(gallery, probes), seed=seed, replicates=replicates)
    vectors, people = enrolled(gallery)
    later = probes.sessions != probes.sessions.min()
    later &= np.isin(probes.people, people)
    if later.any():
        scores = probes.vectors[later].astype(np.float64) @ vectors.T.astype(np.float64)
        who = probes.people[later]
        figures |= identification(scores, people, who, seed=seed, replicates=replicates)
        if len(people) >= 4:
            figures |= open_set(scores[:, ::2], people[::2], who, seed=seed, replicates=replicates)
    return figures


def shuffled_null(gallery: Embedded, probes: Embedded, *, seed: int, shuffles: int = 60) -> Interval:
    """AUC when the gallery's names are dealt out anew, many times: median and the central 95 %.

    Nobody keeps their own name, each person's faces stay together, and pairs that truly show one person are
    left out. A sound protocol gives 0.5 here; the width says how far from 0.5 an AUC may stray by chance.
    """
    rng = np.random.default_rng(seed)
    people = np.unique(gallery.people)
    strangers = compare(gallery, probes.take(np.arange(len(probes.people))))
    apart = ~strangers.genuine
    scores, first, second = strangers.scores[apart], strangers.first[apart], strangers.second[apart]
    values = []
    for _ in range(shuffles):
        order = rng.permutation(len(people))
        renamed = np.empty_like(people)
        renamed[order] = people[np.roll(order, 1)]
        values.append(roc(Trials(scores, renamed[np.searchsorted(people, first)], second)).auc)
    low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
    return Interval(float(middle), float(low), float(high))


def roc_points(gallery: Embedded, probes: Embedded, points: int = 200) -> dict[str, list[float]]:
    """The ROC, thinned to about `points` for a figure: ``false_match`` and ``true_match``."""
    curve = roc(compare(gallery, probes))
    wanted = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, points)])
    at = np.searchsorted(curve.false_match, wanted, side="right") - 1
    return {"false_match": wanted.tolist(), "true_match": curve.true_match[at].tolist()}


def as_json(figures: dict[str, Interval]) -> dict[str, Any]:
    """Figures as ``{name: [value, low, high]}``."""
    return {name: figure.json() for name, figure in figures.items()}
