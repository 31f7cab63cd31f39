"""The ways in which a plate can sit wrong in its mount, as what they do to its height map."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Heights = NDArray[np.float64]

MISMOUNTED: dict[str, Callable[[Heights], Heights]] = {
    "mirrored": lambda height: height[:, ::-1],
    "mirrored top to bottom": lambda height: height[::-1],
    "mirrored about a diagonal": lambda height: height.T,
    "mirrored about the other diagonal": lambda height: height[::-1, ::-1].T,
    "turned by 90°": lambda height: np.rot90(height, -1),
    "turned by 180°": lambda height: height[::-1, ::-1],
    "turned by 270°": lambda height: np.rot90(height),
    "missing": np.zeros_like,
}
"""What became of a height map [y, x]. A plate turned over is mirrored, about an axis that depends on how it was turned
back; turns are clockwise as seen from the sensor."""
