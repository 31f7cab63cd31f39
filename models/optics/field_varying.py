"""A PSF that changes over the field, as a few convolutions.

PSFs measured or computed at some points of the field are stacked and decomposed (SVD) into a few kernels;
each PSF is a weighted sum of them, and the weights, interpolated over the image, tell how much of each kernel
a point of the scene gets. The image is then Σ_r (weight_r · scene) ∗ kernel_r (Flicker and Rigaut, J. Opt.
Soc. Am. A 22, 504, 2005).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.models.optics.arrays import Array, like
from opticaldr.models.optics.imaging import form_image


@dataclass(frozen=True)
class FieldVaryingPsf:
    """Kernels [rank, colour, y, x] and weights [rank, colour, y, x] over the image.

    `residual` is the share of the bank's energy (relative L2) that this rank leaves out.
    """

    kernels: NDArray[np.float64]
    weights: NDArray[np.float64]
    residual: float

    @classmethod
    def decompose(
        cls, bank: NDArray[np.floating], positions: NDArray[np.floating], shape: tuple[int, int], rank: int
    ) -> "FieldVaryingPsf":
        """The model of a bank of PSFs.

        Args:
            bank: [field, colour, y, x].
            positions: where in the image each PSF was taken, [field, (x, y)] in pixels from the image's
                centre; three or more that do not lie on a line.
            shape: rows and columns of the image.
            rank: number of kernels, at most the number of fields.
        """
        from scipy.interpolate import RBFInterpolator

        fields, colours, rows, columns = bank.shape
        if not 1 <= rank <= fields:
            raise Refusal(f"rank {rank} with {fields} field points", f"choose a rank from 1 to {fields}")
        if np.linalg.matrix_rank(np.column_stack([np.ones(fields), positions])) < 3:
            raise Refusal(
                "the field points lie on a line", "measure at three points or more that span an area"
            )
        y, x = np.indices(shape)
        points = np.column_stack([(x - (shape[1] - 1) / 2).ravel(), (y - (shape[0] - 1) / 2).ravel()])
        kernels = np.empty((rank, colours, rows, columns))
        weights = np.empty((rank, colours, *shape))
        missed = 0.0
        for colour in range(colours):
            u, s, vt = np.linalg.svd(bank[:, colour].reshape(fields, -1), full_matrices=False)
            kernels[:, colour] = (s[:rank, None] * vt[:rank]).reshape(rank, rows, columns)
            smooth = RBFInterpolator(positions, u[:, :rank], kernel="thin_plate_spline")(points)
            weights[:, colour] = smooth.T.reshape(rank, *shape)
            missed += float(np.sum(s[rank:] ** 2))
        return cls(kernels, weights, float(np.sqrt(missed / np.sum(np.square(bank)))))

    def form_image(self, scene: Array) -> Array:
        """Image of a scene [..., colour, y, x] whose sides are those of the weights."""
        layers = scene[..., None, :, :, :] * like(self.weights, scene)
        return form_image(layers, like(self.kernels, scene)).sum(-4)
