"""Where things lie: sample positions, magnification, the size of a face on the sensor.

One frame serves scene, mask and sensor: x right, y down, as seen from the sensor looking at the scene. A lens
turns the image over; sensor arrays are stored the right way up, as a camera delivers them, so the array's +x is the
sensor plane's −x, and a point to the right of the axis appears on the right.
"""

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.models.optics.specs import OpticsSpec


def centred(count: int, pitch: float) -> NDArray[np.float64]:
    """Centres of `count` samples at `pitch`, with the origin in the middle (between two samples where even)."""
    return (np.arange(count) - (count - 1) / 2) * pitch


def magnification(spec: OpticsSpec, depth: float) -> float:
    """Size on the sensor divided by size at `depth` metres from the pupil."""
    check_depth(depth)
    return spec.sensor_distance / depth


def face_width(spec: OpticsSpec, depth: float) -> float:
    """Width of a face at `depth`, in superpixels."""
    return magnification(spec, depth) * spec.scene.face_width / spec.sensor.superpixel


def pupil_positions(spec: OpticsSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y of the height map's samples in metres, each [y, x]."""
    axis = centred(spec.pupil.samples, spec.pupil.pitch)
    x, y = np.meshgrid(axis, axis)
    return x, y


def pupil_transmission(spec: OpticsSpec, oversampling: int = 8) -> NDArray[np.float64]:
    """Fraction of each sample's square that lies inside the stop: [y, x] in [0, 1]."""
    if spec.pupil.shape == "square":
        return np.ones((spec.pupil.samples, spec.pupil.samples))
    fine = centred(spec.pupil.samples * oversampling, spec.pupil.pitch / oversampling)
    half_chord = np.sqrt(np.maximum((spec.pupil.diameter / 2) ** 2 - fine**2, 0))
    edge = centred(spec.pupil.samples, spec.pupil.pitch) - spec.pupil.pitch / 2
    # Along x the covered length is exact; along y it is averaged over `oversampling` lines.
    right = np.clip(half_chord[:, None] - edge, 0, spec.pupil.pitch)
    left = np.clip(-half_chord[:, None] - edge, 0, spec.pupil.pitch)
    covered: NDArray[np.float64] = (right - left) / spec.pupil.pitch
    return covered.reshape(spec.pupil.samples, oversampling, spec.pupil.samples).mean(axis=1)


def check_depth(depth: float) -> None:
    """Refuse a depth that is not a positive, finite number of metres."""
    if not (np.isfinite(depth) and depth > 0):
        raise Refusal(
            f"depth is {depth} m", "give the distance from pupil to subject as a positive number of metres"
        )
