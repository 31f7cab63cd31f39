"""Faults that a rig file plants on the simulated bench are found by what the calibration says."""

import numpy as np
import pytest

from opticaldr.artefacts import create
from opticaldr.calibration.capture import Plan
from opticaldr.calibration.measure import measure
from opticaldr.calibration.rig import Rig
from opticaldr.calibration.session import Session
from opticaldr.errors import Refusal
from opticaldr.hardware.faults import Faults
from opticaldr.hardware.rig import RigSpec, load_rig
from opticaldr.models.optics import Optic, zernike_height

QUICK = Plan(depths=1, exposures=1, frames=1, dark_frames=2, flats=4)


@pytest.fixture(scope="module")
def design(quick) -> Optic:
    """A design without any symmetry, so that mirrored and turned differ from it."""
    return Optic(quick, zernike_height({4: 1e-6, 5: 1e-6, 6: 1.5e-6, 7: 2e-6, 8: 1.2e-6, 9: 2e-6}, quick))


def bench(tmp_path, faults: str) -> RigSpec:
    file = tmp_path / "rig.toml"
    file.write_text(f"[faults]\n{faults}\n")
    return load_rig(file)


def session(design: Optic, rig: RigSpec, folder) -> None:
    with Session(folder, {}) as kept:
        measure(design, rig, QUICK, kept, 4, lambda *_: None)


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ('mask = "mirrored"', r"resembles this design mirrored .*turn the mask over"),
        ('mask = "turned by 90°"', r"turned by 90°.*by 90° anticlockwise"),
        ('mask = "missing"', r"no mask at all.*put the mask before the lens"),
        ("leak = 1e-3", r"light leak: with the shutter closed.*close the housing"),
        ('shutter = "sticks open"', r"the shutter did not close; .*blocks its blade"),
        ('shutter = "sticks closed"', r"the shutter did not open; .*blocks its blade"),
        ('cover = "open"', r"cover is open; close the housing"),
        ("source = 0", r"not seen in the field"),
        ("source = 1e5", r"saturates at the shortest exposure.*grey filter"),
    ],
)
def test_a_planted_fault_is_named_with_its_remedy_and_leaves_no_measurement(design, tmp_path, faults, said):
    with pytest.raises(Refusal, match=said):
        session(design, bench(tmp_path, faults), tmp_path / "work")
    assert not list((tmp_path / "work").glob("*.npz"))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("[0.03, -0.02]", r"36 mm off axis at 0.4 m: 5.\d°, .* spot has gone 30 mm left and 20 mm down"),
        ("[-0.03, 0.0]", r"30 mm off axis at 0.4 m: .* spot has gone 30 mm right in the frame"),
    ],
)
def test_a_source_beside_the_axis_is_told_where_to_go(design, tmp_path, place, said):
    sensor = design.spec.sensor.model_copy(update={"shape": (448, 448)})
    wide = Optic(design.spec.model_copy(update={"sensor": sensor}), design.height)
    with pytest.raises(Refusal, match=said):
        session(wide, bench(tmp_path, f"source_place = {place}"), tmp_path / "work")


def test_once_mended_the_same_command_goes_on(design, tmp_path):
    with pytest.raises(Refusal, match="turn the mask over"):
        session(design, bench(tmp_path, 'mask = "mirrored"'), tmp_path / "work")
    session(design, bench(tmp_path, 'mask = "as designed"'), tmp_path / "work")
    assert (tmp_path / "work" / "look.npz").exists()


def test_another_mask_is_read_from_beside_the_rig_file(design, tmp_path):
    other = Optic(design.spec, zernike_height({4: -2e-6, 8: 2e-6, 10: 2e-6}, design.spec))
    with create("design", tmp_path / "other", seed=0) as draft:
        other.write(draft.path)
    rig = bench(tmp_path, 'mask = "other"')
    assert rig.faults.mounted(design).height == pytest.approx(other.height, abs=1e-12)
    with pytest.raises(Refusal, match=r"there is no .*nowhere; choose one of mirrored"):
        Rig(bench(tmp_path, 'mask = "nowhere"'), design=design)


def test_a_slipped_plate_is_the_same_build_elsewhere(design):
    honest, slipped = (
        Rig(RigSpec(faults=Faults(slipped=slip)), design=design, seed=2)
        for slip in ((0.0, 0.0), (60e-6, 0.0))
    )
    assert slipped.hidden.form == honest.hidden.form
    assert np.subtract(slipped.hidden.decentre, honest.hidden.decentre) == pytest.approx([60e-6, 0.0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[faults]\nleek = 1\n", r"faults\.leek"),
        ('[faults]\nshutter = "stuck"\n', r"faults\.shutter.*sticks open"),
        ("[faults]\nslipped = [1.0, 0.0]\n", r"faults\.slipped\.0"),
        ('[faults]\nleak = 1.0\n[camera]\ndriver = "picamera2"\n', "beside a simulated camera only"),
    ],
)
def test_an_impossible_fault_is_refused_by_key(tmp_path, text, said):
    file = tmp_path / "rig.toml"
    file.write_text(text)
    with pytest.raises(Refusal, match=said):
        load_rig(file)
