"""The response of a spatial light modulator, measured in the focus of a lens: grey to phase, and settling.

Two methods look at the same curve. *Self-interference*: one half of the panel stays at level 0, the other takes level
g. Where both overlap in the far field, light is A + B·cos φ(g) + C·sin φ(g) at every pixel, with A, B and C that no
level changes, so the principal components of the pictures run along an ellipse, whose angle is the phase. *Binary
grating*: levels 0 and g in turn send sin²(φ(g)/2) of the modulated light into the first orders (scalar diffraction of a
square-wave phase grating); its maximum must lie where the first method finds π.

Neither needs to know how camera and panel lie to each other, and neither can tell a phase from its negative. The curve
is written rising unless the panel is said to retard less where it is brighter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from opticaldr.calibration.gates import Gate
from opticaldr.errors import Refusal
from opticaldr.hardware.cameras import Camera
from opticaldr.hardware.slms import Display, Panel, Response

TURN = 2 * np.pi
GREYS = 33
FRAMES = 4
"""Frames averaged for each level."""

PERIOD = 8
"""Pixels a period of the binary grating."""

_BETWEEN = 4  # frames between two looks at the laser's power
FILL = 0.7  # brightest pixel, as a fraction of the range

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Measured:
    """What was found of a modulator at one wavelength.

    Attributes:
        response: grey to phase at every level, rising from level 0.
        greys: levels that were measured [n].
        interference: their phases by self-interference, radians.
        first_order: light in the grating's first order at the same levels, relative to its largest.
        scatter: RMS distance of the interference values from their circle, in radians about its centre.
        disagreement: RMS difference between the two methods where a grating can tell, in radians.
        drift: phase of level 0 at the end less at the beginning, radians.
        settling: seconds after which the light stays within 2 % of where it ends.
    """

    response: Response
    greys: NDArray[np.int64]
    interference: NDArray[np.float64]
    first_order: NDArray[np.float64]
    scatter: float
    disagreement: float
    drift: float
    settling: float

    def gates(self) -> list[Gate]:
        """Whether it can be trusted."""
        wave = 1 / TURN
        steps = np.diff(np.abs(self.interference))
        turned_back = float(max(0.0, -steps.min()))
        return [
            Gate(
                "reach", self.response.reach * wave, "at least", 1.0, "turns",
                "raise the drive voltage, or load a drive table made for this wavelength",
            ),
            Gate(
                "turning back", turned_back * wave, "at most", 0.005, "turns",
                "measure again with a steadier laser; a curve that really turns back needs another drive table",
            ),
            Gate(
                "scatter", self.scatter * wave, "at most", 0.02, "turns",
                "steady the bench: air, vibration, a laser that hops modes",
            ),
            Gate(
                "two methods", self.disagreement * wave, "at most", 0.01, "turns",
                "make sure that the camera is in the focus and that the polariser stands along the panel's director",
            ),
            Gate(
                "drift", abs(self.drift) * wave, "at most", 0.02, "turns",
                "let panel and laser warm up for half an hour",
            ),
        ]  # fmt: skip


class Bench:
    """A panel and the camera that sees its far field.

    Args:
        display: opened by the caller.
        camera: opened by the caller; without colour filters, or with the laser seen through one of them.
        panel: what the display is.
        wait: lets this many seconds pass (simulated ones on a simulated bench).
    """

    def __init__(self, display: Display, camera: Camera, panel: Panel, wait: Callable[[float], None]) -> None:
        self.display, self.camera, self.panel = display, camera, panel
        self.settling = 0.2  # until it has been measured
        self._wait = wait
        self._shown: NDArray[np.unsignedinteger] | None = None

    def show(self, frame: NDArray[np.unsignedinteger]) -> None:
        """Show levels [row, column] and wait until they have settled."""
        if self._shown is None or not np.array_equal(self._shown, frame):
            self.display.show(frame)
            self._shown = frame
            self._wait(self.settling)

    def picture(self, frames: int = FRAMES) -> NDArray[np.float64]:
        """Mean of `frames` frames less the black level [y, x], in digital numbers a second.

        Raises:
            Refusal: a saturated pixel.
        """
        total = np.zeros(self.camera.info.shape)
        for _ in range(frames):
            frame = self.camera.capture()
            if frame.raw.max() >= self.camera.info.white_level:
                raise Refusal(
                    "the far field saturates the camera", "put a filter before the laser and start again"
                )
            total += (frame.raw.astype(np.float64) - frame.black_level) / frame.exposure
        return total / frames

    def flat(self, level: int = 0) -> NDArray[np.uint16]:
        """One level everywhere."""
        return np.full(self.panel.shape, level, dtype=np.uint16)

    def halves(self, level: int) -> NDArray[np.uint16]:
        """Level 0 on the left, `level` on the right."""
        frame = self.flat()
        frame[:, self.panel.columns // 2 :] = level
        return frame

    def grating(self, level: int) -> NDArray[np.uint16]:
        """Levels 0 and `level` in turn, `PERIOD` pixels a period along x."""
        across = np.arange(self.panel.columns) % PERIOD >= PERIOD // 2
        return np.broadcast_to(across * np.uint16(level), self.panel.shape).astype(np.uint16)

    def expose(self, fill: float = FILL) -> None:
        """Choose the exposure at which the brightest pixel of what is shown fills about `fill` of the range.

        Raises:
            Refusal: no light arrives, or too much at the shortest exposure.
        """
        room = self.camera.info.white_level - self.camera.info.black_level
        exposure = 1e-4
        for _ in range(12):
            self.camera.configure(exposure=exposure)
            frame = self.camera.capture()
            peak = max(float(frame.raw.max()) - frame.black_level, 1.0) / room
            if 0.7 * fill < peak < 1.3 * fill:
                return
            exposure = float(
                np.clip(exposure * min(fill / peak, 20) * (0.3 if peak > 0.98 else 1), 1e-6, 1.0)
            )
        raise Refusal(
            "no exposure between 1 µs and 1 s shows the laser's focus well exposed",
            "switch the laser on, point it at the panel, and choose a filter",
        )


def measure_response(
    bench: Bench,
    wavelength: float,
    *,
    serial: str = "",
    temperature: float | None = None,
    polarity: Literal[1, -1] = 1,
    progress: Progress = lambda stage, done, total: None,
) -> Measured:
    """Measure grey to phase and settling.

    Args:
        bench: opened.
        wavelength: of the laser, metres.
        serial, temperature: of the panel, for the record.
        polarity: −1 for a panel whose brighter levels retard less.
        progress: called with (stage, done, total).

    Raises:
        Refusal: no light, too much light, or a picture that no grey level changes.
    """
    bench.show(bench.flat())
    bench.expose()
    settling = _settling(bench)
    bench.settling = 2 * settling
    greys = np.unique(np.rint(np.linspace(0, bench.panel.levels - 1, GREYS)).astype(np.int64))
    phase, scatter, drift = _interference(bench, greys, progress)
    first = _grating(bench, greys, progress)
    model = np.sin(phase / 2) ** 2
    scale = float(first @ model / (model @ model))
    first = first / scale
    telling = np.abs(np.sin(phase)) > 0.5
    misfit = (first - model)[telling] / (np.abs(np.sin(phase)) / 2)[telling]
    response = _curve(greys, phase, bench.panel, wavelength)
    return Measured(
        Response(polarity * response.phase, wavelength, temperature, serial), greys, polarity * phase, first, scatter,
        float(np.sqrt(np.mean(misfit**2))), drift, settling,
    )  # fmt: skip


def _curve(greys: NDArray[np.int64], phase: NDArray[np.float64], panel: Panel, wavelength: float) -> Response:
    """Every level from those measured, by monotone cubic interpolation (Fritsch and Carlson, 1980)."""
    levels = np.arange(panel.levels)
    smooth = PchipInterpolator(greys, phase)(levels)
    # Noise may turn two neighbouring levels round; the smallest change that makes the curve rise.
    rising = np.maximum.accumulate(smooth) + 1e-9 * levels
    return Response(rising - rising[0], wavelength)


def _settling(bench: Bench) -> float:
    """Seconds after a step of the whole panel's right half until the picture stays within 2 % of its last change."""
    top = bench.panel.levels // 2
    bench.show(bench.flat())
    before = bench.picture(2)
    bench.display.show(bench.halves(top))
    frames = [bench.camera.capture() for _ in range(30)]
    bench.show(bench.halves(top))
    pictures = np.array(
        [(frame.raw.astype(np.float64) - frame.black_level) / frame.exposure for frame in frames]
    )
    after = pictures[-8:].mean(0)
    change = after - before
    if np.linalg.norm(change) < 0.05 * np.linalg.norm(after):
        raise Refusal(
            "the camera sees no difference between grey levels",
            "check that the panel shows the frames and the polariser stands along its director",
        )
    done = np.array([picture - before for picture in pictures]).reshape(len(pictures), -1) @ change.ravel()
    done /= change.ravel() @ change.ravel()
    away = np.flatnonzero(np.abs(done - 1) > 0.02 + 3 * done[-8:].std())
    last = int(away[-1]) + 1 if len(away) else 0
    times = np.array([frame.timestamp for frame in frames])
    return float(times[min(last, len(times) - 1)] - times[0] + np.median(np.diff(times)))


