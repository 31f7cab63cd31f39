"""Scenes from files made here: order, pace, light, and what is said when something is wrong."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from opticaldr.errors import Refusal
from opticaldr.models.data import SimulatedSubjects, open_source, srgb_to_linear


def test_a_simulated_subject_never_ends() -> None:
    with open_source("simulated:3", fps=2.0, size=(24, 32), face_width=20, seed=5) as source:
        frames = list(itertools.islice(source.frames, 5))
    clip = SimulatedSubjects(5).clip(3, 0, 5, (24, 32), 20, fps=2.0)
    assert [time for time, _ in frames] == [0.0, 0.5, 1.0, 1.5, 2.0]
    np.testing.assert_allclose(np.stack([frame for _, frame in frames]), clip.frames, atol=2e-3)


def test_a_folder_is_shown_in_the_order_of_names(tmp_path: Path) -> None:
    for name, value in (("b.png", 90), ("a.png", 20), ("c.png", 200)):
        cv2.imwrite(str(tmp_path / name), np.full((6, 8, 3), value, np.uint8))
    with open_source(str(tmp_path), fps=10) as source:
        frames = list(source.frames)
    assert [time for time, _ in frames] == pytest.approx([0.0, 0.1, 0.2])
    for (_, frame), value in zip(frames, (20, 90, 200), strict=True):
        np.testing.assert_allclose(frame, srgb_to_linear(np.array(value, np.uint8)), atol=1e-6)


def write_video(path: Path, levels: list[int], fps: float) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no video")
    for level in levels:
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    return path


def test_a_video_keeps_its_pace_and_its_light(tmp_path: Path) -> None:
    levels = [30, 80, 130, 180, 230]
    path = write_video(tmp_path / "clip.avi", levels, 12.0)
    with open_source(str(path)) as source:
        assert source.fps == pytest.approx(12.0)
        frames = list(source.frames)
    assert [time for time, _ in frames] == pytest.approx(np.arange(5) / 12.0)
    for (_, frame), level in zip(frames, levels, strict=True):
        assert frame.shape == (48, 64, 3)
        assert frame.mean() == pytest.approx(float(srgb_to_linear(np.array(level, np.uint8))), abs=0.02)


def test_colours_of_a_video_are_rgb(tmp_path: Path) -> None:
    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(2):
        writer.write(np.full((48, 64, 3), (20, 20, 220), np.uint8))  # OpenCV writes blue first
    writer.release()
    with open_source(str(path)) as source:
        _, frame = next(source.frames)
    assert frame[..., 0].mean() > 5 * frame[..., 2].mean()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.mp4", "source .*nowhere.mp4 is missing; name a video"),
        ("note.mp4", "note.mp4 is not a video that can be played; convert it"),
        ("empty", "empty holds no image; put images there"),
        ("simulated:", "names no subject; give a number"),
        ("simulated:anna", "names no subject; give a number"),
        ("97", "camera 97 cannot be opened; plug it in"),
    ],
)
def test_refusals_are_one_line(
    tmp_path: Path, name: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "note.mp4").write_text("dear diary")
    (tmp_path / "empty").mkdir()
    where = name if name == "97" or name.startswith("simulated:") else str(tmp_path / name)
    with pytest.raises(Refusal, match=message) as caught, open_source(where):
        pass
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # OpenCV keeps its own warnings to itself


def test_a_damaged_image_is_named_when_its_turn_comes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "1.png").write_bytes(b"\x89PNG, but no more")
    with open_source(str(tmp_path)) as source:
        next(source.frames)
        with pytest.raises(Refusal, match=r"1\.png"):
            next(source.frames)
