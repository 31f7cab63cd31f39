"""Where things lie: sample positions, path lengths, magnification, the size of a face on the sensor.

One frame serves scene, mask and sensor: x right, y down, as seen from the sensor looking at the scene. A lens
turns the image over; sensor arrays are stored the right way up, as a camera delivers them, so the array's
+x is the sensor plane's −x, and a point to the right of the axis appears on the right.
"""

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.models.optics.arrays import Array
from opticaldr.models.optics.specs import OpticsSpec

Field = tuple[float, float]
"""Tangents of the field angle in x and y: how far off axis a point lies, divided by its depth."""

ON_AXIS: Field = (0.0, 0.0)


def centred(count: int, pitch: float) -> NDArray[np.float64]:
    """Positions of `count` samples at `pitch` with the origin in their middle (between two where even)."""
    return (np.arange(count, dtype=np.float64) - (count - 1) / 2) * pitch


def pupil_positions(spec: OpticsSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y of the height map's samples in metres, each [y, x]."""
    axis = centred(spec.pupil.samples, spec.pupil.pitch)
    x, y = np.meshgrid(axis, axis)
    return x, y


def pupil_mask(spec: OpticsSpec) -> NDArray[np.bool_]:
    """Which samples of the height map have their centre inside the stop: [y, x]."""
    if spec.pupil.shape == "square":
        return np.ones((spec.pupil.samples, spec.pupil.samples), dtype=bool)
    square = centred(spec.pupil.samples, spec.pupil.pitch) ** 2
    inside: NDArray[np.bool_] = square + square[:, None] <= (spec.pupil.diameter / 2) ** 2
    return inside


def magnification(spec: OpticsSpec, depth: float) -> float:
    """Size on the sensor divided by size at `depth` metres from the pupil."""
    check_depth(depth)
    return spec.sensor_distance / depth


def face_width(spec: OpticsSpec, depth: float) -> float:
    """Width of a face at `depth`, in superpixels."""
    return magnification(spec, depth) * spec.scene.face_width / spec.sensor.superpixel


def relative_distance(
    x: NDArray[np.float64], y: NDArray[np.float64], distance: float, field: Field
) -> NDArray[np.float64]:
    """Path from pupil points to a point, less the path from the pupil's centre, in metres.

    The point lies `distance` away along the axis and ``distance * field`` off it. Where that is negative the point is
    virtual, on the sensor's side, and the wave converges towards it. Written as (ρ² − 2ρ·p)/(R + R₀), which keeps the
    digits that R − R₀ would lose.
    """
    px, py = field[0] * distance, field[1] * distance
    centre = float(np.sqrt(distance**2 + px**2 + py**2))
    difference = x * x + y * y - 2 * (x * px + y * py)
    relative: NDArray[np.float64] = difference / (np.sqrt(centre**2 + difference) + centre)
    return relative if distance > 0 else -relative


def check_depth(depth: float) -> None:
    """Refuse a depth that is not a positive, finite number of metres."""
    if not (np.isfinite(depth) and depth > 0):
        raise Refusal(f"depth is {depth} m", "give the distance from pupil to subject in metres, above 0")


def check_height(height: Array, spec: OpticsSpec) -> None:
    """Refuse a height map that does not lie on the pupil's grid."""
    expected = (spec.pupil.samples, spec.pupil.samples)
    if tuple(height.shape) != expected:
        raise Refusal(f"height has shape {tuple(height.shape)}", f"pupil.samples asks for {expected}")
