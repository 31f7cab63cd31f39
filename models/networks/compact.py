"""The network for the device: one captured frame to an embedding, and from there what is seen in it."""

import torch
from torch import Tensor, nn

from opticaldr.models.networks.factors import FACTORS
from opticaldr.models.networks.layers import Convolution, Residual, Standardise


class Compact(nn.Module):
    """A small residual network: 3 x 112 x 112 superpixels to 64 numbers, about 13 million multiplications.

    The last feature map is flattened, not averaged: where the face looks and how it is turned is a matter
    of place.

    Args:
        embedding: length of the embedding.
        factors: how many factors the auxiliary head regresses.
        size: rows and columns of a frame.
    """

    def __init__(self, embedding: int = 64, factors: int = len(FACTORS), size: int = 112) -> None:
        super().__init__()
        self.features = nn.Sequential(
            Standardise(),
            Convolution(3, 16, stride=2),
            Convolution(16, 32, stride=2),
            Convolution(32, 48, stride=2),
            Residual(48),
            Convolution(48, 64, stride=2),
            nn.Conv2d(64, 16, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.embed = nn.Linear(16 * (-(-size // 16)) ** 2, embedding)
        self.auxiliary = nn.Linear(embedding, factors)

    def forward(self, frames: Tensor) -> Tensor:
        """Linear RGB ``[n, 3, y, x]`` in 0..1 to embeddings ``[n, embedding]``, not negative."""
        return torch.relu(self.embed(self.features(frames)))

    def factors(self, embeddings: Tensor) -> Tensor:
        """Embeddings ``[n, embedding]`` to standardised factors ``[n, factors]``, ordered as `FACTORS`."""
        return self.auxiliary(embeddings)
