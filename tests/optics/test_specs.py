"""Specs from files, the presets' arithmetic, and what is refused, by name."""

from importlib import resources

import numpy as np
import pytest

from opticaldr.errors import Refusal
from opticaldr.models.optics import (
    Optic,
    check_sampling,
    face_width,
    load_spec,
    magnification,
    preset,
    psf_bank,
    zernike_height,
)

CLINIC = resources.files("opticaldr.models.optics") / "presets" / "clinic.toml"


@pytest.mark.parametrize("name", ["clinic", "paper", "paper-noll"])
def test_presets_load_and_survive_json(name):
    spec = preset(name)
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec
    assert np.allclose(spec.spectral_weights.sum(axis=1), 1)


def test_an_unknown_preset_is_answered_with_the_known_ones():
    with pytest.raises(Refusal, match=r"clinic, paper, paper-noll"):
        preset("hospital")


def test_a_face_in_the_clinic_is_87_to_29_superpixels_wide():
    spec = preset("clinic")
    assert spec.sensor.binned_shape == (112, 112)
    assert spec.sensor.superpixel == pytest.approx(27.6e-6)
    assert face_width(spec, 0.4) == pytest.approx(87.8, abs=0.1)
    assert face_width(spec, 1.2) == pytest.approx(29.3, abs=0.1)
    assert magnification(spec, 0.6) == pytest.approx(6e-3 / (0.6 - 6e-3), rel=1e-9)


def test_a_face_does_not_fit_on_the_papers_sensor():
    spec = preset("paper")
    assert magnification(spec, 1.0) * 0.16 == pytest.approx(5.7e-3, rel=0.01)
    assert face_width(spec, 1.0) > spec.sensor.binned_shape[1]


def test_the_noll_reading_of_the_papers_z4_is_aliased():
    for name, aliased in (("paper", False), ("paper-noll", True)):
        spec = preset(name)
        height = zernike_height(spec.mask.start, spec)
        if aliased:
            with pytest.raises(Refusal, match=r"aliased.*normalisation"):
                check_sampling(height, spec)
        else:
            check_sampling(height, spec)


def test_a_map_too_coarse_for_its_slopes_is_refused_with_the_samples_it_needs(vary):
    spec = vary("clinic", pupil__samples=32)
    with pytest.raises(Refusal, match=r"waves between samples.*pupil.samples of at least") as refused:
        psf_bank(zernike_height({4: 40e-6}, spec), spec, [0.6], shape=(5, 5))
    enough = int(str(refused.value).split("at least ")[1].split(",")[0])
    finer = vary("clinic", pupil__samples=enough + 1)
    psf_bank(zernike_height({4: 40e-6}, finer), finer, [0.6], shape=(1, 1))


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("pitch = 3.45e-6|pitch = 0", "sensor.pitch"),
        ("near = 0.4|near = -0.4", "scene.near"),
        ("focal_length = 6e-3|focal_length = nan", "lens.focal_length"),
        ("bits = 10|bits = 99", "sensor.bits"),
        ("450e-9, 490e-9|-450e-9, 490e-9", "sensor.wavelengths.0"),
        ("binning = 8|binning = 7", "sensor"),
        ("samples = 512|sampels = 512", r"pupil\.sampels: Extra"),
        ("shape = [896, 896]|shape = [900, 896]", r"sensor: shape \(900, 896\) is not a multiple"),
        ("illuminant = [0.75, |illuminant = [", r"scene\.illuminant has 5 values"),
    ],
)
def test_a_mistake_in_a_file_is_named_by_its_field(tmp_path, line, field):
    text = CLINIC.read_text()
    old, new = line.split("|")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(Refusal, match=rf"mine\.toml: {field}"):
        load_spec(path)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("pitch = 3.45e-6|pitch = 3.45", "sensor.pitch: 3.45 .* 0.001"),
        ("diameter = 2.142857142857143e-3|diameter = 2.1", "pupil.diameter: 2.1 .* 1"),
        ("focal_length = 6e-3|focal_length = 6", "lens.focal_length: 6 .* 1"),
        ("450e-9, 490e-9|450, 490", "sensor.wavelengths.0: 450 .* 0.0001"),
        ("max_sag = 30e-6|max_sag = 30", "mask.max_sag: 30 .* 1"),
    ],
)
def test_millimetres_and_nanometres_are_told_from_metres(tmp_path, line, field):
    old, new = line.split("|")
    path = tmp_path / "mine.toml"
    path.write_text(CLINIC.read_text().replace(old, new))
    with pytest.raises(Refusal, match=rf"mine\.toml: {field}.*metres"):
        load_spec(path)


def test_nothing_is_said_of_metres_where_there_are_none(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(CLINIC.read_text().replace("bits = 10", "bits = 99"))
    with pytest.raises(Refusal, match=r"sensor\.bits: .* 16, not 99") as refused:
        load_spec(path)
    assert "lengths are metres" not in str(refused.value)


def test_toml_that_is_none_is_refused_with_its_line(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("name = \n")
    with pytest.raises(Refusal, match=r"line 1"):
        load_spec(path)
    with pytest.raises(Refusal, match=r"missing"):
        load_spec(tmp_path / "absent.toml")


def test_a_material_is_never_extrapolated():
    material = preset("clinic").mask.material
    assert material.index(587.6e-9) == pytest.approx(1.4906, abs=5e-4)  # PMMA's n_d
    with pytest.raises(Refusal, match=r"not known at 400 nm.*437 and 1052"):
        material.index(400e-9)
    paper = preset("paper").mask.material
    assert [paper.index(w) for w in (640e-9, 550e-9, 460e-9)] == [1.488, 1.493, 1.499]
    with pytest.raises(Refusal, match=r"not known at 700 nm"):
        paper.index(700e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h[:-1], r"height has shape \(31, 32\)"),
        (lambda h: np.where(np.arange(32) == 16, np.nan, h), "height is not finite"),
        (lambda h: np.where(np.arange(32) == 16, np.inf, h), "height is not finite"),
    ],
)
def test_bad_height_maps_are_refused(vary, change, message):
    spec = vary("clinic", pupil__samples=32)
    with pytest.raises(Refusal, match=message):
        psf_bank(change(np.zeros((32, 32))), spec, [0.6], shape=(3, 3))
    with pytest.raises(Refusal, match=message):
        Optic(spec, change(np.zeros((32, 32))))


@pytest.mark.parametrize("depth", [0.0, -1.0, np.nan, np.inf])
def test_bad_depths_are_refused(vary, depth):
    spec = vary("clinic", pupil__samples=32)
    with pytest.raises(Refusal, match=r"depth is"):
        psf_bank(np.zeros((32, 32)), spec, [depth], shape=(3, 3))
    with pytest.raises(Refusal, match=r"depth is"):
        magnification(spec, depth)


def test_an_optic_is_read_as_it_was_written(vary, tmp_path):
    spec = vary("clinic", pupil__samples=32)
    optic = Optic(spec, zernike_height({5: 1e-6}, spec))
    optic.write(tmp_path)
    again = Optic.read(tmp_path)
    assert again.spec == spec
    assert np.array_equal(again.height, optic.height)
    (tmp_path / "height.npy").write_bytes(b"nonsense")
    with pytest.raises(Refusal, match=r"cannot be read"):
        Optic.read(tmp_path)
    (tmp_path / "height.npy").unlink()
    with pytest.raises(Refusal, match=r"height.npy is missing"):
        Optic.read(tmp_path)
