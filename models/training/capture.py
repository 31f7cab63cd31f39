"""From scenes to what the sensor delivers, quickly enough to happen in every training step."""

import numpy as np
import torch
from torch import Tensor

from opticaldr.models.optics import OpticsSpec, SensorSpec, form_image, psf_bank

EXPOSURES = (0.35, 0.95)
"""Brightest scene point in fractions of full well: the range over which training draws it."""


def wave_bank(height: np.ndarray, spec: OpticsSpec, depths: tuple[float, ...], side: int) -> Tensor:
    """Wave-optical PSFs at superpixels, float32 ``[depth, colour, side, side]``."""
    single = torch.as_tensor(height, dtype=torch.float32)
    return torch.cat([psf_bank(single, spec, [depth], shape=(side, side)) for depth in depths])


def capture(scenes: Tensor, bank: Tensor, depth: Tensor, sensor: SensorSpec) -> Tensor:
    """Scenes through the PSF of their distance, each at a random exposure, with the sensor's noise.

    The noise is the Gaussian limit of `opticaldr.models.optics.expose`: a superpixel collects 10⁵ electrons, and a
    Poisson count of each is dearer than the network. Draws from torch's global generator.

    Args:
        scenes: what an ideal lens would image, linear, 0..1, ``[n, colour, y, x]``.
        bank: PSFs ``[depth, colour, y, x]``; differentiable.
        depth: index into the bank, ``[n]``.
        sensor: full well, read noise and binning.

    Returns:
        Binned frames as `expose` reads them: black level taken off, in fractions of the sensor's range.
    """
    order = torch.argsort(depth, stable=True)
    images = [form_image(scenes[depth == at], bank[at][None]) for at in torch.unique(depth).tolist()]
    image = torch.cat(images)[torch.argsort(order)]
    exposures = torch.empty(len(scenes), 1, 1, 1).uniform_(*EXPOSURES)
    return noisy(exposures * image, sensor)


def noisy(irradiance: Tensor, sensor: SensorSpec) -> Tensor:
    """Superpixels in fractions of full well with shot and read noise, clipped at full well; gradient kept."""
    pixels = torch.tensor([sensor.bayer.count(colour) for colour in "RGB"]) * sensor.binning**2 / 4
    electrons = sensor.full_well * pixels[:, None, None].clamp(min=1)
    read = sensor.read_noise * pixels[:, None, None].sqrt()
    with torch.no_grad():
        variance = irradiance.clamp(min=0) * electrons + read**2
        noise = torch.randn_like(irradiance) * variance.sqrt() / electrons
    return (irradiance + noise).clamp(max=1.0)
