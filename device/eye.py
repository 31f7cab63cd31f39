"""Eye: camera and model behind a pipe. It sees frames and says records; nothing else comes out of it.

The order is: open the camera, load and warm the model, take a first frame through everything, lock itself in
(`opticaldr.device.confinement`), and only then look at people. From there on it can open no file, reach no
network and start no process, and the pipe is the only descriptor it can write to.

It is started by voice as ``python -m opticaldr.device.eye ORDERS`` and stops at SIGTERM, when voice is gone,
when the source ends, or when the optics are not in place (exit code 3; starting it again is the deliberate
act that re-arms it).
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from opticaldr.artefacts.bundle import BundleSpec, verify_bundle
from opticaldr.device.budget import RateLimit
from opticaldr.device.confinement import EVERY, Finding, Protection, confine
from opticaldr.device.estimator import Estimator
from opticaldr.device.interlock import InterlockWatch
from opticaldr.device.quality import QualityWatch
from opticaldr.device.records import MAX_LATENCY, Event, Kind, Quality, Record
from opticaldr.device.rig import open_rig
from opticaldr.device.ring import FrameRing
from opticaldr.device.stop import StopSign
from opticaldr.errors import Refusal
from opticaldr.hardware.cameras import Camera
from opticaldr.hardware.cameras.scene import SceneEnded

OK, REFUSED, TRIPPED = 0, 1, 3
"""Exit codes."""
RING_SLOTS = 4
NO_MARKS = Quality(0)
_KNOWING_NOTHING = 63 / 12**0.5
"""Standard deviation of a guess that is even over 0 to 63."""


class Orders(BaseModel):
    """What voice tells eye once, at its start; there is no way to tell it anything later.

    Attributes:
        bundle: folder of the bundle, verified by voice and again by eye.
        key: the public key that must have signed it, 64 hex digits.
        pipe: descriptor to write records to; voice fills it in.
        session: 32 hex digits that every record carries; voice fills them in.
        rig: "simulated", or the name of a camera.
        source: scene before the simulated camera (see `opticaldr.device.rig`).
        frames: stop after so many; None for no limit.
        interval: least seconds between estimates in the long run.
        unmask_at: frame before which the simulated rig takes its mask off.
        seed: of everything random in the simulated rig.
        threads: of the model.
        development: go on although a protection does not hold; every record says so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: Path
    key: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    pipe: Annotated[int, Field(ge=3)] = 3
    session: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] = "0" * 32
    rig: str = "simulated"
    source: str = "simulated:0"
    frames: Annotated[int, Field(gt=0)] | None = None
    interval: Annotated[float, Field(ge=1)] = 60.0
    unmask_at: Annotated[int, Field(ge=1)] | None = None
    seed: int = 0
    threads: Annotated[int, Field(ge=1)] = 1
    development: bool = False


@dataclass
class Count:
    """Frames seen, frames dropped, and the seconds each took from capture until it was done with."""

    frames: int = 0
    dropped: int = 0

    def __post_init__(self) -> None:
        self._histogram = np.zeros(round(MAX_LATENCY * 1e4) + 1, np.int64)  # bins of 0.1 ms

    def took(self, seconds: float) -> None:
        """Note how long one frame took."""
        self._histogram[min(round(seconds * 1e4), len(self._histogram) - 1)] += 1

    def latency(self, fraction: float) -> float:
        """The time that ``fraction`` of all frames did not exceed, seconds; 0 without frames."""
        reached = np.cumsum(self._histogram)
        if reached[-1] == 0:
            return 0.0
        return float(np.searchsorted(reached, fraction * reached[-1]) / 1e4)


class Mouth:
    """The writing end of the pipe: numbers records, keeps to the rate, notices that voice is gone."""

    def __init__(self, orders: Orders) -> None:
        self._pipe = orders.pipe
        self._session = bytes.fromhex(orders.session)
        self._limit = RateLimit(orders.interval)
        self._sequence = 0
        self._began = time.monotonic()
        self._poll = select.poll()
        self._poll.register(self._pipe, 0)

    def may_speak(self) -> bool:
        """Whether the rate allows a record now; if so it must be said."""
        return self._limit.allow(time.monotonic())

    def heard(self) -> bool:
        """Whether voice still holds the other end."""
        return not self._poll.poll(0)

    def say(self, kind: Kind, **fields: object) -> None:
        """Write one record; `BrokenPipeError` if voice is gone."""
        record = Record.model_validate(
            {
                "kind": kind,
                "session": self._session,
                "sequence": self._sequence,
                "moment": int(time.monotonic() - self._began),
                **fields,
            }
        )
        os.write(self._pipe, record.pack())
        self._sequence += 1