def _interference(
    bench: Bench, greys: NDArray[np.int64], progress: Progress
) -> tuple[NDArray[np.float64], float, float]:
    """Phases of `greys` relative to the first, the scatter about the circle, and the drift of level 0, radians.

    Every picture is power · (A + B·cos φ + C·sin φ), whatever A, B and C look like. So the two strongest principal
    components of all pictures hold a linear image of the circle: an ellipse, which is made round again.
    """
    frames = [bench.halves(int(grey)) for grey in (*greys, greys[0])]
    stack = _steadied(bench, frames, progress, "interference").reshape(len(frames), -1)
    components, strengths, _ = np.linalg.svd(stack - stack.mean(0), full_matrices=False)
    unit, scatter = _rounded(components[:, :2] * strengths[:2])
    angle = np.unwrap(np.arctan2(unit[:, 1], unit[:, 0]))
    if angle[-2] < angle[0]:
        angle = -angle
    drift = (angle[-1] - angle[0] + np.pi) % TURN - np.pi
    return angle[:-1] - angle[0], scatter, float(drift)


def _steadied(
    bench: Bench, frames: Sequence[NDArray[np.unsignedinteger]], progress: Progress, stage: str
) -> NDArray[np.float64]:
    """A picture [y, x] of each frame, relative to the light of the flat panel, which is looked at again and again."""
    pictures, powers = [], []
    for index, frame in enumerate(frames):
        progress(stage, index, len(frames))
        if index % _BETWEEN == 0 or index == len(frames) - 1:
            bench.show(bench.flat())
            powers.append((index, bench.picture().sum()))
        bench.show(frame)
        pictures.append(bench.picture())
    progress(stage, len(frames), len(frames))
    power = np.interp(np.arange(len(frames)), *np.transpose(powers))
    return np.asarray(np.array(pictures) / power[:, None, None])


