"""Is the calibrated mask in front of the sensor? One statistic, for who sets thresholds and who keeps them.

A mask that hides faces transfers next to nothing at some spatial frequencies: its *stop band*. A picture
taken through it has no energy there beyond the sensor's noise; a picture taken without it has the energy
that every scene has. So the fraction of a frame's spectral energy that lies in the stop band, less the
expected noise, tells the two apart, whoever sits there. What cannot be judged, because it is too dark or
too plain, counts as doubt, and doubt as absent.

It tells optics apart, not intentions: a blurred print held before a bare sensor passes.
"""

from typing import Any, Literal, NamedTuple, Self

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from opticaldr.artefacts.bundle import Interlock
from opticaldr.errors import Refusal
from opticaldr.models.optics import SensorSpec

FloatArray = NDArray[np.float64]
Verdict = Literal["in place", "absent", "doubt"]

LIMITS = (0.02, 0.03, 0.05, 0.08, 0.12, 0.2)
LEAKAGE = 1e-4
"""Fraction that a frame's window and a PSF bank's noise put into the stop band at the least."""
SEPARATION = 9.0
"""Least factor between the expected fractions without and with the mask."""
SIGMAS = 5.0


def superpixel_bank(bank: NDArray[Any], binning: int) -> NDArray[np.float64]:
    """PSFs at raw pixels ``[..., y, x]`` integrated over superpixels of ``binning`` raw pixels' side.

    Both windows are centred on the chief ray. Energy is spread evenly within a raw pixel, so one that
    straddles the border of two superpixels is shared. The result has an odd side and keeps all energy.
    """
    rows, columns = (_overlap(side, binning) for side in bank.shape[-2:])
    return np.asarray(rows @ np.asarray(bank, dtype=np.float64) @ columns.T)


def stop_band(bank: NDArray[Any], shape: tuple[int, int], limit: float) -> NDArray[np.bool_]:
    """Frequencies ``[y, x // 2 + 1]`` (of ``numpy.fft.rfft2``) at which no PSF transfers more than ``limit``.

    Args:
        bank: PSFs at superpixels, ``[..., y, x]``.
        shape: rows and columns of a frame.
        limit: modulation transfer, 0 to 1.
    """
    transfer = _transfer(bank, shape)
    band = transfer.reshape(-1, *transfer.shape[-2:]).max(axis=0) <= limit
    band[0, 0] = False
    return np.asarray(band)


class Spectrum(NamedTuple):
    """Where the energy of a frame lies.

    Attributes:
        power: squared real and imaginary parts of the ``rfft2`` side by side, ``[y, 2 (x // 2 + 1)]``.
        noise: what is expected in the sum of each two of them.
        total: energy of all frequencies less their noise.
    """

    power: NDArray[np.float32]
    noise: float
    total: float


class StopBand:
    """The statistic for frames of one shape, with everything that does not depend on the frame worked out.

    Args:
        band: from `stop_band`.
        interlock: gives the noise model and the thresholds.
        columns: of a frame (``band`` leaves open whether they are even).
    """

    def __init__(self, band: NDArray[np.bool_], interlock: Interlock, columns: int) -> None:
        shape = band.shape[0], columns
        twice = _multiplicity(columns)
        window = np.outer(*(np.hanning(side + 2)[1:-1] for side in shape))
        self._interlock = interlock
        self._grey = np.zeros(shape, np.float32)
        self._window = window.astype(np.float32)
        self._mean_weights = (window / window.sum()).astype(np.float32).ravel()
        self._energy_weights = (window**2).astype(np.float32).ravel()
        # A complex spectrum seen as reals has each frequency twice, side by side.
        self._stopped = np.repeat(band * twice, 2, axis=1).astype(np.float32)
        self._stopped_frequencies = float((band * twice).sum())
        # Noise energy is exponentially distributed: its deviation equals its mean, in every independent bin. A
        # Hann window correlates neighbours, which leaves (3/2)² times as few independent ones along the two
        # axes together.
        self._spread = 1.5 * float((band * twice**2).sum()) ** 0.5
        self._gains = 1 / np.array(interlock.electrons)
        self._dark_noise = float(
            ((np.array(interlock.read_noise) * self._gains) ** 2).sum() * (window**2).sum()
        )

    @classmethod
    def of(cls, bank: NDArray[Any], shape: tuple[int, int], interlock: Interlock) -> Self:
        """The stop band of PSFs at superpixels ``[..., y, x]``, for frames of ``shape``."""
        return cls(stop_band(bank, shape, interlock.transfer_limit), interlock, shape[1])

    def spectrum(self, frame: NDArray[Any]) -> Spectrum:
        """The spectrum of a frame's grey without its mean, under a Hann window.

        Args:
            frame: superpixels, linear RGB in fractions of full scale, ``[3, y, x]``.
        """
        frame, grey = np.asarray(frame, np.float32), self._grey
        light = np.maximum(frame.reshape(3, -1) @ self._energy_weights, 0)
        noise = float(self._gains @ light) + self._dark_noise
        np.add(frame[0], frame[1], out=grey)
        grey += frame[2]
        grey -= self._mean_weights @ grey.ravel()
        grey *= self._window
        power = scipy.fft.rfft2(grey).view(np.float32)
        np.square(power, out=power)
        total = grey.size * (float(np.vdot(grey, grey)) - noise)  # Parseval
        grey.fill(0)
        return Spectrum(power, noise, total)

    def fraction(self, spectrum: Spectrum) -> tuple[float, float]:
        """Fraction of a frame's spectral energy in the stop band, all colours added up, and how certain it is.

        Returns:
            The fraction (mean and expected noise taken off; a little below zero at times) and the contrast:
            the frame's energy over the standard deviation of the noise energy in the band.
        """
        noise, total = spectrum.noise, spectrum.total
        stopped = float(np.vdot(spectrum.power, self._stopped)) - noise * self._stopped_frequencies
        return stopped / max(total, 1e-30), total / (noise * self._spread)

    def judge(self, frame: NDArray[Any]) -> Verdict:
        """Whether a frame ``[3, y, x]`` was taken through the calibrated mask."""
        fraction, contrast = self.fraction(self.spectrum(frame))
        if not np.isfinite(fraction) or contrast < self._interlock.floor:
            return "doubt"
        return "in place" if fraction <= self._interlock.ceiling else "absent"


