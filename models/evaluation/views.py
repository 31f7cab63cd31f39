"""What an optic makes of a face: the views that are compared with one another."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.faces import Faces, Progress
from opticaldr.models.evaluation.scratch import scratch
from opticaldr.models.optics import SensorSpec, expose, form_image

BATCH = 32

EXPOSURE = 0.8
"""Irradiance of white in the scene, as a fraction of full well: headroom, as automatic exposure leaves it."""


class View(Protocol):
    """A camera as an attacker knows it."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    @property
    def bank(self) -> FloatArray:
        """PSFs at the evaluation's depths, energy fractions ``[depth, colour, y, x]``: no secret."""
        ...

    def optical_image(self, scenes: FloatArray, depth: int) -> FloatArray:
        """Noiseless irradiance ``[n, y, x, 3]`` of scenes ``[n, y, x, 3]`` at one of the depths."""
        ...


@dataclass(frozen=True)
class PsfView:
    """A linear, shift-invariant optic with one PSF a depth."""

    name: str
    bank: FloatArray

    def __post_init__(self) -> None:
        if self.bank.ndim != 4 or self.bank.shape[1] != 3:
            raise Refusal(
                f"the PSF bank of {self.name} has shape {self.bank.shape}", "give [depth, colour, y, x]"
            )
        if not np.isfinite(self.bank).all() or self.bank.min() < -1e-6 or self.bank[0].sum() <= 0:
            raise Refusal(
                f"the PSF bank of {self.name} is not made of energies", "measure or compute it again"
            )

    def optical_image(self, scenes: FloatArray, depth: int) -> FloatArray:
        """See `View`. The scene goes on beyond the frame as its border does, so that no dark rim frames the
        face."""
        margin = self.bank.shape[-1] // 2
        padded = np.pad(scenes, ((0, 0), (margin, margin), (margin, margin), (0, 0)), "edge")
        image = form_image(padded.transpose(0, 3, 1, 2), self.bank[depth].astype(np.float32))
        rows, columns = scenes.shape[1:3]
        inside = image[..., margin : margin + rows, margin : margin + columns]
        return np.asarray(np.maximum(inside, 0.0).transpose(0, 2, 3, 1), np.float32)


@dataclass(frozen=True)
class LowResolutionView:
    """A perfect lens over coarse pixels of side `factor`, in pixels of the full grid: means over their area,
    shown on the full grid again."""

    factor: float
    depths: int
    name: str = "low resolution"

    @property
    def bank(self) -> FloatArray:
        """A coarse pixel's footprint, as if it were shift-invariant."""
        side = 2 * math.ceil((self.factor - 1) / 2) + 1
        line = np.ones(side)
        line[[0, -1]] = (self.factor - side + 2) / 2 if side > 1 else 1.0
        footprint = np.outer(line, line) / self.factor**2
        return np.broadcast_to(footprint.astype(np.float32), (self.depths, 3, side, side))

    def optical_image(self, scenes: FloatArray, depth: int) -> FloatArray:
        """See `View`."""
        rows, columns = scenes.shape[1:3]
        coarse = [max(1, round(side / self.factor)) for side in (columns, rows)]
        image = np.empty(scenes.shape, np.float32)
        for scene, shown in zip(scenes, image, strict=True):
            few = cv2.resize(np.asarray(scene, np.float32), coarse, interpolation=cv2.INTER_AREA)
            cv2.resize(few, (columns, rows), shown, interpolation=cv2.INTER_NEAREST)
        return image


def sharp(depths: int) -> PsfView:
    """The ceiling: every point stays a point."""
    bank = np.zeros((depths, 3, 3, 3), np.float32)
    bank[..., 1, 1] = 1.0
    return PsfView("clean", bank)


@dataclass(frozen=True)
class Captures:
    """What the camera delivered of the training and the test people, linear RGB ``[n, y, x, 3]``."""

    train: FloatArray
    test: FloatArray


def capture(
    view: View,
    faces: Faces,
    sensor: SensorSpec | None,
    *,
    seed: int,
    progress: Progress = lambda stage, done, total: None,
) -> FloatArray:
    """Film faces through a view: linear RGB ``[n, y, x, 3]`` relative to white, as the network sees it.

    Args:
        view: the optic.
        faces: whom.
        sensor: what reads the image; None for a noise-free camera.
        seed: of the noise.
        progress: called as ``progress("capture <view>", done, total)``.
    """
    batches: list[tuple[int, NDArray[np.int64]]] = []
    for depth in np.unique(faces.depths).tolist():
        index = np.flatnonzero(faces.depths == depth)
        batches += [(depth, index[start : start + BATCH]) for start in range(0, len(index), BATCH)]
    captured = scratch(faces.scenes.shape)

    def film(number: int) -> None:
        depth, batch = batches[number]
        image = view.optical_image(faces.scenes[batch], depth)
        captured[batch] = read(image, sensor, np.random.default_rng([seed, number]))

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # NumPy's transforms and generators release the lock
        for done, _ in enumerate(threads.map(film, range(len(batches)))):
            progress(f"capture {view.name}", done + 1, len(batches))
    return captured


def read(image: FloatArray, sensor: SensorSpec | None, rng: np.random.Generator) -> FloatArray:
    """What the sensor reports of irradiance ``[n, y, x, 3]``, relative to white again."""
    if sensor is None:
        return image
    frame = expose((EXPOSURE * image).transpose(0, 3, 1, 2), sensor, rng=rng)
    return np.asarray(frame.transpose(0, 2, 3, 1) / EXPOSURE, np.float32)


def burst(sensor: SensorSpec, frames: int) -> SensorSpec:
    """The sensor that one would have whose every exposure were the mean of many frames of a scene at rest: as many
    times the electrons, read noise added in squares, finer steps."""
    return sensor.model_copy(
        update={
            "full_well": frames * sensor.full_well,
            "dark_current": frames * sensor.dark_current,
            "read_noise": math.sqrt(frames) * sensor.read_noise,
            "bits": min(16, sensor.bits + math.ceil(math.log2(frames))),
        }
    )


def half_energy_width(psf: NDArray[np.floating]) -> float:
    """EE50: radius in pixels of the circle around the centroid that holds half of the energy in the window
    ``[y, x]``."""
    energy = psf / psf.sum()
    y, x = np.indices(psf.shape)
    radius = np.hypot(y - (energy * y).sum(), x - (energy * x).sum()).ravel()
    order = np.argsort(radius)
    enclosed = np.cumsum(energy.ravel()[order])
    return float(np.interp(0.5, np.append(0.0, enclosed), np.append(0.0, radius[order])))


def mean_width(bank: NDArray[np.floating]) -> float:
    """Mean EE50 over depths and colours of ``[depth, colour, y, x]``."""
    return float(np.mean([half_energy_width(psf) for depth in bank for psf in depth]))
