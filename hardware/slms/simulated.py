"""A modulator on a simulated bench: laser, panel, Fourier lens and a camera without colour filters in its focus.

What is hidden is what a real panel hides: a grey-to-phase curve that is not straight, a back plane that is not
flat, liquid crystals that take their time, and area between the pixels that does not obey. The camera sees
|FT(beam · panel)|² with shot and read noise. Not modelled: crosstalk between neighbouring pixels, flicker of the
digital drive, and polarisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.hardware.cameras.camera import CameraInfo, RawFrame
from opticaldr.hardware.slms.display import Frame
from opticaldr.hardware.slms.panel import Panel
from opticaldr.hardware.world import World
from opticaldr.models.optics.zernike import zernike

TURN = 2 * np.pi

_CAMERA_SHAPE = (96, 480)
_CAMERA_PITCH = 3.45e-6
_CAMERA_BITS, _BLACK, _FULL_WELL, _READ_NOISE = 12, 60, 10_000.0, 2.5
_ORDER_AT = 150 * _CAMERA_PITCH  # where a grating of 8 pixels puts its first order
_FRAME_PERIOD = 1 / 60
_BEAM = 0.35  # 1/e² radius of the beam as a fraction of the panel's shorter side
_LASER_RATE = 4e8  # electrons a second in the whole focal plane
_LASER_DRIFT = 0.01
_FLATNESS_MODES = range(4, 16)


@dataclass(frozen=True)
class Modulator:
    """What a panel really does.

    Attributes:
        panel: its figures.
        retardance: optical path of every grey level [level], metres; dispersion is neglected.
        flatness: optical path of the bare panel [row, column], metres.
        settling: time constant of the liquid crystals, seconds.
    """

    panel: Panel
    retardance: NDArray[np.float64]
    flatness: NDArray[np.float64]
    settling: float

    @classmethod
    def draw(cls, panel: Panel, rng: np.random.Generator) -> Self:
        """A plausible panel: an S-shaped curve that reaches a little over a turn at 660 nm, a few hundred nanometres
        of low-order form error, and crystals that follow in about 10 ms."""
        drive = np.arange(panel.levels) / (panel.levels - 1)
        bend, waist = rng.uniform(0.6, 1.4), rng.uniform(0.35, 0.55)
        curve = np.tanh(bend * 2 * (drive - waist)) + rng.uniform(0.3, 0.6) * drive
        curve = (curve - curve[0]) / (curve[-1] - curve[0])
        half = min(panel.shape) * panel.pitch / 2
        x, y = (place / half for place in np.meshgrid(*panel.grid()))
        flatness = np.zeros(panel.shape)
        for j in _FLATNESS_MODES:
            flatness += (
                rng.normal(0, 150e-9 / np.sqrt(j - 3)) * zernike(j, x, y, "noll") * (np.hypot(x, y) < 1.6)
            )
        return cls(panel, rng.uniform(680e-9, 760e-9) * curve, flatness, rng.uniform(8e-3, 14e-3))

    def phase(self, wavelength: float) -> NDArray[np.float64]:
        """Phase of every grey level relative to level 0 [level], radians."""
        return TURN / wavelength * self.retardance


class SimulatedDisplay:
    """Shows frames on a `Modulator`; they become visible as its crystals follow."""

    def __init__(self, modulator: Modulator, world: World) -> None:
        self.modulator = modulator
        self.panel = modulator.panel
        self.world = world
        self._paths = np.zeros(self.panel.shape, dtype=np.float32)
        self._before = self._paths
        self._since = world.now

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, frame: Frame) -> None:
        """Send a frame; returns when it was sent, not when the crystals have settled.

        Raises:
            Refusal: the frame is not of the panel's shape.
        """
        if frame.shape != self.panel.shape:
            raise Refusal(f"the frame is {frame.shape}, the panel {self.panel.shape}", "make it for this SLM")
        self._before, self._since = self.paths(), self.world.now
        self._paths = self.modulator.retardance.astype(np.float32)[frame]

    @property
    def settled(self) -> bool:
        """Whether what is seen differs from what was sent by less than a picometre."""
        return self.world.now - self._since > 14 * self.modulator.settling

    def paths(self) -> NDArray[np.float32]:
        """Optical path of every pixel at this moment [row, column], metres, without the flatness."""
        if self.settled:
            return self._paths
        left = np.float32(np.exp(-(self.world.now - self._since) / self.modulator.settling))
        return self._paths + left * (self._before - self._paths)


class FarFieldCamera:
    """A monochrome camera in the focus of a lens behind a `SimulatedDisplay`.

    Args:
        display: what the laser shines on.
        wavelength: of the laser, metres.
        seed: of the noise.
    """

    def __init__(self, display: SimulatedDisplay, wavelength: float, *, seed: int = 0) -> None:
        self.display = display
        self.wavelength = wavelength
        self._exposure = 1e-3
        self._rng = np.random.default_rng([seed, 0xFA2])
        self._drift = self._rng.uniform(0, TURN)
        self._seen: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def __enter__(self) -> Self:
        panel = self.display.panel
        x, y = panel.grid()
        waist = _BEAM * min(panel.shape) * panel.pitch
        beam = np.exp(-(x**2 + y[:, None] ** 2) / waist**2)
        self._beam = (beam / np.linalg.norm(beam)).astype(np.float32)
        # The lens puts the first order of an 8-pixel grating of green light at the same place for every panel.
        focal = _ORDER_AT * 8 * panel.pitch / 532e-9
        v, u = ((np.arange(n) - (n - 1) / 2 + 0.5) * _CAMERA_PITCH for n in _CAMERA_SHAPE)
        k = TURN / (self.wavelength * focal)
        scale = panel.pitch * _CAMERA_PITCH / (self.wavelength * focal)  # energy of the plane is then 1
        self._down = (scale * np.exp(-1j * k * np.outer(v, y))).astype(np.complex64)
        self._across = np.exp(-1j * k * np.outer(x, u)).astype(np.complex64)
        modulator = self.display.modulator
        self._lit = (self._beam * np.exp(2j * np.pi / self.wavelength * modulator.flatness)).astype(
            np.complex64
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._seen = None

    @property
    def info(self) -> CameraInfo:
        """Twelve bits without filters."""
        return CameraInfo("simulated far field", _CAMERA_SHAPE, _CAMERA_BITS, None, _BLACK)

    def configure(self, *, exposure: float, gain: float = 1.0) -> None:
        """Set the exposure in seconds; the gain stays 1.

        Raises:
            Refusal: out of range.
        """
        if not 1e-6 <= exposure <= 1 or gain != 1:
            raise Refusal(
                f"exposure {exposure:g} s at gain {gain:g} is out of range", "choose 1 µs to 1 s, gain 1"
            )
        self._exposure = exposure

    def capture(self) -> RawFrame:
        """Expose one frame; simulated time passes."""
        world = self.display.world
        start = world.now
        power = _LASER_RATE * (1 + _LASER_DRIFT * np.sin(TURN * start / 240 + self._drift))
        electrons = self._rng.poisson(self._intensity() * (power * self._exposure)).astype(np.float64)
        world.advance(max(self._exposure, _FRAME_PERIOD))
        electrons += _READ_NOISE * self._rng.standard_normal(_CAMERA_SHAPE)
        top = 2**_CAMERA_BITS - 1
        levels = np.clip(np.rint(electrons * ((top - _BLACK) / _FULL_WELL) + _BLACK), 0, top)
        return RawFrame(levels.astype(np.uint16), self._exposure, 1.0, _BLACK, world.temperature, start)

    def _intensity(self) -> NDArray[np.float64]:
        """Fraction of the light on every camera pixel [y, x]."""
        paths = self.display.paths()
        if self._seen is None or self._seen[0] is not paths:
            modulator = self.display.modulator
            fill = np.float32(modulator.panel.fill_factor)
            phase = np.float32(TURN / self.wavelength) * paths
            moved = np.empty(paths.shape, np.complex64)
            moved.real, moved.imag = (
                np.cos(phase),
                np.sin(phase),
            )  # ten times as quick as a complex exponential
            far = self._down @ (self._lit * (fill * moved + (1 - fill))) @ self._across
            self._seen = paths, (far.real**2 + far.imag**2).astype(np.float32)
        return self._seen[1].astype(np.float64)
