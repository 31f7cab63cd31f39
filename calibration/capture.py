"""The measurements of a bench session, each from one seat of the source to arrays that can be put away.

Light is asked of the board, frames of the camera; every frame counts only with the exposure and gain that
were asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from opticaldr.calibration.hdr import Bracket, Mean
from opticaldr.calibration.photon_transfer import cells, pair_statistics
from opticaldr.calibration.rig import Rig
from opticaldr.calibration.session import Arrays
from opticaldr.errors import Refusal
from opticaldr.hardware.cameras import RawFrame
from opticaldr.models.optics import OpticsSpec

SHORT, LONG = 1e-4, 1.0
"""Seconds: an exposure too short for dark current, and one long enough to see it."""

HIGH_GAIN = 8.0
"""Gain at which read noise and dark current stand above rounding."""

CHART_FRAMES = 16
"""Frames of the noise chart for each of a spot: it is evenly dim where a spot has a bright core."""

_PEAK = 0.75  # of the range, at the shortest exposure of a bracket
_BASE_EXPOSURE = 1e-3
_POWER_STEP = 1 / 4095


class Plan(BaseModel):
    """How much is measured.

    `depths`: positions of the source, uniform in 1/depth; `exposures`: of a bracket, each `ratio` times the one before;
    `frames`: averaged with the source on, and as many with it off, at every exposure; `dark_frames`: at
    every dark setting, four times as many of the flat; `flats`: exposures of the photon transfer; `fields`:
    field angles, 1 on axis, 5 with the corners, or a grid of 9; `chart`: whether the noise chart is measured, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    depths: int = Field(default=5, ge=1, le=50)
    exposures: int = Field(default=3, ge=1, le=6)
    ratio: float = Field(default=4.0, ge=1.5, le=16)
    frames: int = Field(default=4, ge=1, le=1000)
    dark_frames: int = Field(default=6, ge=2, le=1000)
    flats: int = Field(default=9, ge=4, le=50)
    fields: Literal[1, 5, 9] = 1
    chart: bool = False


def planned_depths(plan: Plan, spec: OpticsSpec, reach: tuple[float, float]) -> NDArray[np.float64]:
    """Depths uniform in 1/depth over the part of the scene that the stage can reach, nearest first."""
    near, far = max(spec.scene.near, reach[0]), min(spec.scene.far, reach[1])
    if near >= far:
        raise Refusal(
            f"the stage reaches {reach[0]:.3g} to {reach[1]:.3g} m, the scene is {spec.scene.near:.3g} to "
            f"{spec.scene.far:.3g} m deep",
            "move the stage or mend stage.origin in the rig file",
        )
    return 1 / np.linspace(1 / near, 1 / far, plan.depths)


def dark(rig: Rig, plan: Plan) -> Arrays:
    """Frames without light: short ones at gain 1 and, as "read", at high gain; long ones at high gain."""
    found: Arrays = {}
    with rig.target("dark"):
        for name, exposure, gain in (
            ("short", SHORT, 1.0),
            ("long", LONG, HIGH_GAIN),
            ("read", SHORT, HIGH_GAIN),
        ):
            mean, spread, temperatures = Mean(), _Spread(), []
            for frame in frames(rig, exposure, gain, plan.dark_frames):
                mean.add(frame.raw)
                spread.add(frame.raw)
                temperatures.append(frame.temperature)
            found[name] = mean.mean
            found[f"{name}_variance"] = spread.planes
            found[f"{name}_temperature"] = np.array(np.mean(temperatures))
    return found


def flat(rig: Rig, plan: Plan) -> Arrays:
    """Evenly lit frames: mean and temporal variance over an exposure ladder at two gains, and a mean flat."""
    found: Arrays = {}
    info = rig.camera.info
    range_ = info.white_level - info.black_level
    everywhere = np.ones(info.shape, dtype=np.bool_)
    with rig.target("flat"):
        (probe,) = frames(rig, _BASE_EXPOSURE, 1.0, 1)
        slope = max(float(np.mean(probe.raw[cell])) - info.black_level for cell in cells()) / _BASE_EXPOSURE
        if slope * _BASE_EXPOSURE < 2:
            raise Refusal("the flat panel is dark", "switch it on and hold it right before the lens")
        full = range_ / slope
        for name, gain in (("low", 1.0), ("high", HIGH_GAIN)):
            exposures, rows = [], []
            for asked in np.linspace(0.05, 1.15, plan.flats) * full / gain:
                first, second = frames(rig, float(asked), gain, 2)
                exposures.append(first.exposure)
                rows.append(pair_statistics(first.raw, second.raw, everywhere))
            mean, variance, count = (np.stack(column) for column in zip(*rows, strict=True))
            found |= {
                f"{name}_exposure": np.array(exposures),
                f"{name}_mean": mean,
                f"{name}_variance": variance,
                f"{name}_count": count,
            }
        master = Mean()
        for frame in frames(rig, 0.6 * full, 1.0, 4 * plan.dark_frames):
            master.add(frame.raw)
        found |= {"flat": master.mean, "flat_frames": np.array(master.count)}
    return found


