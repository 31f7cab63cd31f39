"""The larger network: residual blocks whose middle convolution is split, the splits weighed by attention."""

import torch
from torch import Tensor, nn

from opticaldr.models.networks.factors import FACTORS
from opticaldr.models.networks.frame import FrameNetwork
from opticaldr.models.networks.layers import Convolution, Standardise
from opticaldr.models.networks.parallel import BatchNorm2d

SPLITS = 2


class SplitAttention(nn.Module):
    """A grouped 3 x 3 convolution whose groups are weighed against each other, channel by channel.

    The groups are summed and averaged over the frame; from that, two small layers and a softmax across the groups
    say how much of each is taken (Zhang et al., ResNeSt, CVPR workshops 2022, radix 2 and cardinality 1; after
    Li, Wang, Hu & Yang, Selective Kernel Networks, CVPR 2019).

    Args:
        channels: of input and output.
        stride: of the convolution.
        splits: number of groups, k.
    """

    def __init__(self, channels: int, stride: int = 1, splits: int = SPLITS) -> None:
        super().__init__()
        self.splits = splits
        self.split = nn.Sequential(
            nn.Conv2d(channels, channels * splits, 3, stride, padding=1, groups=splits, bias=False),
            BatchNorm2d(channels * splits),
            nn.ReLU(inplace=True),
        )
        hidden = max(channels // 4, 8)
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels * splits, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """``[n, c, y, x] -> [n, c, y / stride, x / stride]``."""
        parts = self.split(features).unflatten(1, (self.splits, -1))
        return (self.attention(parts) * parts).sum(dim=1)

    def attention(self, parts: Tensor) -> Tensor:
        """Weights ``[n, k, c, 1, 1]`` of the groups ``[n, k, c, y, x]``; they sum to one over k."""
        pooled = parts.sum(dim=1).mean(dim=(2, 3), keepdim=True)
        return torch.softmax(self.weigh(pooled).unflatten(1, (self.splits, -1)), dim=1)


class Bottleneck(nn.Module):
    """1 x 1, split attention, 1 x 1, beside a shortcut.

    Args:
        inputs, outputs: channels.
        stride: of the block; the shortcut averages before it subsamples.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        middle = outputs // 2
        self.body = nn.Sequential(
            nn.Conv2d(inputs, middle, 1, bias=False),
            BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            SplitAttention(middle, stride),
            nn.Conv2d(middle, outputs, 1, bias=False),
            BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut.append(nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False))
        if inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, bias=False))
            self.shortcut.append(BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """``[n, inputs, y, x] -> [n, outputs, y / stride, x / stride]``."""
        return torch.relu(self.shortcut(features) + self.body(features))


class Sanet(FrameNetwork):
    """Residual blocks with split attention (k = 2), about six times the multiplications of `Compact`.

    The lineage of the paper's network: the paper names a residual network with grouped middle convolutions and
    attention; depth, width and everything else here are this project's choice. ReLU only.

    Args:
        embedding: length of the embedding.
        factors: how many factors the auxiliary head regresses.
        size: rows and columns of a frame.
    """

    name = "sanet"

    def __init__(self, embedding: int = 64, factors: int = len(FACTORS), size: int = 112) -> None:
        features = [
            Standardise(),
            Convolution(3, 32, stride=2),
            Bottleneck(32, 64, stride=2),
            Bottleneck(64, 64),
            Bottleneck(64, 128, stride=2),
            Bottleneck(128, 128),
            Bottleneck(128, 256, stride=2),
            Bottleneck(256, 256),
        ]
        super().__init__(features, 256, embedding, factors, size)
