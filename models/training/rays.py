"""PSFs of the lens while it is learned: rays, counted by superpixels.

A superpixel of the `clinic` preset is 22 diffraction widths (λz/D) across, and a learned spot is several
superpixels wide. Seen at that scale the wave-optical PSF is its stationary-phase limit, the density of rays
(Born & Wolf, *Principles of Optics*, 3.1 and 8.8): pupil point ξ sends its energy to

    u = -z · ∇(path + (n - 1)·h)(ξ),

which costs a thousandth of the wave optics and is differentiable in the coefficients of h. Everything that
is reported, stored or measured uses the wave optics of `opticaldr.models.optics`; rays only steer the
learning, and the tests hold them against the wave.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opticaldr.errors import Refusal
from opticaldr.models.optics import OpticsSpec, zernike
from opticaldr.models.optics.geometry import ON_AXIS
from opticaldr.models.optics.path import fixed_path
from opticaldr.models.optics.specs import Normalisation

FINE = 3  # landing cells along a superpixel's side: bilinear splatting blurs by one cell


class Rays:
    """Rays through the pupil, and where a mask of given Zernike coefficients sends them.

    Args:
        spec: the optics; its mask's normalisation is used. A stock lens is required, on axis.
        modes: Noll indices of the coefficients.
        depths: metres from pupil to subject.
        side: rows and columns of the PSF in superpixels, odd.
        across: rays along the pupil's diameter.
    """

    def __init__(
        self, spec: OpticsSpec, modes: Sequence[int], depths: Sequence[float], side: int, across: int = 128
    ) -> None:
        axis = (np.arange(across) + 0.5) * 2 / across - 1
        x, y = (grid.ravel() for grid in np.meshgrid(axis, axis))
        inside = x**2 + y**2 <= 1 if spec.pupil.shape == "circle" else np.ones_like(x, dtype=bool)
        x, y = x[inside], y[inside]
        radius = spec.pupil.diameter / 2
        reach = spec.sensor_distance / spec.sensor.superpixel  # superpixels per radian
        slopes = [_slope(j, x, y, spec.mask.normalisation) / radius for j in modes]
        self.x, self.radius, self.reach = x, radius, reach
        self.slopes = _tensor(-reach * np.stack(slopes))  # [mode, 2, ray], superpixels per metre of path
        self.path = _tensor(
            np.stack([-reach * _path_slope(spec, depth, x * radius, y * radius) for depth in depths])
        )
        index = np.array([spec.mask.material.index(wavelength) for wavelength in spec.sensor.wavelengths])
        self.index = _tensor(spec.spectral_weights @ (index - 1))  # mean over what each colour sees
        self.throws = self.index[1] * self.slopes.norm(dim=1).amax(
            dim=1
        )  # furthest ray, superpixels per metre
        shortest = min(spec.sensor.wavelengths)
        steps = (spec.mask.material.index(shortest) - 1) * spec.pupil.pitch / shortest
        self.waves_per_step = steps / reach  # a slope in superpixels of landing, as waves between samples
        self.side = side

    def fan(self, half: float, max_sag: float | None) -> Tensor:
        """Coefficients in metres of the surface that spreads a point evenly along x, ``half`` superpixels either way.

        Its slope is a triangle wave in x, so it is a row of cylinder lenslets, hollow and raised in turn, as many as
        keep its sag below ``max_sag``; fitted to the modes by least squares.
        """
        slope = half / (self.reach * float(self.index[1]))  # of the surface, at the ends of the line
        lenslets = 1 if max_sag is None else max(1, int(np.ceil(slope * self.radius / (0.9 * max_sag))))
        wave = 2 / np.pi * np.arcsin(np.sin(np.pi / 2 * lenslets * self.x))
        goal = np.stack([self.reach * slope * wave, np.zeros_like(wave)]).ravel()
        basis = self.slopes.double().flatten(1).numpy().T
        return _tensor(np.linalg.lstsq(basis, goal)[0])

    def steepness(self, coefficients: Tensor) -> Tensor:
        """Largest change of the mask's path along x or y, in waves between samples of the height map."""
        bend = torch.einsum("m,mar->ar", coefficients, self.slopes)
        return self.waves_per_step * bend.abs().max()

    def psf(self, coefficients: Tensor, depth: int) -> Tensor:
        """Energy fractions ``[colour, side, side]`` of coefficients in metres, at one of the depths."""
        bend = torch.einsum("m,mar->ar", coefficients, self.slopes)
        landing = self.path[depth] + self.index[:, None, None] * bend  # [colour, (x, y), ray]
        return torch.stack([_splat(x, y, self.side) for x, y in landing])


def _slope(
    j: int, x: NDArray[np.float64], y: NDArray[np.float64], normalisation: Normalisation
) -> NDArray[np.float64]:
    """Gradient of a Zernike polynomial in units of the pupil's radius, [2, ray], by central differences."""
    step = 1e-4
    return np.stack([
        (zernike(j, x + step, y, normalisation) - zernike(j, x - step, y, normalisation)) / (2 * step),
        (zernike(j, x, y + step, normalisation) - zernike(j, x, y - step, normalisation)) / (2 * step),
    ])  # fmt: skip


def _path_slope(
    spec: OpticsSpec, depth: float, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Gradient of the path of all but the mask at points of the pupil in metres, [2, ray], by central differences."""
    if spec.lens is None:
        raise Refusal(
            f"the optics {spec.name} have no stock lens, and a lens is learned beside one",
            "use preset clinic",
        )
    step = 1e-4 * spec.pupil.diameter / 2

    def path(dx: float, dy: float) -> NDArray[np.float64]:
        return fixed_path(spec, x + dx, y + dy, depth, ON_AXIS)

    return np.stack([path(step, 0) - path(-step, 0), path(0, step) - path(0, -step)]) / (2 * step)


def _splat(x: Tensor, y: Tensor, side: int) -> Tensor:
    """Share each ray's energy between the four nearest cells, then add up the cells of every superpixel."""
    cells = side * FINE
    column, row = (FINE * x + (cells - 1) / 2, FINE * y + (cells - 1) / 2)
    left, top = column.detach().floor(), row.detach().floor()
    right_share, bottom_share = column - left, row - top
    image = x.new_zeros(cells * cells)
    for down, row_share in ((0, 1 - bottom_share), (1, bottom_share)):
        for across, column_share in ((0, 1 - right_share), (1, right_share)):
            i, j = (top + down).long(), (left + across).long()
            caught = (i >= 0) & (i < cells) & (j >= 0) & (j < cells)
            share = torch.where(caught, row_share * column_share, 0.0) / len(x)
            image = image.index_add(0, torch.where(caught, i * cells + j, 0), share)
    return image.reshape(side, FINE, side, FINE).sum(dim=(1, 3))


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)
