"""What the auxiliary head reads off every frame."""

from dataclasses import dataclass
from typing import Self

from torch import Tensor

FACTORS = ("smile", "mouth", "brow", "blink", "gaze_x", "gaze_y", "yaw", "pitch", "roll")
"""What the auxiliary head reads off every frame, in this order (see `opticaldr.models.data`)."""


@dataclass(frozen=True)
class FactorScale:
    """Mean and standard deviation ``[f]`` of each factor in training, so that all weigh the same."""

    mean: Tensor
    spread: Tensor

    @classmethod
    def of(cls, factors: Tensor) -> Self:
        """Take them from factors ``[..., f]`` in raw units."""
        flat = factors.flatten(0, -2)
        return cls(flat.mean(0), flat.std(0))

    def standardise(self, factors: Tensor) -> Tensor:
        """Raw units ``[..., f]`` to standard units."""
        return (factors - self.mean) / self.spread
