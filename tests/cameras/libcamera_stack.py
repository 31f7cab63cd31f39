"""A double of picamera2 before the simulated world, written from the calls that the driver makes.

`Stack` is the Pi with what is plugged in; `Stack.Picamera2` stands for the class. Its signatures are checked against
the real ones in `test_picamera2_signatures.py`. It obeys what the real stack does: controls arrive with a later frame;
a frame may have begun before it was asked for; exposures are whole rows of the sensor; a request not released is
missing later; a control that the camera does not have raises; rows are padded with rubbish; a Pi 5 left-aligns unpacked
values and compresses what was to be packed.
"""

import types

import numpy as np

from opticaldr.hardware.cameras import SimulatedCamera

LAG = 3  # frames that a control is under way
ROW = 14.8e-6  # seconds a row of an IMX296 takes


class Stack:
    """One Pi.

    Args:
        world: what the camera looks at.
        pi: 4 or 5.
        ignores: controls that never arrive.
        without: controls that the camera does not have.
        grants: entries that replace those of the raw stream's configuration, as libcamera may.
        cameras: how many are plugged in.
    """

    def __init__(
        self, world, *, pi=4, ignores=(), without=(), grants=None, cameras=1, held=False, mono=False
    ):
        self.world, self.pi, self.ignores, self.without = world, pi, ignores, without
        self.grants, self.cameras, self.held, self.mono = grants or {}, cameras, held, mono
        self.plugged, self.open, self.outstanding, self.tuning, self.log = True, 0, 0, None, []
        self.spoil = lambda values: values

        class Bound(Picamera2):
            stack = self

        self.Picamera2 = Bound

    @property
    def module(self):
        """What `import picamera2` gives."""
        module = types.ModuleType("picamera2")
        module.Picamera2 = self.Picamera2
        return module


