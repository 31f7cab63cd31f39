"""A constant sparse matrix that multiplies NumPy arrays and torch tensors alike."""

from typing import Any

import array_api_compat
from scipy.sparse import csr_array

from opticaldr.models.optics.arrays import Array


class SparseMap:
    """vector ↦ matrix @ vector, differentiable; the matrix is kept in each precision and device that was asked for."""

    def __init__(self, matrix: csr_array) -> None:
        self._matrix = matrix
        self._cast: dict[Any, Any] = {}

    def __call__(self, vector: Array) -> Array:
        """matrix @ vector, in the library, precision and device of `vector` [columns]."""
        key = (vector.dtype, str(array_api_compat.device(vector)))
        if key not in self._cast:
            if array_api_compat.is_torch_array(vector):
                from opticaldr.models.optics.torch_sparse import SparseOperator

                self._cast[key] = SparseOperator(self._matrix, vector)
            else:
                self._cast[key] = self._matrix.astype(vector.dtype, copy=False).dot
        return self._cast[key](vector)
