"""What the camera sees: geometry to sub-pixel, features under their landmarks, light that adds."""

import dataclasses

import cv2
import numpy as np
import pytest

from opticaldr.models.data import SimulatedSubjects, srgb_to_linear
from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.dynamics import Track
from opticaldr.models.data.rendering import render

STAGE = SimulatedSubjects(seed=2)
REST = {"smile": 0.0, "mouth": 0.0, "brow": 0.0, "blink": 0.0, "gaze_x": 0.0, "gaze_y": 0.0}
REST |= {"yaw": 0.0, "pitch": 0.0, "roll": 0.0}


def moment(**factors: float) -> Track:
    return {name: np.array([value], np.float32) for name, value in (REST | factors).items()}


def shoot(
    subject: int = 0, size: tuple[int, int] = (112, 112), face_width: float = 80.0, **factors: float
) -> tuple[FloatArray, np.ndarray]:
    """One frame of a bare, centred face."""
    who = dataclasses.replace(STAGE.identity(subject), glasses=0.0)
    where = dataclasses.replace(STAGE.setting(subject, 0), place=(0.0, 0.0), key_direction=(0.0, -0.3, 0.954))
    frames, landmarks = render(who, where, moment(**factors), size, face_width)
    return frames[0], landmarks[0]


def luminance(frame: FloatArray) -> np.ndarray:
    return frame @ np.array([0.2126, 0.7152, 0.0722], np.float32)


def around(frame: FloatArray, point: np.ndarray, radius: float) -> FloatArray:
    """The pixels within `radius` of a point."""
    y, x = np.mgrid[: frame.shape[0], : frame.shape[1]]
    return frame[np.hypot(x - point[0], y - point[1]) <= radius]


@pytest.mark.parametrize("face_width", [30.0, 55.0, 87.0])
def test_face_width_alone_sets_the_scale(face_width: float) -> None:
    _, reference = shoot(face_width=100.0, size=(200, 200))
    for size in [(112, 112), (90, 160)]:
        _, marks = shoot(face_width=face_width, size=size)
        centre = (np.array(size[::-1]) - 1) / 2
        np.testing.assert_allclose((marks - centre) / face_width, (reference - 99.5) / 100.0, atol=1e-5)


def test_a_large_picture_binned_is_the_small_picture() -> None:
    """Drawn four times as large and averaged over 4 x 4 pixels: the same light; edges are antialiased."""
    for subject in range(3):
        small, _ = shoot(subject, face_width=40.0)
        large, _ = shoot(subject, face_width=160.0, size=(448, 448))
        binned = cv2.resize(large, (112, 112), interpolation=cv2.INTER_AREA)
        assert np.abs(binned - small).mean() < 0.006
        assert np.corrcoef(binned.ravel(), small.ravel())[0, 1] > 0.995


def test_an_average_face_is_as_wide_as_it_says() -> None:
    """Mean width of many faces with their ears, measured on the picture against an empty wall."""
    widths = []
    for subject in range(12):
        who = dataclasses.replace(STAGE.identity(subject), hair_end=0.0, hair_side=0.0, glasses=0.0)
        where = dataclasses.replace(
            STAGE.setting(subject, 0), place=(0.0, 0.0), furniture=(), wall=(0.0, 0.0, 0.0)
        )
        frames, _ = render(who, where, moment(), (200, 200), 120.0)
        row = luminance(frames[0])[104:124].max(axis=0) > 0.003
        widths.append(np.ptp(np.flatnonzero(row)))
    assert np.mean(widths) == pytest.approx(120.0, rel=0.08)


@pytest.mark.parametrize("turn", [{}, {"yaw": 0.35}, {"yaw": -0.35}, {"pitch": 0.3}, {"roll": 0.25}])
def test_the_iris_is_under_the_eye_landmarks_however_the_head_turns(turn: dict[str, float]) -> None:
    """Shutting the eyes changes the picture most where the landmarks say the eyes are."""
    wide, marks = shoot(6, size=(224, 224), face_width=160.0, **turn)
    shut, _ = shoot(6, size=(224, 224), face_width=160.0, blink=1.0, **turn)
    change = np.abs(luminance(wide) - luminance(shut))
    for eye, cheek in ((marks[0], marks[3]), (marks[1], marks[4])):
        assert around(change, eye, 6).mean() > 0.02
        assert around(change, eye, 6).mean() > 20 * around(change, cheek, 6).mean()
    y, x = np.mgrid[:224, :224]
    for eye in marks[:2]:
        weight = change * (np.hypot(x - eye[0], y - eye[1]) < 24)
        centroid = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
        assert np.linalg.norm(centroid - eye) < 5  # 3 % of the face's width


