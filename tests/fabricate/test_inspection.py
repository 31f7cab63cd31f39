"""A made part, measured by a simulated instrument of known pose and errors: is it found, and found right?"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from opticaldr.artefacts import Artefact
from opticaldr.errors import Refusal
from opticaldr.hardware.fabrication.inspection import inspect_surface
from opticaldr.hardware.fabrication.order import fabricate
from opticaldr.models.optics import Optic, preset, psf_bank, zernike_height

from .conftest import sealed, small_spec

x3pio = pytest.importorskip("x3pio")

TURN, SHIFT, SCALE, DEPTH = 0.7, (40e-6, -60e-6), 1.002, 1.03


@pytest.fixture(scope="module", params=["scene", "sensor"])
def mask(
    request: pytest.FixtureRequest, design: Artefact, tmp_path_factory: pytest.TempPathFactory
) -> Artefact:
    """A refractive mask, the relief on either side."""
    return fabricate(
        design,
        "refractive",
        tmp_path_factory.mktemp("mask") / "mask",
        settings={"pixel": 17e-6, "relief_faces": request.param},
        parts=0,
    )


def measured(mask: Artefact, *, mirrored: bool = False, noise: float = 3e-9) -> tuple[np.ndarray, float]:
    """What an instrument that looks at the relief sees: ``[row, column]`` metres, rows upwards (as X3P), and pitch.

    The instrument's frame is right-handed: X right, Y up, Z towards it. The part lies turned and shifted in it.
    """
    optic = Optic.read(mask.path)
    pitch, n = optic.spec.pupil.pitch, optic.spec.pupil.samples
    faces = mask.json("process.json")["settings"]["relief_faces"]
    rng = np.random.default_rng(8)
    side, step = 320, 2.7e-3 / 320
    axis = (np.arange(side) - (side - 1) / 2) * step
    big_x, big_y = np.meshgrid(axis, axis)
    u, v = big_x - SHIFT[0], big_y - SHIFT[1]
    right = (np.cos(TURN) * u + np.sin(TURN) * v) / SCALE  # in the part's own frame, looking at the relief
    up = (-np.sin(TURN) * u + np.cos(TURN) * v) / SCALE
    right = -right if mirrored else right
    x, y = (-right if faces == "scene" else right), -up
    from scipy.ndimage import map_coordinates

    height = DEPTH * map_coordinates(
        optic.height, [y / pitch + (n - 1) / 2, x / pitch + (n - 1) / 2], order=3, mode="nearest"
    )
    height += 1.5e-3 * big_x - 0.8e-3 * big_y + 4e-6 + noise * rng.standard_normal(height.shape)
    height[150:156, 100:140] = np.nan
    return height, step


def as_x3p(path: Path, height: np.ndarray, step: float) -> Path:
    """Written by x3pio, which is also an independent check of axes and units."""
    metadata = x3pio.Metadata(
        probing_system=x3pio.ProbingSystem(x3pio.ProbingType.NON_CONTACTING, "simulated")
    )
    x3pio.write(path, height, x_scale=step, y_scale=step, metadata=metadata)
    return path


def test_the_pose_and_the_errors_are_found(mask: Artefact, tmp_path: Path) -> None:
    built = inspect_surface(mask, as_x3p(tmp_path / "s.x3p", *measured(mask)), tmp_path / "built")
    found = built.json("inspection.json")
    assert found["part_mirrored"] is False
    assert found["depth_gain"] == pytest.approx(DEPTH, abs=3e-3)
    assert found["scale"] == pytest.approx(SCALE, abs=6e-4)
    assert found["residual_rms_m"] < 15e-9
    # In the file, seen as a picture (rows down), the part is turned clockwise by -TURN and shifted up by -SHIFT.
    assert found["shift_x"] == pytest.approx(SHIFT[0], abs=2e-6)
    assert found["shift_y"] == pytest.approx(-SHIFT[1], abs=2e-6)
    turn = np.exp(1j * np.radians(found["rotation_deg"]))
    assert abs(np.angle(turn * np.exp(1j * TURN))) == pytest.approx(0.0, abs=2e-3)
    assert found["not_measured"] == pytest.approx(
        240 / (np.pi * (2142.9e-6 / 2) ** 2 / (2.7e-3 / 320) ** 2), rel=0.6
    )


def test_the_as_built_map_serves_every_later_step(mask: Artefact, tmp_path: Path) -> None:
    built = inspect_surface(mask, as_x3p(tmp_path / "s.x3p", *measured(mask)), tmp_path / "built")
    as_built, expected = Optic.read(built.path), Optic.read(mask.path)
    assert built.kind == "mask"
    assert built.manifest.parents == (mask.id,)
    n = as_built.spec.pupil.samples
    axis = (np.arange(n) - (n - 1) / 2) * as_built.spec.pupil.pitch
    inside = np.hypot(axis[:, None], axis) < 0.97 * as_built.spec.pupil.diameter / 2
    # The true part: 3 % too deep and 0.2 % too wide.
    from scipy.ndimage import map_coordinates

    where = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) / SCALE + (n - 1) / 2] * 2, indexing="ij")
    truth = DEPTH * map_coordinates(expected.height, where, order=3, mode="nearest")
    error = (as_built.height - truth)[inside]
    x, y = np.meshgrid(axis, axis)
    basis = np.stack([np.ones(inside.sum()), x[inside], y[inside]], axis=1)
    error -= basis @ np.linalg.lstsq(basis, error, rcond=None)[0]
    assert error.std() < 20e-9
    assert psf_bank(as_built.height, as_built.spec, [0.5], shape=(9, 9)).sum() > 0
    again = fabricate(built, "grayscale", tmp_path / "again", settings={"pixel": 17e-6}, parts=0)
    assert again.manifest.parents == (built.id,)


def test_a_part_made_mirrored_is_told(mask: Artefact, tmp_path: Path) -> None:
    surface = as_x3p(tmp_path / "s.x3p", *measured(mask, mirrored=True))
    found = inspect_surface(mask, surface, tmp_path / "built").json("inspection.json")
    assert found["part_mirrored"] is True
    told = inspect_surface(mask, surface, tmp_path / "told", flipped=True).json("inspection.json")
    assert told["part_mirrored"] is False


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_files_without_units_need_them(mask: Artefact, tmp_path: Path, suffix: str) -> None:
    height, step = measured(mask)
    picture = (height[::-1] * 1e6).astype(np.float32)  # rows downwards, micrometres
    path = tmp_path / f"surface{suffix}"
    tifffile.imwrite(path, picture) if suffix == ".tif" else np.save(path, picture)
    with pytest.raises(Refusal, match=r"does not state its pixel size"):
        inspect_surface(mask, path, tmp_path / "built")
    with pytest.raises(Refusal, match=r"does not state its height unit"):
        inspect_surface(mask, path, tmp_path / "built", pitch=step)
    found = inspect_surface(mask, path, tmp_path / "built", pitch=step, unit=1e-6).json("inspection.json")
    assert found["depth_gain"] == pytest.approx(DEPTH, abs=3e-3)
    assert found["part_mirrored"] is False


def test_millimetres_taken_for_metres_are_noticed(mask: Artefact, tmp_path: Path) -> None:
    height, step = measured(mask)
    np.save(tmp_path / "s.npy", height[::-1] * 1e6)

    def refused(match: str, **units: Any) -> None:
        with pytest.raises(Refusal, match=match):
            inspect_surface(mask, tmp_path / "s.npy", tmp_path / "built", **units)

    refused(r"the surface is 2\.700 x 2\.700 mm|explains", pitch=step, unit=1e-3)
    refused(r"the surface is 2700\.000 x 2700\.000 mm, the aperture 2\.143 mm", pitch=step * 1e3, unit=1e-6)
    refused(r"the surface is 0\.270 x 0\.270 mm, the aperture 2\.143 mm", pitch=step / 10, unit=1e-6)


def test_another_part_and_other_files_are_refused(mask: Artefact, design: Artefact, tmp_path: Path) -> None:
    spec = small_spec()
    other = fabricate(
        sealed(Optic(spec, zernike_height({10: 0.3e-6, 15: 0.3e-6, 20: 0.2e-6}, spec)), tmp_path / "other"),
        "refractive",
        tmp_path / "other-mask",
        settings={"pixel": 17e-6},
        parts=0,
    )
    with pytest.raises(Refusal, match=r"explains .* of the mask's relief at best"):
        inspect_surface(mask, as_x3p(tmp_path / "s.x3p", *measured(other)), tmp_path / "b")
    (tmp_path / "s.stl").write_bytes(b"")
    with pytest.raises(Refusal, match=r"none of \.x3p, \.tif and \.npy"):
        inspect_surface(mask, tmp_path / "s.stl")
    with pytest.raises(Refusal, match="is a design, not a mask"):
        inspect_surface(design, tmp_path / "s.x3p")
    np.save(tmp_path / "line.npy", np.zeros(100))
    with pytest.raises(Refusal, match="holds 100 values, not a map"):
        inspect_surface(mask, tmp_path / "line.npy", pitch=1e-6, unit=1.0)


@pytest.mark.slow
def test_a_symmetric_relief_is_turned_right_by_its_mark(tmp_path: Path) -> None:
    spec = preset("clinic")
    spec = spec.model_copy(update={"pupil": spec.pupil.model_copy(update={"samples": 256})})
    lens = sealed(Optic(spec, zernike_height({4: 3e-6}, spec)), tmp_path / "lens")
    mask = fabricate(lens, "refractive", tmp_path / "mask", settings={"pixel": 9e-6}, parts=0)
    found = inspect_surface(mask, as_x3p(tmp_path / "s.x3p", *measured(mask)), tmp_path / "built").json(
        "inspection.json"
    )
    turn = np.exp(1j * np.radians(found["rotation_deg"]))
    assert abs(np.angle(turn * np.exp(1j * TURN))) < 0.02
    assert found["part_mirrored"] is False
