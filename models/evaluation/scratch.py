"""Room for pictures that need not stay in memory: memory is bounded by a batch, not by the data set."""

import tempfile

import numpy as np

from opticaldr.models.evaluation import cache
from opticaldr.models.evaluation.alignment import FloatArray

LARGE = 2**28
"""Bytes from which on an array lies in a file."""


def scratch(shape: tuple[int, ...]) -> FloatArray:
    """An array to be filled, float32. A large one is mapped from a file without a name in the cache folder, which is
    gone when nobody refers to the array any more; where there is no room for it, it lies in memory."""
    if 4 * np.prod(shape, dtype=np.int64) >= LARGE:
        try:
            cache.folder().mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=cache.folder()) as file:
                return np.asarray(np.memmap(file, np.float32, "w+", shape=shape))
        except OSError:
            pass
    return np.empty(shape, np.float32)
