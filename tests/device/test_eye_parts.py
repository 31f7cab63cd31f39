"""The parts of eye: the ring that wipes itself, the interlock that fails closed, the quality flags."""

import numpy as np
import pytest
from device_bundle import blurring_bank, small_clinic

from opticaldr.calibration.interlock import StopBand, derive_interlock, superpixel_bank
from opticaldr.calibration.structure import Structure
from opticaldr.device.interlock import STRIDE, InterlockWatch
from opticaldr.device.quality import QualityWatch
from opticaldr.device.records import MAX_LATENCY, Quality
from opticaldr.device.rig import at_pace
from opticaldr.device.ring import FrameRing
from opticaldr.device.sight import Count
from opticaldr.hardware.cameras.scene import SceneCamera, SceneEnded
from opticaldr.models.data import SimulatedSubjects
from opticaldr.models.optics import expose

SENSOR = small_clinic().sensor
PSF = superpixel_bank(blurring_bank()[0, 0], SENSOR.binning)
PATTERN = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) + 1


def test_a_frame_is_moved_not_copied():
    ring, frame = FrameRing(2, (64, 64)), PATTERN.copy()
    slot = ring.take(frame)
    assert (slot == PATTERN).all()
    assert not frame.any()


def test_the_ring_reuses_its_slots():
    ring = FrameRing(2, (64, 64))
    first, second, third = (ring.take(PATTERN.copy()) for _ in range(3))
    assert np.shares_memory(first, third)
    assert not np.shares_memory(first, second)


@pytest.mark.proves("EYE-2")
def test_the_ring_is_wiped_on_the_way_out_whatever_the_reason():
    with pytest.raises(ZeroDivisionError), FrameRing(2, (64, 64)) as ring:
        ring.take(PATTERN.copy())
        raise ZeroDivisionError
    assert not ring.slots.any()


def test_a_buffer_that_cannot_be_wiped_is_refused():
    frame = PATTERN.copy()
    frame.flags.writeable = False
    with pytest.raises(ValueError, match="cannot be wiped"):
        FrameRing(2, (64, 64)).take(frame)


def test_the_kernel_confirms_that_frames_are_locked_and_not_dumped():
    ring = FrameRing(4, (64, 64))
    ring.lock()
    assert ring.locked, ring.why_not_locked
    address = ring.slots.ctypes.data
    with open("/proc/self/smaps", encoding="ascii") as smaps:
        flags = ""
        inside = False
        for line in smaps:
            head = line.split()[0]
            if "-" in head and not head.endswith(":"):
                low, high = (int(part, 16) for part in head.split("-"))
                inside = low <= address < high
            elif inside and head == "VmFlags:":
                flags = line
    assert {"lo", "dd", "dc"} <= set(flags.split())  # locked, not dumped, not copied to children


@pytest.fixture(scope="module")
def faces():
    clip = SimulatedSubjects(3).clip(5, 0, 6, SENSOR.binned_shape, 30.0)
    return np.moveaxis(clip.frames, -1, 1)


def frame(scene, masked=True, light=1.0, seed=0):
    from opticaldr.models.optics import form_image

    image = form_image(scene, PSF.astype(np.float32)) if masked else scene
    rng = np.random.default_rng(seed)
    return expose(np.maximum(image, 0) * np.float32(light), SENSOR, rng=rng).astype(np.float32)


@pytest.fixture
def watch():
    interlock = derive_interlock(PSF, SENSOR)
    band = StopBand.of(PSF, SENSOR.binned_shape, interlock)
    return InterlockWatch(interlock, band, Structure(PSF[None, None], SENSOR.binned_shape))


def test_frames_through_the_mask_are_trusted(watch, faces):
    for number, scene in enumerate(faces):
        verdict = watch.look(frame(scene, seed=number))
        assert verdict.trusted
        assert verdict.margin < 1


