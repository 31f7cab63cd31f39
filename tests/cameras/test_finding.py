import sys

import pytest

from opticaldr.hardware.cameras import finding
from opticaldr.hardware.cameras.errors import CameraForbidden
from opticaldr.hardware.cameras.finding import Found, find


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with one webcam of two nodes, and the node of a video decoder that is no camera."""
    monkeypatch.setitem(sys.modules, "picamera2", None)
    monkeypatch.setattr(finding, "VIDEO_CLASS", tmp_path / "class")
    monkeypatch.setattr(finding, "check_access", lambda node: None)
    (tmp_path / "class").mkdir()
    for node, bus, index, name in (
        ("video2", "usb1/1-2/video4linux", "0", "Webcam C9"),
        ("video3", "usb1/1-2/video4linux", "1", "Webcam C9"),
        ("video10", "platform/decoder/video4linux", "0", "bcm2835-codec-decode"),
    ):
        folder = tmp_path / "devices" / bus / node
        folder.mkdir(parents=True)
        (folder / "index").write_text(index + "\n")
        (folder / "name").write_text(name + "\n")
        (tmp_path / "class" / node).symlink_to(folder)


def test_a_webcam_is_found_once_and_a_decoder_is_no_camera(machine):
    assert find() == [Found("opencv:/dev/video2", "Webcam C9", "")]


def test_cameras_of_the_pi_come_first(machine, monkeypatch, load_double, world):
    stack = load_double("libcamera_stack").Stack(world, cameras=2)
    monkeypatch.setitem(sys.modules, "picamera2", stack.module)
    assert [each.name for each in find()] == ["picamera2:0", "picamera2:1", "opencv:/dev/video2"]
    assert find()[0].description == "imx296"


def test_a_device_that_may_not_be_opened_says_why(machine, monkeypatch):
    def forbid(node):
        raise CameraForbidden(f"{node}: permission denied", "join its group: sudo usermod -aG video $USER")

    monkeypatch.setattr(finding, "check_access", forbid)
    (only,) = find()
    assert "usermod -aG video" in only.problem


def test_a_machine_without_cameras_has_none(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    monkeypatch.setattr(finding, "VIDEO_CLASS", tmp_path / "none")
    assert find() == []
