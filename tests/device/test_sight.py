"""Sight: what becomes of frames, good and doubtful, one after another."""

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from device_bundle import WINDOW, blurring_bank, small_clinic

from opticaldr.artefacts import load_public_key
from opticaldr.artefacts.bundle import verify_bundle
from opticaldr.calibration.interlock import superpixel_bank
from opticaldr.device.estimator import Estimator
from opticaldr.device.interlock import InterlockWatch
from opticaldr.device.mouth import Mouth
from opticaldr.device.orders import Orders
from opticaldr.device.records import SIZE, Event, Kind, Quality, Record
from opticaldr.device.ring import FrameRing
from opticaldr.device.sight import Sight
from opticaldr.hardware.cameras import RawFrame
from opticaldr.hardware.cameras.scene import SceneCamera
from opticaldr.models.data import SimulatedSubjects

SENSOR = small_clinic().sensor


class Bench:
    """Sight before a camera that shows what the test wants, with the hearing end of the pipe in the test's
    hand."""

    def __init__(self, bundle: Path, key: Path, *, interval: float = 3600.0) -> None:
        artefact, spec = verify_bundle(bundle, load_public_key(key))
        self.hearing, speaking = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)
        psf = superpixel_bank(blurring_bank()[0, 0], SENSOR.binning).astype(np.float32)
        self.scenes: list[np.ndarray] = []
        self.camera = SceneCamera(self._shown(), psf, SENSOR)
        self.ring = FrameRing(2, SENSOR.shape)
        self.estimator = Estimator(artefact, spec)
        orders = Orders(bundle=bundle, key="0" * 64, pipe=speaking, interval=interval)
        watch = InterlockWatch.of(artefact, spec)
        self.sight = Sight(self.camera, self.estimator, watch, self.ring, Mouth(orders))
        self.face = SimulatedSubjects(1).clip(2, 0, 1, SENSOR.binned_shape, 30.0).frames[0]

    def _shown(self) -> Iterator[np.ndarray]:
        while True:
            yield self.scenes.pop(0)

    def look(self, frames: int = 1, light: float = 1.0) -> bool:
        alive = True
        for _ in range(frames):
            self.scenes.append(self.face * np.float32(light))
            alive = self.sight.look()
        return alive

    def heard(self) -> list[Record]:
        records = []
        try:
            while True:
                records.append(Record.unpack(os.read(self.hearing, SIZE)))
        except BlockingIOError:
            return records


@pytest.fixture
def bench(bundle, maker_key):
    return Bench(bundle, Path(f"{maker_key}.pub"))


def test_a_full_window_becomes_one_estimate_and_is_forgotten(bench):
    bench.look(WINDOW - 1)
    assert bench.heard() == []
    bench.look()
    (estimate,) = bench.heard()
    assert estimate.kind is Kind.ESTIMATE
    assert estimate.quality == Quality(0)
    assert 0 < estimate.latency < 5
    assert not bench.estimator.window.any()
    assert not bench.ring.slots.any()


@pytest.mark.proves("EYE-2")
def test_nothing_of_a_frame_is_left_once_it_is_done_with(bench):
    bench.look(3)
    assert not bench.ring.slots.any()
    for left in (
        bench.estimator._superpixels,
        bench.estimator._embedding,
        bench.sight._interlock._band._grey,
    ):
        assert not left.any()


@pytest.mark.proves("EYE-7")
def test_a_doubtful_frame_takes_its_window_with_it(bench):
    bench.look(WINDOW - 1)
    assert bench.look(light=1e-4)
    assert not bench.estimator.window.any()
    bench.look(WINDOW - 1)
    assert bench.heard() == []
    bench.look()
    (estimate,) = bench.heard()
    assert Quality.DOUBTFUL_OPTICS in estimate.quality
    assert bench.sight.count.dropped == 1


def test_darkness_is_mentioned_once_and_passes(bench):
    assert bench.look(6, light=1e-4)
    (event,) = bench.heard()
    assert event.event is Event.OPTICS_IN_DOUBT
    bench.look(WINDOW)
    assert [record.kind for record in bench.heard()] == [Kind.ESTIMATE]
    bench.look(3, light=1e-4)
    assert [record.event for record in bench.heard()] == [Event.OPTICS_IN_DOUBT]


def test_beyond_the_rate_nothing_is_said_and_the_window_slides(bench):
    bench.look(WINDOW * 7)
    assert len(bench.heard()) == 4
    assert bench.estimator.window.any()


@pytest.mark.proves("EYE-4")
def test_the_mask_coming_off_ends_it_and_wipes_everything(bench):
    bench.look(WINDOW - 1)
    bench.camera._unmask_at = WINDOW - 1
    assert bench.look()
    assert not bench.look()
    assert bench.heard() == []
    assert not bench.estimator.window.any()
    assert not bench.ring.slots.any()
    bench.sight.farewell(Event.OPTICS_NOT_IN_PLACE)
    event, farewell = bench.heard()
    assert event.event is Event.OPTICS_NOT_IN_PLACE
    assert event.margin > 100
    assert (farewell.frames, farewell.dropped) == (WINDOW + 1, 2)


class Replay:
    """A camera that gives the same few frames again and again."""

    def __init__(self, frames: list[RawFrame]) -> None:
        self.frames = cycle(frames)

    def capture(self) -> RawFrame:
        frame = next(self.frames)
        return replace(frame, raw=frame.raw.copy())


@pytest.mark.parametrize("frames", [2000, pytest.param(1_000_000, marks=pytest.mark.slow)])
@pytest.mark.timeout(7200)
def test_memory_and_descriptors_do_not_grow(bench, frames):
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1])

    bench.scenes = [bench.face] * 4
    bench.sight._camera = Replay([bench.camera.capture() for _ in range(4)])
    for _ in range(500):
        bench.sight.look()
    before, descriptors = resident(), len(os.listdir("/proc/self/fd"))
    for _ in range(frames):
        assert bench.sight.look()
    assert resident() <= before * 1.02
    assert len(os.listdir("/proc/self/fd")) == descriptors
