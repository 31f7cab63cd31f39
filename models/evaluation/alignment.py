"""Cutting a face out of a frame by its true landmarks: a detector that fails must never count as privacy."""

import cv2
import numpy as np
from numpy.typing import NDArray

from opticaldr.models.data.photographs import TEMPLATE, TEMPLATE_SIZE

FloatArray = NDArray[np.float32]


def template(size: int) -> NDArray[np.float64]:
    """The landmarks of the usual recognition template (x, y) in a square crop of `size` pixels."""
    return (TEMPLATE + 0.5) * (size / TEMPLATE_SIZE) - 0.5


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rotation, uniform scale and shift ``[2, 3]`` that brings points ``[k, 2]`` closest to others in least
    squares.

    S. Umeyama, IEEE Trans. Pattern Anal. Mach. Intell. 13, 376 (1991), for the plane: a complex factor.
    """
    z, w = source @ np.array([1, 1j]), target @ np.array([1, 1j])
    centre = z.mean()
    factor = np.vdot(z - centre, w - w.mean()) / np.vdot(z - centre, z - centre).real
    shift = w.mean() - factor * centre
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def align(
    images: FloatArray, landmarks: NDArray[np.floating], size: int, points: NDArray[np.floating] | None = None
) -> FloatArray:
    """Crops ``[n, size, size, 3]`` in which landmarks ``[n, 5, 2]`` lie at the template's points ``[5,
    2]``."""
    goal = template(size) if points is None else points
    crops = np.empty((len(images), size, size, 3), np.float32)
    for index, (image, marks) in enumerate(zip(images, landmarks, strict=True)):
        matrix = similarity(marks, goal)
        shrink = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        source = np.ascontiguousarray(image, np.float32)
        if shrink < 0.75:  # finer than the crop: average first, or the crop aliases
            source = cv2.GaussianBlur(source, (0, 0), 0.5 * np.sqrt(1 / shrink**2 - 1))
        cv2.warpAffine(source, matrix, (size, size), crops[index], cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    return crops
