"""The first minute of a session: is there a spot, is it dark otherwise, and is it the spot of this design?

One dark frame and one spot tell most of what can be wrong with a bench before an hour is spent on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticaldr.calibration import capture
from opticaldr.calibration.bank import colour_planes
from opticaldr.calibration.fit import centroid
from opticaldr.calibration.gates import GREEN
from opticaldr.calibration.hdr import Merged, without_crosstalk
from opticaldr.calibration.hypothesis import Plate, State, View
from opticaldr.calibration.linearised import BuiltOptic
from opticaldr.calibration.rig import Rig
from opticaldr.errors import Refusal
from opticaldr.hardware.mounting import MISMOUNTED
from opticaldr.models.optics import Optic, OpticsSpec, SensorSpec
from opticaldr.models.optics.metrics import registered_ncc

LEAK_LIMIT = 5.0
"""Times the dark current expected: more is light."""
ON_AXIS_LIMIT = 0.05
"""Tangent of the angle up to which a spot counts as on axis: 3°, as far as a sensor may sit beside its lens's axis."""
_BETTER = 0.01  # likeness by which another optic must fit better before it is named
_TOWARDS = 0.6  # cosine of the build's effect with the way to another optic: poor builds that fit worse have up to 0.56
_RIVALS = 3  # a fan is nearly its own mirror image: which way it was turned shows only once it is in focus
_SPACINGS = np.linspace(-60e-6, 60e-6, 7)  # a mask that is a little out of focus is not another mask
_FRAMES = 4


@dataclass(frozen=True)
class Candidate:
    """An optic that may stand on the bench, and what to do if it does."""

    name: str
    optic: Optic
    remedy: str


def look(rig: Rig, design: Optic, others: Sequence[Candidate], depth: float, shape: tuple[int, int]) -> None:
    """One long dark frame, and the point source at `depth` in a window of `shape` raw pixels, each judged at once.

    Args:
        rig: the open bench.
        design: what was ordered.
        others: what else it might be; the design mirrored or turned, and no mask at all, are always tried.
        depth: metres from the pupil.
        shape: rows and columns, square, so that a turned spot fits.

    Raises:
        Refusal: the dark is not dark; no spot is seen at full power, or it saturates at the shortest exposure; it lies
            off axis; it resembles another optic better.
    """
    with rig.target("dark"):
        (frame,) = capture.frames(rig, capture.LONG, capture.HIGH_GAIN, 1)
    level = float(np.median(frame.raw))
    _refuse_leak(level, frame.temperature, design.spec.sensor)
    spot = capture.spot(rig, capture.Plan(exposures=1, frames=_FRAMES), depth, shape)
    lift, reached = (spot["light"][0] - spot["dark"][0]).astype(np.float64), float(spot["depth"])
    _refuse_off_axis(lift, spot["corner"], reached, design.spec)
    refuse_other_mask(_green(lift, design), reached, design, others)


def _refuse_leak(level: float, temperature: float, sensor: SensorSpec) -> None:
    """Refuse a dark frame whose median `level` (DN) is more than dark current at `temperature` (kelvin, or NaN)."""
    per_dn = sensor.full_well / (sensor.white_level - sensor.black_level) / capture.HIGH_GAIN
    current = (level - sensor.black_level) * per_dn / capture.LONG
    warm = 2 ** ((float(np.nan_to_num(temperature, nan=298.15)) - 298.15) / 6)
    expected = max(sensor.dark_current * warm, 0.1)
    # Half a digital number is as fine as the median of one frame can tell.
    if current > LEAK_LIMIT * expected + per_dn / capture.LONG:
        raise Refusal(
            f"light leak: with the shutter closed the sensor sees {current:.3g} electrons a second, "
            f"{current / expected:.0f} times its dark current",
            "switch the room light off, close the housing, look for a shutter that does not close",
        )


def _refuse_off_axis(
    lift: NDArray[np.float64], corner: NDArray[np.int64], depth: float, spec: OpticsSpec
) -> None:
    """Refuse a spot farther than `ON_AXIS_LIMIT` from the middle of the frame, and say where the source has to go."""
    middle = (np.array(spec.sensor.shape) - 1) / 2
    down, right = (corner + centroid(lift) - middle) * spec.sensor.pitch / spec.sensor_distance
    off = float(np.hypot(down, right))
    if off <= ON_AXIS_LIMIT:
        return
    ways = [
        f"{abs(tangent) * depth * 1e3:.0f} mm {back if tangent > 0 else forth}"
        for tangent, back, forth in ((right, "left", "right"), (down, "up", "down"))
        if abs(tangent) > off / 20
    ]
    raise Refusal(
        f"the source stands {off * depth * 1e3:.0f} mm off axis at {depth:.3g} m: {np.degrees(np.arctan(off)):.1f}°, "
        f"at most {np.degrees(np.arctan(ON_AXIS_LIMIT)):.0f}° is on axis",
        f"move it until the spot has gone {' and '.join(ways)} in the frame (lengths at the source), "
        "or turn the camera to it",
    )


