"""One batch over several processes, so that the result does not depend on how many there are.

Every process runs the same program from the same seed and keeps its share of what is drawn for the whole batch.
What concerns the batch as a whole (a loss, the statistics of a normalisation) is computed from what all processes
gathered; each therefore knows the loss of the whole batch, and the mean of their gradients is its gradient. With
one process everything here is the identity.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist


def processes() -> int:
    """How many take part."""
    return int(dist.get_world_size()) if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return int(dist.get_rank()) if processes() > 1 else 0


def share(whole: Tensor) -> Tensor:
    """This process's part of a batch ``[n, ...]``: every ``processes()``-th row."""
    return whole[rank() :: processes()] if processes() > 1 else whole


def each(sample: Callable[..., Tensor], count: int, *shape: int) -> Tensor:
    """Draw ``[count, *shape]`` for this process's share, as ``sample`` draws it for the whole batch."""
    return share(sample(count * processes(), *shape))


def gathered(part: Tensor) -> Tensor:
    """The whole batch ``[n, ...]`` from the parts of all processes, in its order; differentiable."""
    if processes() == 1:
        return part
    whole = part.new_zeros(len(part) * processes(), *part.shape[1:])
    whole[rank() :: processes()] = part
    return total(whole)


def total(value: Tensor) -> Tensor:
    """Sum over all processes; differentiable."""
    return _Total.apply(value) if processes() > 1 else value


@torch.no_grad()
def average_gradients(optimiser: torch.optim.Optimizer, *_: Any) -> None:
    """Give all processes the mean of their gradients; made to be an optimiser's step pre-hook."""
    if processes() == 1:
        return
    gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    for gradient, mean in zip(gradients, _split(flat / processes(), gradients), strict=True):
        gradient.copy_(mean.view_as(gradient))


def _split(flat: Tensor, like: Iterable[Tensor]) -> tuple[Tensor, ...]:
    return flat.split([tensor.numel() for tensor in like])


class _Total(torch.autograd.Function):
    """Sum over processes; so is the sum of what flows back."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        summed = value.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        summed = gradient.clone()
        dist.all_reduce(summed)
        return summed


class _WholeBatch:
    """Batch normalisation by the statistics of the whole batch (torch's own way works on GPUs alone)."""

    def forward(self, features: Tensor) -> Tensor:
        """Normalise; in evaluation mode, or alone, as the parent does."""
        if processes() == 1 or not self.training:  # type: ignore[attr-defined]
            return super().forward(features)  # type: ignore[misc]
        return _normalise(self, features)


def _normalise(layer: Any, features: Tensor) -> Tensor:
    around = [axis for axis in range(features.dim()) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(features.dim())]
    count = features.numel() / features.shape[1] * processes()
    mean = total(features.sum(around)) / count
    centred = features - mean.view(shape)
    variance = total(centred.square().sum(around)) / count
    with torch.no_grad():
        layer.num_batches_tracked += 1
        layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), layer.momentum)
        unbiased = (variance * count / (count - 1)).to(layer.running_var.dtype)
        layer.running_var.lerp_(unbiased, layer.momentum)
    scale = layer.weight * torch.rsqrt(variance + layer.eps)
    return centred * scale.view(shape) + layer.bias.view(shape)


class BatchNorm1d(_WholeBatch, nn.BatchNorm1d):
    """As torch's, over all processes."""


class BatchNorm2d(_WholeBatch, nn.BatchNorm2d):
    """As torch's, over all processes."""


class Dropout(nn.Dropout):
    """As torch's, each process with its share of the whole batch's mask."""

    def forward(self, features: Tensor) -> Tensor:
        """``[n, ...]``; the identity in evaluation mode."""
        if not self.training:
            return features

        def mask(*shape: int) -> Tensor:
            return torch.rand(*shape, device=features.device) >= self.p

        return features * each(mask, *features.shape) / (1 - self.p)
