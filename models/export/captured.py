"""Raw frames of simulated subjects through the calibrated camera: what graphs are calibrated and judged on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts.bundle import Window
from opticaldr.calibration.measured import Measured
from opticaldr.models.data import SimulatedSubjects
from opticaldr.models.optics import SensorSpec, face_width, form_image
from opticaldr.models.optics.sensor import convert, share_charge

FIRST_PERSON = 2_000_000
"""Number of the first subject: neither design nor adaptation, nor their tests, have met them."""


@dataclass(frozen=True)
class CapturedClip:
    """One recording.

    Attributes:
        raw: Bayer frames, uint16 ``[y, x]`` each.
        factors: what is seen in every frame, raw units, by name ``[t]``.
        score: BDI-II total.
    """

    raw: list[NDArray[np.uint16]]
    factors: dict[str, NDArray[np.float32]]
    score: float


def capture_clips(
    measured: Measured, window: Window, clips: int, seed: int, first: int = FIRST_PERSON
) -> Iterator[CapturedClip]:
    """Film one person after another, at the measured depths and fields in turn.

    The light of a superpixel lies evenly on its pixels. Shot and read noise are Gaussian, from one field of
    unit noise that every frame shifts by chance: drawing a new one for each would cost ten times the graphs.

    Args:
        measured: PSFs and sensor.
        window: frames of a clip and their rate.
        clips: how many.
        seed: of subjects and noise.
        first: number of the first person.
    """
    spec, sensor = measured.spec, measured.spec.sensor
    rng = np.random.default_rng((seed, first))
    unit = rng.standard_normal(sensor.shape, dtype=np.float32)
    subjects = SimulatedSubjects(seed)
    for number in range(clips):
        at, field = number % len(measured.depths), number % len(measured.fields)
        width = face_width(spec, measured.depths[at])
        filmed = subjects.clip(first + number, 0, window.frames, sensor.binned_shape, width, fps=window.fps)
        psf = measured.bank[at, field].astype(np.float32)
        exposure = rng.uniform(0.4, 0.95)
        raw = []
        for frame in filmed.frames:
            image = form_image(exposure * frame.transpose(2, 0, 1).astype(np.float32), psf)
            noise = np.roll(unit, rng.integers(sensor.shape, size=2), axis=(0, 1))
            raw.append(expose_evenly(np.clip(image, 0.0, None), sensor, noise))
        assert filmed.score is not None
        yield CapturedClip(raw, dict(filmed.factors), float(filmed.score))


def expose_evenly(
    superpixels: NDArray[np.float32], sensor: SensorSpec, noise: NDArray[np.float32]
) -> NDArray[np.uint16]:
    """Raw frame ``[y, x]`` of light that is even within superpixels ``[3, y, x]``, with unit noise ``[y, x]``."""
    size = sensor.binning
    light = np.empty(sensor.shape, np.float32)
    for place, letter in enumerate(sensor.bayer):
        colour = superpixels["RGB".index(letter)]
        light[place // 2 :: 2, place % 2 :: 2] = np.repeat(
            np.repeat(colour, size // 2, axis=0), size // 2, axis=1
        )
    electrons = share_charge(light, sensor.crosstalk) * np.float32(sensor.full_well)
    electrons = electrons + noise * np.sqrt(electrons + np.float32(sensor.read_noise**2))
    return np.asarray(convert(electrons, sensor, 1.0)).astype(np.uint16)
