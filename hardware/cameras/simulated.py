"""A camera in the simulated world: it looks through the optic that was really built, with a sensor that has noise.

What it sees is decided by the world: the point source at the stage's true position; or, where `World.scene` says so, a
flat panel held before the lens, a display or a subject. Light passes the shutter, ambient light adds to it, and taking
a frame takes simulated time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2
from scipy.special import j1

from opticaldr.errors import Refusal
from opticaldr.hardware.cameras.camera import CameraInfo, RawFrame
from opticaldr.hardware.cameras.errors import CameraLost, OutOfRange
from opticaldr.hardware.cameras.pixels import pixel_integrals
from opticaldr.hardware.cameras.screen import Screen, screen_irradiance
from opticaldr.hardware.world import World
from opticaldr.models.optics import (
    Optic,
    OpticsSpec,
    SensorSpec,
    form_image,
    psf,
    psf_bank,
    pupil_mask,
    pupil_positions,
    response_pattern,
)
from opticaldr.models.optics.geometry import ON_AXIS
from opticaldr.models.optics.path import fixed_path
from opticaldr.models.optics.sensor import convert, dark_charge, mosaic, read, share_charge

NOMINAL_EXPOSURE = 0.01
"""Seconds in which a scene value of 1 fills the well at gain 1."""

SHORTEST_EXPOSURE, LONGEST_EXPOSURE = 1e-6, 10.0
HIGHEST_GAIN = 16.0
FRAME_PERIOD = 1 / 60
HOT_FRACTION = 1e-4
"""Share of pixels with a hundred times the dark current."""

_PLANCK_TIMES_C = 1.98644586e-25  # joule metre
_MARGIN = 16  # raw pixels around the rays of a spot
_SUBPIXELS = 6  # per raw pixel and side: finer than the finest fringe of the clinic preset's PSF


@dataclass(frozen=True)
class FlatPanel:
    """An evenly lit diffuser held before the lens: every pixel behind one filter gets the same light.

    `level`: fraction of full well in `NOMINAL_EXPOSURE`, for red, green and blue.
    """

    level: tuple[float, float, float] = (0.6, 0.8, 0.6)


@dataclass(frozen=True)
class Subject:
    """Somebody before the camera.

    `radiance`: the ideal image, linear RGB [y, x, 3] at superpixels, in fractions of full well in `NOMINAL_EXPOSURE`.
    `depth`: metres from the pupil.
    """

    radiance: NDArray[np.float32]
    depth: float


class SimulatedCamera:
    """The camera of a `World`.

    Args:
        world: what it looks at; `world.optic` must be there when the camera is opened.
        seed: fixes the sensor's own pattern and every frame's noise.

    Attributes:
        plugged: False once a test has pulled its cable.

    Raises:
        Refusal: on opening, a world without an optic; on `configure`, an exposure or gain out of range.
    """

    def __init__(self, world: World, *, seed: int = 0) -> None:
        self.world = world
        self.seed = seed
        self.plugged = True
        self._exposure = NOMINAL_EXPOSURE
        self._gain = 1.0
        self._open = False
        self._remembered: tuple[tuple[object, ...], NDArray[np.float32]] | None = None

    def __enter__(self) -> Self:
        sensor = self._optic.spec.sensor
        own = np.random.default_rng([self.seed, 1])
        self._response = response_pattern(sensor, own).astype(np.float32)
        dark = 1 + sensor.dark_nonuniformity * own.standard_normal(sensor.shape)
        dark[own.random(sensor.shape) < HOT_FRACTION] *= 100
        self._dark = np.maximum(dark, 0).astype(np.float32)
        self.reseed(0)
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False

    @property
    def info(self) -> CameraInfo:
        """The sensor of the optic's spec."""
        sensor = self._optic.spec.sensor
        name = f"simulated {self._optic.spec.name}"
        return CameraInfo(name, sensor.shape, sensor.bits, sensor.bayer, sensor.black_level)

    def reseed(self, stream: int) -> None:
        """Draw the noise of all later frames from the stream with this number."""
        self._rng = np.random.default_rng([self.seed, 2, stream])

    def configure(self, *, exposure: float, gain: float = 1.0) -> None:
        """Set exposure (seconds) and gain for every later frame."""
        if not SHORTEST_EXPOSURE <= exposure <= LONGEST_EXPOSURE:
            raise OutOfRange(
                f"exposure {exposure:g} s is out of range",
                f"choose {SHORTEST_EXPOSURE:g} to {LONGEST_EXPOSURE:g} s",
            )
        if not 1 <= gain <= HIGHEST_GAIN:
            raise OutOfRange(f"gain {gain:g} is out of range", f"choose 1 to {HIGHEST_GAIN:g}")
        self._exposure, self._gain = exposure, gain

    def capture(self) -> RawFrame:
        """Expose one frame; simulated time passes meanwhile."""
        if not self._open:
            raise RuntimeError("the camera is not open: use it in a with block")
        if not self.plugged:
            raise CameraLost("the simulated camera does not answer (unplugged)", "plug it in and run again")
        world, sensor = self.world, self._optic.spec.sensor
        start = world.now
        world.advance(self._exposure / 2)
        rate = self._electron_rate() * (self._response * world.shutter_transmission)
        if world.leak_irradiance > 0:
            rate += self._ambient(world.leak_irradiance) * self._response
        temperature = world.temperature
        world.advance(max(self._exposure / 2, FRAME_PERIOD - self._exposure / 2))
        electrons = rate * np.float32(self._exposure)
        electrons += self._dark * np.float32(dark_charge(sensor, self._exposure, temperature))
        levels = convert(read(electrons, sensor.read_noise, self._rng), sensor, self._gain)
        return RawFrame(
            levels.astype(np.uint16), self._exposure, self._gain, sensor.black_level, temperature, start
        )

    @property
    def _optic(self) -> Optic:
        if self.world.optic is None:
            raise Refusal("the simulated world holds no optic", "put one into World.optic first")
        return self.world.optic

    def _electron_rate(self) -> NDArray[np.float32]:
        """Electrons a second of every raw pixel [y, x], shutter open."""
        world, spec = self.world, self._optic.spec
        full_well_rate = spec.sensor.full_well / NOMINAL_EXPOSURE
        ambient = self._ambient(world.stray_irradiance)
        if world.scene is None:
            if world.source_drive == 0:
                return ambient
            return ambient + self._spot() * np.float32(world.source_intensity)
        if isinstance(world.scene, FlatPanel):
            return ambient + _mosaic_of(np.asarray(world.scene.level) * full_well_rate, spec.sensor)
        if isinstance(world.scene, Screen):
            return ambient + self._picture(world.scene)
        if isinstance(world.scene, Subject):
            return ambient + self._image(world.scene) * np.float32(full_well_rate)
        raise TypeError(
            f"World.scene is a {type(world.scene).__name__}: neither FlatPanel, Screen nor Subject"
        )

    def _ambient(self, irradiance: float) -> NDArray[np.float32]:
        """Electrons a second [y, x] of the source's colours, `irradiance` W/m² everywhere on the sensor."""
        spec = self._optic.spec
        return _mosaic_of(electrons_per_joule(spec) * irradiance * spec.sensor.pitch**2, spec.sensor)

    def _spot(self) -> NDArray[np.float32]:
        """Electrons a second [y, x] for one watt per steradian at the source's true place."""
        world, optic = self.world, self._optic
        place = world.depth, world.source_place, world.source_diameter
        return self._once(("spot", id(optic), *place), lambda: point_response(optic, *place))

    def _picture(self, screen: Screen) -> NDArray[np.float32]:
        """Electrons a second [y, x] that a display leaves."""
        optic, sensor = self._optic, self._optic.spec.sensor

        def electrons() -> NDArray[np.float32]:
            light = screen_irradiance(optic, screen, spot_reach(optic, screen.depth), _SUBPIXELS)
            light *= electrons_per_joule(optic.spec)[:, None, None]
            behind_filters: NDArray[np.float32] = share_charge(
                mosaic(light.astype(np.float32), sensor), sensor.crosstalk
            )
            return behind_filters

        return self._once(("screen", id(optic), id(screen)), electrons)

    def _image(self, subject: Subject) -> NDArray[np.float32]:
        """Fractions of full well in the nominal exposure, at raw pixels behind their filters [y, x]."""
        optic, spec = self._optic, self._optic.spec
        rows, columns = (
            min(2 * (reach // spec.sensor.binning) + 3, most)
            for reach, most in zip(spot_reach(optic, subject.depth), spec.sensor.binned_shape, strict=True)
        )
        kernel = self._once(
            ("subject", id(optic), subject.depth),
            lambda: psf_bank(optic.height.astype(np.float32), spec, [subject.depth], shape=(rows, columns))[
                0
            ],
        )
        ideal = np.moveaxis(np.asarray(subject.radiance, dtype=np.float32), -1, 0)
        blurred = np.maximum(form_image(ideal, kernel), 0)
        raw = blurred.repeat(spec.sensor.binning, axis=-2).repeat(spec.sensor.binning, axis=-1)
        behind_filters: NDArray[np.float32] = share_charge(mosaic(raw, spec.sensor), spec.sensor.crosstalk)
        return behind_filters

    def _once(
        self, seen: tuple[object, ...], compute: Callable[[], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """What `compute` gives, computed anew only when what is `seen` has changed since the last frame."""
        if self._remembered is None or self._remembered[0] != seen:
            self._remembered = seen, compute()
        return self._remembered[1]


def spot_reach(optic: Optic, depth: float) -> tuple[int, int]:
    """Rows and columns from the chief ray within which the light of a point at `depth` falls, but for a thousandth.

    Rays of geometrical optics, with a margin for diffraction.
    """
    spec = optic.spec
    index = spec.mask.material.index(min(spec.sensor.wavelengths))
    path = (index - 1) * optic.height + fixed_path(spec, *pupil_positions(spec), depth, ON_AXIS)
    slopes = np.abs(np.gradient(path, spec.pupil.pitch))[:, pupil_mask(spec)]
    down, across = np.quantile(slopes, 0.999, axis=1) * spec.sensor_distance / spec.sensor.pitch
    return int(np.ceil(down)) + _MARGIN, int(np.ceil(across)) + _MARGIN


def electrons_per_joule(spec: OpticsSpec) -> NDArray[np.float64]:
    """Electrons for each joule on a pixel behind a red, green and blue filter, under the spec's illuminant.

    The illuminant is read as relative photon numbers, as the PSF's spectral weights do.
    """
    share = np.asarray(spec.scene.illuminant) / sum(spec.scene.illuminant)
    energy = float(np.sum(share * _PLANCK_TIMES_C / np.asarray(spec.sensor.wavelengths)))
    efficiency = spec.sensor.efficiency
    return np.array([efficiency.red, efficiency.green, efficiency.blue]) @ share / energy


def point_response(
    optic: Optic, depth: float, offset: tuple[float, float], diameter: float = 0.0
) -> NDArray[np.float32]:
    """Electrons a second [y, x] that a source of 1 W/sr, `offset` (x, y) metres off axis, leaves at raw pixels.

    The source is a point, or an evenly lit disc of `diameter` metres. The spot lies where the chief ray lands.
    """
    spec = optic.spec
    sensor, fine = spec.sensor, _SUBPIXELS
    rows, columns = (
        min(2 * reach, most) // 2 * 2
        for reach, most in zip(spot_reach(optic, depth), sensor.shape, strict=True)
    )
    fine_sensor = sensor.model_copy(update={"pitch": sensor.pitch / fine})
    field = (offset[0] / depth, offset[1] / depth)
    spectrum = psf(
        optic.height.astype(np.float32),
        spec.model_copy(update={"sensor": fine_sensor}),
        sensor.wavelengths,
        depth,
        field=field,
        shape=(rows * fine, columns * fine),
        binned=False,
        integrated=False,
    )
    spot = np.tensordot(spec.spectral_weights.astype(np.float32), spectrum, axes=1)

    if diameter > 0:
        spot = spread_over_disc(spot, diameter / depth * spec.sensor_distance / sensor.pitch * fine)

    # The window of whole pixels that is nearest to where the chief ray lands, and what is left over.
    chief = np.array(field) * spec.sensor_distance / sensor.pitch
    whole = np.round(chief).astype(int)
    across, down = (
        pixel_integrals(count, count * fine, 1 / fine, offset)
        for count, offset in zip((columns, rows), (chief - whole).tolist(), strict=True)
    )
    window = np.maximum(down @ spot @ across.T, 0)
    height, width = sensor.shape
    light = np.zeros((3, height, width), dtype=np.float32)
    top, left = (height - rows) // 2 + int(whole[1]), (width - columns) // 2 + int(whole[0])
    y = slice(max(0, -top), max(0, min(rows, height - top)))
    x = slice(max(0, -left), max(0, min(columns, width - left)))
    light[:, max(0, top) : top + y.stop, max(0, left) : left + x.stop] = window[:, y, x]
    solid_angle = (np.pi / 4 if spec.pupil.shape == "circle" else 1) * (spec.pupil.diameter / depth) ** 2
    light *= (electrons_per_joule(spec) * solid_angle)[:, None, None].astype(np.float32)
    behind_filters: NDArray[np.float32] = share_charge(mosaic(light, sensor), sensor.crosstalk)
    return behind_filters


def spread_over_disc(image: NDArray[np.float32], diameter: float) -> NDArray[np.float32]:
    """The image [..., y, x] of an evenly lit disc of `diameter` pixels, from that of a point (its Airy spectrum)."""
    rows, columns = image.shape[-2:]
    across = np.pi * diameter * np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns))
    across[0, 0] = 1.0
    transfer = 2 * j1(across) / across
    transfer[0, 0] = 1.0
    spread: NDArray[np.float32] = irfft2(rfft2(image) * transfer.astype(np.float32), (rows, columns))
    return spread


def _mosaic_of(colour: NDArray[np.float64], sensor: SensorSpec) -> NDArray[np.float32]:
    """The same light everywhere, seen through the filters: [y, x]."""
    cell = np.array([colour["RGB".index(letter)] for letter in sensor.bayer], dtype=np.float32).reshape(2, 2)
    rows, columns = sensor.shape
    return np.tile(cell, ((rows + 1) // 2, (columns + 1) // 2))[:rows, :columns]
