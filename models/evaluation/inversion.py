"""Undoing a known PSF, as anyone can who has put a point source in front of the camera once.

All methods take one frame ``[n, y, x, colour]`` and one PSF ``[colour, y, x]``. Frames are continued beyond
their border by their edge before the transform, so that no seam rings through the face.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from opticaldr.models.evaluation.alignment import FloatArray

WIENER_NOISE = (1e-4, 1e-3, 1e-2, 1e-1)
"""Noise-to-signal power ratios that the attacker tries."""

RICHARDSON_LUCY_ROUNDS = (10.0, 40.0)
"""Numbers of rounds that the attacker tries; more rounds amplify noise."""

TOTAL_VARIATION = (1e-4, 1e-3, 1e-2)
"""Weights of total variation that the attacker tries."""

TOTAL_VARIATION_ROUNDS = 25


def wiener(frames: FloatArray, psf: NDArray[np.floating], noise: float) -> FloatArray:
    """Wiener filter with a white noise-to-signal ratio: conj(H)/(|H|² + noise) (Wiener 1949)."""
    spectrum, transfer, crop = _transforms(frames, psf)
    restored = _back(spectrum * np.conj(transfer) / (np.abs(transfer) ** 2 + noise), crop)
    return np.maximum(restored, 0.0)


def richardson_lucy(frames: FloatArray, psf: NDArray[np.floating], rounds: float) -> FloatArray:
    """Maximum likelihood under Poisson noise (Richardson 1972; Lucy 1974), from the frame itself."""
    _, transfer, crop = _transforms(frames, psf)
    seen = np.maximum(_extended(frames, crop), 1e-4)
    estimate = seen
    for _ in range(int(rounds)):
        blurred = fft.irfft2(fft.rfft2(estimate, workers=-1) * transfer, crop.size, workers=-1)
        ratio = seen / np.maximum(blurred, 1e-4)
        estimate = estimate * np.maximum(
            fft.irfft2(fft.rfft2(ratio, workers=-1) * np.conj(transfer), crop.size, workers=-1), 0.0
        )
    return crop.cut(estimate)


def total_variation(frames: FloatArray, psf: NDArray[np.floating], weight: float) -> FloatArray:
    """Least squares with total variation: min ½‖h ∗ x − y‖² + weight · Σ|∇x|, by alternating directions (ADMM).

    Rudin, Osher & Fatemi, Physica D 60, 259 (1992); Boyd et al., Found. Trends Mach. Learn. 3, 1 (2011), 6.4.1:
    x from a linear filter, the gradient by soft thresholding of its length, and their difference carried over.
    """
    spectrum, transfer, crop = _transforms(frames, psf)
    coupling = np.float32(20 * weight)
    waves = [
        np.exp(2j * np.pi * fft.fftfreq(crop.size[0]))[:, None],
        np.exp(2j * np.pi * fft.rfftfreq(crop.size[1])),
    ]
    slopes = [(wave - 1).astype(np.complex64) for wave in waves]  # forward difference along y and along x
    bend = sum(np.abs(slope) ** 2 for slope in slopes)
    inverse = 1 / (np.abs(transfer) ** 2 + coupling * bend + 1e-8)
    seen = np.conj(transfer) * spectrum
    sparse = carried = np.zeros((2, *frames.shape[:1], frames.shape[3], *crop.size), np.float32)
    estimate = spectrum
    for _ in range(TOTAL_VARIATION_ROUNDS):
        wanted = fft.rfft2(sparse - carried, workers=-1)
        pull = sum(np.conj(slope) * part for slope, part in zip(slopes, wanted, strict=True))
        estimate = inverse * (seen + coupling * pull)
        gradient = np.stack([fft.irfft2(slope * estimate, crop.size, workers=-1) for slope in slopes])
        total = gradient + carried
        length = np.sqrt(np.square(total).sum(0))
        sparse = total * np.maximum(1 - weight / coupling / np.maximum(length, 1e-12), 0)
        carried = total - sparse
    return np.maximum(_back(estimate, crop), 0.0)


class _Crop:
    """Where the frame lies within its continuation."""

    def __init__(self, rows: int, columns: int, side: int) -> None:
        self.rows, self.columns = rows, columns
        self.size = fft.next_fast_len(rows + side, True), fft.next_fast_len(columns + side, True)
        self.top, self.left = (self.size[0] - rows) // 2, (self.size[1] - columns) // 2

    def cut(self, images: NDArray[np.floating]) -> FloatArray:
        inside = images[..., self.top : self.top + self.rows, self.left : self.left + self.columns]
        return np.asarray(inside.transpose(0, 2, 3, 1), np.float32)


def _extended(frames: FloatArray, crop: _Crop) -> FloatArray:
    bottom, right = crop.size[0] - crop.rows - crop.top, crop.size[1] - crop.columns - crop.left
    margins = ((0, 0), (0, 0), (crop.top, bottom), (crop.left, right))
    return np.pad(frames.transpose(0, 3, 1, 2), margins, "edge")


def _transforms(
    frames: FloatArray, psf: NDArray[np.floating]
) -> tuple[NDArray[np.complex64], NDArray[np.complex64], _Crop]:
    rows, columns = frames.shape[1:3]
    crop = _Crop(rows, columns, 2 * max(psf.shape[-2:]))
    kernel = np.zeros((psf.shape[0], *crop.size), np.float32)
    kernel[:, : psf.shape[-2], : psf.shape[-1]] = psf
    kernel = np.roll(kernel, (-((psf.shape[-2] - 1) // 2), -((psf.shape[-1] - 1) // 2)), (-2, -1))
    return fft.rfft2(_extended(frames, crop), workers=-1), fft.rfft2(kernel, workers=-1), crop


def _back(spectrum: NDArray[np.complex64], crop: _Crop) -> FloatArray:
    return crop.cut(fft.irfft2(spectrum, crop.size, workers=-1))