def spot(rig: Rig, plan: Plan, depth: float, shape: tuple[int, int]) -> Arrays:
    """The point source at `depth`: a bracket of exposures in a window of `shape` raw pixels around it.

    Returns:
        The arrays of a `Bracket`; `corner`, row and column of the window's first pixel; `depth` reached; `power` of the
        source; `highest`, the highest raw value at the shortest exposure; `temperature`.

    Raises:
        Refusal: no spot is seen at full power, or it saturates at the least power and shortest exposure.
    """
    reached = rig.go_to(depth)
    info = rig.camera.info
    with rig.target("source"):
        power, base = _expose_for_peak(rig)
        exposures = np.array([base * plan.ratio**step for step in range(plan.exposures)], dtype=np.float64)
        light, background = [], []
        corner: tuple[int, int] | None = None
        highest, temperature = 0, 0.0
        for number, exposure in enumerate(exposures):
            rig.board.source(power)
            lit = Mean()
            for frame in frames(rig, float(exposure), 1.0, plan.frames):
                lit.add(frame.raw)
                exposures[number], temperature = frame.exposure, frame.temperature
            rig.board.source(0.0)
            unlit = Mean()
            for frame in frames(rig, float(exposure), 1.0, plan.frames):
                unlit.add(frame.raw)
            if corner is None:
                highest = lit.highest
                corner = _corner(lit.mean - unlit.mean, shape, info.shape)
            inside = window(corner, shape)
            light.append(lit.mean[inside])
            background.append(unlit.mean[inside])
    bracket = Bracket(exposures, np.stack(light), np.stack(background), plan.frames)
    return bracket.arrays() | {
        "corner": np.array(corner),
        "depth": np.array(reached),
        "power": np.array(power),
        "highest": np.array(highest),
        "temperature": np.array(temperature),
    }


def chart(rig: Rig, plan: Plan, picture: Path) -> Arrays:
    """A picture on the display of the rig, at one exposure: the arrays of a `Bracket` of whole frames, and `corner`.

    Raises:
        Refusal: the display is not seen.
    """
    count = CHART_FRAMES * plan.frames
    with rig.chart(picture):
        exposure = _expose_for_display(rig)
        lit = Mean()
        for frame in frames(rig, exposure, 1.0, count):
            lit.add(frame.raw)
    unlit = Mean()
    with rig.target("dark"):
        for frame in frames(rig, exposure, 1.0, count):
            unlit.add(frame.raw)
    bracket = Bracket(np.array([frame.exposure]), lit.mean[None], unlit.mean[None], count)
    return bracket.arrays() | {"corner": np.array((0, 0))}


class _Spread:
    """Temporal variance of each plane of the Bayer cell from successive differences, DN²."""

    def __init__(self) -> None:
        self._last: NDArray[np.uint16] | None = None
        self._sums: list[NDArray[np.float64]] = []

    def add(self, raw: NDArray[np.uint16]) -> None:
        if self._last is not None:
            difference = raw.astype(np.float32) - self._last
            self._sums.append(np.array([_core_variance(difference[cell]) / 2 for cell in cells()]))
        self._last = raw

    @property
    def planes(self) -> NDArray[np.float64]:
        return np.mean(self._sums, axis=0)


def _core_variance(values: NDArray[np.float32]) -> float:
    """Variance without the few pixels (hot, blinking) beyond six standard deviations."""
    core = values[np.abs(values) < 6 * values.std()]
    return float(core.astype(np.float64).var())


