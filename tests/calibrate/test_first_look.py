"""What is wrong with a bench is said within its first minute, in one line, with the remedy."""

import numpy as np
import pytest

from opticaldr.calibration.capture import Plan
from opticaldr.calibration.first_look import Candidate, green_psf, look, refuse_other_mask
from opticaldr.calibration.hypothesis import Plate
from opticaldr.calibration.measure import field_grid
from opticaldr.calibration.rig import Rig
from opticaldr.errors import Refusal
from opticaldr.hardware.as_built import UNQUOTED, BuildErrors, Tolerances, build
from opticaldr.hardware.mounting import MISMOUNTED
from opticaldr.hardware.rig import load_rig
from opticaldr.models.optics import Optic, zernike_height

SIDE = 96


@pytest.fixture(scope="module")
def design(quick) -> Optic:
    """A design without any symmetry, so that mirrored and turned differ from it."""
    terms = {4: 1e-6, 5: 1e-6, 6: 1.5e-6, 7: 2e-6, 8: 1.2e-6, 9: 2e-6}
    return Optic(quick, zernike_height(terms, quick))


@pytest.fixture(scope="module")
def other(quick) -> Optic:
    return Optic(quick, zernike_height({4: -2e-6, 8: 2e-6, 10: 2e-6, 14: 0.7e-6}, quick))


def first_minute(design: Optic, optic: Optic | None = None, others=(), **fault) -> None:
    """Look at a bench on which `optic` stands instead of a build of the design, and something else is wrong."""
    with Rig(load_rig("simulated"), design=design, seed=4) as rig:
        if optic is not None:
            rig.world.optic = optic
        for name, value in fault.items():
            setattr(rig.world, name, value)
        began = rig.world.now
        try:
            rig.go_to(0.4)
            look(rig, design, others, 0.4, (SIDE, SIDE))
        finally:
            assert rig.world.now - began < 60


@pytest.mark.parametrize("seed", range(2))
def test_honest_builds_pass(design, other, seed):
    built = build(design, BuildErrors.draw(Tolerances(), np.random.default_rng(seed)))
    first_minute(design, built, [Candidate("the other", other, "fetch the right one")])


@pytest.mark.proves("MASK-3")
def test_a_mask_of_another_design_is_named(design, other):
    with pytest.raises(Refusal, match=r"wrong mask.*resembles the other .*; fetch the right one"):
        first_minute(design, other, [Candidate("the other", other, "fetch the right one")])


@pytest.mark.proves("MASK-3")
def test_a_mirrored_mask_is_to_be_turned_over(design):
    mirrored = Optic(design.spec, design.height[:, ::-1].copy())
    with pytest.raises(Refusal, match=r"this design mirrored .*turn the mask over"):
        first_minute(design, mirrored)


@pytest.mark.proves("MASK-3")
@pytest.mark.parametrize("seed", range(2))
def test_a_mask_that_is_nearly_its_own_mirror_image_is_told_from_it(quick, seed):
    fan = Optic(quick, zernike_height({4: 2.5e-6, 6: 2.5e-6, 8: 0.25e-6, 11: 0.5e-6}, quick))
    over = Optic(quick, fan.height[:, ::-1].copy())
    errors = BuildErrors.draw(Tolerances(), np.random.default_rng(seed))
    first_minute(fan, build(fan, errors))
    with pytest.raises(Refusal, match=r"this design (mirrored|turned by 180°)"):
        first_minute(fan, build(over, errors))


@pytest.mark.parametrize("seed", [4, 8])
def test_an_honest_build_that_happens_to_resemble_its_mirror_image_passes(quick, seed):
    """Coma that decentring took from a fan makes its mirror image fit better, by 0.011 and 0.012."""
    fan = Optic(quick, zernike_height({4: 2.5e-6, 6: 2.5e-6, 8: 0.15e-6, 11: 0.5e-6}, quick))
    built = Plate.of(build(fan, BuildErrors.draw(UNQUOTED, np.random.default_rng(seed))))
    refuse_other_mask(green_psf(built, 0.4, (SIDE, SIDE)), 0.4, fan, [])


@pytest.mark.proves("MASK-3")
@pytest.mark.parametrize("way", ["mirrored", "turned by 180°", "turned by 90°"])
def test_a_poor_build_sat_wrong_in_its_mount_is_named_all_the_same(design, way):
    wrong = Optic(design.spec, np.ascontiguousarray(MISMOUNTED[way](design.height)))
    built = Plate.of(build(wrong, BuildErrors.draw(UNQUOTED, np.random.default_rng(0))))
    with pytest.raises(Refusal, match=rf"this design {way} \(NCC of square roots 0.\d\d\)"):
        refuse_other_mask(green_psf(built, 0.4, (SIDE, SIDE)), 0.4, design, [])


@pytest.mark.proves("MASK-3")
def test_a_turned_mask_says_which_way(design):
    turned = Optic(design.spec, np.rot90(design.height, -1).copy())
    with pytest.raises(Refusal, match=r"turned by 90°.*by 90° anticlockwise"):
        first_minute(design, turned)


@pytest.mark.proves("MASK-3")
def test_a_forgotten_mask_is_missed(design):
    bare = Optic(design.spec, np.zeros_like(design.height))
    with pytest.raises(Refusal, match="no mask at all"):
        first_minute(design, bare)


@pytest.mark.parametrize("irradiance", [1e-4, 10.0], ids=["a gap", "an open cover"])
def test_light_that_no_shutter_stops_is_a_leak_however_bright(design, irradiance):
    with pytest.raises(Refusal, match=r"light leak: .* electrons a second.*close the housing"):
        first_minute(design, leak_irradiance=irradiance)


def test_a_source_that_does_not_shine_is_not_found(design):
    with pytest.raises(Refusal, match="not seen in the field"):
        first_minute(design, source_full_intensity=0.0)


def test_a_source_that_is_too_bright_wants_a_grey_filter(design):
    with pytest.raises(Refusal, match=r"saturates at the shortest exposure.*grey filter"):
        first_minute(design, source_full_intensity=60.0)


def test_the_field_grid_keeps_windows_on_the_sensor(design):
    sensor = design.spec.sensor
    for count in (1, 5, 9):
        fields = field_grid(count, design.spec, (SIDE, SIDE))
        assert (len(fields), fields[0]) == (count, (0.0, 0.0))
        reach = np.abs(fields).max() * design.spec.sensor_distance / sensor.pitch + SIDE / 2
        assert reach <= sensor.shape[0] / 2
    with pytest.raises(Refusal, match="--fields 1"):
        field_grid(9, design.spec, (96, 890))
    assert Plan().fields == 1
