import cv2
import numpy as np
import pytest

from opticaldr.hardware.cameras import FlatPanel, opencv
from opticaldr.hardware.cameras.errors import (
    CameraBusy,
    CameraForbidden,
    CameraLost,
    NoCamera,
    OutOfRange,
    SettingIgnored,
    WrongMode,
    check_access,
)
from opticaldr.hardware.cameras.opencv import OpenCVCamera

NODE = "/dev/video7"


@pytest.fixture
def plug(world, monkeypatch, load_double):
    """Plug a device into this machine: `plug(**what)` gives it."""
    double = load_double("v4l2")

    def in_(**what):
        device = double.Device(world, **what)
        monkeypatch.setattr(cv2, "VideoCapture", device.capture)
        monkeypatch.setattr(opencv, "check_access", lambda node: node == NODE or check_access(node))
        return device

    return in_


def camera(**options):
    return OpenCVCamera(
        "/dev/video7", **{"pixel_format": "RG10", "unity_gain": 16, "black_level": 60} | options
    )


def test_no_frame_from_before_a_change_is_returned(plug, world):
    plug(absent=(cv2.CAP_PROP_BUFFERSIZE,))
    world.scene = FlatPanel()
    with camera() as there:
        there.configure(exposure=2e-3)
        dim = there.capture().raw.mean() - 60
        there.configure(exposure=8e-3)
        bright = [there.capture().raw.mean() - 60 for _ in range(3)]
    assert np.array(bright) / dim == pytest.approx([4, 4, 4], rel=0.02)


def test_automatics_are_off_once_it_is_open(plug):
    device = plug()
    with camera():
        kept = [
            device.controls[each]
            for each in (
                cv2.CAP_PROP_AUTO_EXPOSURE,
                cv2.CAP_PROP_AUTO_WB,
                cv2.CAP_PROP_AUTOFOCUS,
                cv2.CAP_PROP_BACKLIGHT,
                cv2.CAP_PROP_SHARPNESS,
            )
        ]
    assert kept == [1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("control", "name"),
    [
        (cv2.CAP_PROP_AUTO_EXPOSURE, "automatic exposure"),
        (cv2.CAP_PROP_AUTO_WB, "automatic white balance"),
        (cv2.CAP_PROP_AUTOFOCUS, "automatic focus"),
        (cv2.CAP_PROP_BACKLIGHT, "backlight compensation"),
        (cv2.CAP_PROP_SHARPNESS, "sharpening"),
        (cv2.CAP_PROP_EXPOSURE, "exposure"),
        (cv2.CAP_PROP_GAIN, "gain"),
        (cv2.CAP_PROP_CONVERT_RGB, "conversion to RGB"),
    ],
)
def test_a_setting_that_did_not_take_is_refused_by_name(plug, control, name):
    device = plug(stubborn=(control,))
    with (
        pytest.raises(SettingIgnored, match=f"/dev/video7 did not take {name}: .* is set instead of"),
        camera(),
    ):
        pass
    assert device.open == 0


def test_what_a_device_does_not_have_needs_no_switching_off(plug):
    plug(absent=(cv2.CAP_PROP_AUTO_WB, cv2.CAP_PROP_AUTOFOCUS, cv2.CAP_PROP_GAIN))
    with camera() as there:
        assert there.capture().gain == 1
        with pytest.raises(OutOfRange, match="no gain control"):
            there.configure(exposure=1e-3, gain=2)


def test_an_exposure_that_cannot_be_fixed_is_refused(plug):
    plug(absent=(cv2.CAP_PROP_AUTO_EXPOSURE,))
    with pytest.raises(SettingIgnored, match="automatic exposure: it has no such control"), camera():
        pass


def test_the_central_region_keeps_the_bayer_order(plug, world):
    plug()
    world.scene = FlatPanel((0.8, 0.4, 0.1))
    with camera(region=(50, 42)) as there:
        frame = there.capture()
        assert there.info.bayer == "RGGB"
    assert frame.raw.shape == (50, 42)
    means = [float(frame.raw[y::2, x::2].mean()) for y in (0, 1) for x in (0, 1)]
    assert means[0] > means[1] > means[3]


def test_developed_pictures_call_themselves_that(plug):
    plug(pixel_format="YUYV")
    with camera(pixel_format=None) as there:
        assert "not raw" in there.info.name
        assert not there.info.linear
        assert there.capture().raw.max() < 256


@pytest.mark.parametrize(
    ("device", "asked", "said"),
    [
        ({"gives": "YUYV"}, {}, "gives YUYV instead of RG10"),
        (
            {"stubborn": (cv2.CAP_PROP_FRAME_WIDTH,)},
            {"mode": (96, 128)},
            "96 × 96 pixels instead of 96 × 128",
        ),
        ({}, {"region": (200, 200)}, "200 × 200 are needed"),
        ({"pixel_format": "RGGB"}, {"pixel_format": "RGGB"}, "has 18432 values"),
    ],
)
def test_another_mode_than_asked_is_refused(plug, device, asked, said):
    plug(**device)
    with pytest.raises(WrongMode, match=said), camera(**asked) as there:
        there.capture()


def test_a_pulled_cable_is_named_and_the_device_given_back(plug):
    device = plug()
    with pytest.raises(CameraLost, match="/dev/video7 gives no frames"), camera() as there:
        there.capture()
        device.plugged = False
        there.capture()
    assert device.open == 0


def test_missing_forbidden_and_busy_devices_are_told_apart(plug, tmp_path, monkeypatch):
    plug(held=True)
    node = tmp_path / "video7"
    with pytest.raises(NoCamera, match=r"photo\.jpg is no video device"), OpenCVCamera("photo.jpg"):
        pass
    with pytest.raises(NoCamera, match="there is no"), OpenCVCamera(str(node)):
        pass
    node.touch()
    with pytest.raises(CameraBusy, match="in use by another program"), OpenCVCamera(str(node)):
        pass
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with (
        pytest.raises(CameraForbidden, match=r"permission denied; .*(usermod|udev)"),
        OpenCVCamera(str(node)),
    ):
        pass


def test_the_real_opencv_knows_every_call_that_the_double_answers(load_double):
    ours = load_double("v4l2").Capture
    for name in ("isOpened", "get", "set", "read", "release"):
        assert callable(getattr(cv2.VideoCapture, name))
        assert callable(getattr(ours, name))


def test_the_real_opencv_says_that_there_is_no_such_device():
    with pytest.raises(NoCamera, match="/dev/video93"), OpenCVCamera("/dev/video93"):
        pass