def frames(rig: Rig, exposure: float, gain: float, count: int) -> Iterator[RawFrame]:
    """Frames taken with these settings, as nearly as the sensor can.

    Raises:
        Refusal: the camera took another exposure or gain than it was asked for.
    """
    rig.camera.configure(exposure=exposure, gain=gain)
    for _ in range(count):
        frame = rig.camera.capture()
        if not frame.taken_at(exposure, gain):
            raise Refusal(
                f"the camera took {frame.exposure:g} s at gain {frame.gain:g} instead of {exposure:g} s at {gain:g}",
                "switch its automatic exposure and gain off",
            )
        yield frame


def _expose_for_peak(rig: Rig) -> tuple[float, float]:
    """Power and exposure at which the spot's brightest pixel reaches `_PEAK` of the range."""
    info = rig.camera.info
    range_ = info.white_level - info.black_level
    power, exposure = 0.05, _BASE_EXPOSURE
    for _ in range(16):
        rig.board.source(power)
        (frame,) = frames(rig, exposure, 1.0, 1)
        rig.board.source(0.0)
        (unlit,) = frames(rig, exposure, 1.0, 1)
        lift = frame.raw.astype(np.int32) - unlit.raw
        lift[unlit.raw > info.black_level + 0.5 * range_] = 0  # hot pixels
        peak = float(lift.max())
        if frame.raw.max() >= info.white_level:
            factor = 0.15
        elif peak < 0.05 * range_:
            factor = 8.0
        elif abs(peak / (_PEAK * range_) - 1) < 0.15:
            return power, exposure
        else:
            factor = _PEAK * range_ / peak
        wanted = power * factor
        power = float(np.clip(wanted, 10 * _POWER_STEP, 1.0))
        exposure *= wanted / power
        if exposure > LONG or exposure < SHORT / 10:
            break
    if exposure < _BASE_EXPOSURE:
        raise Refusal(
            "the spot saturates at the shortest exposure",
            "darken the room; if it is dark, put a grey filter before the source",
        )
    raise Refusal(
        "the point source is not seen in the field",
        "open the shutter by hand, look whether the source shines and stands before the lens",
    )


def _expose_for_display(rig: Rig) -> float:
    """Exposure at which the brightest pixels, but for a thousandth of them, reach `_PEAK` of the range."""
    info = rig.camera.info
    range_ = info.white_level - info.black_level
    exposure = _BASE_EXPOSURE
    for _ in range(8):
        (frame,) = frames(rig, exposure, 1.0, 1)
        level = float(np.quantile(frame.raw, 0.999)) - info.black_level
        if abs(level / (_PEAK * range_) - 1) < 0.15:
            return exposure
        exposure *= 0.15 if level >= 0.98 * range_ else _PEAK * range_ / max(level, 0.02 * range_)
        if not SHORT / 10 < exposure < LONG:
            break
    raise Refusal(
        "the display is too bright or not seen",
        "switch it on, before the lens, at full brightness, shutter open",
    )


def window(corner: Sequence[int] | NDArray[np.int64], shape: tuple[int, int]) -> tuple[slice, slice]:
    """The window of `shape` whose first pixel is at row and column `corner`."""
    (row, column), (rows, columns) = corner, shape
    return slice(row, row + rows), slice(column, column + columns)


def _corner(lift: NDArray[np.float32], shape: tuple[int, int], sensor: tuple[int, int]) -> tuple[int, int]:
    """First row and column, both even, of the window of `shape` around the spot's centroid."""
    import cv2

    smooth = cv2.GaussianBlur(lift, (0, 0), sigmaX=shape[1] / 16, sigmaY=shape[0] / 16)
    row, column = map(float, np.unravel_index(int(np.argmax(smooth)), smooth.shape))
    for _ in range(3):
        corner = (
            _even(row - shape[0] / 2, shape[0], sensor[0]),
            _even(column - shape[1] / 2, shape[1], sensor[1]),
        )
        inside = np.maximum(smooth[window(corner, shape)], 0)
        inside = np.where(inside > 0.02 * inside.max(), inside, 0)
        weights = inside / inside.sum()
        row = corner[0] + float(np.sum(weights.sum(1) * np.arange(shape[0])))
        column = corner[1] + float(np.sum(weights.sum(0) * np.arange(shape[1])))
    return corner


def _even(first: float, extent: int, limit: int) -> int:
    return int(np.clip(round(first / 2) * 2, 0, (limit - extent) // 2 * 2))
