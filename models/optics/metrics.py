"""Figures of merit of a PSF [y, x] on square pixels of side `pitch` metres."""

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.optics.geometry import centred

Floats = NDArray[np.float64]


def strehl(psf: NDArray[np.floating], design: NDArray[np.floating]) -> float:
    """Peak of `psf` divided by the peak of the designed PSF on the same pixels."""
    return float(np.max(psf) / np.max(design))


def centroid(psf: NDArray[np.floating], pitch: float) -> tuple[float, float]:
    """Centre of gravity (x, y) in metres from the middle of the window."""
    y, x = (centred(side, pitch) for side in psf.shape)
    total = psf.sum()
    return float(psf.sum(axis=0) @ x / total), float(psf.sum(axis=1) @ y / total)


def rms_spot(psf: NDArray[np.floating], pitch: float) -> float:
    """Root mean square distance from the centroid, in metres."""
    square = _radius(psf, pitch) ** 2
    return float(np.sqrt(np.sum(psf * square) / np.sum(psf)))


def encircled_radius(psf: NDArray[np.floating], pitch: float, fraction: float = 0.5) -> float:
    """Radius in metres, around the centroid, of the circle that holds `fraction` of the window's energy
    (EE50, EE80 …).

    Each pixel's energy is spread evenly over its area.
    """
    split = 8
    fine = np.repeat(np.repeat(psf, split, axis=0), split, axis=1).astype(np.float64)
    radius = _radius(fine, pitch / split).ravel()
    order = np.argsort(radius)
    energy = np.cumsum(fine.ravel()[order])
    return float(np.interp(fraction * energy[-1], energy, radius[order]))


def mtf(psf: NDArray[np.floating], pitch: float, frequency: Floats, directions: int = 32) -> Floats:
    """Modulation transfer at radial frequencies in cycles a metre, averaged over directions: 1 at frequency 0."""
    y, x = (centred(side, pitch) for side in psf.shape)
    total = np.zeros(len(frequency))
    for angle in np.arange(directions) * (np.pi / directions):
        waves_x = np.exp(-2j * np.pi * np.outer(frequency * np.cos(angle), x))
        waves_y = np.exp(-2j * np.pi * np.outer(frequency * np.sin(angle), y))
        total += np.abs(np.einsum("fy,yx,fx->f", waves_y, psf, waves_x, optimize=True))
    return total / (directions * np.sum(psf))


def mtf50(psf: NDArray[np.floating], pitch: float) -> float:
    """Lowest frequency, in cycles a metre, where the direction-averaged MTF falls to one half (Nyquist's if never)."""
    frequency = np.linspace(0, 0.5 / pitch, 256)
    transfer = mtf(psf, pitch, frequency)
    below = np.flatnonzero(transfer < 0.5)
    if len(below) == 0:
        return float(frequency[-1])
    i = below[0]
    return float(np.interp(0.5, transfer[[i, i - 1]], frequency[[i, i - 1]]))


def registered(
    psf: NDArray[np.floating], reference: NDArray[np.floating]
) -> tuple[Floats, tuple[float, float]]:
    """`psf` moved onto `reference` by the sub-pixel shift of highest correlation, and that shift (x, y) in
    pixels.

    The peak of the cross-correlation is found on the pixel grid and refined by Newton's method on its Fourier
    sum.
    """
    fy, fx = np.fft.fftfreq(psf.shape[0])[:, None], np.fft.fftfreq(psf.shape[1])[None, :]
    spectrum = np.fft.fft2(psf)
    cross = np.fft.fft2(reference) * np.conj(spectrum)
    peak = np.unravel_index(np.argmax(np.fft.ifft2(cross).real), psf.shape)
    shift = np.array([(p + n // 2) % n - n // 2 for p, n in zip(peak, psf.shape, strict=True)], dtype=float)
    slope = np.stack(np.broadcast_arrays(2j * np.pi * fy, 2j * np.pi * fx))
    for _ in range(20):
        wave = cross * np.exp(2j * np.pi * (fy * shift[0] + fx * shift[1]))
        gradient = np.einsum("iyx,yx->i", slope, wave).real
        curvature = np.einsum("iyx,jyx,yx->ij", slope, slope, wave, optimize=True).real
        step = np.linalg.solve(curvature, gradient)
        shift -= np.clip(step, -0.5, 0.5)
        if np.max(np.abs(step)) < 1e-9:
            break
    moved = np.fft.ifft2(spectrum * np.exp(-2j * np.pi * (fy * shift[0] + fx * shift[1]))).real
    return moved, (float(shift[1]), float(shift[0]))


def ncc(a: NDArray[np.floating], b: NDArray[np.floating]) -> Floats:
    """Zero-mean normalised cross-correlation at zero shift over the last two axes: 1 for the same shape."""
    a = a - a.mean(axis=(-2, -1), keepdims=True)
    b = b - b.mean(axis=(-2, -1), keepdims=True)
    energy = np.sqrt((a * a).sum(axis=(-2, -1)) * (b * b).sum(axis=(-2, -1)))
    return np.asarray((a * b).sum(axis=(-2, -1)) / energy, dtype=np.float64)


def registered_ncc(psf: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """`ncc` of two PSFs ``[y, x]`` after registration: 1 for the same shape, wherever it lies."""
    return float(ncc(registered(psf, reference)[0], reference))


def relative_l2(psf: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """‖psf − reference‖ / ‖reference‖ after registration, both scaled to the same energy."""
    a = registered(psf, reference)[0]
    a, b = a / a.sum(), reference / reference.sum()
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def _radius(psf: NDArray[np.floating], pitch: float) -> Floats:
    x0, y0 = centroid(psf, pitch)
    y, x = (centred(side, pitch) for side in psf.shape)
    return np.hypot(y[:, None] - y0, x[None, :] - x0)