def derive_interlock(bank: NDArray[Any], sensor: SensorSpec) -> Interlock:
    """Thresholds from the calibration's PSFs and noise model.

    Scenes are taken to have the power spectrum 1/f² of natural images (Field, J. Opt. Soc. Am. A 4, 2379,
    1987). That gives the fractions expected with the mask and without (a stock lens that is limited by the
    superpixel's aperture alone). Of a few transfer limits the one that separates them best is taken, and
    their geometric mean is the ceiling.

    Args:
        bank: PSFs at superpixels, ``[..., colour, y, x]``.
        sensor: noise and format.

    Raises:
        Refusal: the mask has no usable stop band, so frames with and without it cannot be told apart.
    """
    shape = sensor.binned_shape
    y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    prior = _multiplicity(shape[1]) / np.maximum(y**2 + x**2, 1 / max(shape) ** 2)
    prior[0, 0] = 0
    masked = prior * _transfer(bank, shape) ** 2
    bare = prior * (np.sinc(y) * np.sinc(x)) ** 2
    best: tuple[float, float, float] = (0.0, 0.0, 0.0)
    for limit in LIMITS:
        band = stop_band(bank, shape, limit)
        with_mask = max(LEAKAGE, float(((masked * band).sum((-2, -1)) / masked.sum((-2, -1))).max()))
        without = float((bare * band).sum() / bare.sum())
        best = max(best, (without / with_mask, limit, float(np.sqrt(with_mask * without))))
    separation, limit, ceiling = best
    if separation < SEPARATION:
        raise Refusal(
            f"frames with and without this mask differ too little for an interlock (factor {separation:.1f})",
            "use a mask that blurs more strongly: lower lens.target_auc in the design",
        )
    red, green, blue = (max(1.0, sensor.bayer.count(colour) * sensor.binning**2 / 4) for colour in "RGB")
    return Interlock(
        transfer_limit=limit,
        ceiling=ceiling,
        floor=SIGMAS / ceiling,
        electrons=(sensor.full_well * red, sensor.full_well * green, sensor.full_well * blue),
        read_noise=(
            sensor.read_noise * red**0.5,
            sensor.read_noise * green**0.5,
            sensor.read_noise * blue**0.5,
        ),
    )


def _transfer(bank: NDArray[Any], shape: tuple[int, int]) -> FloatArray:
    """Modulation transfer ``[..., y, x // 2 + 1]`` of PSFs on a frame's frequencies."""
    bank = np.asarray(bank, dtype=np.float64)
    return np.asarray(np.abs(np.fft.rfft2(bank, shape)) / bank.sum(axis=(-2, -1), keepdims=True))


def _multiplicity(columns: int) -> FloatArray:
    """How often each column of an ``rfft2`` stands for in the whole spectrum."""
    twice = np.full(columns // 2 + 1, 2.0)
    twice[0] = 1.0
    if columns % 2 == 0:
        twice[-1] = 1.0
    return twice


def _overlap(side: int, binning: int) -> FloatArray:
    """Fraction of raw pixel k that lies in superpixel j, ``[j, k]``, both centred on the origin."""
    reach = int(np.ceil((side / 2 - binning / 2) / binning)) if side > binning else 0
    centre = binning * np.arange(-reach, reach + 1)[:, None]
    raw = np.arange(side) - (side - 1) / 2
    inside = np.minimum(raw + 0.5, centre + binning / 2) - np.maximum(raw - 0.5, centre - binning / 2)
    return np.asarray(np.clip(inside, 0.0, 1.0))
