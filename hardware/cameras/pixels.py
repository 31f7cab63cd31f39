"""Light on a row of pixels, from samples of the irradiance finer than the pixels."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.optics.geometry import centred


@lru_cache(maxsize=64)
def pixel_integrals(
    pixels: int, samples: int, spacing: float, offset: float = 0.0, blur: float = 0.0
) -> NDArray[np.float32]:
    """Light on each pixel by the trigonometric interpolation through the samples: a matrix [pixel, sample].

    A sample is the light on its own share of the row, irradiance times `spacing`. Exact for every fringe
    coarser than two samples. Summing the samples that lie on a pixel instead is wrong by per cents where
    fringes are about as fine as pixels. The interpolation repeats itself after the last sample, so both ends
    must be dark.

    Args:
        pixels: how many, in a row that is centred on 0.
        samples: how many.
        spacing: pixels from one sample to the next.
        offset: where the samples' centre lies, in pixels.
        blur: standard deviation of a Gaussian that the light is spread by before, in pixels.
    """
    frequency = np.fft.rfftfreq(samples, spacing)  # cycles a pixel
    passed = np.sinc(frequency) * np.exp(-2 * (np.pi * blur * frequency) ** 2)
    passed[1 : (samples + 1) // 2] *= 2  # for the negative frequencies
    seen = 2 * np.pi * np.outer(centred(pixels, 1.0), frequency)
    given = 2 * np.pi * np.outer(frequency, centred(samples, spacing) + offset)
    integral = (np.cos(seen) * passed) @ np.cos(given) + (np.sin(seen) * passed) @ np.sin(given)
    return (integral / (samples * spacing)).astype(np.float32)
