"""The SLM pattern: the written frame, read back with its table, is the design; what does not fit is refused."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from opticaldr.artefacts import Artefact
from opticaldr.errors import Refusal
from opticaldr.hardware.fabrication.order import as_relief, fabricate
from opticaldr.hardware.fabrication.pattern import SlmPattern, show
from opticaldr.hardware.fabrication.pattern import as_relief as shown_relief
from opticaldr.hardware.fabrication.prediction import as_optic
from opticaldr.hardware.fabrication.process import Wave
from opticaldr.hardware.fabrication.relief import LETTER_F, Relief
from opticaldr.hardware.slms import Response, panel
from opticaldr.models.optics import Optic, psf, zernike
from opticaldr.models.optics.metrics import ncc

from .conftest import SHAPE

LIGHT = 570e-9


def read_phase(pattern: Artefact) -> np.ndarray:
    """Phase of every pixel from the PNG and lut.json alone, radians."""
    grey = cv2.imread(str(pattern.file("frame.png")), cv2.IMREAD_UNCHANGED)
    table = np.array(pattern.json("lut.json")["phase_rad"])
    return table[grey]


def wanted_phase(optic: Optic, pattern: Artefact, across: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Phase of the design at the SLM's pixel centres, from its Zernike polynomials, and where it counts."""
    side = pattern.json("frame.png.json")
    x = (np.arange(side["columns"]) - (side["columns"] - 1) / 2) * side["pitch_m"]
    y = (np.arange(side["rows"]) - (side["rows"] - 1) / 2) * side["pitch_m"]
    x, y = np.meshgrid(across * (x - side["axis_right_of_middle_m"]), y - side["axis_below_middle_m"])
    radius = optic.spec.pupil.diameter / 2
    inside = np.hypot(x, y) < radius - 6 * optic.spec.pupil.pitch
    height = sum(value * zernike(j, x / radius, y / radius, "unit-amplitude") for j, value in SHAPE.items())
    lowest = optic.height[as_relief(optic).aperture()].min()
    return (height - lowest) * 2 * np.pi * (optic.spec.mask.material.index(LIGHT) - 1) / LIGHT, inside


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"slm": "slm-200"},
        {"polarity": -1},
        {"mirrored": True},
        {"x": 0.5e-3, "y": -0.3e-3, "slm": "leto-3"},
    ],
)
def test_the_frame_read_back_is_the_design_modulo_a_turn(
    changed: dict[str, Any], design: Artefact, optic: Optic, tmp_path: Path
) -> None:
    pattern = fabricate(design, "slm", tmp_path / "p", settings={"wavelength": LIGHT, **changed})
    assert pattern.kind == "pattern"
    one = panel(changed.get("slm", "generic"))
    grey = cv2.imread(str(pattern.file("frame.png")), cv2.IMREAD_UNCHANGED)
    assert grey.shape == one.shape
    assert grey.dtype == (np.uint8 if one.bits == 8 else np.uint16)
    assert grey.max() < one.levels
    wanted, inside = wanted_phase(optic, pattern, -1.0 if changed.get("mirrored") else 1.0)
    error = np.angle(np.exp(1j * (read_phase(pattern) - wanted)))[inside]
    assert np.abs(error).max() < np.pi / one.levels + 0.003
    assert pattern.json("prediction.json")["psf_ncc_worst"] > 0.99


@pytest.mark.proves("MASK-1")
def test_psf_of_the_frame_read_back_is_the_predicted_one(
    design: Artefact, optic: Optic, relief: Relief, tmp_path: Path
) -> None:
    pattern = fabricate(design, "slm", tmp_path / "p", settings={"wavelength": LIGHT})
    predicted = Optic.read(pattern.path)
    one, told = panel("generic"), SlmPattern(wavelength=LIGHT)
    wave = Wave(LIGHT, optic.spec.mask.material.index(LIGHT))
    shown = show(relief.grounded(), wave, one, Response.linear(256, LIGHT), told)
    from_file = type(shown)(shown.frame, read_phase(pattern), shown.aliased)
    back = as_optic(shown_relief(from_file, relief, wave, one, told), optic.spec, stepped=True)
    psfs = [psf(o.height, o.spec, [LIGHT], 0.4, shape=(11, 11)) for o in (predicted, back)]
    assert ncc(*psfs).min() > 0.999


