"""Cutting a face out of a frame by its true landmarks: a detector that fails must never count as privacy."""

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

ARCFACE_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Eyes, nose tip, mouth corners (x, y) in a crop of 112 × 112 (Deng et al., ArcFace, CVPR 2019)."""


def template(size: int) -> NDArray[np.float64]:
    """The ArcFace landmarks in a square crop of `size` pixels."""
    return ARCFACE_TEMPLATE * (size / 112)


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rotation, uniform scale and shift ``[2, 3]`` that brings points ``[k, 2]`` closest to others in least squares.

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
    """Crops ``[n, size, size, 3]`` in which landmarks ``[n, 5, 2]`` lie at the template's points ``[5, 2]``."""
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
