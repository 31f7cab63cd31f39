"""What a process does to a height map, as layers that training can see through.

Every layer takes a height map [y, x] in metres (NumPy or torch) and gives one. `as_made` applies those that
the spec's mask names, in the order of a real process: it cannot exceed its range, folds, rounds to its
levels, blurs, and errs.
"""

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from opticaldr.models.optics.arrays import Array, constant, like, straight_through
from opticaldr.models.optics.geometry import centred, pupil_mask
from opticaldr.models.optics.specs import MaskSpec, OpticsSpec


def as_made(height: Array, spec: OpticsSpec, rng: np.random.Generator | None = None) -> Array:
    """`height` after all that `spec.mask` says of its process; errors are drawn only with a generator."""
    mask, pitch = spec.mask, spec.pupil.pitch
    if mask.max_sag is not None:
        height = limit_sag(height, mask.max_sag, pupil_mask(spec))
    if mask.wrap is not None:
        height = wrap(height, wrap_height(mask))
    if mask.levels is not None:
        span = wrap_height(mask) if mask.wrap is not None else mask.max_sag
        assert span is not None  # MaskSpec sees to it
        height = quantise(height, mask.levels, span)
    if mask.min_feature is not None:
        height = blur(height, mask.min_feature / pitch)
    if rng is not None and mask.tolerance > 0:
        error = height_error(height.shape, mask.tolerance, mask.tolerance_correlation / pitch, rng)
        height = height + like(error, height)
    return height


def limit_sag(height: Array, max_sag: float, inside: NDArray[np.bool_]) -> Array:
    """Clip to a range of `max_sag` around the middle of the relief inside the stop; the gradient passes."""
    relief = constant(height)[inside]
    middle = float(relief.max() + relief.min()) / 2
    xp = array_api_compat.array_namespace(height)
    return straight_through(xp.clip(height, middle - max_sag / 2, middle + max_sag / 2), height)


def wrap_height(mask: MaskSpec) -> float:
    """Relief in metres of `mask.wrap` waves at the design wavelength."""
    assert mask.wrap is not None
    return mask.wrap * mask.design_wavelength / (mask.material.index(mask.design_wavelength) - 1)


def wrap(height: Array, period: float) -> Array:
    """Fold into [0, period)."""
    return height - period * like(np.floor(constant(height) / period), height)


def quantise(height: Array, levels: int, span: float) -> Array:
    """Round to `levels` heights that divide `span` evenly (0, span/levels, …); the gradient passes."""
    step = span / levels
    return straight_through(like(np.rint(constant(height) / step) * step, height), height)


def blur(height: Array, feature: float) -> Array:
    """Gaussian blur of full width `feature` at half maximum, in samples; keeps a constant up to the border."""
    position = centred(height.shape[-1], 1.0)
    sigma = feature / np.sqrt(8 * np.log(2))
    weights = np.exp(-((position[:, None] - position) ** 2) / (2 * sigma**2))
    matrix = like(weights / weights.sum(axis=1, keepdims=True), height)
    return matrix @ height @ matrix.T


def height_error(
    shape: tuple[int, ...], tolerance: float, correlation: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Height errors [y, x] in metres with the standard deviation of an even distribution within ± tolerance.

    Independent samples are so distributed. With a `correlation` length in samples (1/e of the
    autocorrelation) they are Gaussian, low-pass filtered.
    """
    if correlation == 0:
        return rng.uniform(-tolerance, tolerance, shape)
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    # A Gaussian filter of width σ correlates over 2σ.
    response = np.exp(-2 * (np.pi * frequency * correlation / 2) ** 2)
    error = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * response, s=shape)
    scaled: NDArray[np.float64] = error * (tolerance / np.sqrt(3) / error.std())
    return scaled
