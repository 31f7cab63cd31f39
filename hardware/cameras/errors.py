"""What can go wrong with a camera, each with what a person can do about it."""

from __future__ import annotations

import grp
import os

from opticaldr.errors import Refusal


class CameraError(Refusal):
    """Something about the camera that a person can mend."""


class NoCamera(CameraError):
    """There is no such camera."""


class CameraBusy(CameraError):
    """Another program holds the camera."""


class CameraForbidden(CameraError):
    """The user may not open the camera."""


class CameraLost(CameraError):
    """The camera stopped answering: cable pulled, or without power."""


class WrongMode(CameraError):
    """The camera gives frames of another shape, depth or kind than was asked."""


class SettingIgnored(CameraError):
    """The camera did not take a setting (named)."""


class OutOfRange(CameraError):
    """An exposure or gain that the camera cannot do."""


class FramesEnded(CameraError):
    """The recording has no more frames."""


def check_access(device: str) -> None:
    """Say why a device node could not be opened, where the node itself tells.

    Raises:
        NoCamera: there is no such node.
        CameraForbidden: the user may not read and write it.
    """
    if not os.path.exists(device):
        raise NoCamera(
            f"there is no {device}", "plug the camera in; opticaldr camera find lists what is there"
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise CameraForbidden(f"{device}: permission denied", _permission_remedy(device))


def busy(device: str) -> CameraBusy:
    """The exception for a camera that somebody else has."""
    return CameraBusy(
        f"{device} is in use by another program", "close the other one (fuser -v /dev/video* names it)"
    )


def _permission_remedy(device: str) -> str:
    try:
        group = grp.getgrgid(os.stat(device).st_gid).gr_name
    except (OSError, KeyError):
        group = "video"
    if group == "root":
        return (
            'give it to a group: echo \'SUBSYSTEM=="video4linux", GROUP="video"\' | sudo tee '
            "/etc/udev/rules.d/60-camera.rules, then sudo udevadm trigger"
        )
    return f"join its group: sudo usermod -aG {group} $USER, then log in again"
