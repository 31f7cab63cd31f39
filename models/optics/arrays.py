"""The little that NumPy arrays and torch tensors do not share, for code that serves both.

Everything else goes through `array_api_compat.array_namespace`.
"""

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

Array = Any
"""A NumPy array or a torch tensor."""


def like(values: NDArray[Any], reference: Array) -> Array:
    """`values` in the library, precision and device of `reference`."""
    xp = array_api_compat.array_namespace(reference)
    values = np.ascontiguousarray(values, dtype=precision(reference))
    return xp.asarray(values, device=array_api_compat.device(reference))


def precision(array: Array) -> str:
    """The NumPy name of an array's precision: `float32`, or `float64` for everything else."""
    return "float32" if array.dtype == array_api_compat.array_namespace(array).float32 else "float64"


def constant(array: Array) -> NDArray[Any]:
    """The values as a NumPy array, cut off from differentiation."""
    if array_api_compat.is_torch_array(array):
        array = array.detach().cpu().numpy()
    return np.asarray(array)


def straight_through(value: Array, source: Array) -> Array:
    """`value`, with the gradient of `source`: for rounding and clipping that training must see through."""
    if array_api_compat.is_torch_array(source):
        return source + (value - source).detach()
    return value
