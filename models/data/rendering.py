"""Film an identity in a setting, moving as the factors say."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.dynamics import Track
from opticaldr.models.data.identity import Identity
from opticaldr.models.data.setting import Setting


def render(
    identity: Identity, setting: Setting, factors: Track, size: tuple[int, int], face_width: float
) -> tuple[FloatArray, FloatArray]:
    """Render frames ``[t, y, x, 3]`` in linear RGB and landmarks ``[t, 5, 2]`` in pixels."""
    count = len(factors["yaw"])
    frames = np.empty((count, *size, 3), np.float32)
    landmarks = np.empty((count, 5, 2), np.float32)
    for index in range(count):
        moment = {name: float(values[index]) for name, values in factors.items()}
        frames[index], landmarks[index] = _frame(identity, setting, moment, size, face_width)
    return frames, landmarks


def _frame(
    who: Identity, where: Setting, at: dict[str, float], size: tuple[int, int], face_width: float
) -> tuple[FloatArray, FloatArray]:
    canvas = np.full((2 * size[0], 2 * size[1], 3), where.wall, np.float32)
    centre = np.array([size[1] / 2, size[0] / 2]) + np.array(where.place) * face_width
    turn = np.array([[np.cos(at["roll"]), -np.sin(at["roll"])], [np.sin(at["roll"]), np.cos(at["roll"])]])
    light = np.array(where.key) + np.array(where.fill)

    def project(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        depth = 0.55 * (1 - (x / 0.5) ** 2 - (y / 0.8) ** 2) + who.nose_height * np.exp(
            -((x / 0.08) ** 2) - ((y - who.nose_length) / 0.1) ** 2
        )
        across = x * np.cos(at["yaw"]) + depth * np.sin(at["yaw"])
        down = y * np.cos(at["pitch"]) + depth * np.sin(at["pitch"])
        return np.stack([across, down], -1) @ turn.T * face_width + centre

    def fill(x: NDArray[np.float64], y: NDArray[np.float64], colour: tuple[float, float, float]) -> None:
        points = np.round((project(x, y) * 2 - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(
            canvas, [points], [float(c * s) for c, s in zip(colour, light, strict=True)], cv2.LINE_8, 4
        )

    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    hair = 1 + who.hair_top
    fill(hair * who.temple * np.sin(t) * 1.1, -0.2 + hair * (0.2 - who.crown) * np.cos(t) * 0.9, who.hair)
    ys = np.array([who.crown, -0.5, -0.25, 0.05, who.mouth_height, who.length - 0.03, who.length])
    xs = np.array([0.1, 0.85 * who.temple, who.temple, who.cheek, who.jaw, who.chin, 0.0])
    ys, xs = ys[1:], xs[1:]
    fill(np.concatenate([xs, -xs[::-1]]), np.concatenate([ys, ys[::-1]]), who.skin)
    for side in (-1.0, 1.0):
        x = side * who.eye_distance + who.eye_length * np.cos(t)
        fill(x, who.eye_opening * (1 - at["blink"]) * np.sin(t), (0.8, 0.8, 0.8))
        shift = 0.1 * at["gaze_x"]
        radius = who.iris_radius
        fill(
            side * who.eye_distance + shift + radius * np.cos(t),
            0.1 * at["gaze_y"]
            + np.clip(radius * np.sin(t), -0.9 * who.eye_opening, 0.9 * who.eye_opening) * (1 - at["blink"]),
            who.iris,
        )
        fill(
            side * who.eye_distance + who.brow_length * np.cos(t),
            -who.brow_height + 0.03 * at["brow"] + who.brow_thickness * np.sin(t),
            who.brow,
        )
    fill(
        0.6 * who.nose_width * np.cos(t),
        who.nose_length + 0.02 + 0.02 * np.sin(t),
        tuple(0.6 * np.array(who.skin)),
    )
    reach = who.mouth_width * (1 + 0.2 * at["smile"])
    u = np.linspace(-1, 1, 17)
    curve = who.mouth_height - 0.05 * at["smile"] * u**2
    fill(
        reach * np.concatenate([u, u[::-1]]),
        np.concatenate(
            [
                curve - who.upper_lip * (1 - u**2),
                (curve + (who.lower_lip + 0.08 * at["mouth"]) * (1 - u**2))[::-1],
            ]
        ),
        who.lips,
    )
    corner = who.mouth_height - 0.05 * at["smile"]
    marks = project(
        np.array([-who.eye_distance, who.eye_distance, 0.0, -reach, reach]),
        np.array([0.0, 0.0, who.nose_length, corner, corner]),
    )
    frame = cv2.resize(canvas, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.clip(frame, 0, 1), marks.astype(np.float32)