@pytest.mark.proves("EYE-4")
def test_the_second_frame_without_the_mask_trips_it_for_good(watch, faces):
    assert watch.look(frame(faces[0])).trusted
    first, second = (watch.look(frame(scene, masked=False)) for scene in faces[1:3])
    assert (first.trusted, first.tripped) == (False, False)
    assert (second.trusted, second.tripped) == (False, True)
    assert second.margin > 1
    again = watch.look(frame(faces[3]))
    assert not again.trusted
    assert again.tripped


def test_what_cannot_be_judged_is_not_trusted_and_passes(watch, faces):
    dark = [watch.look(frame(faces[0], light=1e-4, seed=n)) for n in range(3)]
    assert [verdict.trusted for verdict in dark] == [False] * 3
    assert [verdict.blind for verdict in dark] == [False, True, True]
    assert not dark[-1].tripped
    light_again = watch.look(frame(faces[0]))
    assert light_again.trusted
    assert not light_again.blind


def test_what_does_not_look_like_the_mask_is_dropped_until_it_does_again(watch, faces, monkeypatch):
    agreement = {"now": 1.0}
    monkeypatch.setattr(watch._structure, "agreement", lambda frame: agreement["now"])
    seen = frame(faces[0])
    looked = []
    for agreement["now"] in (1.0, -0.6, -0.6, np.nan, 0.5, 0.5):
        looked += [watch.look(seen) for _ in range(STRIDE)][:1]
    assert [verdict.trusted for verdict in looked] == [True, True, False, False, True, True]
    assert [verdict.blind for verdict in looked] == [False, False, True, True, False, False]
    assert not looked[-1].tripped
    for agreement["now"] in [-5.0] * 9 + [1.0] * 3:
        last = [watch.look(seen) for _ in range(STRIDE)][-1]
    assert last.trusted


def test_what_is_not_a_number_is_not_trusted(watch, faces):
    broken = frame(faces[0])
    broken[0, 3, 3] = np.nan
    assert not watch.look(broken).trusted


@pytest.mark.proves("EYE-7")
def test_quality_flags(faces):
    watch = QualityWatch()
    still = frame(faces[0])
    assert watch.look(still) == Quality(0)
    assert watch.look(still) == Quality(0)
    assert watch.look(np.roll(still, 24, axis=2)) == Quality.MOVING
    assert watch.look(still * 0 + 0.001) == Quality.DARK
    assert Quality.SATURATED in QualityWatch().look(np.ones_like(still))


def test_latency_percentiles_are_those_of_the_frames():
    count, rng = Count(), np.random.default_rng(0)
    times = rng.gamma(4, 2e-3, 5000)
    for seconds in times:
        count.took(float(seconds))
    for fraction in (0.5, 0.99):
        assert count.latency(fraction) == pytest.approx(np.quantile(times, fraction), abs=2e-4)
    count.took(60.0)
    assert count.latency(1.0) == pytest.approx(MAX_LATENCY)


def test_a_source_is_shown_at_the_pace_the_model_wants():
    def shown(times, fps):
        pictures = ((t, np.float32(n)) for n, t in enumerate(times))
        return [int(p) for p in at_pace(pictures, fps)]

    assert shown([0, 0.1, 0.2, 0.3], 10) == [0, 1, 2, 3]
    assert shown([0, 0.1, 0.2, 0.3], 20) == [0, 0, 1, 1, 2, 2, 3]
    assert shown([0, 0.1, 0.2, 0.3, 0.4], 5) == [0, 2, 4]


def test_the_scene_camera_sees_through_the_mask_until_it_is_taken_off(faces):
    scenes = [np.moveaxis(face, 0, -1) for face in faces[:3]]
    camera = SceneCamera(iter(scenes), PSF.astype(np.float32), SENSOR, unmask_at=2)

    def detail(raw):
        return float(np.abs(np.diff(raw[::8, ::8].astype(float), axis=1)).mean())

    with camera:
        first, second, bare = (camera.capture() for _ in range(3))
        assert first.raw.dtype == np.uint16
        assert first.raw.shape == SENSOR.shape == camera.info.shape
        assert detail(bare.raw) > 1.3 * max(detail(first.raw), detail(second.raw))
        with pytest.raises(SceneEnded):
            camera.capture()
