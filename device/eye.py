"""Eye: camera and model behind a pipe. It sees frames and says records; nothing else comes out of it.

The order is: open the camera, load and warm the model, take a first frame through everything, lock itself in
(`opticaldr.device.confinement`), and only then look at people. From there on it can open no file, reach no
network and start no process, and the pipe is the only descriptor it can write to.

It is started by voice as ``python -m opticaldr.device.eye ORDERS`` and stops at SIGTERM, when voice is gone,
when the source ends, when camera or board are gone (exit code 4), or when the interlock closes (exit code 3).
A frame loop that hangs is ended by an alarm that the kernel keeps.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from opticaldr.artefacts.bundle import BundleSpec, require_fresh, verify_bundle
from opticaldr.device.confinement import EVERY, Finding, Protection, confine
from opticaldr.device.estimator import Estimator
from opticaldr.device.housing import Housing
from opticaldr.device.interlock import InterlockWatch
from opticaldr.device.mouth import Mouth
from opticaldr.device.orders import LOST, OK, REFUSED, TRIPPED, Orders
from opticaldr.device.records import Event, Kind, Quality
from opticaldr.device.rig import open_rig
from opticaldr.device.ring import FrameRing
from opticaldr.device.seccomp import Device
from opticaldr.device.sight import Sight
from opticaldr.device.stop import StopSign
from opticaldr.errors import Refusal
from opticaldr.firmware_interface import BoardError
from opticaldr.hardware.cameras import Camera
from opticaldr.hardware.cameras.errors import CameraError
from opticaldr.hardware.cameras.scene import SceneEnded

RING_SLOTS = 2
LONGEST_FRAME = 20.0
"""Seconds after which a frame loop that has not come round hangs, and the process is ended by SIGALRM."""
BETWEEN_TRIES = 0.5
"""Seconds after which a camera or board that is not there is looked for again."""
GONE = (Event.CAMERA_SILENT, Event.BOARD_SILENT)
"""What may come back by itself; every other event needs a person."""


def main(arguments: list[str]) -> int:
    """Do what the orders (JSON, the only argument) say; returns the exit code."""
    orders = Orders.model_validate_json(arguments[0])
    while True:
        try:
            return run(orders)
        except Refusal as refusal:
            if orders.wait and isinstance(refusal, CameraError | BoardError) and Mouth(orders).heard():
                time.sleep(BETWEEN_TRIES)
                continue
            sys.stderr.write(f"{refusal}\n")
            return REFUSED


def run(orders: Orders) -> int:
    """Open, warm, lock in, look; returns the exit code.

    Raises:
        Refusal: before it is locked in, whatever the user can mend.
    """
    bundle, spec = verify_bundle(orders.bundle, Ed25519PublicKey.from_public_bytes(bytes.fromhex(orders.key)))
    require_fresh(spec)
    with (
        StopSign((signal.SIGTERM,), ignored=(signal.SIGINT,)) as stop,
        open_rig(
            bundle,
            spec,
            orders.rig,
            orders.source,
            frames=orders.frames,
            unmask_at=orders.unmask_at,
            seed=orders.seed,
        ) as rig,
        rig.camera as camera,
        Housing(rig.board, spec) as housing,
        FrameRing(RING_SLOTS, _mode(camera, spec)) as ring,
    ):
        estimator = Estimator(bundle, spec, threads=orders.threads)
        interlock = InterlockWatch.of(bundle, spec)
        marks = Quality.SIMULATED if rig.simulated else Quality(0)
        rehearsal = Sight(camera, estimator, InterlockWatch.of(bundle, spec), ring, Mouth(orders))
        rehearsal.look()
        rehearsal.wipe()

        writable = [orders.pipe, *([2] if orders.development else []), *_ways_to(rig.devices)]
        proven = _proven(confine(ring, writable, rig.devices))
        if proven != EVERY:
            marks |= Quality.UNPROTECTED
        mouth = Mouth(orders)
        mouth.say(Kind.HELLO, protections=int(proven), quality=marks)
        if proven != EVERY and not orders.development:
            return REFUSED
        sight = Sight(camera, estimator, interlock, ring, mouth, marks)
        try:
            return _watch(sight, housing, mouth, orders.frames, stop)
        finally:
            sight.wipe()
            housing.close()


def _watch(sight: Sight, housing: Housing, mouth: Mouth, frames: int | None, stop: StopSign) -> int:
    try:
        fault = housing.open()
        while not stop.seen and mouth.heard() and (frames is None or sight.count.frames < frames):
            signal.setitimer(signal.ITIMER_REAL, LONGEST_FRAME)
            if fault is Event.NONE and not sight.look():
                fault = Event.OPTICS_NOT_IN_PLACE
            fault = fault or housing.fault()
            if fault is not Event.NONE:
                sight.wipe()
                housing.close()
                sight.farewell(fault)
                return LOST if fault in GONE else TRIPPED
        sight.farewell()
    except SceneEnded:
        sight.farewell()
    except BrokenPipeError:
        return OK  # voice is gone: there is nobody to tell
    except Refusal:
        sight.wipe()
        sight.farewell(Event.CAMERA_SILENT)
        return LOST
    except Exception:
        sight.wipe()
        sight.farewell(Event.FAILED)
        raise
    return OK


def _mode(camera: Camera, spec: BundleSpec) -> tuple[int, int]:
    """Rows and columns of the camera's frames, once it is certain that they are of the bundle's mode."""
    info, mode = camera.info, spec.camera
    has = (info.shape, info.bits, info.bayer, info.white_level)
    wants = ((mode.rows, mode.columns), mode.bits, mode.bayer, mode.white_level)
    if has != wants:
        raise Refusal(
            f"the camera is in another mode than the bundle was made for ({has} instead of {wants})",
            "set the camera's mode, or export a bundle from a calibration in this mode",
        )
    return info.shape


def _ways_to(devices: Collection[Device]) -> list[int]:
    """Descriptors that devices must be written to through: a board's line, and what wakes libcamera's own threads."""
    wanted = {"serial": "/dev/tty", "libcamera": "anon_inode:[eventfd]"}
    ways = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the descriptor of this very listing has gone by now
            if os.readlink(link).startswith(tuple(wanted[d] for d in devices if d in wanted)):
                ways.append(int(link.name))
    return ways


def _proven(findings: list[Finding]) -> Protection:
    return Protection(sum(finding.protection for finding in findings if not finding.flaw))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
