"""The network for the device."""

from opticaldr.models.networks.factors import FACTORS
from opticaldr.models.networks.frame import FrameNetwork
from opticaldr.models.networks.layers import Convolution, Residual, Standardise


class Compact(FrameNetwork):
    """A small residual network: 3 x 112 x 112 superpixels to 64 numbers, about 13 million multiplications.

    Args:
        embedding: length of the embedding.
        factors: how many factors the auxiliary head regresses.
        size: rows and columns of a frame.
    """

    name = "compact"

    def __init__(self, embedding: int = 64, factors: int = len(FACTORS), size: int = 112) -> None:
        features = [
            Standardise(),
            Convolution(3, 16, stride=2),
            Convolution(16, 32, stride=2),
            Convolution(32, 48, stride=2),
            Residual(48),
            Convolution(48, 64, stride=2),
        ]
        super().__init__(features, 64, embedding, factors, size)
