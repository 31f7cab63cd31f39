"""Cameras behind one interface: raw planes, unpacked, with the settings and the time of that very frame."""

from opticaldr.hardware.cameras.camera import Camera, CameraInfo, RawFrame
from opticaldr.hardware.cameras.replay import ReplayCamera
from opticaldr.hardware.cameras.simulated import FlatPanel, SimulatedCamera, Subject

__all__ = ["Camera", "CameraInfo", "FlatPanel", "RawFrame", "ReplayCamera", "SimulatedCamera", "Subject"]
