"""The lens being learned: Zernike coefficients of the mask, kept within what the process can make."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from opticaldr.models.optics import OpticsSpec, pupil_positions, zernike
from opticaldr.models.training.config import DesignConfig
from opticaldr.models.training.rays import Rays

STEEPEST = 0.42
"""Waves between two samples of the height map; the twin refuses half a wave, defocus included."""


class Lens(nn.Module):
    """Coefficients of the mask, learned; everything else about the optics is fixed.

    What is stepped is `bend`: how far each mode by itself throws its furthest ray, in superpixels. In this unit all
    modes weigh the same, whereas a micrometre of a high mode is many times as steep as one of defocus.

    It starts near a surface that spreads a point into a line along x (``fan``). Expressions are mostly vertical
    displacements of horizontal edges (lids, lips, brows), which a blur along x leaves; a blur along both axes takes
    them with the rest (docs/privacy.md has the measurements). To this comes a weak random surface.

    Args:
        spec: the optics.
        modes: Noll indices that are learned; piston and tilt change no image.
        depths: metres from pupil to subject at which it is trained.
        side: rows and columns of the PSF in superpixels, odd.
        start: root mean square of what is drawn for each mode, superpixels.
        generator: what the start is drawn with.
        fan: superpixels to either side over which the start spreads a point along x; 0 for not at all.
    """

    def __init__(
        self,
        spec: OpticsSpec,
        modes: Sequence[int],
        depths: Sequence[float],
        side: int,
        start: float,
        generator: torch.Generator,
        fan: float = 0.0,
    ) -> None:
        super().__init__()
        self.spec, self.modes = spec, tuple(modes)
        self.rays = Rays(spec, modes, depths, side, across=96)
        self.register_buffer("micrometres_per_superpixel", 1e6 / self.rays.throws)
        drawn = start * torch.randn(len(modes), generator=generator)
        self.bend = nn.Parameter(drawn + self.rays.fan(fan, spec.mask.max_sag) * self.rays.throws)
        x, y = np.meshgrid(*[np.linspace(-1, 1, 65)] * 2)
        inside = x**2 + y**2 <= 1
        surfaces = [zernike(j, x[inside], y[inside], spec.mask.normalisation) for j in self.modes]
        self._surfaces = torch.as_tensor(np.stack(surfaces), dtype=torch.float32)

    @property
    def micrometres(self) -> Tensor:
        """Coefficients in the mask's normalisation."""
        return self.bend * self.micrometres_per_superpixel

    def psf(self, depth: int, error: Tensor | None = None) -> Tensor:
        """Energy fractions ``[colour, side, side]`` at a depth; ``error`` (µm for each mode) is added."""
        shape = self.micrometres if error is None else self.micrometres + error
        return self.rays.psf(1e-6 * shape, depth)

    @torch.no_grad()
    def limit(self) -> None:
        """Scale the surface down where it is too high or too steep.

        Its sag, peak to valley, stays within ``mask.max_sag``, and its slope within what the pupil's samples
        can say: `STEEPEST` waves of the shortest wavelength from one sample to the next.
        """
        scale = STEEPEST / self.rays.steepness(1e-6 * self.micrometres)
        if self.spec.mask.max_sag is not None:
            sag = 1e-6 * (self.micrometres @ self._surfaces)
            scale = torch.minimum(scale, self.spec.mask.max_sag / (sag.max() - sag.min()))
        self.bend.mul_(scale.clamp(max=1.0))

    @property
    def coefficients(self) -> dict[int, float]:
        """Noll index to metres."""
        values = self.micrometres.detach().double() * 1e-6
        return dict(zip(self.modes, values.tolist(), strict=True))

    def height(self) -> NDArray[np.float64]:
        """Height map ``[y, x]`` in metres on the pupil's grid, its lowest point at zero.

        Outside the stop, where no light passes, it goes on as high as at the stop's edge.
        """
        x, y = (position / (self.spec.pupil.diameter / 2) for position in pupil_positions(self.spec))
        outside = np.maximum(np.hypot(x, y), 1.0)
        height = np.zeros_like(x)
        for j, coefficient in self.coefficients.items():
            height += coefficient * zernike(j, x / outside, y / outside, self.spec.mask.normalisation)
        return np.asarray(height - height.min())


def unlearned(config: DesignConfig) -> dict[int, float]:
    """The fan that learning starts from, without what is added to it at random: Noll index to metres."""
    spec, settings = config.optics(), config.lens
    modes = settings.modes or range(4, spec.mask.modes + 1)
    lens = Lens(spec, modes, config.subjects.depths, settings.psf, 0.0, torch.default_generator, settings.fan)
    lens.limit()
    return lens.coefficients
