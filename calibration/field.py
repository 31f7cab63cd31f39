"""How PSFs change over the field, in few numbers: at each depth, a sum of kernels with a weight for every field point.

Singular value decomposition of the PSFs at one depth (Flicker and Rigaut, J. Opt. Soc. Am. A 22, 504, 2005). Kernels
are kept until what is left is no more than the measurement's own uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opticaldr.calibration.bank import Bank


@dataclass(frozen=True)
class FieldModel:
    """`field.npz` of a calibration.

    Attributes:
        kernels: [depth, rank, colour, y, x].
        weights: [depth, field, rank, colour]; a PSF is Σ weight·kernel.
        fields: tangents (x, y) of the field points [field, 2].
        residual: relative L2 that this rank leaves at each depth [depth].
        noise: relative L2 that the measurement's uncertainty alone would leave [depth].
        variation: relative L2 by which PSFs differ from the one on axis, noise included [depth].
    """

    kernels: NDArray[np.float32]
    weights: NDArray[np.float64]
    fields: NDArray[np.float64]
    residual: NDArray[np.float64]
    noise: NDArray[np.float64]
    variation: NDArray[np.float64]

    def write(self, path: Path) -> None:
        """Write `field.npz`."""
        np.savez(path, **vars(self))

    def psf(self) -> NDArray[np.float64]:
        """The model's PSFs [depth, field, colour, y, x]."""
        return np.einsum("dfrc,drcyx->dfcyx", self.weights, self.kernels.astype(np.float64))


def low_rank(bank: Bank) -> FieldModel:
    """The model of least rank, the same at every depth and colour, that leaves no more than the noise."""
    psf = bank.psf.astype(np.float64)
    depths, fields, colours, rows, columns = psf.shape
    energy = np.square(psf).sum((1, 2, 3, 4))
    noise = np.sqrt(np.square(bank.uncertainty.astype(np.float64)).sum((1, 2, 3, 4)) / energy)
    u, s, vt = np.linalg.svd(psf.swapaxes(1, 2).reshape(depths, colours, fields, -1), full_matrices=False)
    left = np.cumsum((s**2).sum(1)[:, ::-1], axis=1)[
        :, ::-1
    ]  # energy in kernel r and all after it [depth, r]
    left = np.sqrt(np.pad(left, ((0, 0), (0, 1))) / energy[:, None])
    rank = next(r for r in range(1, fields + 1) if np.all(left[:, r] <= np.maximum(noise, 1e-7)))
    kernels = (s[..., None] * vt)[:, :, :rank].reshape(depths, colours, rank, rows, columns).swapaxes(1, 2)
    variation = np.sqrt(np.square(psf - psf[:, :1]).sum((1, 2, 3, 4)) / energy)
    weights = u[..., :rank].transpose(0, 2, 3, 1)
    return FieldModel(kernels.astype(np.float32), weights, bank.fields, left[:, rank], noise, variation)
