"""How well two frames can be told to show one person, as a figure and as something to minimise."""

import numpy as np
import torch
from torch import Tensor, nn


def pair_scores(embeddings: Tensor, people: Tensor, sessions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of genuine and of impostor pairs.

    Args:
        embeddings: unit vectors ``[n, e]``.
        people: who is seen, ``[n]``.
        sessions: recording, unique over all people, ``[n]``. A genuine pair comes from two recordings: the
        same
            light and wall shall not count as recognising somebody.

    Returns:
        ``[g]`` and ``[i]``.
    """
    cosines = embeddings @ embeddings.T
    one, other = torch.triu_indices(len(people), len(people), offset=1)
    same = people[one] == people[other]
    apart = sessions[one] != sessions[other]
    pairs = cosines[one, other]
    return pairs[same & apart], pairs[~same]


def verification_auc(genuine: Tensor, impostor: Tensor) -> float:
    """Probability that a genuine pair scores above an impostor pair (Mann-Whitney), 0.5 is chance."""
    ranked = np.sort(impostor.numpy())
    scores = genuine.numpy()
    below = np.searchsorted(ranked, scores, side="left") + np.searchsorted(ranked, scores, side="right")
    return float(below.mean() / (2 * len(ranked)))


def separation(genuine: Tensor, impostor: Tensor) -> Tensor:
    """Distance of the two kinds' mean scores in units of their spread, d' of signal detection.

    For normal scores the AUC is Φ(d'/√2) (Green & Swets, *Signal Detection Theory and Psychophysics*, 1966).
    Unlike the AUC it still has a slope where nearly all pairs are told apart.
    """
    spread = (genuine.var() + impostor.var()) / 2
    return (genuine.mean() - impostor.mean()) / torch.sqrt(spread + 1e-6)


class Multiplier(nn.Module):
    """Lagrange multiplier of the constraint ``auc <= target``, raised while it is broken (dual ascent).

    It follows a running mean, because one batch holds few genuine pairs. This way to keep the constraint is
    this project's own choice.

    Args:
        target: bound of the constraint.
        start: first value.
        rate: how much the multiplier changes a step and unit of excess; 0 keeps it where it is.
        limit: highest value.
    """

    def __init__(self, target: float, start: float, rate: float, limit: float) -> None:
        super().__init__()
        self.target, self.rate, self.limit = target, rate, limit
        self.register_buffer("value", torch.tensor(start))
        self.register_buffer("mean", torch.tensor(target))

    @torch.no_grad()
    def update(self, auc: float) -> None:
        """Take in one batch's AUC."""
        self.mean.lerp_(torch.tensor(auc), 0.1)
        self.value.add_(self.rate * (self.mean - self.target)).clamp_(0.0, self.limit)
