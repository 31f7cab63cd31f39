import sys

import numpy as np
import pytest

from opticaldr.errors import Refusal
from opticaldr.hardware.cameras import FlatPanel, SimulatedCamera
from opticaldr.hardware.cameras.errors import (
    CameraBusy,
    CameraLost,
    NoCamera,
    OutOfRange,
    SettingIgnored,
    WrongMode,
)
from opticaldr.hardware.cameras.picamera2 import Picamera2Camera


@pytest.fixture
def pi(world, monkeypatch, load_double):
    """Build a Pi: `pi(**what)` gives the double."""
    double = load_double("libcamera_stack")

    def with_(**what):
        stack = double.Stack(world, **what)
        monkeypatch.setitem(sys.modules, "picamera2", stack.module)
        return stack

    return with_


@pytest.mark.parametrize("model", [4, 5])
def test_values_are_those_of_the_sensor_on_a_pi_4_and_on_a_pi_5(pi, world, model):
    pi(pi=model)
    world.scene = FlatPanel()
    with Picamera2Camera() as camera:
        camera.configure(exposure=5e-3)
        found = camera.capture()
        assert (camera.info.bits, camera.info.bayer, camera.info.black_level) == (10, "RGGB", 60)
    with SimulatedCamera(world, seed=1) as truth:
        truth.configure(exposure=found.exposure)
        for _ in range(2):
            expected = truth.capture()
    difference = found.raw.astype(int) - expected.raw
    assert found.raw.shape == expected.raw.shape
    assert abs(difference.mean()) < 0.5
    assert (
        np.abs(difference).max() < 100
    )  # shot noise; rubbish of the padding or a wrong shift would be hundreds


def test_controls_are_set_before_it_starts_and_everything_automatic_is_off(pi):
    stack = pi()
    with Picamera2Camera():
        before = {}
        for what, started, controls in stack.log:
            if what == "start":
                break
            assert not started
            before |= controls
    off = {"AeEnable": False, "AwbEnable": False, "NoiseReductionMode": 0}
    assert off.items() <= before.items()
    assert {"ExposureTime", "AnalogueGain", "FrameDurationLimits"} <= set(before)


def test_a_mono_sensor_without_white_balance_is_driven(pi):
    pi(mono=True, without=("AwbEnable",), pi=5)
    with Picamera2Camera() as camera:
        assert camera.info.bayer is None
        assert camera.capture().raw.max() < 1024


def test_lens_shading_is_taken_out_of_the_tuning(pi):
    stack = pi()
    with Picamera2Camera():
        names = [name for each in stack.tuning["algorithms"] for name in each]
    assert names == ["rpi.black_level", "rpi.agc"]


def test_a_frame_counts_only_with_its_own_metadata_and_tells_its_true_exposure(pi, world):
    pi()
    world.scene = FlatPanel()
    with Picamera2Camera() as camera:
        lifts = []
        for exposure in (1e-3, 6e-3, 2e-3):
            camera.configure(exposure=exposure)
            frame = camera.capture()
            assert abs(frame.exposure - exposure) < 15e-6
            lifts.append((frame.raw.mean() - 60) / frame.exposure)
    assert np.array(lifts) / lifts[0] == pytest.approx([1, 1, 1], rel=0.02)


def test_a_long_exposure_is_not_cut_by_the_frame_rate(pi):
    pi()
    with Picamera2Camera() as camera:
        camera.configure(exposure=1.0, gain=8.0)
        frame = camera.capture()
    assert frame.exposure == pytest.approx(1.0, rel=1e-4)
    assert frame.gain == 8


def test_temperature_and_time_are_those_of_the_frame(pi, world):
    pi()
    with Picamera2Camera() as camera:
        camera.configure(exposure=0.02)
        camera.capture()
        began = world.now
        camera.capture()
        frame = camera.capture()  # exposed while the one before was handed out
        assert frame.temperature == pytest.approx(world.temperature, abs=0.01)
        assert frame.timestamp == pytest.approx(began, abs=1e-5)


@pytest.mark.parametrize("control", ["ExposureTime", "AnalogueGain"])
def test_a_control_that_never_arrives_is_refused_by_name(pi, control):
    stack = pi(ignores=(control,))
    with Picamera2Camera() as camera:
        camera.configure(exposure=5e-3, gain=4.0)
        with pytest.raises(SettingIgnored, match=f"did not take {control}"):
            camera.capture()
        assert stack.outstanding == 0


@pytest.mark.parametrize(
    ("grants", "said"),
    [
        (
            {"format": "RGGB_PISP_COMP1"},
            "gives RGGB_PISP_COMP1, which is lossy compression, instead of SRGGB10",
        ),
        ({"format": "SRGGB10_CSI2P"}, "which is packed"),
        ({"format": "SBGGR10"}, "raw format SBGGR10 instead of SRGGB10"),
        ({"format": "SRGGB12"}, "raw format SRGGB12 instead of SRGGB10"),
        ({"size": (48, 48)}, "raw size"),
        ({"raw": None}, "no raw stream"),
    ],
)
def test_a_surprise_in_the_configuration_is_refused(pi, grants, said):
    stack = pi(grants=grants)
    with pytest.raises(WrongMode, match=said), Picamera2Camera():
        pass
    assert stack.open == 0


def test_values_that_are_not_where_they_should_be_are_refused(pi):
    stack = pi()
    stack.spoil = lambda values: values << 6
    with pytest.raises(WrongMode, match="not 10 bits where they should be"), Picamera2Camera():
        pass
    assert (stack.open, stack.outstanding) == (0, 0)


def test_requests_are_released_whatever_happens(pi):
    stack = pi()
    with Picamera2Camera() as camera:
        for _ in range(10):
            camera.capture()
        assert stack.outstanding == 0


def test_a_pulled_cable_is_named_and_the_camera_given_back(pi):
    stack = pi()
    with pytest.raises(CameraLost, match="imx296 gives no frames"), Picamera2Camera() as camera:
        stack.plugged = False
        camera.capture()
    assert stack.open == 0
    assert stack.log[-1][0] == "flush"


def test_a_busy_camera_a_missing_one_and_a_missing_tuning_are_told_apart(pi):
    pi(held=True)
    with pytest.raises(CameraBusy, match="imx296 is in use by another program"), Picamera2Camera():
        pass
    pi(cameras=0)
    with pytest.raises(NoCamera, match=r"number 0 \(0 found\)"), Picamera2Camera():
        pass
    pi()
    with pytest.raises(Refusal, match=r"no tuning file other\.json"), Picamera2Camera(tuning="other.json"):
        pass


@pytest.mark.parametrize("asked", [{"mode": (1088, 1456)}, {"bits": 12}])
def test_a_mode_that_it_does_not_have_is_refused_with_those_it_has(pi, asked):
    pi()
    with pytest.raises(WrongMode, match=r"has no mode .*it has 96 × 96 at 10 bit"), Picamera2Camera(**asked):
        pass


@pytest.mark.parametrize(("exposure", "gain"), [(1e-6, 1.0), (20.0, 1.0), (1e-3, 0.5), (1e-3, 17.0)])
def test_what_the_sensor_cannot_do_is_refused_with_what_it_can(pi, exposure, gain):
    pi()
    with Picamera2Camera() as camera, pytest.raises(OutOfRange, match="imx296"):
        camera.configure(exposure=exposure, gain=gain)


def test_without_picamera2_it_says_where_it_comes_from(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(Refusal, match="apt install python3-picamera2"), Picamera2Camera():
        pass
