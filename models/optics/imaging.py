"""From scene to irradiance: linear, non-circular convolution with the PSF."""

import array_api_compat
from scipy.fft import next_fast_len

from opticaldr.models.optics.arrays import Array


def form_image(scene: Array, psf: Array) -> Array:
    """Image of `scene` through `psf`, the same size as the scene, dark beyond the scene's border.

    Args:
        scene: linear irradiance of the ideal image [..., colour, y, x], the right way up.
        psf: energy fractions [..., colour, y, x], broadcast against the scene's leading axes. Its centre, between the middle
            two pixels where a side is even, is (side − 1) / 2, and an even side shifts the image by half a pixel unless both are
            taken from `psf_bank` with odd sides.

    Returns:
        [..., colour, y, x] with the scene's last two sides.
    """
    xp = array_api_compat.array_namespace(scene)
    rows, columns = scene.shape[-2:]
    size = tuple(
        next_fast_len(int(a + b - 1), real=True)
        for a, b in zip(scene.shape[-2:], psf.shape[-2:], strict=True)
    )
    spectrum = xp.fft.rfftn(scene, s=size, axes=(-2, -1)) * xp.fft.rfftn(psf, s=size, axes=(-2, -1))
    full = xp.fft.irfftn(spectrum, s=size, axes=(-2, -1))
    top, left = (psf.shape[-2] - 1) // 2, (psf.shape[-1] - 1) // 2
    return full[..., top : top + rows, left : left + columns]
