"""What can be said about a frame without seeing anybody on it: too dark, saturated, moving."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from opticaldr.device.records import Quality

DARK = 0.02
"""Mean level, in fractions of full scale, below which noise rules."""
SATURATED = 0.01
"""Fraction of superpixels at full scale above which the exposure is too long."""
FULL_SCALE = 0.98
MOVING = 0.05
"""Mean change of block means from one frame to the next, relative to the mean level."""
_BLOCKS = 8


class QualityWatch:
    """Looks at frames one after another; of the last one it remembers the means of 8 × 8 blocks."""

    def __init__(self) -> None:
        self._before: NDArray[np.float32] | None = None

    def look(self, superpixels: NDArray[np.float32]) -> Quality:
        """Flags of one frame: linear RGB in fractions of full scale, ``[3, y, x]``, sides of 8 and more."""
        flags = Quality(0)
        blocks = _block_means(superpixels)
        level = float(blocks.sum()) / blocks.size
        if level < DARK:
            flags |= Quality.DARK
        elif self._before is not None:
            change = float(np.abs(blocks - self._before).sum()) / blocks.size
            if change > MOVING * level:
                flags |= Quality.MOVING
        if superpixels.max() >= FULL_SCALE and _saturated(superpixels) > SATURATED:
            flags |= Quality.SATURATED
        self.forget()
        self._before = blocks
        return flags

    def forget(self) -> None:
        """Wipe what is remembered of the frame before."""
        if self._before is not None:
            self._before.fill(0)
        self._before = None


def _saturated(superpixels: NDArray[np.float32]) -> float:
    """Fraction of superpixels that are at full scale in any colour."""
    return float((superpixels >= FULL_SCALE).any(axis=0).mean())


def _block_means(superpixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """[3, y, x] to the means of 8 × 8 equal blocks; a remainder at the far edges is left out."""
    rows, columns = superpixels.shape[1:]
    narrow = superpixels.reshape(-1, columns) @ _averaging(columns).T
    return np.asarray(_averaging(rows) @ narrow.reshape(3, rows, _BLOCKS))


@lru_cache
def _averaging(side: int) -> NDArray[np.float32]:
    """What takes a row of pixels to the means of its blocks ``[block, pixel]``."""
    wide = side // _BLOCKS
    rows = np.eye(_BLOCKS).repeat(wide, axis=1) / wide
    return np.asarray(np.pad(rows, ((0, 0), (0, side - _BLOCKS * wide))), np.float32)
