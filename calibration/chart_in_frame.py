"""Where the noise chart lies in a frame, by its four dots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from opticaldr.calibration.hdr import Merged
from opticaldr.errors import Refusal
from opticaldr.hardware.chart import CLEAR, Chart
from opticaldr.models.optics import OpticsSpec


def find_chart(light: Merged, chart: Chart, spec: OpticsSpec) -> NDArray[np.float64]:
    """Where the four dots say that the chart lies: homography from display pixels to raw pixels [3, 3].

    Raises:
        Refusal: a dot is not seen where the noise says that it should be.
    """
    import cv2

    scale = chart.display.magnification(spec) / 2  # cells, two raw pixels wide, for a display pixel
    known = np.where(np.isfinite(light.rate), light.rate, np.nanmedian(light.rate))
    grey = np.mean([known[y::2, x::2] for y in (0, 1) for x in (0, 1)], axis=0)
    noise = float(np.sqrt(np.nanmedian(light.variance))) / 2
    smooth = cv2.GaussianBlur(grey, (0, 0), min(chart.noise) * scale / 16)
    rows, columns = np.nonzero(smooth > (smooth.max() + smooth.min()) / 2)
    middle_of_noise = np.array([columns.mean(), rows.mean()])
    half = (np.array(chart.reach[::-1]) + chart.dot * scale) / 2
    places = []
    for dot in chart.dots:
        place = middle_of_noise + dot * scale
        for spare in (CLEAR / 3, CLEAR / 8, CLEAR / 8):
            place, found = _centroid(grey, place, half + spare, noise)
        if not found:
            raise Refusal(
                "the chart's dots are not seen in the frame",
                "show the chart unscaled on the whole display, upright, its middle on the camera's axis",
            )
        places.append(2 * (place - (np.array(grey.shape[::-1]) - 1) / 2))
    shown, seen = (np.asarray(points, np.float32) for points in (chart.dots, places))
    return np.asarray(cv2.getPerspectiveTransform(shown, seen), np.float64)


def _centroid(
    grey: NDArray[np.float64], place: NDArray[np.float64], half: NDArray[np.float64], noise: float
) -> tuple[NDArray[np.float64], bool]:
    """Centroid (x, y) of the light in a window around `place`, and whether there is any beyond the noise."""
    first = np.maximum(np.round(place - half).astype(int), 0)
    last = np.maximum(np.round(place + half).astype(int) + 1, 0)
    part = grey[first[1] : last[1], first[0] : last[0]]
    if min(part.shape) < 3:
        return place, False
    lift = part - np.median(np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]]))
    total = float(lift.sum())
    if total < 10 * noise * np.sqrt(lift.size):
        return place, False
    middle = [lift.sum(axis) @ np.arange(lift.shape[1 - axis]) / total for axis in (0, 1)]
    return first + np.array(middle), True
