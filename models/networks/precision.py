"""Mixed precision, for convolutions alone: optics, comparisons and losses stay in single precision."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

_reduced: list[torch.dtype] = []


@contextmanager
def reduced_precision(dtype: torch.dtype) -> Iterator[None]:
    """Let the networks' convolutions compute in a shorter format within a block."""
    _reduced.append(dtype)
    try:
        yield
    finally:
        _reduced.pop()


def convolving(frames: Tensor) -> AbstractContextManager[object]:
    """The context that a network's convolutions run in; what comes out is to be made single again."""
    return torch.autocast(frames.device.type, _reduced[-1]) if _reduced else nullcontext()