class Picamera2:
    stack: Stack

    @staticmethod
    def load_tuning_file(tuning_file, dir=None):
        if tuning_file != "imx296.json":
            raise RuntimeError("Tuning file not found")
        return {
            "version": 2.0,
            "algorithms": [{"rpi.black_level": {}}, {"rpi.alsc": {"n_iter": 100}}, {"rpi.agc": {}}],
        }

    @classmethod
    def global_camera_info(cls):
        one = {"Model": "imx296", "Location": 2, "Rotation": 0, "Id": "/base/soc/i2c0mux/i2c@1/imx296@1a"}
        return [one | {"Num": number} for number in range(cls.stack.cameras)]

    def __init__(self, camera_num=0, verbose_console=None, tuning=None, allocator=None):
        stack = self.stack
        if stack.held or stack.open:
            try:
                raise RuntimeError("Failed to acquire camera: Device or resource busy")
            except RuntimeError as error:
                raise RuntimeError("Camera __init__ sequence did not complete.") from error
        stack.open += 1
        stack.tuning = tuning
        self._light = SimulatedCamera(stack.world, seed=1).__enter__()
        self._sensor = stack.world.optic.spec.sensor
        self._wanted, self._under_way, self.started = {}, [], False
        self._exposing, self._flushed = None, None
        self.camera_controls = {
            name: limits
            for name, limits in {
                "AeEnable": (False, True, True),
                "AwbEnable": (False, True, True),
                "NoiseReductionMode": (0, 4, 0),
                "ExposureTime": (29, 10_000_000, 20_000),
                "AnalogueGain": (1.0, 16.0, 1.0),
                "FrameDurationLimits": (16_562, 15_534_444, 33_333),
            }.items()
            if name not in stack.without
        }

    @property
    def sensor_modes(self):
        order = "" if self.stack.mono else f"S{self._sensor.bayer}"
        depth = self._sensor.bits
        unpacked = f"R{depth}" if self.stack.mono else f"{order}{depth}"
        size = self._sensor.shape[::-1]
        return [{"format": f"{unpacked}_CSI2P", "unpacked": unpacked, "bit_depth": depth, "size": size}]

    def create_video_configuration(
        self,
        main={},  # noqa: B006
        lores=None,
        raw={},  # noqa: B006
        transform=None,
        colour_space=None,
        buffer_count=6,
        controls={},  # noqa: B006
        display="main",
        encode="main",
        queue=True,
        sensor={},  # noqa: B006
        use_case="video",
    ):
        return {
            "main": main,
            "raw": dict(raw),
            "sensor": dict(sensor),
            "buffer_count": buffer_count,
            "queue": queue,
        }

    def configure(self, camera_config=None):
        assert not self.started, "Camera must be stopped before configuring"
        raw = camera_config["raw"]
        base, packed, _ = raw["format"].partition("_")
        if self.stack.pi == 5:
            order = "MONO" if self.stack.mono else base[1:5]
            raw["format"] = f"{order}_PISP_COMP1" if packed else base.rstrip("0123456789") + "16"
        width = raw["size"][0]
        raw["stride"] = (2 * width + 63) // 64 * 64 + 64
        raw |= self.stack.grants
        if "raw" in self.stack.grants:
            camera_config["raw"] = None
        self._buffers = camera_config["buffer_count"]
        self._configuration = camera_config

    def camera_configuration(self):
        return self._configuration

    def set_controls(self, controls):
        for name in controls:
            if name not in self.camera_controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        self.stack.log.append(("controls", self.started, dict(controls)))
        self._wanted = self._wanted | {k: v for k, v in controls.items() if k not in self.stack.ignores}
        if not self.started:
            self._under_way = [self._wanted] * LAG

    def start(self, config=None, show_preview=False):
        self.stack.log.append(("start", self.started, {}))
        self.started = True

    def capture_request(self, wait=None, signal_function=None, flush=None):
        if not self.stack.plugged or self.stack.outstanding >= self._buffers:
            raise TimeoutError
        if flush != self._flushed:  # a moment since the last call: what was exposing then is not wanted
            self._flushed, self._exposing = flush, None
        request = self._exposing or self._expose()
        self._exposing = self._expose()  # the sensor goes on, in the light that there is now
        self.stack.outstanding += 1
        return request

    def _expose(self):
        self._under_way.append(self._wanted)
        return Request(self, self._under_way.pop(0))

    def cancel_all_and_flush(self):
        self.stack.log.append(("flush", self.started, {}))

    def stop(self):
        self.started = False

    def close(self):
        self.stack.open -= 1


class Request:
    def __init__(self, camera, controls):
        self._camera, self._stack = camera, camera.stack
        longest = controls.get("FrameDurationLimits", (33_333, 33_333))[1] * 1e-6
        exposure = min(controls.get("ExposureTime", 20_000) * 1e-6, longest)
        if controls.get("AeEnable", True):
            exposure *= 1.3
        rows = max(2, round(exposure / ROW))
        camera._light.configure(exposure=rows * ROW, gain=controls.get("AnalogueGain", 1.0))
        self._frame = camera._light.capture()

    def get_metadata(self):
        frame, sensor = self._frame, self._camera._sensor
        return {
            "ExposureTime": int(frame.exposure * 1e6),
            "AnalogueGain": frame.gain,
            "DigitalGain": 1.0,
            "SensorTimestamp": int((frame.timestamp + frame.exposure) * 1e9),
            "SensorTemperature": frame.temperature - 273.15,
            "SensorBlackLevels": (sensor.black_level << (16 - sensor.bits),) * 4,
        }

    def make_array(self, name):
        raw = self._camera.camera_configuration()[name]
        values = self._stack.spoil(self._frame.raw)
        if raw["format"].endswith("16"):
            values = values << (16 - self._camera._sensor.bits)
        padded = np.full((len(values), raw["stride"]), 0xA5, np.uint8)
        padded[:, : 2 * values.shape[1]] = np.ascontiguousarray(values, "<u2").view(np.uint8)
        return padded

    def release(self):
        self._stack.outstanding -= 1