def refuse_other_mask(
    measured: NDArray[np.float64], depth: float, design: Optic, others: Sequence[Candidate]
) -> None:
    """Refuse a green PSF [y, x] that resembles another optic better than the design, by more than a build explains.

    As vectors of unit length (square roots, less their mean) let m be the spot, d the design's and r the rival's: m - d
    is what the build did. Errors of a build point anywhere, another mask is the way to it, so the cosine between m - d
    and r - d has to be large, too. It is made of likenesses: (m - d)·(r - d) = m·r - m·d + 1 - d·r. Where a rival is so
    near to the design that this does not tell, the gates judge later, from more light and every depth.

    Args:
        measured: the spot, at raw pixels.
        depth: metres from the pupil.
        design: what was ordered.
        others: what else it might be, see `look`.

    Raises:
        Refusal: it is another optic, which is named.
    """
    candidates = [*others, *impostors(design)]
    ordered, plates = Plate.of(design), [Plate.of(candidate.optic) for candidate in candidates]
    nearest = np.argsort([-likeness(measured, plate, depth) for plate in plates])[:_RIVALS]

    def best(spot: NDArray[np.float64], plate: Plate) -> float:
        return max(likeness(spot, plate, depth, spacing) for spacing in _SPACINGS)

    own = best(measured, ordered)
    alike, closest = max((best(measured, plates[which]), int(which)) for which in nearest)
    if alike <= own + _BETTER:
        return
    apart = 1 - best(green_psf(plates[closest], depth, measured.shape), ordered)
    if alike - own + apart > 2 * _TOWARDS * np.sqrt((1 - own) * apart):
        rival = candidates[closest]
        raise Refusal(
            f"wrong mask: the spot resembles {rival.name} (NCC of square roots {alike:.2f}) more than this design "
            f"({own:.2f})",
            rival.remedy,
        )


def impostors(design: Optic) -> list[Candidate]:
    """The mistakes of assembly that a single spot shows: the mask mirrored, turned, or forgotten."""
    over, round_ = "turn the mask over: its structured side faces the scene", "turn the mask in its mount"
    remedies = {
        "turned by 90°": f"{round_} by 90° anticlockwise",
        "turned by 180°": f"{round_} by 180°",
        "turned by 270°": f"{round_} by 90° clockwise",
        "missing": "put the mask before the lens",
    }
    return [
        Candidate(
            "no mask at all" if way == "missing" else f"this design {way}",
            Optic(design.spec, np.ascontiguousarray(change(design.height))),
            remedies.get(way, over),
        )
        for way, change in MISMOUNTED.items()
    ]


def likeness(measured: NDArray[np.float64], plate: Plate, depth: float, spacing: float = 0.0) -> float:
    """NCC, after registration, of a green PSF [y, x] at raw pixels with the plate's, its sensor `spacing` metres off.

    Of their square roots: the bright core, which errors of the build change most, would drown what tells a plate from
    its mirror image.
    """
    expected = green_psf(plate, depth, measured.shape, spacing)
    return registered_ncc(*(np.sqrt(np.maximum(light, 0)) for light in (measured, expected)))


def green_psf(
    plate: Plate, depth: float, shape: tuple[int, ...], spacing: float = 0.0
) -> NDArray[np.float64]:
    """The green PSF [y, x] of a plate without errors, its sensor `spacing` metres off, from every second wavelength."""
    rows, columns = shape
    built = BuiltOptic(plate, State.nominal(0).nudged("spacing", spacing), (rows, columns), every=2)
    return built.psf(View(depth, (rows, columns)))[GREEN].astype(np.float64)


def _green(lift: NDArray[np.float64], design: Optic) -> NDArray[np.float64]:
    sensor = design.spec.sensor
    spot = Merged(without_crosstalk(lift, sensor.crosstalk), np.ones_like(lift))
    return colour_planes(spot, sensor.bayer)[0][GREEN]
