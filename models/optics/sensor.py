"""From irradiance to digital numbers: mosaic, charge, noise and conversion (terms of EMVA 1288).

Shot noise is drawn as a true Poisson count; its gradient is the one of the reparametrised normal with the
same mean and variance, so that training can see through it. Rounding and clipping pass the gradient straight
through inside the range. All randomness comes from the generator passed in; without one the sensor is
noiseless (but still quantised).
"""

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from opticaldr.models.optics.arrays import Array, constant, like, straight_through
from opticaldr.models.optics.specs import SensorSpec


def expose_raw(
    irradiance: Array,
    sensor: SensorSpec,
    *,
    exposure: float = 0.01,
    gain: float = 1.0,
    temperature: float = 298.15,
    rng: np.random.Generator | None = None,
    fixed_pattern: Array | None = None,
) -> Array:
    """Raw Bayer frame of digital numbers.

    Args:
        irradiance: [..., colour, y, x] in fractions of full well collected during the exposure, at raw
            pixels.
        sensor: the sensor.
        exposure: seconds, for the dark charge.
        gain: digital numbers per electron relative to the one at which full well meets the highest number.
        temperature: kelvin; dark current doubles every 6 K.
        rng: source of noise; none for the expected frame.
        fixed_pattern: relative response of each pixel [y, x] from `response_pattern`.

    Returns:
        [..., y, x], whole numbers between 0 and ``sensor.white_level``, in the precision of `irradiance`.
    """
    light = mosaic(irradiance, sensor)
    del irradiance  # three times as large as the frame
    electrons = share_charge(light, sensor.crosstalk) * sensor.full_well
    if fixed_pattern is not None:
        electrons = electrons * fixed_pattern
    electrons = electrons + dark_charge(sensor, exposure, temperature)
    electrons = read(electrons, sensor.read_noise, rng)
    return convert(electrons, sensor, gain)


def expose(
    irradiance: Array,
    sensor: SensorSpec,
    *,
    exposure: float = 0.01,
    gain: float = 1.0,
    temperature: float = 298.15,
    rng: np.random.Generator | None = None,
) -> Array:
    """Binned, linear RGB frame as the network sees it: black level taken off, in fractions of the range.

    A superpixel of b × b raw pixels averages b²/4 red, b²/2 green and b²/4 blue pixels (all b² = 1 for an
    unbinned sensor without mosaic), so noise and quantisation fall accordingly.

    Args and Returns: as `expose_raw`, but irradiance [..., colour, y, x] at superpixels, and so is the
    result.
    """
    count = _pixels_per_colour(sensor)
    shares = like(count[:, None, None], irradiance)
    electrons = _share_between_colours(irradiance, sensor) * sensor.full_well
    electrons = electrons + dark_charge(sensor, exposure, temperature)
    total = read(electrons * shares, like(sensor.read_noise * np.sqrt(count)[:, None, None], irradiance), rng)
    span = sensor.white_level - sensor.black_level
    levels = total * (gain * span / sensor.full_well)
    mean = straight_through(_round(levels), levels) / (shares * span)
    return _clip(mean - dark_charge(sensor, exposure, temperature) * gain / sensor.full_well, -1.0, 1.0)


def mosaic(colours: Array, sensor: SensorSpec) -> Array:
    """[..., colour, y, x] seen through the Bayer filters: [..., y, x]."""
    rows, columns = colours.shape[-2:]
    cells = bayer_masks(sensor.bayer, 2, 2).astype(np.float32)
    tiles = (rows + 1) // 2, (columns + 1) // 2
    red, green, blue = (
        colours[..., colour, :, :] * like(np.tile(cell, tiles)[:rows, :columns], colours)
        for colour, cell in enumerate(cells)
    )
    return red + green + blue


def bayer_masks(pattern: str, rows: int, columns: int) -> NDArray[np.float64]:
    """1 where a raw pixel has the colour, else 0: [colour, y, x]; `pattern` reads the first cell row by row."""
    cell = np.array([[letter == colour for letter in pattern] for colour in "RGB"], dtype=float).reshape(
        3, 2, 2
    )
    return np.tile(cell, (1, (rows + 1) // 2, (columns + 1) // 2))[:, :rows, :columns]


def share_charge(image: Array, crosstalk: float) -> Array:
    """Each pixel gives the fraction `crosstalk` of its charge to its four neighbours; the border mirrors."""
    if crosstalk == 0:
        return image
    xp = array_api_compat.array_namespace(image)
    around = xp.concat([image[..., :1, :], image[..., :-1, :]], axis=-2)  # from above, below, left, right
    around = around + xp.concat([image[..., 1:, :], image[..., -1:, :]], axis=-2)
    around = around + xp.concat([image[..., :, :1], image[..., :, :-1]], axis=-1)
    around = around + xp.concat([image[..., :, 1:], image[..., :, -1:]], axis=-1)
    return (1 - crosstalk) * image + crosstalk / 4 * around


def _share_between_colours(irradiance: Array, sensor: SensorSpec) -> Array:
    """What `share_charge` does to the mean colours of a superpixel.

    Red and blue pixels have four green neighbours, green ones two red and two blue.
    """
    if sensor.binning == 1:
        return share_charge(irradiance, sensor.crosstalk)
    c = sensor.crosstalk
    mix = like(np.array([[1 - c, c, 0], [c / 2, 1 - c, c / 2], [0, c, 1 - c]]), irradiance)
    return (mix[:, :, None, None] * irradiance[..., None, :, :, :]).sum(-3)


def dark_charge(sensor: SensorSpec, exposure: float, temperature: float) -> float:
    """Mean dark electrons of one raw pixel."""
    return sensor.dark_current * exposure * 2 ** ((temperature - 298.15) / 6)


def response_pattern(sensor: SensorSpec, rng: np.random.Generator) -> NDArray[np.float64]:
    """Photo-response of every raw pixel relative to the mean (PRNU): [y, x]."""
    return np.maximum(1 + sensor.prnu * rng.standard_normal(sensor.shape), 0)


def read(electrons: Array, read_noise: float | Array, rng: np.random.Generator | None) -> Array:
    """Electrons after shot and read noise."""
    if rng is None:
        return electrons
    mean = np.maximum(constant(electrons).astype(np.float64), 0)
    shape = mean.shape
    shot = rng.poisson(mean).astype(np.float64)
    shot -= mean
    shot /= np.sqrt(np.maximum(mean, 1e-12, out=mean), out=mean)
    unit = like(shot, electrons)
    del mean, shot  # raw frames are large, and eye is to stay small beside a simulated camera
    xp = array_api_compat.array_namespace(electrons)
    collected = electrons + xp.sqrt(_clip(electrons, 1e-12, None)) * unit
    return collected + read_noise * like(rng.standard_normal(shape), electrons)


def convert(electrons: Array, sensor: SensorSpec, gain: float) -> Array:
    """Digital numbers of electrons: black level, gain, saturation, whole numbers."""
    scale = gain * (sensor.white_level - sensor.black_level) / sensor.full_well
    levels = _clip(sensor.black_level + electrons * scale, 0.0, float(sensor.white_level))
    return straight_through(_round(levels), levels)


def _pixels_per_colour(sensor: SensorSpec) -> NDArray[np.float64]:
    if sensor.binning == 1:
        return np.ones(3)
    return np.array([sensor.bayer.count(colour) for colour in "RGB"]) * sensor.binning**2 / 4


def _round(array: Array) -> Array:
    return array_api_compat.array_namespace(array).round(array)


def _clip(array: Array, low: float | None, high: float | None) -> Array:
    return array_api_compat.array_namespace(array).clip(array, low, high)
