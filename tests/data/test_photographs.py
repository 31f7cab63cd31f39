"""Photographs made here: decoding, the folder per person, a face brought to its place and size."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from opticaldr.errors import Refusal
from opticaldr.models.data import (
    FaceDetector,
    list_people,
    read_people,
    read_photograph,
    scene_from_photograph,
)
from opticaldr.models.data.photographs import UnreadableImage, aligned_landmarks, place_template


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def grey_card(value: int, size: int = 16) -> np.ndarray:
    return np.full((size, size, 3), value, np.uint8)


def test_decoding_is_linear_and_rgb(tmp_path: Path) -> None:
    blue_green_red = np.array([[[255, 0, 0], [0, 188, 0], [0, 0, 54]]], np.uint8)
    pixels = read_photograph(save(tmp_path / "colours.png", blue_green_red))
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[0], [[0, 0, 1], [0, 0.5029, 0], [0.0369, 0, 0]], atol=1e-4)


def test_a_grey_picture_becomes_three_equal_colours(tmp_path: Path) -> None:
    pixels = read_photograph(save(tmp_path / "grey.png", np.full((4, 5), 128, np.uint8)))
    assert pixels.shape == (4, 5, 3)
    np.testing.assert_allclose(pixels, 0.21586, atol=1e-4)


def test_people_are_folders(tmp_path: Path) -> None:
    for person, values in {"ada": (10, 200), "bo": (90,)}.items():
        for number, value in enumerate(values):
            save(tmp_path / person / f"{number}.{'png' if number else 'JPG'}", grey_card(value))
    (tmp_path / "LICENCE.txt").write_text("mine")
    (tmp_path / "ada" / "notes.txt").write_text("not a picture")
    (tmp_path / ".cache").mkdir()
    people = read_people(tmp_path)
    assert {person: len(photographs) for person, photographs in people.items()} == {"ada": 2, "bo": 1}
    assert people["ada"][0].mean() < people["bo"][0].mean() < people["ada"][1].mean()
    assert list_people(tmp_path)["bo"] == [tmp_path / "bo" / "0.JPG"]


def test_refusals_name_the_place_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="nowhere is missing; name a folder"):
        read_people(tmp_path / "nowhere")
    with pytest.raises(Refusal, match="holds no folder; put the photographs"):
        read_people(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal, match="file is not a folder"):
        read_people(tmp_path / "file")
    save(tmp_path / "ada" / "0.png", grey_card(5))
    (tmp_path / "bo").mkdir()
    with pytest.raises(Refusal, match="bo holds no image"):
        read_people(tmp_path)


@pytest.mark.parametrize("damage", ["empty", "text", "missing", "jpeg cut short", "png cut short"])
def test_a_damaged_image_is_named(tmp_path: Path, damage: str, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / ("x.png" if damage.startswith("png") else "x.jpg")
    whole = save(path, rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).read_bytes()
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("dear diary")
        case "missing":
            path.unlink()
        case _:
            path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableImage, match=path.name):
        read_photograph(path)
    assert capfd.readouterr().err == ""  # said once, by the refusal


def dots(shape: tuple[int, int], points: np.ndarray, radius: float) -> np.ndarray:
    """A dark picture with a bright Gaussian at each point."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    spots = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * radius**2)) for px, py in points)
    return np.repeat(np.asarray(spots, np.float32)[..., None], 3, axis=2)


def centroid(frame: np.ndarray, near: np.ndarray, radius: float) -> np.ndarray:
    y, x = np.mgrid[: frame.shape[0], : frame.shape[1]]
    weight = frame[..., 0] * (np.hypot(x - near[0], y - near[1]) < radius)
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("face_width", [30.0, 60.0, 87.0, 200.0])
def test_an_aligned_photograph_lands_on_the_template(face_width: float) -> None:
    photograph = dots((256, 256), aligned_landmarks((256, 256)), 2.0)
    size = (224, 240)
    frame = scene_from_photograph(photograph, size, face_width)
    assert frame.shape == (*size, 3)
    for target in place_template(size, face_width):
        found = centroid(frame, target, max(0.07 * face_width, 3.0))
        np.testing.assert_allclose(found, target, atol=0.15)


def test_any_photograph_is_set_upright_by_its_landmarks() -> None:
    turn = 1.7 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    marks = (place_template((100, 100), 60.0) - 50) @ turn.T + (150, 120)
    frame = scene_from_photograph(dots((260, 300), marks, 2.5), (112, 112), 60.0, marks)
    for target in place_template((112, 112), 60.0):
        np.testing.assert_allclose(centroid(frame, target, 6), target, atol=0.15)


def test_pupils_of_a_face_stand_as_far_apart_as_those_of_simulated_subjects() -> None:
    eyes = place_template((112, 112), 100.0)[:2]
    assert np.linalg.norm(eyes[1] - eyes[0]) == pytest.approx(100 * 0.063 / 0.160, rel=0.01)


def test_shrinking_averages_light() -> None:
    """Stripes finer than the frame's pixels become the grey between them, in linear light."""
    stripes = np.zeros((256, 256, 3), np.float32)
    stripes[:, ::2] = 1.0
    frame = scene_from_photograph(stripes, (112, 112), 25.0)
    np.testing.assert_allclose(frame[40:70, 40:70], 0.5, atol=0.06)


def test_a_missing_or_wrong_detector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="is missing"):
        FaceDetector(tmp_path / "yunet.onnx")
    (tmp_path / "yunet.onnx").write_bytes(b"not a network")
    with pytest.raises(Refusal, match="cannot be loaded"):
        FaceDetector(tmp_path / "yunet.onnx")


def test_threads_that_share_a_detector_each_get_the_landmarks_of_their_own_picture(tmp_path, monkeypatch):
    class Net:
        """Holds the size of one picture, as OpenCV's network does; says where the face is by it."""

        def setInputSize(self, size):
            self.size = size

        def detect(self, picture):
            time.sleep(0.001)
            assert self.size == (picture.shape[1], picture.shape[0])
            return 1, np.full((1, 15), float(self.size[0]))

    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *about: Net())
    (tmp_path / "yunet.onnx").write_bytes(b"stands for a network")
    detector = FaceDetector(tmp_path / "yunet.onnx")
    pictures = [np.zeros((4, width, 3), np.float32) for width in range(4, 36)]
    with ThreadPoolExecutor(8) as crew:
        found = list(crew.map(detector.landmarks, pictures))
    assert [int(marks[0, 0]) for marks in found] == list(range(4, 36))
