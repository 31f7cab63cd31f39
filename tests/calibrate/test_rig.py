import importlib.util
import io
import pathlib
import sys

import cv2
import numpy as np
import pytest

from opticaldr.calibration import capture
from opticaldr.calibration.rig import Rig
from opticaldr.errors import Refusal
from opticaldr.firmware_interface.errors import NoBoard
from opticaldr.hardware.as_built import BuildErrors, Tolerances, build, respaced
from opticaldr.hardware.cameras import RawFrame, ReplayCamera, SimulatedCamera
from opticaldr.hardware.cameras.errors import CameraLost, NoCamera, WrongMode
from opticaldr.hardware.cameras.opencv import OpenCVCamera
from opticaldr.hardware.cameras.picamera2 import Picamera2Camera
from opticaldr.hardware.chart import noise_chart
from opticaldr.hardware.rig import OpenCVPart, Picamera2Part, ReplayPart, RigSpec, camera_of, load_rig
from opticaldr.hardware.world import World
from opticaldr.models.optics import Optic


def test_a_rig_file_is_read_and_the_word_simulated_stands_for_the_default(tmp_path):
    file = tmp_path / "RIG.toml"
    file.write_text('name = "b"\n[stage]\norigin = 0.4\n[simulation]\nform = 1e-7\n')
    spec = load_rig(file)
    assert (spec.name, spec.stage.origin, spec.simulation.form) == ("b", 0.4, 1e-7)
    assert load_rig("simulated") == RigSpec()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[stage]\norigin = -1\n", r"stage\.origin.*-1"),
        ("[stage]\nlenght = 1\n", r"stage\.lenght"),
        ('[camera]\ndriver = "daguerreotype"\n', r"camera\.driver: choose one of simulated.*daguerreotype"),
        ("[camera]\nnumber = 1\n", r"camera\.driver: choose one of"),
        ('[camera]\ndriver = "picamera2"\nmode = [0, 5]\n', r"camera\.mode\.0: .*greater than 0"),
        ('[camera]\ndriver = "opencv"\nunity_gain = 0\n', r"camera\.unity_gain"),
        ('[camera]\ndriver = "replay"\n', r"camera\.source: Field required"),
        ('[camera]\ndriver = "simulated"\nnumber = 1\n', r"camera\.number"),
        ("name = [", "not valid TOML"),
    ],
)
def test_a_wrong_rig_file_is_refused_by_key(tmp_path, text, said):
    file = tmp_path / "RIG.toml"
    file.write_text(text)
    with pytest.raises(Refusal, match=said):
        load_rig(file)


@pytest.mark.parametrize(
    ("camera", "kind"),
    [
        ('driver = "simulated"', SimulatedCamera),
        ('driver = "replay"\nsource = "frames"', ReplayCamera),
        ('driver = "opencv"\nformat = "Y16"\nmode = [1080, 1920]', OpenCVCamera),
        ('driver = "picamera2"\nbits = 10', Picamera2Camera),
    ],
)
@pytest.mark.parametrize("port", ["simulated", "/dev/ttyACM0", "socket://pi:2217"])
def test_any_camera_goes_with_any_board(tmp_path, camera, kind, port):
    file = tmp_path / "RIG.toml"
    file.write_text(f'[camera]\n{camera}\n[board]\nport = "{port}"\n')
    spec = load_rig(file)
    assert isinstance(camera_of(spec.camera, world=World()), kind)
    assert spec.board.port == port


def test_a_recording_is_found_beside_its_rig_file(tmp_path):
    file = tmp_path / "RIG.toml"
    file.write_text('[camera]\ndriver = "replay"\nsource = "frames"\n')
    assert load_rig(file).camera.source == tmp_path / "frames"


def test_a_missing_rig_file_is_named():
    with pytest.raises(Refusal, match=r"nowhere\.toml"):
        load_rig("nowhere.toml")


def test_the_source_stands_where_the_rig_says(design):
    with Rig(load_rig("simulated"), design=design, seed=1) as rig:
        reached = rig.go_to(0.731)
        assert reached == pytest.approx(0.731, abs=1e-4)
        assert rig.world.depth == pytest.approx(reached, abs=2e-4)


def test_light_is_off_and_the_shutter_closed_when_the_bench_is_left(design):
    with Rig(load_rig("simulated"), design=design) as rig, rig.target("source"):
        rig.board.source(0.5)
        assert rig.world.source_drive > 0
        assert rig.world.shutter_transmission == 1
    rig.world.advance(1)
    assert rig.world.source_drive == 0
    assert rig.world.shutter_transmission == 0


