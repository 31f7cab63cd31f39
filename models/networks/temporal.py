"""The head over a clip: a window of embeddings to a BDI-II estimate and how sure it is."""

import math

import torch
from torch import Tensor, nn

from opticaldr.models.networks.parallel import Dropout

BDI_MAXIMUM = 63


class TemporalHead(nn.Module):
    """Mean, spread and pace of a few projections of the embedding over a window, then two layers.

    No recurrence and no attention over time, because what severity changes (how often, how long, how far, how
    quickly) are statistics of the window; they make the head small and indifferent to where a window begins.

    Args:
        embedding: length of a frame's embedding.
        projections: how many directions of the embedding are followed.
        hidden: units between the statistics and the estimate.
    """

    def __init__(self, embedding: int = 64, projections: int = 16, hidden: int = 32) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(embedding))
        self.register_buffer("spread", torch.ones(embedding))
        self.register_buffer("temper", torch.ones(()))
        self.project = nn.Linear(embedding, projections)
        self.estimate = nn.Sequential(
            Dropout(0.2), nn.Linear(3 * projections, hidden), nn.ReLU(), nn.Linear(hidden, 2)
        )
        with torch.no_grad():
            self.estimate[-1].weight.mul_(0.1)
            self.estimate[-1].bias.copy_(torch.tensor([-0.8, math.log(12.0)]))  # 20 points, give or take 12

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings ``[n, t, embedding]`` to BDI mean ``[n]`` in 0..63 and sigma ``[n]`` in points."""
        followed = self.project((window - self.centre) / self.spread)
        mean = followed.mean(dim=1)
        spread = torch.sqrt((followed - mean[:, None]).square().mean(dim=1) + 1e-4)
        pace = (followed[:, 1:] - followed[:, :-1]).abs().mean(dim=1)
        score, width = self.estimate(torch.cat([mean, spread, pace], dim=1)).unbind(dim=1)
        return BDI_MAXIMUM * torch.sigmoid(score), self.temper * (1.0 + torch.exp(width.clamp(-4.0, 4.0)))

    def standardise(self, windows: Tensor) -> None:
        """Take centre and spread of the embeddings from training windows ``[n, t, embedding]``."""
        self.centre.copy_(windows.mean(dim=(0, 1)))
        self.spread.copy_(windows.std(dim=(0, 1)).clamp(min=1e-3))

    @torch.no_grad()
    def calibrate(self, windows: Tensor, score: Tensor) -> float:
        """Scale sigma so that it is as large as the errors are on people who were not trained on.

        The factor maximises the likelihood of their scores: the root mean square of error over sigma (for
        regression what temperature scaling is for classes: Laves, Ihler, Fast, Kahrs & Ortmaier, MIDL 2020).

        Args:
            windows: embeddings ``[r, t, embedding]``.
            score: ``[r]``.

        Returns:
            The factor.
        """
        training = self.training
        self.eval()
        mean, sigma = self(windows)
        self.train(training)
        factor = ((score - mean) / sigma).square().mean().sqrt()
        self.temper.mul_(factor)
        return float(factor)


def gaussian_nll(mean: Tensor, sigma: Tensor, score: Tensor) -> Tensor:
    """Mean negative log-likelihood of scores ``[n]`` under N(mean, sigma²), up to a constant."""
    return (torch.log(sigma) + 0.5 * ((score - mean) / sigma).square()).mean()
