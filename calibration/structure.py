"""Does the structure of a frame's spectrum follow the calibrated mask, or would any blur explain it as well?

A learned mask does not blur evenly: its modulation transfer has dips and ridges at places of its own. Scenes have
a power spectrum that falls as 1/f² (Field, J. Opt. Soc. Am. A 4, 2379, 1987) and has directions, but is smooth in
small cells of frequency and direction. Within a cell a frame's periodogram therefore follows the calibrated transfer,
if the calibrated optics took it. The statistic is Whittle's log-likelihood ratio (Whittle, Ark. Mat. 2, 423, 1953) of
that against the same cells without structure, each cell's brightness left free: scene and light do not matter.
"""

import numpy as np
from numpy.typing import NDArray

from opticaldr.calibration.interlock import Spectrum

RING, SECTORS, LOWEST = 4.0, 8, 3.0
"""Width of a cell in frequency, number of cells around, and the lowest frequency, in bins of the shorter side."""
FEWEST = 8  # bins in a cell
BRIGHT = 3.0
"""A cell is looked at if its power is so many times the noise."""
ENOUGH = 40.0
"""Expected log-likelihood ratio (nats) below which a frame says nothing."""


class Structure:
    """The statistic for frames of one shape, with everything that does not depend on the frame worked out.

    Args:
        bank: PSFs at superpixels, ``[depth, field, colour, y, x]``.
        shape: rows and columns of a frame.
    """

    def __init__(self, bank: NDArray[np.float64], shape: tuple[int, int]) -> None:
        cells, radius = _cells(shape)
        self._bins = np.concatenate(cells)
        counts = np.array([len(cell) for cell in cells])
        self._starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        self._counts = counts.astype(np.float32)
        self._cell = np.repeat(np.arange(len(cells)), counts)
        scene = radius.ravel()[self._bins] ** -2
        self._plain = self._relative(scene)
        self._calibrated = np.stack([self._relative(scene * seen[self._bins]) for seen in _seen(bank, shape)])

    def agreement(self, spectrum: Spectrum) -> float:
        """How well a frame agrees with the calibrated mask, at the depth at which it does best.

        Args:
            spectrum: of the frame.

        Returns:
            The log-likelihood ratio in units of what the calibrated mask makes expect: about 1 through it, below 0
            if an even blur explains the frame better; NaN if the frame says too little.
        """
        noise = np.float32(spectrum.noise)
        pairs = spectrum.power.reshape(-1, 2)[self._bins]
        power = pairs[:, 0] + pairs[:, 1]
        level = np.add.reduceat(power, self._starts) / self._counts
        bright = (level > BRIGHT * noise)[self._cell]
        light = np.maximum(level - noise, 0)[self._cell][bright]
        plain = light * self._plain[bright] + noise
        calibrated = light * self._calibrated[:, bright] + noise
        shift = np.log(plain / calibrated)
        ratio = (shift + power[bright] * (1 / plain - 1 / calibrated)).sum(axis=1)
        expected = (shift + calibrated / plain - 1).sum(axis=1)
        best = int(np.argmax(ratio))
        return float(ratio[best] / expected[best]) if expected[best] >= ENOUGH else float("nan")

    def _relative(self, power: NDArray[np.float64]) -> NDArray[np.float32]:
        """Expected power in units of its cell's mean."""
        mean = np.add.reduceat(power, self._starts) / self._counts
        return np.asarray(power / mean[self._cell], np.float32)


def _cells(shape: tuple[int, int]) -> tuple[list[NDArray[np.intp]], NDArray[np.float64]]:
    """Places in the flattened ``rfft2`` of a frame, cell by cell, and the frequency of every place in bins of the
    shorter side ``[y, x // 2 + 1]``. No frequency is there twice."""
    y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    radius = np.hypot(y, x) * min(shape)
    once = (radius >= LOWEST) & (radius < min(shape) / 2) & (x < 0.5) & ~((x == 0) & (y < 0))
    ring = ((radius - LOWEST) // RING).astype(int)
    sector = np.minimum(np.mod(np.arctan2(y, x), np.pi) / np.pi * SECTORS, SECTORS - 1).astype(int)
    cells = [
        np.flatnonzero(once & (ring == r) & (sector == s))
        for r in range(int(ring[once].max()) + 1)
        for s in range(SECTORS)
    ]
    return [cell for cell in cells if len(cell) >= FEWEST], np.maximum(radius, LOWEST)


def _seen(bank: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Squared transfer of grey for each depth, ``[depth, flattened rfft2]``: averaged over the field, and spread by
    the frame's Hann window."""
    grey = np.asarray(bank, np.float64).mean(axis=-3)
    squared = (np.abs(np.fft.fft2(grey, shape)) ** 2).mean(axis=1)
    for axis in (1, 2):
        squared = (np.roll(squared, 1, axis) + 4 * squared + np.roll(squared, -1, axis)) / 6
    return np.asarray(squared[..., : shape[1] // 2 + 1].reshape(len(squared), -1))
