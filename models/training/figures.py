"""The figures a design is judged by, each taken on people that nothing was trained on."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opticaldr.models.networks import FACTORS, Compact, Recogniser, TemporalHead
from opticaldr.models.training.pool import Pool
from opticaldr.models.training.privacy import pair_scores, verification_auc


@dataclass(frozen=True)
class FactorScale:
    """Mean and standard deviation ``[f]`` of each factor over the training frames, so that all weigh the same."""

    mean: Tensor
    spread: Tensor

    @classmethod
    def of(cls, factors: Tensor) -> Self:
        """Take them from factors ``[..., f]`` in raw units."""
        flat = factors.flatten(0, -2)
        return cls(flat.mean(0), flat.std(0))

    def standardise(self, factors: Tensor) -> Tensor:
        """Raw units ``[..., f]`` to standard units."""
        return (factors - self.mean) / self.spread


@torch.no_grad()
def embed(network: Compact | Recogniser, pool: Pool) -> Tensor:
    """Embeddings ``[r, t, e]`` of every frame; the network is put into evaluation mode."""
    network.eval()
    return torch.stack([network(frames.float()) for frames in pool.frames])


def factor_fit(network: Compact, embeddings: Tensor, pool: Pool, scale: FactorScale) -> dict[str, float]:
    """R² (coefficient of determination) of every factor, and their ``mean``, over all frames."""
    with torch.no_grad():
        read = network.factors(embeddings.flatten(0, 1))
    truth = scale.standardise(pool.factors.flatten(0, 1))
    unexplained = (read - truth).square().mean(0) / truth.var(0, correction=0)
    fit = dict(zip(FACTORS, (1 - unexplained).tolist(), strict=True))
    return {**fit, "mean": float(np.mean(list(fit.values())))}


def score_error(
    head: TemporalHead, windows: Tensor, pool: Pool, constant: float, seed: int
) -> dict[str, object]:
    """Mean absolute error of the BDI-II estimate beside that of always saying ``constant``.

    Args:
        head: the temporal head.
        windows: embeddings ``[r, t, e]`` of the pool's sessions.
        pool: unseen people.
        constant: the baseline: the training sessions' median.
        seed: of the bootstrap.

    Returns:
        ``mae`` and ``constant_mae`` with 95 % intervals from 2000 bootstrap draws of whole people, and
        ``coverage``: the fraction of scores within one sigma.
    """
    head.eval()
    with torch.no_grad():
        mean, sigma = head(windows)
    error = (mean - pool.score).abs()
    baseline = (constant - pool.score).abs()
    return {
        "mae": float(error.mean()),
        "mae_interval": people_interval(error.numpy(), pool.subject.numpy(), seed),
        "constant_mae": float(baseline.mean()),
        "constant_mae_interval": people_interval(baseline.numpy(), pool.subject.numpy(), seed),
        "coverage": float((error <= sigma).float().mean()),
        "sessions": len(pool),
    }


def people_interval(values: NDArray[np.float32], people: NDArray[np.int64], seed: int) -> list[float]:
    """95 % interval of the mean, by drawing whole people with replacement (percentile bootstrap)."""
    rng = np.random.default_rng(seed)
    numbers = np.unique(people)
    per_person = [values[people == number] for number in numbers]
    sums = np.array([part.sum() for part in per_person])
    counts = np.array([len(part) for part in per_person])
    drawn = rng.integers(len(numbers), size=(2000, len(numbers)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    return [float(bound) for bound in np.quantile(means, (0.025, 0.975))]


def recognition(recogniser: Recogniser, pool: Pool) -> float:
    """Verification AUC between frames of different recordings of the pool's people."""
    embeddings = embed(recogniser, pool)
    frames = embeddings.shape[1]
    sessions = torch.arange(len(pool)).repeat_interleave(frames)
    people = pool.subject.repeat_interleave(frames)
    return verification_auc(*pair_scores(embeddings.flatten(0, 1), people, sessions))
