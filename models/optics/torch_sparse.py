"""A constant sparse matrix in torch, with its transpose at hand for the gradient."""

from collections.abc import Callable
from typing import Any

import torch
from scipy.sparse import csr_array

Product = Callable[[torch.Tensor], torch.Tensor]


class SparseOperator:
    """`matrix` in the precision and on the device of `reference`."""

    def __init__(self, matrix: csr_array, reference: torch.Tensor) -> None:
        self._forward = _product(matrix, reference)
        self._transposed = _product(matrix.T, reference)

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        """matrix @ vector, differentiable in the vector."""
        result: torch.Tensor = _Apply.apply(vector, self._forward, self._transposed)  # type: ignore[no-untyped-call]
        return result


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vector: torch.Tensor, forward: Product, transposed: Product) -> torch.Tensor:
        ctx.products = (forward, transposed)
        return forward(vector)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        forward, transposed = ctx.products
        return _Apply.apply(gradients[0], transposed, forward), None, None  # type: ignore[no-untyped-call]


def _product(matrix: csr_array, reference: torch.Tensor) -> Product:
    if (
        reference.device.type == "cpu"
    ):  # SciPy is twice as fast as torch here, and a transpose shares its memory
        cast = matrix.astype(torch.empty((), dtype=reference.dtype).numpy().dtype, copy=False)
        return lambda vector: torch.from_numpy(cast @ vector.detach().contiguous().numpy())
    rows = matrix.tocsr()
    sparse = torch.sparse_csr_tensor(
        torch.from_numpy(rows.indptr),
        torch.from_numpy(rows.indices),
        torch.from_numpy(rows.data),
        rows.shape,
        dtype=reference.dtype,
        device=reference.device,
    )
    return lambda vector: sparse @ vector
