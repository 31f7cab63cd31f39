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
from opticaldr.calibration.gates import GREEN
from opticaldr.calibration.hdr import Merged, without_crosstalk
from opticaldr.calibration.linearised import BuiltOptic, Plate, State, View
from opticaldr.calibration.rig import Rig
from opticaldr.calibration.session import Arrays
from opticaldr.errors import Refusal
from opticaldr.models.optics import Optic
from opticaldr.models.optics.metrics import registered_ncc

LEAK_LIMIT = 5.0
"""Times the dark current expected: more is light."""
_BETTER = 0.03  # NCC by which another optic must fit better before it is named
_SPACINGS = np.linspace(-40e-6, 40e-6, 5)  # a mask that is a little out of focus is not another mask
_FRAMES = 4


@dataclass(frozen=True)
class Candidate:
    """An optic that may stand on the bench, and what to do if it does."""

    name: str
    optic: Optic
    remedy: str


def look(rig: Rig, depth: float, shape: tuple[int, int]) -> Arrays:
    """One long dark frame, and the point source at `depth` in a window of `shape` raw pixels.

    Returns:
        `dark`, its mean in DN; `temperature`, kelvin; `lift` [y, x], light of the spot in DN; `depth`.

    Raises:
        Refusal: no spot is seen at full power, or it saturates at the shortest exposure.
    """
    with rig.target("dark"):
        (frame,) = capture.frames(rig, capture.LONG, capture.HIGH_GAIN, 1)
    plan = capture.Plan(exposures=1, frames=_FRAMES)
    spot = capture.spot(rig, plan, depth, shape)
    return {
        "dark": np.array(np.median(frame.raw)),
        "temperature": np.array(frame.temperature),
        "lift": spot["light"][0] - spot["dark"][0],
        "depth": spot["depth"],
    }


def judge(seen: Arrays, design: Optic, others: Sequence[Candidate], *, exposure: float, gain: float) -> None:
    """Refuse what is not worth a session.

    Args:
        seen: from `look`.
        design: what was ordered.
        others: what else it might be; the design mirrored or turned, and no mask at all, are always tried.
        exposure: of the dark frame, seconds; `gain`: of the same.

    Raises:
        Refusal: the dark is not dark, or the spot resembles another optic better.
    """
    sensor = design.spec.sensor
    per_dn = sensor.full_well / (sensor.white_level - sensor.black_level) / gain
    current = (float(seen["dark"]) - sensor.black_level) * per_dn / exposure
    warm = 2 ** ((float(np.nan_to_num(seen["temperature"], nan=298.15)) - 298.15) / 6)
    expected = max(sensor.dark_current * warm, 0.1)
    # Half a digital number is as fine as the median of one frame can tell.
    if current > LEAK_LIMIT * expected + per_dn / exposure:
        raise Refusal(
            f"light leak: with the shutter closed the sensor sees {current:.3g} electrons a second, "
            f"{current / expected:.0f} times its dark current",
            "switch the room light off, close the housing, look for a shutter that does not close",
        )
    measured = _green(seen["lift"].astype(np.float64), design)
    depth = float(seen["depth"])
    candidates = [*others, *impostors(design)]
    plates = [Plate.of(candidate.optic) for candidate in candidates]
    nearest = int(np.argmax([likeness(measured, plate, depth) for plate in plates]))
    rival = candidates[nearest]
    own, best = (
        max(likeness(measured, plate, depth, spacing) for spacing in _SPACINGS)
        for plate in (Plate.of(design), plates[nearest])
    )
    if best > own + _BETTER:
        raise Refusal(
            f"wrong mask: the spot resembles {rival.name} (NCC {best:.2f}) more than this design (NCC {own:.2f})",
            rival.remedy,
        )


def impostors(design: Optic) -> list[Candidate]:
    """The mistakes of assembly that a single spot shows: the mask mirrored, turned, or forgotten."""
    over, round_ = "turn the mask over: its structured side faces the scene", "turn the mask in its mount"
    height = design.height
    made = [
        ("this design mirrored", height[:, ::-1], over),
        ("this design mirrored top to bottom", height[::-1], over),
        ("this design mirrored about a diagonal", height.T, over),
        ("this design mirrored about the other diagonal", height[::-1, ::-1].T, over),
        ("this design turned by 90°", np.rot90(height, -1), f"{round_} by 90° anticlockwise"),
        ("this design turned by 180°", height[::-1, ::-1], f"{round_} by 180°"),
        ("this design turned by 270°", np.rot90(height), f"{round_} by 90° clockwise"),
        ("no mask at all", np.zeros_like(height), "put the mask before the lens"),
    ]
    return [Candidate(name, Optic(design.spec, np.ascontiguousarray(h)), remedy) for name, h, remedy in made]


def likeness(measured: NDArray[np.float64], plate: Plate, depth: float, spacing: float = 0.0) -> float:
    """NCC after registration of a green PSF [y, x] at raw pixels with the plate's, its sensor `spacing` metres off."""
    rows, columns = measured.shape
    built = BuiltOptic(plate, State.nominal(0).nudged("spacing", spacing), (rows, columns))
    return registered_ncc(measured, built.psf(View(depth, (rows, columns)))[GREEN].astype(np.float64))


def _green(lift: NDArray[np.float64], design: Optic) -> NDArray[np.float64]:
    sensor = design.spec.sensor
    spot = Merged(without_crosstalk(lift, sensor.crosstalk), np.ones_like(lift))
    return colour_planes(spot, sensor.bayer)[0][GREEN]
