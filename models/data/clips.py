"""A clip: what every data source hands to training, evaluation and the demo."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    """A few seconds of one person's face.

    Attributes:
        frames: linear RGB in [0, 1], float32 ``[t, y, x, 3]``.
        subject: who is seen.
        session: which recording of that person.
        score: BDI-II total, 0 to 63 (Beck, Steer & Brown 1996); None where nobody filled it in.
        fps: frames per second.
        factors: what is known about every frame, each ``[t]``; angles in radians.
        landmarks: true positions in pixels (x, y), ``[t, 5, 2]``, NaN where unknown: the eye at the left of
            the image, the eye at the right, nose tip, left and right mouth corner.
    """

    frames: FloatArray
    subject: str
    session: str
    score: int | None
    fps: float
    factors: dict[str, FloatArray] = field(default_factory=dict)
    landmarks: FloatArray | None = None
