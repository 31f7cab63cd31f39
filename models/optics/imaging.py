"""From scene to irradiance: linear, non-circular convolution with the PSF.

An image the size of the scene needs no transform the size of scene plus PSF: circular wrap-around may spoil
whatever is cut away, so rows + ⌈PSF/2⌉ suffice. Rows that are cut away are never transformed back.
"""

from dataclasses import dataclass

import array_api_compat
from scipy.fft import next_fast_len

from opticaldr.models.optics.arrays import Array


def form_image(scene: Array, psf: Array) -> Array:
    """Image of `scene` through `psf`: the size of the scene, dark beyond the scene's border.

    The middle of the PSF is where a point's light goes. An odd side has a middle pixel; an even side has its
    middle between two, and the image moves by half a pixel to the right or down.

    Args:
        scene: linear irradiance of the ideal image [..., colour, y, x], upright.
        psf: energy fractions [..., colour, y, x]; leading axes broadcast against the scene's.
    """
    if array_api_compat.is_torch_array(scene) and (scene.requires_grad or psf.requires_grad):
        from opticaldr.models.optics.torch_imaging import convolve

        return convolve(scene, psf)
    plan = Convolution.of(scene, psf)
    return plan.inverse(plan.forward(scene) * plan.forward(psf), plan.top, plan.left, *plan.scene)


@dataclass(frozen=True)
class Convolution:
    """Transform lengths and offsets of one convolution; sides are (rows, columns)."""

    scene: tuple[int, int]
    psf: tuple[int, int]
    size: tuple[int, int]
    top: int
    left: int

    @classmethod
    def of(cls, scene: Array, psf: Array) -> "Convolution":
        """The plan for these two arrays."""
        a, b = tuple(scene.shape[-2:]), tuple(psf.shape[-2:])
        top, left = (b[0] - 1) // 2, (b[1] - 1) // 2
        # What wraps around must land before (top, left), where nothing is kept.
        rows = next_fast_len(a[0] + b[0] - 1 - top)
        # A real transform of even length is a complex one of half that length.
        columns = 2 * next_fast_len((a[1] + b[1] - left) // 2)
        return cls((a[0], a[1]), (b[0], b[1]), (rows, columns), top, left)

    def forward(self, image: Array) -> Array:
        """Spectrum of an image padded with zeros."""
        fft = array_api_compat.array_namespace(image).fft
        # Rows first, and only those there are: a transform over both axes would pad before it begins.
        return fft.fft(fft.rfft(image, n=self.size[1], axis=-1), n=self.size[0], axis=-2)

    def inverse(self, spectrum: Array, top: int, left: int, rows: int, columns: int) -> Array:
        """The `rows` × `columns` of the periodic image that begin at (top, left), which may be negative."""
        fft = array_api_compat.array_namespace(spectrum).fft
        half = _window(fft.ifft(spectrum, axis=-2), top, rows, -2)
        return _window(fft.irfft(half, n=self.size[1], axis=-1), left, columns, -1)


def _window(array: Array, start: int, count: int, axis: int) -> Array:
    """`count` samples of a periodic axis from `start`."""
    xp = array_api_compat.array_namespace(array)
    length = array.shape[axis]
    start %= length
    first = _slice(array, start, min(start + count, length), axis)
    if start + count <= length:
        return first
    return xp.concat([first, _slice(array, 0, start + count - length, axis)], axis=axis)


def _slice(array: Array, start: int, stop: int, axis: int) -> Array:
    return array[..., start:stop, :] if axis == -2 else array[..., start:stop]
