"""From scenes to what the sensor delivers, quickly enough to happen in every training step."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opticaldr.models.networks.parallel import each
from opticaldr.models.optics import OpticsSpec, SensorSpec, form_image, psf_bank

EXPOSURES = (0.35, 0.95)
"""White of the scene in fractions of full well: the range over which every frame's exposure is drawn."""


@dataclass(frozen=True)
class Camera:
    """PSFs and a sensor.

    Attributes:
        bank: energy fractions at superpixels ``[view, colour, y, x]``: one view for each distance, or
        distance
            and field position. Differentiable where the lens is being learned.
        sensor: full well, read noise, mosaic and binning.
    """

    bank: Tensor
    sensor: SensorSpec

    def capture(self, scenes: Tensor, view: Tensor) -> Tensor:
        """Scenes through the PSF of their view, each at a random exposure, with the sensor's noise.

        Args:
            scenes: what an ideal lens would image, linear, 0..1, ``[n, 3, y, x]``.
            view: index into the bank, ``[n]``.

        Returns:
            Binned frames as `opticaldr.models.optics.expose` reads them: black level taken off, in
            fractions of the sensor's range. Draws from torch's global generator.
        """
        order = torch.argsort(view, stable=True)
        images = [form_image(scenes[view == at], self.bank[at][None]) for at in torch.unique(view).tolist()]
        image = torch.cat(images)[torch.argsort(order)]
        low, high = EXPOSURES
        exposures = low + (high - low) * each(torch.rand, len(scenes), 1, 1, 1)
        return noisy(exposures * image, self.sensor)


def designed_camera(
    height: NDArray[np.float64], spec: OpticsSpec, depths: tuple[float, ...], side: int
) -> Camera:
    """Wave optics of a finished height map: one view for each depth, PSFs ``side`` superpixels wide."""
    single = torch.as_tensor(height, dtype=torch.float32)
    with torch.no_grad():
        bank = torch.cat([psf_bank(single, spec, [depth], shape=(side, side)) for depth in depths])
    return Camera(bank, spec.sensor)


def noisy(irradiance: Tensor, sensor: SensorSpec) -> Tensor:
    """Superpixels in fractions of full well with shot and read noise, clipped at full well; gradient kept.

    The Gaussian limit of `opticaldr.models.optics.expose`: a superpixel collects 10⁵ electrons, and drawing
    a Poisson count of each is dearer than the network.
    """
    pixels = torch.tensor([sensor.bayer.count(colour) for colour in "RGB"]) * sensor.binning**2 / 4
    pixels = pixels.clamp(min=1)[:, None, None]
    electrons = sensor.full_well * pixels
    with torch.no_grad():
        variance = irradiance.clamp(min=0).mul_(electrons).add_(sensor.read_noise**2 * pixels)
        noise = variance.sqrt_().div_(electrons).mul_(each(torch.randn, *irradiance.shape))
    return (irradiance + noise).clamp(max=1.0)
