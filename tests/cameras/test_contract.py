"""What every camera keeps to: simulated, replayed, through the doubles of OpenCV and picamera2, and real.

On real parts, with a board that holds the light and nobody in view:

    OPTICALDR_CAMERA=RIG.toml pytest -m hardware tests/cameras/test_contract.py
"""

import math
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pytest

from opticaldr.errors import Refusal
from opticaldr.firmware_interface import Board
from opticaldr.hardware.cameras import Camera, FlatPanel, ReplayCamera, SimulatedCamera, opencv
from opticaldr.hardware.cameras.camera import EXPOSURE_STEP
from opticaldr.hardware.cameras.errors import CameraLost
from opticaldr.hardware.cameras.opencv import OpenCVCamera
from opticaldr.hardware.cameras.picamera2 import Picamera2Camera
from opticaldr.hardware.cameras.recording import record
from opticaldr.hardware.rig import SIMULATED, SimulatedPart, camera_named, camera_of, load_rig

EXPOSURES = (2e-3, 4e-3, 8e-3)


@dataclass
class Bench:
    """A camera and its light.

    `light(True)` gives it enough to compare exposures; `pull` pulls its cable, and `lost` is what is raised then.
    """

    open: Callable[[], Camera]
    light: Callable[[bool], object]
    pull: Callable[[], object] | None = None
    lost: type[Refusal] = CameraLost
    close: Callable[[], object] = lambda: None


def simulated(world, tmp_path, load_double, monkeypatch):
    camera = SimulatedCamera(world, seed=1)
    return Bench(lambda: camera, panel(world), lambda: setattr(camera, "plugged", False))


def replay(world, tmp_path, load_double, monkeypatch):
    folder = tmp_path / "dark"

    def light(on):
        nonlocal folder
        folder = tmp_path / ("lit" if on else "dark")

    for on in (True, False):
        panel(world)(on)
        with SimulatedCamera(world, seed=1) as camera:
            settings = iter([each for each in (0.01, *EXPOSURES) for _ in range(3)])
            take = camera.capture

            def capture(camera=camera, settings=settings, take=take):
                camera.configure(exposure=next(settings))
                return take()

            camera.capture = capture
            record(camera, tmp_path / ("lit" if on else "dark"), 12)

    def pull():
        for file in folder.glob("*.npy"):
            file.unlink()

    return Bench(lambda: ReplayCamera(folder), light, pull, Refusal)


def uvc(world, tmp_path, load_double, monkeypatch):
    import cv2

    device = load_double("v4l2").Device(world)
    monkeypatch.setattr(cv2, "VideoCapture", device.capture)
    monkeypatch.setattr(opencv, "check_access", lambda node: None)

    def open_():
        return OpenCVCamera("/dev/video0", pixel_format="RG10", black_level=60, unity_gain=16)

    return Bench(open_, panel(world), lambda: setattr(device, "plugged", False))


def pi(model):
    def bench(world, tmp_path, load_double, monkeypatch):
        stack = load_double("libcamera_stack").Stack(world, pi=model)
        monkeypatch.setitem(sys.modules, "picamera2", stack.module)
        return Bench(Picamera2Camera, panel(world), lambda: setattr(stack, "plugged", False))

    return bench


def real(world, tmp_path, load_double, monkeypatch):
    name = os.environ.get("OPTICALDR_CAMERA")
    if not name:
        pytest.skip("set OPTICALDR_CAMERA to a RIG.toml, picamera2 or opencv:/dev/videoN")
    part = camera_named(name)
    assert not isinstance(part, SimulatedPart), "OPTICALDR_CAMERA names a simulated camera"
    port = load_rig(name).board.port if name.endswith(".toml") else SIMULATED

    def light(on):
        if board is None:
            pytest.skip("needs a board that holds the light: name a RIG.toml with one")
        board.shutter(on)
        board.source(0.5 if on else 0.0)

    stack = ExitStack()
    board = None if port == SIMULATED else stack.enter_context(Board(port))
    return Bench(lambda: camera_of(part), light, close=stack.close)


def panel(world):
    def light(on):
        world.scene = FlatPanel((0.8, 0.8, 0.8)) if on else None

    return light


