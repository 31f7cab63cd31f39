"""The figures a design is judged by, each taken on people that nothing was trained on."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opticaldr.models.networks import FactorScale, FrameNetwork, Recogniser, TemporalHead
from opticaldr.models.training.camera import Camera
from opticaldr.models.training.pool import Pool
from opticaldr.models.training.privacy import pair_scores, verification_auc


@torch.no_grad()
def embed(network: FrameNetwork | Recogniser, scenes: Pool, camera: Camera, seed: int) -> Tensor:
    """Embeddings ``[r, t, e]`` of every frame as the camera sees it; puts the network in evaluation mode."""
    network.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.stack(
            [
                network(camera.capture(frames.float(), view.expand(len(frames))))
                for frames, view in zip(scenes.frames, scenes.view, strict=True)
            ]
        )


def factor_fit(network: FrameNetwork, embeddings: Tensor, pool: Pool, scale: FactorScale) -> dict[str, float]:
    """R² (coefficient of determination) of every factor, and their ``mean``, over all frames that know it.

    A factor that is known of no frame, or the same in all, is left out.
    """
    with torch.no_grad():
        read = network.factors(embeddings.flatten(0, 1))
    truth = scale.standardise(pool.factors.flatten(0, 1))
    fit = {}
    for index, name in enumerate(scale.names):
        known = ~truth[:, index].isnan()
        spread = truth[known, index].var(correction=0)
        if spread > 0:
            error = (read[known, index] - truth[known, index]).square().mean()
            fit[name] = float(1 - error / spread)
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


def recognition(embeddings: Tensor, pool: Pool) -> float:
    """Verification AUC between frames of different recordings of the pool's people, from ``[r, t, e]``."""
    frames = embeddings.shape[1]
    sessions = torch.arange(len(pool)).repeat_interleave(frames)
    people = pool.subject.repeat_interleave(frames)
    return verification_auc(*pair_scores(embeddings.flatten(0, 1), people, sessions))