def _grating(bench: Bench, greys: NDArray[np.int64], progress: Progress) -> NDArray[np.float64]:
    """Light that a grating between level 0 and each of `greys` sends where a flat panel sends none."""
    frames = [bench.grating(int(grey)) for grey in greys]
    flat, *pictures = _steadied(bench, [bench.flat(), *frames], progress, "grating")
    brightest = np.max(pictures, axis=0)
    orders = (brightest > 4 * flat) & (brightest > 0.05 * (brightest - flat).max())
    return np.array([np.sum((picture - flat)[orders]) for picture in pictures])


def _rounded(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Points [n, 2] of an ellipse as points of the unit circle, and the RMS of their distances from it."""
    scaled = points / np.abs(points).max()
    x, y = scaled.T
    a, b, c, d, e = np.linalg.lstsq(
        np.stack([x * x, x * y, y * y, x, y], axis=1), np.ones(len(x)), rcond=None
    )[0]
    shape = np.array([[a, b / 2], [b / 2, c]])
    centre = -np.linalg.solve(shape, [d, e]) / 2
    try:
        towards = np.linalg.cholesky(shape / (1 + centre @ shape @ centre))
    except np.linalg.LinAlgError:
        raise Refusal(
            "the fringes of the two halves do not move as the grey level rises",
            "light both halves of the panel evenly, and bring the camera into the focus",
        ) from None
    unit = (scaled - centre) @ towards
    return unit, float(np.std(np.hypot(*unit.T)))
