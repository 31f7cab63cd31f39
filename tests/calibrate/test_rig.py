import numpy as np
import pytest

from opticaldr.calibration.rig import Rig
from opticaldr.errors import Refusal
from opticaldr.hardware.as_built import BuildErrors, Tolerances, build, respaced
from opticaldr.hardware.rig import RigSpec, load_rig


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
        ('[camera]\ndriver = "daguerreotype"\n', r"camera\.driver.*simulated"),
        ("name = [", "not valid TOML"),
    ],
)
def test_a_wrong_rig_file_is_refused_by_key(tmp_path, text, said):
    file = tmp_path / "RIG.toml"
    file.write_text(text)
    with pytest.raises(Refusal, match=said):
        load_rig(file)


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
