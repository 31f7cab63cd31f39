import numpy as np
import pytest

from opticaldr.errors import Refusal
from opticaldr.hardware.cameras import FlatPanel, SimulatedCamera, Subject
from opticaldr.hardware.cameras.pixels import pixel_integrals
from opticaldr.hardware.cameras.simulated import electrons_per_joule, point_response
from opticaldr.hardware.world import World
from opticaldr.models.optics import Optic, preset, zernike_height


@pytest.fixture(scope="module")
def optic() -> Optic:
    spec = preset("clinic")
    return Optic(spec, zernike_height({7: 1e-6, 9: 1e-6}, spec))


def lit_world(optic: Optic) -> World:
    world = World(optic=optic, source_drive=0.02, shutter_command=True)
    world.advance(1.0)
    return world


def centroid(lift):
    rows, columns = np.indices(lift.shape)
    return np.array([np.sum(lift * rows), np.sum(lift * columns)]) / lift.sum()


def test_nothing_is_needed_before_the_block_and_an_optic_inside_it():
    camera = SimulatedCamera(World())
    with pytest.raises(Refusal, match="no optic"):
        camera.__enter__()


def test_a_shut_camera_sees_black_level_and_read_noise(optic):
    sensor = optic.spec.sensor
    with SimulatedCamera(World(optic=optic), seed=1) as camera:
        camera.configure(exposure=1e-4, gain=16)
        pair = [camera.capture().raw.astype(float) for _ in range(2)]
    assert np.mean(pair) == pytest.approx(sensor.black_level, abs=0.05)
    electrons = sensor.full_well / (sensor.white_level - sensor.black_level) / 16
    noise = np.sqrt(np.var(pair[0] - pair[1]) / 2 - 1 / 12) * electrons
    assert noise == pytest.approx(sensor.read_noise, rel=0.01)


def test_the_spot_holds_the_electrons_that_the_pupil_collects(optic):
    depth = 0.6
    spot = point_response(optic, depth, (0.0, 0.0))
    solid_angle = np.pi / 4 * (optic.spec.pupil.diameter / depth) ** 2
    share = np.array([0.25, 0.5, 0.25])  # of the pixels have each filter
    collected = float(share @ electrons_per_joule(optic.spec)) * solid_angle
    assert spot.sum() == pytest.approx(collected, rel=0.02)


def test_moving_the_source_moves_the_spot_as_the_magnification_says(optic):
    depth, offset = 0.5, (900e-6, -400e-6)
    here, there = (point_response(optic, depth, place).astype(float) for place in ((0.0, 0.0), offset))
    moved = centroid(there) - centroid(here)
    pixels = np.array(offset[::-1]) / depth * optic.spec.sensor_distance / optic.spec.sensor.pitch
    assert moved == pytest.approx(pixels, abs=0.15)


def test_moving_the_stage_changes_what_the_camera_sees(optic):
    world = lit_world(optic)
    with SimulatedCamera(world) as camera:
        camera.configure(exposure=1e-3)
        near = camera.capture().raw.astype(float)
        world.stage.start(0.3, 1.0)
        world.advance(1.0)
        far = camera.capture().raw.astype(float)
    ratio = (near - 60).sum() / (far - 60).sum()
    assert ratio == pytest.approx((0.867 / 0.567) ** 2, rel=0.15)


def test_shot_noise_grows_with_the_light_as_photon_statistics_say(optic):
    sensor = optic.spec.sensor
    world = lit_world(optic)
    world.scene = FlatPanel((0.5, 0.5, 0.5))
    with SimulatedCamera(world) as camera:
        first, second = (camera.capture().raw.astype(float) for _ in range(2))
    mean = np.mean((first + second) / 2) - sensor.black_level
    variance = np.var(first - second) / 2 - 1 / 12
    electrons = sensor.full_well / (sensor.white_level - sensor.black_level)
    assert mean / variance == pytest.approx(electrons, rel=0.02)


def test_taking_a_frame_takes_time_and_tells_when(optic):
    world = World(optic=optic)
    with SimulatedCamera(world) as camera:
        camera.configure(exposure=0.05)
        first, second = camera.capture(), camera.capture()
    assert second.timestamp - first.timestamp == pytest.approx(0.05)
    assert first.exposure == 0.05
    assert abs(first.temperature - world.ambient_temperature) < 1


def test_the_same_seed_sees_the_same_noise(optic):
    frames = []
    for _ in range(2):
        with SimulatedCamera(World(optic=optic), seed=4) as camera:
            camera.reseed(3)
            frames.append(camera.capture().raw)
    assert np.array_equal(*frames)


def test_a_subject_is_blurred_by_the_mask(optic):
    stripes = np.zeros((112, 112, 3), np.float32)
    stripes[:, ::2] = 0.5
    masks = zernike_height({4: 5e-6}, optic.spec), np.zeros_like(optic.height)
    worlds = [lit_world(Optic(optic.spec, mask)) for mask in masks]
    contrast = []
    for world in worlds:
        world.scene = Subject(stripes, 0.6)
        with SimulatedCamera(world) as camera:
            raw = camera.capture().raw[400:496, 400:496].astype(float)
        columns = raw.reshape(96, 12, 8).mean((0, 2))
        contrast.append(np.ptp(columns))
    assert contrast[0] < 0.5 * contrast[1]


@pytest.mark.parametrize(("exposure", "gain"), [(0.0, 1.0), (11.0, 1.0), (0.01, 0.5), (0.01, 99.0)])
def test_impossible_settings_are_refused(optic, exposure, gain):
    with SimulatedCamera(World(optic=optic)) as camera, pytest.raises(Refusal, match="out of range"):
        camera.configure(exposure=exposure, gain=gain)


def test_pixel_integrals_are_those_of_a_band_limited_light():
    # cos² fringes of 1.3 a pixel under a wide Gaussian, against a fine sum
    def light(u):
        return np.exp(-(u**2) / 30) * np.cos(1.3 * np.pi * u + 0.4) ** 2

    side, parts, offset = 40, 4, 0.31
    samples = (np.arange(side * parts) - (side * parts - 1) / 2) / parts
    found = pixel_integrals(side, side * parts, 1 / parts, offset) @ (light(samples) / parts)
    fine = (np.arange(side * 500) - (side * 500 - 1) / 2) / 500
    truth = light(fine - offset).reshape(side, 500).mean(1)
    assert np.abs(found - truth).max() < 2e-4
