"""Which cameras this machine has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from opticaldr.errors import Refusal
from opticaldr.hardware.cameras.errors import CameraError, check_access
from opticaldr.hardware.cameras.picamera2 import cameras_of_this_pi

VIDEO_CLASS = Path("/sys/class/video4linux")


@dataclass(frozen=True)
class Found:
    """A camera, by the name that opens it (``picamera2:0``, ``opencv:/dev/video0``), or why it would not open."""

    name: str
    description: str
    problem: str


def find() -> list[Found]:
    """Cameras of the Raspberry Pi, then capture devices on USB. Nothing is opened, so nobody is disturbed.

    A USB camera has several nodes; the first of each takes pictures, the others carry its metadata.
    """
    try:
        pis = cameras_of_this_pi()
    except Refusal:
        pis = []
    ribbon = [
        Found(f"picamera2:{number}", str(each["Model"]), "")
        for number, each in enumerate(pis)
        if "/usb" not in str(each["Id"])
    ]
    return ribbon + [_video_device(node) for node in _first_nodes()]


def _first_nodes() -> list[Path]:
    nodes = VIDEO_CLASS.glob("video*") if VIDEO_CLASS.is_dir() else ()
    usb = [node for node in nodes if _read(node / "index") == "0" and "/usb" in str(node.resolve())]
    return sorted(usb, key=lambda node: int(node.name.removeprefix("video")))


def _video_device(node: Path) -> Found:
    device = f"/dev/{node.name}"
    try:
        check_access(device)
    except CameraError as error:
        return Found(f"opencv:{device}", _read(node / "name"), str(error))
    return Found(f"opencv:{device}", _read(node / "name"), "")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
