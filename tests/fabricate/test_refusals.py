"""What cannot be made is refused with the figure that is wrong, and nothing is left behind."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opticaldr.artefacts import Artefact
from opticaldr.errors import Refusal
from opticaldr.hardware.fabrication.order import fabricate
from opticaldr.models.optics import Optic

from .conftest import sealed, small_spec


@pytest.mark.proves("MASK-2")
@pytest.mark.parametrize(
    ("process", "settings", "wrong"),
    [
        (
            "refractive",
            {"max_depth": 2e-6},
            r"the relief is \d\.\d\d um deep, refractive makes at most 2\.00 um",
        ),
        ("grayscale", {"wrap": False, "max_depth": 1e-6}, r"um deep, grayscale makes at most 1\.00 um"),
        ("multilevel", {"max_depth": 0.5e-6}, r"is 1\.01 um deep, multilevel makes at most 0\.50 um"),
        ("multilevel", {"pixel": 0.05e-6}, r"places pixels of 0\.2 um or more, not 0\.05 um"),
        ("two-photon", {"pixel": 1e-9}, r"places pixels of 0\.1 um or more, not 0\.001 um"),
        ("multilevel", {"pixel": 1.0}, r"pixels of 1 m cannot draw"),
        ("multilevel", {"levels": 33}, r"multilevel: levels: .*less than or equal to 32.*33"),
        ("multilevel", {"leves": 8}, r"multilevel has no setting leves"),
        ("refractive", {"size": 2e-3}, r"a round plate of 2\.000 mm does not hold the relief"),
        ("refractive", {"material": "IP-S"}, "no refractive index is known for IP-S"),
        ("refractive", {"material": "unobtainium"}, "no refractive index is known for unobtainium"),
        ("chisel", {}, "there is no process called chisel"),
    ],
)
def test_what_a_process_cannot_do(
    process: str, settings: dict[str, Any], wrong: str, design: Artefact, tmp_path: Path
) -> None:
    with pytest.raises(Refusal, match=wrong):
        fabricate(design, process, tmp_path / "mask", settings=settings, parts=0)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_before_any_work(design: Artefact, tmp_path: Path) -> None:
    told: list[str] = []
    for process in ("multilevel", "slm"):
        with pytest.raises(Refusal, match="exists already"):
            fabricate(design, process, tmp_path, progress=lambda stage, done, total: told.append(stage))
    assert told == []


def test_a_design_pixel_finer_than_the_process_is_refused(tmp_path: Path) -> None:
    spec = small_spec(512)
    fine = sealed(Optic(spec, np.zeros((512, 512))), tmp_path / "fine")
    with pytest.raises(Refusal, match=r"holds only 429 pixels of 5 um"):
        fabricate(fine, "refractive", settings={"min_pixel": 5e-6, "pixel": 5e-6}, parts=0)


@pytest.mark.parametrize(
    ("curve", "wrong"),
    [
        ("dose,depth_um\n0,0\n128,0.4\n255,0.9\n", r"reaches 0\.900 um, the relief needs 1\.\d+ um"),
        ("dose,depth_um\n0,0\n100,0.9\n128,0.8\n255,2\n", "does not rise after dose 100"),
        ("dose,depth_um\n0,0\n200,2\n", "run from 0 to 200, not from 0 up to 255"),
        ("dose,depth\n0,0\n255,2\n", "does not state dose and unit"),
    ],
)
def test_a_contrast_curve_that_does_not_serve(
    curve: str, wrong: str, design: Artefact, tmp_path: Path
) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(curve)
    with pytest.raises(Refusal, match=wrong):
        fabricate(design, "grayscale", settings={"contrast_curve": path, "pixel": 17e-6}, parts=0)
