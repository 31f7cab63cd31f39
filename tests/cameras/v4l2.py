"""A double of `cv2.VideoCapture` before the simulated world: a UVC device as Video4Linux drives it.

It obeys what such devices do: a control that it does not have reads -1; `set` may answer True and change nothing; the
kernel fills its buffers ahead, so frames from before a change come first; a change takes two frames to arrive; the
timestamp is that of the kernel's buffer; and once unplugged, `read` answers (False, None).
"""

from collections import deque

import cv2
import numpy as np

from opticaldr.hardware.cameras import SimulatedCamera

LAG = 2


class Device:
    """What is plugged in; `capture` stands for `cv2.VideoCapture`.

    Args:
        world: what it looks at.
        pixel_format: its only format besides YUYV.
        gives: what is set when that is asked for.
        stubborn: controls that keep their value whatever is set, True though `set` answers.
        absent: controls that it does not have.
        held: another program has it.
    """

    def __init__(self, world, *, pixel_format="RG10", gives=None, stubborn=(), absent=(), held=False):
        self.world, self.stubborn, self.absent, self.held = world, stubborn, absent, held
        self.format = pixel_format
        self.gives = gives or pixel_format
        self.plugged = True
        self.open = 0
        rows, columns = world.optic.spec.sensor.shape
        self.controls = {
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"YUYV"),
            cv2.CAP_PROP_FRAME_HEIGHT: rows,
            cv2.CAP_PROP_FRAME_WIDTH: columns,
            cv2.CAP_PROP_CONVERT_RGB: 1,
            cv2.CAP_PROP_BUFFERSIZE: 4,
            cv2.CAP_PROP_AUTO_EXPOSURE: 3,
            cv2.CAP_PROP_AUTO_WB: 1,
            cv2.CAP_PROP_AUTOFOCUS: 1,
            cv2.CAP_PROP_BACKLIGHT: 1,
            cv2.CAP_PROP_SHARPNESS: 3,
            cv2.CAP_PROP_EXPOSURE: 157,
            cv2.CAP_PROP_GAIN: 64,
        }

    def capture(self, device, backend):
        assert (type(device), backend) == (int, cv2.CAP_V4L2)  # by name, OpenCV would look for a file
        return Capture(self)


class Capture:
    def __init__(self, device):
        self._device = device
        self._there = device.plugged and not device.held
        device.open += self._there
        self._camera = SimulatedCamera(device.world, seed=1).__enter__()
        self._pipeline = deque()  # settings that exposures under way have
        self._buffers = deque()
        self._stamp = 0.0

    def isOpened(self):
        return self._there

    def get(self, control):
        if control == cv2.CAP_PROP_POS_MSEC:
            return self._stamp
        return float(self._device.controls.get(control, -1) if control not in self._device.absent else -1)

    def set(self, control, value):
        device = self._device
        if control in device.absent or control not in device.controls:
            return False
        if control in device.stubborn:
            return True
        if control == cv2.CAP_PROP_FOURCC:
            asked = int(value).to_bytes(4, "little").decode()
            value = cv2.VideoWriter.fourcc(*(device.gives if asked == device.format else "YUYV"))
        if control == cv2.CAP_PROP_BUFFERSIZE and not 1 <= value <= 10:
            return False
        device.controls[control] = value
        return True

    def read(self):
        if not self._there or not self._device.plugged:
            return False, None
        while len(self._buffers) < self._device.controls[cv2.CAP_PROP_BUFFERSIZE]:
            self._buffers.append(self._expose())
        frame, self._stamp = self._buffers.popleft()
        return True, frame

    def release(self):
        self._device.open -= self._there
        self._there = False

    def _expose(self):
        controls = self._device.controls
        self._pipeline.append((controls[cv2.CAP_PROP_EXPOSURE] * 1e-4, controls[cv2.CAP_PROP_GAIN] / 16))
        while len(self._pipeline) <= LAG:
            self._pipeline.append(self._pipeline[-1])
        exposure, gain = self._pipeline.popleft()
        if controls[cv2.CAP_PROP_AUTO_EXPOSURE] == 3:
            exposure = 0.0157
        self._camera.configure(exposure=exposure, gain=max(gain, 1.0))
        raw = self._camera.capture()
        stamp = (raw.timestamp + exposure) * 1000
        if controls[cv2.CAP_PROP_CONVERT_RGB]:
            return np.repeat((raw.raw >> 2).astype(np.uint8)[..., None], 3, axis=-1), stamp
        return raw.raw.view(np.uint8).reshape(1, -1), stamp  # how OpenCV hands a Bayer format out