def test_the_hidden_build_depends_on_the_seed_alone(design):
    first, again, other = (Rig(RigSpec(), design=design, seed=s).truth.height for s in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_build_without_errors_is_the_design_and_tolerances_are_standard_deviations(design):
    assert build(design, BuildErrors()).height == pytest.approx(design.height, abs=1e-12)
    draws = [BuildErrors.draw(Tolerances(), np.random.default_rng(s)) for s in range(300)]
    assert np.std([d.decentre[0] for d in draws]) == pytest.approx(25e-6, rel=0.15)
    assert np.sqrt(np.mean([sum(c**2 for c in d.form.values()) for d in draws])) == pytest.approx(
        80e-9, rel=0.1
    )


def test_spacing_moves_the_sensor_and_keeps_the_lens(design):
    moved = respaced(design.spec, 30e-6)
    assert moved.sensor_distance - design.spec.sensor_distance == pytest.approx(30e-6)
    assert moved.lens.focal_length == design.spec.lens.focal_length


def test_a_turned_plate_is_the_turned_design(design):
    quarter = build(design, BuildErrors(rotation=np.pi / 2)).height
    samples = design.spec.pupil.samples
    rows, columns = np.indices((samples, samples))
    radius = np.hypot(rows - (samples - 1) / 2, columns - (samples - 1) / 2)
    inside = radius < samples / 2 - 4
    # +x turns to +y, which points down: what was right of the axis is now below it
    assert np.abs(quarter - np.rot90(design.height, -1))[inside].max() < 1e-9


def real(**camera):
    """A bench whose camera is a Raspberry Pi's and whose board is simulated."""
    return RigSpec(camera=Picamera2Part(driver="picamera2", **camera))


@pytest.fixture
def pi(monkeypatch):
    """Plug the double of a Pi camera in before the world of a rig: `pi(rig)`."""
    path = pathlib.Path(__file__).parents[1] / "cameras" / "libcamera_stack.py"
    spec = importlib.util.spec_from_file_location("libcamera_stack", path)
    double = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(double)

    def before(rig, **what):
        stack = double.Stack(rig.world, **what)
        monkeypatch.setitem(sys.modules, "picamera2", stack.module)
        return stack

    return before


@pytest.mark.parametrize("model", [4, 5])
def test_a_real_camera_and_the_board_work_together(design, pi, model):
    rig = Rig(real(), design=design, seed=1)
    pi(rig, pi=model)
    with rig:
        rig.go_to(0.5)
        with rig.target("source"):
            rig.board.source(0.02)
            rig.camera.configure(exposure=1e-3)
            lit = rig.camera.capture().raw.astype(int)
            rig.board.source(0)
            rig.camera.configure(exposure=1e-3)
            unlit = rig.camera.capture().raw.astype(int)
    assert lit.shape == design.spec.sensor.shape
    assert (lit - unlit).max() > 100
    assert rig.hidden is None


def test_a_person_is_asked_for_the_flat_panel_of_a_real_bench(design, pi):
    asked = []
    rig = Rig(real(), design=design, ask=asked.append)
    pi(rig)
    with rig, rig.target("flat"):
        rig.camera.configure(exposure=0.01)
        level = rig.camera.capture().raw.mean()
    assert level > 200
    assert [("panel" in each) for each in asked] == [True, True]


def test_a_person_is_asked_to_show_the_chart_and_where(design, pi, tmp_path):
    asked, picture = [], tmp_path / "chart.png"
    rig = Rig(real(), design=design, ask=asked.append)
    noise_chart(rig.spec.chart, design.spec, (30, 30)).write(picture)
    pi(rig)
    with rig, rig.chart(picture):
        rig.world.advance(1.0)
        assert rig.world.shutter_transmission == 1
    assert str(picture) in asked[0]
    assert "1920 x 1080 pixels" in asked[0]
    assert "0.6 m from the pupil" in asked[0]
    assert "away" in asked[1]


def test_without_a_terminal_a_bench_that_needs_a_person_says_so(design, pi, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    rig = Rig(real(), design=design)
    pi(rig)
    with pytest.raises(Refusal, match=r"needs a person: .*flat panel"), rig, rig.target("flat"):
        pass


def test_a_camera_pulled_out_leaves_the_bench_dark(design, pi):
    rig = Rig(real(), design=design)
    stack = pi(rig)
    with pytest.raises(CameraLost), rig, rig.target("source"):
        rig.board.source(0.5)
        stack.plugged = False
        rig.camera.capture()
    rig.world.advance(1)
    assert (rig.world.source_drive, rig.world.shutter_transmission, stack.open) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bayer": "BGGR"}, "colour filters RGGB, the optics were designed for BGGR"),
        ({"bits": 12}, "has no mode .* at 12 bit"),
        ({"shape": (1200, 1600)}, "1200 × 1600 are needed"),
    ],
)
def test_a_camera_other_than_the_design_was_made_for_is_refused(design, pi, change, said):
    sensor = design.spec.sensor.model_copy(update={"binning": 8} | change)
    other = Optic(design.spec.model_copy(update={"sensor": sensor}), design.height)
    rig = Rig(real(), design=other)
    stack = pi(rig)
    stack.world = World(optic=design)
    with pytest.raises(WrongMode, match=said), rig:
        pass
    assert stack.open == 0


def test_developed_pictures_are_never_measured(design, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((896, 896, 3), np.uint8))
    spec = RigSpec(camera=ReplayPart(driver="replay", source=tmp_path))
    with (
        pytest.raises(WrongMode, match="cannot measure: its camera develops the pictures"),
        Rig(spec, design=design),
    ):
        pass


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        (RigSpec(board={"port": "/dev/ttyACM93"}), NoBoard, "there is nothing at /dev/ttyACM93"),
        (
            RigSpec(camera=OpenCVPart(driver="opencv", device="/dev/video93")),
            NoCamera,
            "there is no /dev/video93",
        ),
    ],
)
def test_a_missing_board_or_camera_is_named_at_once(design, spec, error, said):
    with pytest.raises(error, match=said), Rig(spec, design=design):
        pass


def test_settings_count_as_taken_within_rows_and_steps_of_gain():
    frame = RawFrame(np.zeros((2, 2), np.uint16), 103e-6, 8.2, 60, 300.0, 0.0)
    assert frame.taken_at(1e-4, 8.0)
    assert not frame.taken_at(2e-4, 8.0)
    assert not frame.taken_at(1e-4, 4.0)


def test_a_bracket_tells_the_exposures_that_the_sensor_rounded_to(design, pi):
    rig = Rig(real(), design=design, seed=1)
    pi(rig)
    with rig:
        found = capture.spot(rig, capture.Plan(exposures=2, frames=1), 0.6, (256, 256))
    rows = found["exposures"] / 14.8e-6
    assert rows == pytest.approx(np.round(rows), abs=0.1)
    assert found["light"].max() > 300
