"""Print as JSON what the real picamera2 promises of each call that the driver makes; libcamera and pykms are stubbed.

Run by the Python that has picamera2 (see get_picamera2.sh); needs nothing of this project.
"""

import inspect
import json
import sys
from unittest.mock import MagicMock

CALLS = {
    "Picamera2": (
        "__init__", "load_tuning_file", "global_camera_info", "create_video_configuration", "configure",
        "camera_configuration", "set_controls", "start", "capture_request", "cancel_all_and_flush", "stop", "close",
    ),
    "CompletedRequest": ("get_metadata", "make_array", "release"),
}  # fmt: skip
PROPERTIES = ("sensor_modes", "camera_controls")


def parameters(function):
    """Names of the parameters but for self, and whether each may be left out."""
    return {
        name: each.default is not inspect.Parameter.empty
        for name, each in inspect.signature(function).parameters.items()
        if name not in ("self", "cls")
    }


if __name__ == "__main__":
    for name in ("libcamera", "libcamera.controls", "libcamera.properties", "pykms"):
        try:
            __import__(name)
        except ImportError:
            sys.modules[name] = MagicMock(name=name)
    import picamera2

    found = {
        owner: {call: parameters(getattr(getattr(picamera2, owner), call)) for call in calls}
        for owner, calls in CALLS.items()
    }
    found["properties"] = [
        name for name in PROPERTIES if isinstance(inspect.getattr_static(picamera2.Picamera2, name), property)
    ]
    found["formats"] = sorted(picamera2.formats.BAYER_FORMATS | picamera2.formats.MONO_FORMATS)
    found["parsed"] = {
        name: [picamera2.SensorFormat(name).unpacked, picamera2.SensorFormat(name).bit_depth]
        for name in found["formats"]
        if "PISP" not in name
    }
    json.dump(found, sys.stdout)
