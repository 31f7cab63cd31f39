"""A scene before the device's own optics: frames from anywhere, seen through the PSF that was measured.

This is how the deployed camera is tried without hardware. Whatever the scene is (a simulated subject, a
video, a folder of pictures, a webcam), it passes the measured PSF and the sensor model before the device's
software sees it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.hardware.cameras.camera import CameraInfo, RawFrame
from opticaldr.hardware.cameras.errors import FramesEnded
from opticaldr.hardware.world import World
from opticaldr.models.optics import SensorSpec, expose_raw, form_image, response_pattern

EXPOSURE = 0.01
LEVEL = 0.8
"""Fraction of the well that a scene value of 1 fills in `EXPOSURE` seconds at gain 1."""


class SceneEnded(FramesEnded):
    """The source of scenes has no more frames."""


class SceneCamera:
    """A camera that looks at a sequence of scenes through a given PSF.

    Args:
        scenes: ideal images, linear RGB in [0, 1], float32 ``[y, x, 3]`` at superpixels; the camera's frames
            end where they do.
        psf: energy fractions at superpixels, ``[colour, y, x]``, odd sides.
        sensor: the sensor.
        unmask_at: number of the frame before which the mask is taken off: from then on the lens behind
            it images the scene sharply. None for never.
        seed: fixes the sensor's pattern and noise.
        world: holds the shutter before the camera; a frame takes ``period`` seconds of its time. Without a
            world there is no shutter.
    """

    def __init__(
        self,
        scenes: Iterator[NDArray[np.float32]],
        psf: NDArray[np.float32],
        sensor: SensorSpec,
        *,
        unmask_at: int | None = None,
        seed: int = 0,
        world: World | None = None,
        period: float = 1 / 30,
    ) -> None:
        self._world, self._period = world, period
        self._scenes = scenes
        self._psf = np.asarray(psf, np.float32)
        self._sensor = sensor
        self._unmask_at = unmask_at
        self._rng = np.random.default_rng([seed, 2])
        self._response = response_pattern(sensor, np.random.default_rng([seed, 1])).astype(np.float32)
        self._exposure, self._gain, self._count = EXPOSURE, 1.0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    @property
    def info(self) -> CameraInfo:
        """The sensor it was given."""
        sensor = self._sensor
        return CameraInfo("scene", sensor.shape, sensor.bits, sensor.bayer, sensor.black_level)

    def configure(self, *, exposure: float, gain: float = 1.0) -> None:
        """Set exposure (seconds, up to 1) and gain (1 to 16)."""
        if not 0 < exposure <= 1 or not 1 <= gain <= 16:
            raise Refusal(f"exposure {exposure:g} s, gain {gain:g}", "choose up to 1 s and a gain of 1 to 16")
        self._exposure, self._gain = exposure, gain

    def capture(self) -> RawFrame:
        """Expose the next scene.

        Raises:
            SceneEnded: there is none left.
        """
        start = time.monotonic()
        scene = next(self._scenes, None)
        if scene is None:
            raise SceneEnded("the source has no more frames", "give a longer one, or fewer --frames")
        ideal = np.moveaxis(np.asarray(scene, np.float32), -1, 0) * np.float32(
            LEVEL * self._exposure / EXPOSURE
        )
        if self._world is not None:
            self._world.advance(self._period)
            ideal *= np.float32(self._world.shutter_transmission)
        masked = self._unmask_at is None or self._count < self._unmask_at
        self._count += 1
        image = np.maximum(form_image(ideal, self._psf), 0) if masked else ideal
        binning = self._sensor.binning
        levels = expose_raw(
            image.repeat(binning, axis=-2).repeat(binning, axis=-1),
            self._sensor,
            exposure=self._exposure,
            gain=self._gain,
            rng=self._rng,
            fixed_pattern=self._response,
        )
        return RawFrame(
            levels.astype(np.uint16),
            self._exposure,
            self._gain,
            self._sensor.black_level,
            float("nan"),
            start,
        )
