"""The few layers that all networks here are built from.

ReLU only: it is what small processors and INT8 do best.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from opticaldr.models.networks.parallel import BatchNorm2d


class Standardise(nn.Module):
    """Make a frame independent of how bright and how contrasty it is.

    Linear light in [0, 1] is compressed by a square root, which makes photon noise uniform (Anscombe,
    Biometrika 35, 246, 1948), then shifted and scaled to zero mean and unit variance over the whole frame:
    ``[n, 3, y, x] -> [n, 3, y, x]``. Small negative values, which read noise makes, count as dark.
    """

    def forward(self, frames: Tensor) -> Tensor:
        """Standardise every frame by itself."""
        compressed = torch.sqrt(frames.clamp(min=0.0) + 1e-4)
        return functional.group_norm(compressed, 1, eps=1e-5)  # one group: statistics of the whole frame


class Convolution(nn.Sequential):
    """3 x 3 convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside an identity (He, Zhang, Ren & Sun, CVPR 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Convolution(channels, channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            BatchNorm2d(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """``[n, c, y, x] -> [n, c, y, x]``."""
        return torch.relu(features + self.body(features))