def test_lips_are_between_the_mouth_landmarks() -> None:
    """Opening the mouth changes the picture about the middle of its corners."""
    for turn in ({}, {"yaw": 0.3}, {"roll": -0.2}):
        still, marks = shoot(6, size=(224, 224), face_width=160.0, **turn)
        opened, _ = shoot(6, size=(224, 224), face_width=160.0, mouth=1.0, **turn)
        change = np.abs(luminance(still) - luminance(opened))
        y, x = np.mgrid[:224, :224]
        centroid = np.array([(x * change).sum(), (y * change).sum()]) / change.sum()
        assert np.linalg.norm(centroid - marks[3:].mean(axis=0)) < 12


@pytest.mark.parametrize("face_width", [30.0, 60.0, 87.0])
def test_a_smile_lifts_and_spreads_the_corners_of_the_mouth(face_width: float) -> None:
    rest, marks = shoot(face_width=face_width)
    smile, smiling = shoot(face_width=face_width, smile=1.0)
    assert (smiling[3:, 1] < marks[3:, 1] - 0.06 * face_width).all()
    assert smiling[4, 0] - smiling[3, 0] > marks[4, 0] - marks[3, 0] + 0.05 * face_width
    np.testing.assert_allclose(smiling[:3], marks[:3])
    change = np.abs(luminance(rest) - luminance(smile))
    assert around(change, smiling[3:].mean(axis=0), 0.2 * face_width).max() > 0.04


@pytest.mark.parametrize("face_width", [30.0, 60.0, 87.0])
@pytest.mark.parametrize(
    "factors",
    [
        {"smile": 0.8},
        {"smile": -0.3},
        {"blink": 1.0},
        {"gaze_y": 0.4},
        {"gaze_x": 0.3},
        {"mouth": 0.8},
        {"brow": 1.0},
    ],
)
def test_every_factor_shows_at_every_distance(face_width: float, factors: dict[str, float]) -> None:
    """The change is above a hundredth of full scale, about the noise of one pixel of the clinic's camera."""
    rest, _ = shoot(1, face_width=face_width)
    moved, _ = shoot(1, face_width=face_width, **factors)
    assert np.abs(rest - moved).max() > 0.02


def test_the_nose_leads_a_turning_head() -> None:
    _, ahead = shoot()
    for factor, axis in (("yaw", 0), ("pitch", 1)):
        _, turned = shoot(**{factor: 0.3})
        nose, eyes = turned[2] - ahead[2], (turned[:2] - ahead[:2]).mean(axis=0)
        assert nose[axis] > eyes[axis] > 0
    _, rolled = shoot(roll=0.2)
    slope = rolled[1] - rolled[0]
    assert np.arctan2(slope[1], slope[0]) == pytest.approx(0.2, abs=1e-3)


def test_light_is_linear() -> None:
    """Half the light gives half the picture: nothing is gamma-encoded on the way."""
    who, where = STAGE.identity(3), STAGE.setting(3, 0)
    dim = dataclasses.replace(
        where,
        key=tuple(0.5 * c for c in where.key),
        fill=tuple(0.5 * c for c in where.fill),
        wall=tuple(0.5 * c for c in where.wall),
        furniture=tuple((*piece[:4], tuple(0.5 * c for c in piece[4])) for piece in where.furniture),
    )
    full, _ = render(who, where, moment(), (112, 112), 60.0)
    half, _ = render(who, dim, moment(), (112, 112), 60.0)
    below = full < 0.95  # brighter pixels are clipped at full well
    np.testing.assert_allclose(half[below], 0.5 * full[below], atol=2e-4)


def test_light_comes_from_where_it_is_said_to() -> None:
    who, where = STAGE.identity(6), STAGE.setting(6, 0)
    sides = []
    for x in (-0.7, 0.7):
        lamp = dataclasses.replace(
            where, key_direction=(x, -0.3, float(np.sqrt(1 - 0.49 - 0.09))), place=(0.0, 0.0)
        )
        frames, marks = render(who, lamp, moment(), (112, 112), 80.0)
        bright = luminance(frames[0])
        cheeks = [around(bright, (marks[0, eye] + marks[0, 3 + eye]) / 2, 4).mean() for eye in (0, 1)]
        sides.append(cheeks[1] / cheeks[0])
    assert sides[0] < 0.85
    assert sides[1] > 1.15


def test_skin_keeps_its_colour_under_white_light() -> None:
    """The cheek's chromaticity is that of the skin, within the blush and the warm edge of its shadows."""
    who = STAGE.identity(6)
    where = dataclasses.replace(
        STAGE.setting(6, 0), key=(0.6, 0.6, 0.6), fill=(0.25, 0.25, 0.25), place=(0.0, 0.0)
    )
    frames, marks = render(who, where, moment(), (112, 112), 80.0)
    cheek = around(frames[0], (marks[0, 0] + marks[0, 3]) / 2, 3).mean(axis=0)
    np.testing.assert_allclose(cheek / cheek.sum(), np.array(who.skin) / sum(who.skin), atol=0.04)
    assert (np.array(who.skin) <= srgb_to_linear(np.array(1.0))).all()