@pytest.fixture(
    params=[
        pytest.param(simulated, id="simulated"),
        pytest.param(replay, id="replay"),
        pytest.param(uvc, id="opencv"),
        pytest.param(pi(4), id="picamera2-pi4"),
        pytest.param(pi(5), id="picamera2-pi5"),
        pytest.param(real, id="real", marks=pytest.mark.hardware),
    ]
)
def bench(request, world, tmp_path, load_double, monkeypatch):
    made = request.param(world, tmp_path, load_double, monkeypatch)
    yield made
    made.close()


def frames(camera, exposure, count=3):
    camera.configure(exposure=exposure)
    return [camera.capture() for _ in range(count)]


def test_a_frame_is_what_info_says(bench):
    with bench.open() as camera:
        info, (frame, *_) = camera.info, frames(camera, 0.01)
    assert frame.raw.dtype == np.uint16
    assert frame.raw.shape == info.shape
    assert frame.raw.max() <= info.white_level
    assert info.bayer in (None, "RGGB", "BGGR", "GRBG", "GBRG")
    assert info.linear


def test_frames_without_light_are_at_the_black_level(bench):
    bench.light(False)
    with bench.open() as camera:
        taken, black = frames(camera, EXPOSURES[0]), camera.info.black_level
    for frame in taken:
        assert frame.black_level == black
        assert np.median(frame.raw) == pytest.approx(frame.black_level, rel=0.03, abs=1)


def test_light_grows_with_exposure(bench):
    bench.light(True)
    rates = []
    with bench.open() as camera:
        for exposure in EXPOSURES:
            taken = frames(camera, exposure)
            below = np.quantile(taken[0].raw, 0.999) < 0.95 * camera.info.white_level
            lift = np.mean([frame.raw.mean() - frame.black_level for frame in taken])
            if not below or lift < 20:
                pytest.skip("too much or too little light to judge")
            rates.append(lift / taken[0].exposure)
    assert np.array(rates) / np.mean(rates) == pytest.approx(1, abs=0.02)


def test_no_frame_began_before_the_settings(bench, request):
    if "replay" in request.node.name:
        pytest.skip("a recording does not see the light change")
    means = []
    with bench.open() as camera:
        for on in (False, True, False, True):
            bench.light(on)
            means.append(frames(camera, EXPOSURES[2], 2)[0].raw.mean() - camera.info.black_level)
    assert means[0] < 0.1 * means[1]
    assert means[1::2] == pytest.approx(means[1] * np.ones(2), rel=0.05)
    assert means[2] < 0.1 * means[3]


def test_every_frame_tells_its_own_settings(bench):
    with bench.open() as camera:
        for exposure in EXPOSURES:
            for frame in frames(camera, exposure):
                assert abs(frame.exposure - exposure) <= EXPOSURE_STEP
                assert frame.gain == pytest.approx(1, rel=0.04)
                assert math.isnan(frame.temperature) or 230 < frame.temperature < 370


def test_time_runs_forwards_frame_by_frame(bench):
    with bench.open() as camera:
        starts = [frame.timestamp for frame in frames(camera, EXPOSURES[2])]
    assert np.diff(starts).min() >= EXPOSURES[2] - 1e-6


def test_it_is_given_back_and_can_be_opened_again(bench):
    for _ in range(3):
        with bench.open() as camera:
            frames(camera, 0.01, 1)
    with pytest.raises(RuntimeError, match="not open"):
        _ = camera.capture()


def test_it_is_given_back_when_the_block_fails(bench):
    with pytest.raises(ZeroDivisionError), bench.open():
        _ = 1 / 0
    with bench.open() as camera:
        assert frames(camera, 0.01, 1)


def test_impossible_settings_are_refused_and_the_last_ones_stay(bench):
    with bench.open() as camera:
        camera.configure(exposure=0.01)
        with pytest.raises(Refusal):
            camera.configure(exposure=1e-9)
        with pytest.raises(Refusal):
            camera.configure(exposure=0.01, gain=0.01)
        assert camera.capture().exposure == pytest.approx(0.01, abs=EXPOSURE_STEP)


def test_a_pulled_cable_is_named(bench):
    if bench.pull is None:
        pytest.skip("cables of real parts are pulled by hand")
    with bench.open() as camera:
        frames(camera, 0.01, 1)
        bench.pull()
        with pytest.raises(bench.lost):
            frames(camera, 0.01, 1)
