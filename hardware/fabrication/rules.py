"""Design rules: where a relief asks for more than the process can do, with coordinates."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from opticaldr.hardware.fabrication.process import Process, Violation, Wave
from opticaldr.hardware.fabrication.relief import Heights, Relief, View


def design_rules(process: Process, relief: Relief, drawn: Relief, wave: Wave) -> list[Violation]:
    """Every violation inside the clear aperture, worst first within each rule.

    Args:
        process: says the limits.
        relief: the continuous relief on the process's pixels.
        drawn: the same as the files describe it.
        wave: the light the mask is made for.
    """
    steepness = slope(relief)
    too_steep = interior(relief) & (steepness > process.max_slope)
    found = regions("slope", too_steep, steepness, process.max_slope, "dz/dr", relief, process.view)
    return found + process.features(relief, drawn, wave)


def interior(relief: Relief) -> NDArray[np.bool_]:
    """The clear aperture without the two pixels at its rim, where derivatives see what lies outside."""
    return replace(relief, radius=relief.radius - 2 * relief.pitch).aperture()


def slope(relief: Relief) -> Heights:
    """|∇z| of the relief, by central differences."""
    down, right = np.gradient(relief.height, relief.pitch)
    return np.asarray(np.hypot(down, right))


def narrow(plane: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Parts of ``plane`` into which no square of ``pixels`` x ``pixels`` fits."""
    import cv2

    if pixels <= 1:
        return np.zeros_like(plane)
    kernel = np.ones((pixels, pixels), np.uint8)
    opened = cv2.morphologyEx(plane.astype(np.uint8), cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(plane & (opened == 0))


def regions(
    rule: str,
    where: NDArray[np.bool_],
    value: Heights,
    limit: float,
    unit: str,
    relief: Relief,
    view: View,
    *,
    worst: str = "largest",
) -> list[Violation]:
    """One violation for each connected region, with the ``worst`` (``largest``, ``smallest``) value in it."""
    from scipy import ndimage

    labels, count = ndimage.label(where, structure=np.ones((3, 3)))
    if not count:
        return []
    numbers = np.arange(1, count + 1)
    extreme = ndimage.maximum if worst == "largest" else ndimage.minimum
    values = np.atleast_1d(extreme(value, labels, numbers))
    centres = np.array(ndimage.center_of_mass(where, labels, numbers))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    axis = relief.axis()
    across = -1.0 if view.flipped else 1.0
    order = np.argsort(-values if worst == "largest" else values, kind="stable")
    at = np.interp(centres, np.arange(relief.samples), axis)
    return [
        Violation(
            rule, float(values[k]), limit, unit, across * float(at[k, 1]), -float(at[k, 0]), int(sizes[k])
        )
        for k in order
    ]