def test_the_f_stands_upright_in_the_corner_at_half_a_turn(design: Artefact, tmp_path: Path) -> None:
    pattern = fabricate(design, "slm", tmp_path / "p", settings={"wavelength": LIGHT})
    phase = read_phase(pattern)
    cell = panel("generic").rows // 60
    rows, columns = LETTER_F.shape
    patch = phase[cell : cell + rows * cell, cell : cell + columns * cell][
        cell // 2 :: cell, cell // 2 :: cell
    ]
    np.testing.assert_allclose(patch, np.where(LETTER_F, np.pi, 0.0), atol=0.02)


def test_wrapping_comes_after_resampling(optic: Optic) -> None:
    """Every pixel is within half a grey of the true phase, which resampled wrapped phase would not be."""
    from scipy.ndimage import map_coordinates

    relief = as_relief(optic).grounded()
    one, told = panel("generic"), SlmPattern(wavelength=LIGHT)
    wave = Wave(LIGHT, optic.spec.mask.material.index(LIGHT))
    shown = show(relief, wave, one, Response.linear(256, LIGHT), told)
    x = (np.arange(one.columns) - (one.columns - 1) / 2) * one.pitch
    y = (np.arange(one.rows) - (one.rows - 1) / 2) * one.pitch
    at = np.meshgrid(y / relief.pitch + 63.5, x / relief.pitch + 63.5, indexing="ij")
    inside = np.hypot(y[:, None], x) < relief.radius - 6 * relief.pitch
    phase = relief.height * 2 * np.pi / wave.depth
    true = map_coordinates(phase, at, order=3)[inside]
    naive = map_coordinates(np.mod(phase, 2 * np.pi), at, order=3)[inside]

    def off(value: np.ndarray) -> float:
        return float(np.abs(np.angle(np.exp(1j * (value - true)))).max())

    assert off(shown.phase[inside]) <= np.pi / 256 * 1.02
    assert off(naive) > 1.0


def test_flatness_is_added_before_the_grey_is_chosen(design: Artefact, optic: Optic, tmp_path: Path) -> None:
    one = panel("generic")
    rows, columns = np.indices(one.shape)
    bow = 3.0 * ((rows / one.rows - 0.5) ** 2 + (columns / one.columns - 0.5) ** 2)
    np.save(tmp_path / "flat.npy", bow)
    pattern = fabricate(
        design, "slm", tmp_path / "p", settings={"wavelength": LIGHT, "flatness": tmp_path / "flat.npy"}
    )
    wanted, inside = wanted_phase(optic, pattern)
    error = np.angle(np.exp(1j * (read_phase(pattern) - bow - wanted)))[inside]
    assert np.abs(error).max() < np.pi / one.levels + 0.003


def test_a_phase_steeper_than_the_pixels_is_counted(optic: Optic) -> None:
    relief = as_relief(optic)
    steep = type(relief)(relief.height * 40, relief.pitch, relief.radius)
    one, told = panel("generic"), SlmPattern(wavelength=LIGHT)
    wave = Wave(LIGHT, optic.spec.mask.material.index(LIGHT))
    table = Response.linear(256, LIGHT)
    assert not show(relief, wave, one, table, told).aliased.any()
    assert show(steep, wave, one, table, told).aliased.any()


def table(path: Path, wavelength: float, turns: float = 2.1) -> Path:
    """A measured table of 256 levels."""
    Response(np.linspace(0, turns * np.pi, 256), wavelength).write(path)
    return path


def test_what_does_not_belong_is_refused(design: Artefact, tmp_path: Path) -> None:
    def refused(match: str, **settings: Any) -> None:
        with pytest.raises(Refusal, match=match):
            fabricate(design, "slm", tmp_path / "p", settings=settings)
        assert not (tmp_path / "p").exists()

    green = table(tmp_path / "green.csv", 532e-9)
    refused(r"measured at 532 nm, the light is 570 nm", lut=green, wavelength=570e-9)
    refused(
        r"pattern would be for 1064 nm, the design is for 450 to 650 nm",
        lut=table(tmp_path / "ir.json", 1064e-9),
    )
    refused(r"reaches 1\.506 pi at 532 nm", lut=table(tmp_path / "short.csv", 532e-9, 1.5))
    refused(r"has 256 levels, the SLM takes 1024", lut=green, slm="slm-200")
    refused(r"has 1920 x 1080 pixels, not 1920 x 1200", resolution=(1920, 1200))
    refused(r"no SLM is called pluto-9", slm="pluto-9")
    refused(r"leaves 0\.32 mm", y=4e-3)
    np.save(tmp_path / "other.npy", np.zeros((1200, 1920)))
    refused(r"other\.npy is 1920 x 1200, .* is 1920 x 1080", flatness=tmp_path / "other.npy")
