"""What the auxiliary head reads off every frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

FACTORS = ("smile", "mouth", "brow", "blink", "gaze_x", "gaze_y", "yaw", "pitch", "roll")
"""Factors of simulated subjects, in this order (see `opticaldr.models.data`); data sets bring their own."""

_TURNED = {"gaze_x", "yaw", "roll", "nose_x"}


@dataclass(frozen=True)
class FactorScale:
    """Mean and standard deviation ``[f]`` of each factor in training, so that all weigh the same."""

    mean: Tensor
    spread: Tensor
    names: tuple[str, ...] = FACTORS

    @classmethod
    def of(cls, factors: Tensor, names: Sequence[str] = FACTORS) -> Self:
        """Take them from factors ``[..., f]`` in raw units; what is unknown (NaN) is left out."""
        flat = factors.flatten(0, -2)
        known = ~flat.isnan()
        count = known.sum(0).clamp(min=1)
        mean = flat.nan_to_num().sum(0) / count
        deviation = torch.where(known, flat - mean, torch.zeros(())).square().sum(0)
        spread = (deviation / (count - 1).clamp(min=1)).sqrt()
        return cls(mean, torch.where(spread > 1e-6, spread, torch.ones(())), tuple(names))

    def standardise(self, factors: Tensor) -> Tensor:
        """Raw units ``[..., f]`` to standard units."""
        return (factors - self.mean) / self.spread


def factor_loss(read: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error over what is known of standardised factors ``[..., f]``; NaN in ``truth`` is unknown.

    Labels of classes are factors of 0 and 1: squared error serves them as well as cross-entropy does (Hui &
    Belkin, ICLR 2021).
    """
    known = ~truth.isnan()
    errors = torch.where(known, read - truth.nan_to_num(), torch.zeros((), device=read.device)).square()
    return errors.sum() / known.sum().clamp(min=1)


def mirror(names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """What mirroring a picture does to its factors: ``mirrored = sign * factors[..., order]``.

    Angles and positions to the side change sign; landmarks of the left and of the right change places.
    """
    names = list(names)
    order, sign = [], []
    for name in names:
        side = "right_" if name.startswith("left_") else "left_" if name.startswith("right_") else ""
        other = side + name.split("_", 1)[1] if side else name
        paired = other in names and name.endswith(("_x", "_y"))
        order.append(names.index(other) if paired else names.index(name))
        sign.append(-1.0 if name in _TURNED or (paired and side and name.endswith("_x")) else 1.0)
    return torch.tensor(order), torch.tensor(sign)
