"""What a network on frames is: features, an embedding, and what is read off it."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from opticaldr.models.networks.parallel import BatchNorm2d
from opticaldr.models.networks.precision import convolving


class FrameNetwork(nn.Module):
    """One captured frame to an embedding that is not negative, and from there to factors.

    The last feature map is flattened, not averaged: where the face looks and how it is turned is a matter of
    place. Subclasses say how it comes about, at a sixteenth of the frame's rows and columns.

    Args:
        features: layers from frames to a map ``[n, channels, y/16, x/16]``.
        channels: of that map.
        embedding: length of the embedding.
        factors: how many factors the auxiliary head regresses.
        size: rows and columns of a frame.
    """

    name: ClassVar[str]

    def __init__(
        self, features: list[nn.Module], channels: int, embedding: int, factors: int, size: int
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *features, nn.Conv2d(channels, 16, 1, bias=False), BatchNorm2d(16), nn.ReLU(), nn.Flatten()
        )
        self.embed = nn.Linear(16 * (-(-size // 16)) ** 2, embedding)
        self.auxiliary = nn.Linear(embedding, factors)

    def forward(self, frames: Tensor) -> Tensor:
        """Linear RGB ``[n, 3, y, x]`` in 0..1 to embeddings ``[n, embedding]``, not negative."""
        with convolving(frames):
            features = self.features(frames)
        return torch.relu(self.embed(features.float()))

    def factors(self, embeddings: Tensor) -> Tensor:
        """Embeddings ``[n, embedding]`` to standardised factors ``[n, factors]``, in the data's order."""
        return self.auxiliary(embeddings)