class Eye:
    """Looks at one frame after another and says what the model makes of them.

    Args:
        camera: open, in the bundle's mode.
        estimator: the model, warm.
        interlock: watches that the optics are in place.
        ring: where frames live.
        mouth: where records go.
        marks: quality flags that every record carries.
    """

    def __init__(
        self,
        camera: Camera,
        estimator: Estimator,
        interlock: InterlockWatch,
        ring: FrameRing,
        mouth: Mouth,
        marks: Quality = NO_MARKS,
    ) -> None:
        self.count = Count()
        self._camera, self._estimator, self._interlock = camera, estimator, interlock
        self._ring, self._mouth, self._marks = ring, mouth, marks
        self._quality = QualityWatch()
        self._filled = 0
        self._blind = False
        self._flags = Quality(0)
        self._margin = 0.0

    def look(self) -> bool:
        """Take one frame and do everything with it; returns whether the optics may still be in place.

        Raises:
            Refusal: the camera gives no frame.
        """
        frame = self._camera.capture()
        captured = time.monotonic()
        raw = self._ring.take(frame.raw)
        embedding, superpixels = self._estimator.understand(raw)
        verdict = self._interlock.look(superpixels)
        self._margin = max(self._margin, verdict.margin)
        self.count.frames += 1
        if verdict.trusted:
            self._flags |= self._quality.look(superpixels)
            self._remember(embedding)
            self._speak(captured)
        else:
            self.count.dropped += 1
            self.wipe()
            self._flags = Quality.DOUBTFUL_OPTICS
        if verdict.blind and not self._blind and self._mouth.may_speak():
            self._mouth.say(Kind.EVENT, event=Event.OPTICS_IN_DOUBT, quality=self._marks)
        self._blind = verdict.blind
        for array in (raw, embedding, superpixels):
            array.fill(0)
        self.count.took(time.monotonic() - captured)
        return not verdict.tripped

    def wipe(self) -> None:
        """Forget every frame, and what was made of them."""
        self._ring.wipe()
        self._estimator.window.fill(0)
        self._quality.forget()
        self._filled = 0

    def _remember(self, embedding: NDArray[np.float32]) -> None:
        """Put an embedding at the end of the window."""
        window = self._estimator.window
        if self._filled == len(window):
            window[:-1] = window[1:]
            self._filled -= 1
        window[self._filled] = embedding
        self._filled += 1

    def _speak(self, captured: float) -> None:
        """Say an estimate, if the window is full and the rate allows it, and begin a new window."""
        window = self._estimator.window
        if self._filled == len(window) and self._mouth.may_speak():
            self._say(*self._estimator.estimate(window), captured)
            self.wipe()
            self._flags, self._margin = Quality(0), 0.0

    def _say(self, mean: float, sigma: float, captured: float) -> None:
        flags = self._flags | self._marks
        if not (0 <= mean <= 63 and sigma <= _KNOWING_NOTHING):
            flags |= Quality.OUT_OF_RANGE
        self._mouth.say(
            Kind.ESTIMATE,
            estimate=round(min(max(mean, 0.0), 63.0), 1),
            sigma=round(min(max(sigma, 0.1), 25.5), 1),
            quality=flags,
            margin=self._percent(),
            latency=min(time.monotonic() - captured, MAX_LATENCY),
        )

    def farewell(self, event: Event = Event.NONE) -> None:
        """The last words: what happened, if something did, and the counts."""
        if event is not Event.NONE:
            self._mouth.say(Kind.EVENT, event=event, quality=self._marks, margin=self._percent())
        self._mouth.say(
            Kind.FAREWELL,
            quality=self._marks,
            margin=self._percent(),
            frames=self.count.frames,
            dropped=self.count.dropped,
            latency=self.count.latency(0.5),
            latency_p99=self.count.latency(0.99),
        )

    def _percent(self) -> int:
        return round(min(self._margin, 10.0) * 100)


def main(arguments: list[str]) -> int:
    """Do what the orders (JSON, the only argument) say; returns the exit code."""
    orders = Orders.model_validate_json(arguments[0])
    try:
        return run(orders)
    except Refusal as refusal:
        sys.stderr.write(f"{refusal}\n")
        return REFUSED


def run(orders: Orders) -> int:
    """Open, warm, lock in, look; returns the exit code.

    Raises:
        Refusal: before it is locked in, whatever the user can mend.
    """
    bundle, spec = verify_bundle(orders.bundle, Ed25519PublicKey.from_public_bytes(bytes.fromhex(orders.key)))
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
        FrameRing(RING_SLOTS, _mode(camera, spec)) as ring,
    ):
        estimator = Estimator(bundle, spec, threads=orders.threads)
        interlock = InterlockWatch.of(bundle, spec)
        marks = Quality.SIMULATED if rig.simulated else Quality(0)
        rehearsal = Eye(camera, estimator, InterlockWatch.of(bundle, spec), ring, Mouth(orders))
        rehearsal.look()
        rehearsal.wipe()

        writable = [orders.pipe, 2] if orders.development else [orders.pipe]
        proven = _proven(confine(ring, writable, video=rig.video))
        if proven != EVERY:
            marks |= Quality.UNPROTECTED
        mouth = Mouth(orders)
        mouth.say(Kind.HELLO, protections=int(proven), quality=marks)
        if proven != EVERY and not orders.development:
            return REFUSED
        eye = Eye(camera, estimator, interlock, ring, mouth, marks)
        try:
            return _watch(eye, mouth, orders.frames, stop)
        finally:
            eye.wipe()


def _watch(eye: Eye, mouth: Mouth, frames: int | None, stop: StopSign) -> int:
    try:
        while not stop.seen and mouth.heard() and (frames is None or eye.count.frames < frames):
            if not eye.look():
                eye.farewell(Event.OPTICS_NOT_IN_PLACE)
                return TRIPPED
        eye.farewell()
    except SceneEnded:
        eye.farewell()
    except BrokenPipeError:
        return OK  # voice is gone: there is nobody to tell
    except Refusal:
        eye.farewell(Event.CAMERA_SILENT)
        return REFUSED
    except Exception:
        eye.wipe()
        eye.farewell(Event.FAILED)
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


def _proven(findings: list[Finding]) -> Protection:
    return Protection(sum(finding.protection for finding in findings if not finding.flaw))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
