import json

import cv2
import numpy as np
import pytest

from opticaldr.errors import Refusal
from opticaldr.hardware.cameras import FlatPanel, ReplayCamera, SimulatedCamera
from opticaldr.hardware.cameras.errors import CameraLost, FramesEnded, OutOfRange
from opticaldr.hardware.cameras.recording import record


@pytest.fixture
def recorded(world, tmp_path):
    """Four frames at 1 ms and their folder."""
    folder, kept = tmp_path / "recorded", []
    world.scene = FlatPanel()
    with SimulatedCamera(world, seed=3) as camera:
        camera.configure(exposure=1e-3, gain=2.0)
        take = camera.capture
        camera.capture = lambda: kept.append(take()) or kept[-1]
        record(camera, folder, 4)
    return folder, kept


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_recorded_is_replayed_value_for_value(recorded):
    folder, kept = recorded
    with ReplayCamera(folder) as camera:
        for frame in kept:
            again = camera.capture()
            assert np.array_equal(again.raw, frame.raw)
            assert again.raw.dtype == np.uint16
            assert vars(again) | {"raw": None} == vars(frame) | {"raw": None}
        with pytest.raises(FramesEnded, match="no more frames"):
            camera.capture()


def test_a_recording_of_a_replay_is_the_recording_byte_for_byte(recorded, tmp_path):
    folder, _ = recorded
    with ReplayCamera(folder) as camera:
        record(camera, tmp_path / "again", 4)
    assert files(tmp_path / "again") == files(folder)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".npz"])
def test_frames_may_be_16_bit_pictures_and_the_sidecar_toml(recorded, tmp_path, suffix):
    _, kept = recorded
    other = tmp_path / "other"
    other.mkdir()
    if suffix == ".npz":
        np.savez(other / "a.npz", kept[0].raw)
    else:
        cv2.imwrite(str(other / f"a{suffix}"), kept[0].raw)
    (other / "recording.toml").write_text(
        '[camera]\nname = "by hand"\nshape = [96, 96]\nbits = 10\nbayer = "RGGB"\nblack_level = 60\n'
        f'[[frames]]\nfile = "a{suffix}"\nexposure = 1e-3\ngain = 2.0\nblack_level = 60\ntimestamp = 5.0\n'
    )
    with ReplayCamera(other) as camera:
        frame = camera.capture()
    assert np.array_equal(frame.raw, kept[0].raw)
    assert np.isnan(frame.temperature)
    assert camera.source == other


def test_settings_pick_the_frames_that_have_them(world, tmp_path):
    with SimulatedCamera(world) as camera:
        camera.configure(exposure=1e-3)
        first = camera.capture
        calls = iter((1e-3, 2e-3, 1e-3))

        def capture():
            camera.configure(exposure=next(calls))
            return first()

        camera.capture = capture
        record(camera, tmp_path / "two", 3)
    with ReplayCamera(tmp_path / "two") as camera:
        camera.configure(exposure=2e-3)
        assert camera.capture().exposure == 2e-3
        camera.configure(exposure=1e-3)
        assert camera.capture().timestamp > 0
        with pytest.raises(
            OutOfRange, match=r"no frame of 0\.5 s.*ask for what it has: 0\.001 s at gain 1, 0\.002"
        ):
            camera.configure(exposure=0.5)


def test_a_recording_is_whole_or_not_there(world, tmp_path):
    with SimulatedCamera(world) as camera:
        take, count = camera.capture, iter(range(9))

        def capture():
            camera.plugged = next(count) < 2
            return take()

        camera.capture = capture
        with pytest.raises(CameraLost):
            record(camera, tmp_path / "half", 5)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(recorded):
    folder, _ = recorded
    with ReplayCamera(folder) as camera, pytest.raises(Refusal, match="exists already"):
        record(camera, folder, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s["camera"].update(shape=[96, 95]), r"uint16 \[96, 96\].*\[96, 95\]"),
        (lambda s: s["camera"].update(bits=4), "beyond 4 bits"),
        (lambda s: s["frames"][0].update(exposure=-1), r"frames\.0\.exposure"),
        (lambda s: s["frames"][0].update(file="../x.npy"), r"frames\.0\.file"),
        (lambda s: s["frames"][0].update(file="x.npy"), "cannot be read"),
        (lambda s: s["frames"].clear(), "frames"),
    ],
)
def test_a_sidecar_that_does_not_fit_is_refused_by_key(recorded, change, said):
    folder, _ = recorded
    sidecar = json.loads((folder / "recording.json").read_text())
    change(sidecar)
    (folder / "recording.json").write_text(json.dumps(sidecar))
    with pytest.raises(Refusal, match=said), ReplayCamera(folder) as camera:
        camera.capture()


def test_a_video_says_that_it_is_no_raw_recording(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"FFV1"), 25, (32, 24))
    for level in (50, 100):
        writer.write(np.full((24, 32, 3), (10, level, 200), np.uint8))
    writer.release()
    with ReplayCamera(tmp_path / "a.avi") as camera:
        first, second = camera.capture(), camera.capture()
        info = camera.info
    assert (info.linear, info.bits, info.shape) == (False, 8, (24, 32))
    assert "not raw" in info.name
    assert second.timestamp - first.timestamp == pytest.approx(1 / 25)
    means = [float(first.raw[y::2, x::2].mean()) for y in (0, 1) for x in (0, 1)]
    assert means == pytest.approx([200, 50, 50, 10], abs=6)


def test_pictures_of_different_sizes_are_refused(tmp_path):
    for number, side in enumerate((8, 10)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((side, side, 3), np.uint8))
    with ReplayCamera(tmp_path) as camera:
        camera.capture()
        with pytest.raises(Refusal, match="one size"):
            camera.capture()


def test_an_empty_folder_and_a_missing_one_are_named(tmp_path):
    with pytest.raises(Refusal, match="holds no frames"), ReplayCamera(tmp_path):
        pass
    with pytest.raises(Refusal, match="nowhere does not exist"), ReplayCamera(tmp_path / "nowhere"):
        pass
