"""A made part, measured by a simulated instrument of known pose and errors: is it found, and found right?"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy.ndimage import map_coordinates

from opticaldr.artefacts import Artefact
from opticaldr.errors import Refusal
from opticaldr.hardware.fabrication.inspection import around_mark, form_error, inspect_surface
from opticaldr.hardware.fabrication.order import as_relief, fabricate
from opticaldr.hardware.fabrication.prediction import as_optic
from opticaldr.hardware.fabrication.refractive import Refractive
from opticaldr.hardware.fabrication.registration import register, resampled
from opticaldr.hardware.fabrication.relief import Relief, Side, View
from opticaldr.hardware.fabrication.surface_file import Surface, read_surface
from opticaldr.models.optics import Optic, psf, zernike_height

from .conftest import small_spec

x3pio = pytest.importorskip("x3pio")

TURN, SHIFT, SCALE, DEPTH = 0.7, (40e-6, -60e-6), 1.002, 1.03
SIDE, STEP = 320, 2.7e-3 / 320


def part(optic: Optic, faces: Side) -> Relief:
    """What a diamond-turned mask of ``optic`` should be, the mark included."""
    process = Refractive(pixel=17e-6, relief_faces=faces)
    spec, wave, _ = process.optics(optic.spec)
    made = process.made(process.drawn(as_relief(optic), wave), wave)
    return as_relief(as_optic(made, spec, stepped=False))


def measured(
    expected: Relief, faces: Side, *, mirrored: bool = False, noise: float = 3e-9, step: float = STEP
) -> np.ndarray:
    """What an instrument that looks at the relief sees: ``[row, column]`` metres, rows upwards as in X3P.

    Its frame is right-handed: X right, Y up, Z towards it. The part lies turned, shifted and tilted in it,
    is 0.2 % too wide and 3 % too deep, and a scratch of the field was not measured.
    """
    axis = (np.arange(SIDE) - (SIDE - 1) / 2) * step
    big_x, big_y = np.meshgrid(axis, axis)
    u, v = big_x - SHIFT[0], big_y - SHIFT[1]
    right = (np.cos(TURN) * u + np.sin(TURN) * v) / SCALE  # in the part's own frame, looking at the relief
    up = (-np.sin(TURN) * u + np.cos(TURN) * v) / SCALE
    right = -right if mirrored else right
    x, y = (-right if faces == "scene" else right), -up
    middle = (expected.samples - 1) / 2
    at = [y / expected.pitch + middle, x / expected.pitch + middle]
    height = DEPTH * map_coordinates(expected.height, at, order=3, mode="nearest")
    height += 1.5e-3 * big_x - 0.8e-3 * big_y + 4e-6
    height += noise * np.random.default_rng(8).standard_normal(height.shape)
    height[150:156, 100:140] = np.nan
    return height


def as_x3p(path: Path, height: np.ndarray, step: float = STEP) -> Path:
    """Written by x3pio, which is also an independent check of axes and units."""
    probing = x3pio.ProbingSystem(x3pio.ProbingType.NON_CONTACTING, "simulated")
    x3pio.write(path, height, x_scale=step, y_scale=step, metadata=x3pio.Metadata(probing_system=probing))
    return path


@pytest.mark.parametrize("faces", ["scene", "sensor"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_pose_and_the_errors_are_found(optic: Optic, tmp_path: Path, faces: Side, mirrored: bool) -> None:
    expected, view = part(optic, faces), View(faces)
    surface = read_surface(as_x3p(tmp_path / "s.x3p", measured(expected, faces, mirrored=mirrored)))
    assert surface.pitch == pytest.approx(STEP)
    pose, explained, ambiguous = register(expected, around_mark(expected, view), surface)
    assert explained > 0.9999
    assert not ambiguous
    assert (pose.mirrored != view.flipped) is mirrored
    assert pose.scale == pytest.approx(SCALE, abs=6e-4)
    # As a picture, rows down, the part is turned the other way round and shifted up by −SHIFT[1].
    assert pose.shift_x == pytest.approx(SHIFT[0], abs=2e-6)
    assert pose.shift_y == pytest.approx(-SHIFT[1], abs=2e-6)
    assert abs(np.angle(np.exp(1j * (pose.angle + TURN)))) < 2e-3
    errors = form_error(expected.height, resampled(expected, surface, pose), expected.aperture())
    assert errors["depth_gain"] == pytest.approx(DEPTH, abs=3e-3)
    assert errors["residual_rms_m"] < 15e-9


@pytest.fixture(scope="module")
def mask(design: Artefact, tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    """A refractive mask."""
    folder = tmp_path_factory.mktemp("mask") / "mask"
    return fabricate(design, "refractive", folder, settings={"pixel": 17e-6}, parts=0)


def test_the_as_built_map_serves_every_later_step(mask: Artefact, tmp_path: Path) -> None:
    expected = as_relief(Optic.read(mask.path))
    built = inspect_surface(mask, as_x3p(tmp_path / "s.x3p", measured(expected, "scene")), tmp_path / "built")
    assert built.kind == "mask"
    assert built.manifest.parents == (mask.id,)
    found = built.json("inspection.json")
    assert found["part_mirrored"] is False
    assert 0 < found["not_measured"] < 0.01
    as_built = Optic.read(built.path)
    # The true part: 3 % too deep and 0.2 % too wide.
    where = np.meshgrid(
        *[expected.axis() / SCALE / expected.pitch + (expected.samples - 1) / 2] * 2, indexing="ij"
    )
    truth = DEPTH * map_coordinates(expected.height, where, order=3, mode="nearest")
    axis = expected.axis()
    inside = np.hypot(axis[:, None], axis) < 0.97 * expected.radius
    error = (as_built.height - truth)[inside]
    x, y = np.meshgrid(axis, axis)
    plane = np.stack([np.ones(inside.sum()), x[inside], y[inside]], axis=1)
    assert (error - plane @ np.linalg.lstsq(plane, error, rcond=None)[0]).std() < 20e-9
    assert psf(as_built.height, as_built.spec, [550e-9], 0.5, shape=(9, 9)).sum() > 0.5
    again = fabricate(built, "grayscale", tmp_path / "again", settings={"pixel": 17e-6}, parts=0)
    assert again.manifest.parents == (built.id,)


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_files_without_units_need_them(tmp_path: Path, suffix: str) -> None:
    height = np.random.default_rng(0).random((40, 50))
    path = tmp_path / f"surface{suffix}"
    tifffile.imwrite(path, height) if suffix == ".tif" else np.save(path, height)
    with pytest.raises(Refusal, match="does not state its pixel size"):
        read_surface(path)
    with pytest.raises(Refusal, match="does not state its height unit"):
        read_surface(path, pitch=1e-6)
    with pytest.raises(Refusal, match=r"pixel size \(pitch_m\) of .* is -1"):
        read_surface(path, pitch=-1.0, unit=1e-6)
    (tmp_path / f"surface{suffix}.json").write_text('{"pitch_m": 2e-6, "unit_m": 1e-6}')
    read = read_surface(path)
    assert read.pitch == 2e-6
    np.testing.assert_allclose(read.height, height * 1e-6)


def test_x3p_rows_that_are_farther_apart_than_its_columns_become_square(tmp_path: Path) -> None:
    rows, columns = np.indices((60, 120))
    probing = x3pio.ProbingSystem(x3pio.ProbingType.NON_CONTACTING, "simulated")
    x3pio.write(
        tmp_path / "s.x3p",
        1e-9 * (rows * 2.0 + columns),
        x_scale=1e-6,
        y_scale=2e-6,
        metadata=x3pio.Metadata(probing_system=probing),
    )
    read = read_surface(tmp_path / "s.x3p")
    assert read.height.shape == (119, 120)
    np.testing.assert_allclose(np.diff(read.height, axis=0), -1e-9, rtol=1e-6)
    np.testing.assert_allclose(np.diff(read.height, axis=1), 1e-9, rtol=1e-6)


def test_what_is_not_a_map_is_refused(mask: Artefact, design: Artefact, tmp_path: Path) -> None:
    (tmp_path / "s.stl").write_bytes(b"")
    with pytest.raises(Refusal, match=r"none of \.x3p, \.tif and \.npy"):
        read_surface(tmp_path / "s.stl")
    (tmp_path / "s.x3p").write_bytes(b"not a zip")
    with pytest.raises(Refusal, match=r"s\.x3p cannot be read"):
        read_surface(tmp_path / "s.x3p")
    np.save(tmp_path / "line.npy", np.zeros(100))
    with pytest.raises(Refusal, match="holds 100 values, not a map"):
        read_surface(tmp_path / "line.npy", pitch=1e-6, unit=1.0)
    with pytest.raises(Refusal, match="is a design, not a mask"):
        inspect_surface(design, tmp_path / "s.x3p")
    with pytest.raises(Refusal, match="exists already"):  # before anything is read, searched or predicted
        inspect_surface(mask, tmp_path / "nosuch.x3p", tmp_path)


def test_wrong_units_and_another_part_are_noticed(optic: Optic) -> None:
    expected = part(optic, "scene")
    height = measured(expected, "scene")[::-1]
    mark = around_mark(expected, View("scene"))

    def refused(match: str, surface: Surface) -> None:
        with pytest.raises(Refusal, match=match):
            register(expected, mark, surface)

    refused(r"explains 0% of the mask's relief at best", Surface(height * 1e3, STEP))
    refused(r"the surface is 2700\.000 x 2700\.000 mm, the aperture 2\.143 mm", Surface(height, STEP * 1e3))
    refused(r"the surface is 0\.270 x 0\.270 mm, the aperture 2\.143 mm", Surface(height, STEP / 10))
    spec = small_spec()
    other = part(Optic(spec, zernike_height({10: 0.5e-6, 15: 0.5e-6, 20: 0.4e-6}, spec)), "scene")
    refused("explains .* of the mask's relief at best", Surface(measured(other, "scene")[::-1], STEP))


def test_a_relief_that_looks_the_same_turned_is_called_ambiguous() -> None:
    spec = small_spec()
    expected = part(Optic(spec, zernike_height({4: 1.5e-6}, spec)), "scene")
    surface = Surface(measured(expected, "scene")[::-1], STEP)
    *_, ambiguous = register(expected, around_mark(expected, View("scene")), surface)
    assert ambiguous


def test_form_error_of_a_known_deviation() -> None:
    rng = np.random.default_rng(3)
    expected = rng.standard_normal((50, 50)) * 1e-6
    inside = np.ones((50, 50), dtype=bool)
    errors: dict[str, Any] = form_error(expected, 1.1 * expected + 7e-6, inside)
    assert errors["depth_gain"] == pytest.approx(1.1)
    assert errors["form_error_rms_m"] == pytest.approx(0.1 * expected.std(), rel=1e-6)
    assert errors["residual_rms_m"] < 1e-15


def test_a_finely_wrapped_part_is_found_although_its_fringes_all_look_alike() -> None:
    """Zones of about eight micrometres, a tenth of a millimetre and some degrees away from where they should be."""
    spec = small_spec(768)
    smooth = part(Optic(spec, zernike_height({4: 4e-6, 5: 6e-6, 7: 5e-6, 9: 2e-6}, spec)), "sensor")
    expected = replace(smooth, height=np.mod(smooth.height, 1.16e-6))
    axis = (np.arange(1000) - 499.5) * 2.7e-6
    x, y = np.meshgrid(axis - 80e-6, axis + 50e-6)
    angle = 0.15
    x, y = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    middle = (expected.samples - 1) / 2
    at = [y / expected.pitch + middle, x / expected.pitch + middle]
    height = 1.02 * map_coordinates(expected.height, at, order=1, mode="nearest") + 1e-3 * axis
    pose, explained, ambiguous = register(
        expected, around_mark(expected, View("sensor")), Surface(height, 2.7e-6)
    )
    assert explained > 0.9
    assert not ambiguous
    assert not pose.mirrored
    assert (pose.shift_x, pose.shift_y) == pytest.approx((80e-6, -50e-6), abs=0.3e-6)
    assert np.angle(np.exp(1j * (pose.angle - angle))) == pytest.approx(0, abs=3e-4)
